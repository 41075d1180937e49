"""`lab submit`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch_lab.cli.options import HELP, Option, Parsed, Reader, answered, option_lines
from torch_lab.cli.values import assignments, batch_limit, count
from torch_lab.errors import UsageError

if TYPE_CHECKING:
    from torch_lab.tasks.submit import Asked

OPTIONS = (
    Option("--partition", "NAME", "the partition to run in"),
    Option("--time", "LIMIT", "how long at most: 04:00:00, 2-12 (days and hours), 90 (minutes)"),
    Option("--nodes", "N", "over so many machines (trainer.init.num_nodes)"),
    Option("--gpus", "N", "so many GPUs, those of all nodes together"),
    Option(
        "--sbatch",
        "OPTION",
        "any other option of sbatch: mem=32G, exclusive; may be repeated",
        repeats=True,
    ),
    Option("--array", help="one array job for all scripts, instead of a job for each"),
    Option("--dry-run", help="show the batch script; nothing is submitted or written"),
    Option(
        "--set",
        "KEY=VALUE",
        "change one hyperparameter, as for `train`; may be repeated",
        short="-s",
        repeats=True,
    ),
    Option("--dev-run", "N", "a quick check on N batches, as for `train`", short="-d"),
    Option("--resume", "RUN", "go on with an interrupted run; `auto`: see above"),
    Option("--offline", help="record locally only", short="-o"),
    Option("--trust", help="load a checkpoint that could run code"),
    HELP,
)

HELP_TEXT = f"""\
lab submit HPARAMS… [options]      hand runs to Slurm: a job for each script
lab submit --resume RUN            hand an interrupted run to Slurm, to go on with

  lab submit my_project/experiments/00_digits/hparams.py --time 04:00:00 --gpus 1
  lab submit my_project/experiments/00_digits/*.py --array --partition gpu
  lab submit hparams.py --nodes 2 --gpus 8              over two machines, four GPUs each
  lab submit hparams.py --sbatch mem=64G --sbatch account=vision
  lab submit hparams.py --dry-run                       what Slurm would be given
  lab submit --resume auto hparams.py                   this script's newest interrupted run, else
                                                        a new one

{option_lines(OPTIONS)}

The code is copied as it is now: later edits don't matter to the job. Before its time is up the run
is saved and the job started again, until the run is completed. `lab runs` shows what is queued,
running, requeued. What is always the same belongs into pyproject.toml:

  [tool.torch-lab.slurm]
  partition = "gpu"              # any option of sbatch
  time = "08:00:00"
  setup = ["module load cuda"]   # lines of shell that come first
  srun = ["--cpu-bind=cores"]    # options of srun
  warning = 120                  # seconds before the limit at which the run is saved
  requeue = true
"""


def command(argv: Sequence[str]) -> int | None:
    """Submit runs to Slurm."""
    reader = Reader(argv, OPTIONS)
    parsed = reader.read(reader.refuse)
    if answered(parsed, HELP_TEXT):
        return 0
    from torch_lab.tasks.submit import submit
    from torch_lab.utils.interrupts import end_at_once

    asked = _asked(parsed)
    if not asked.dry_run:
        submit(asked)
        return 0
    with end_at_once():
        submit(asked)
    return 0


def _asked(parsed: Parsed) -> Asked:
    from torch_lab.tasks.submit import Asked

    resume = parsed.one("--resume")
    scripts = _scripts(parsed.words, resume)
    if parsed.has("--array") and resume not in (None, "auto"):
        raise UsageError(f"--array is for several scripts, and --resume {resume} is one run")
    return Asked(
        scripts=scripts,
        resume=resume,
        dev_run=batch_limit(parsed.one("--dev-run")),
        overrides=assignments(parsed.all("--set")),
        trust=parsed.has("--trust"),
        offline=parsed.has("--offline"),
        array=parsed.has("--array"),
        dry_run=parsed.has("--dry-run"),
        typed=_typed(parsed),
    )


def _scripts(words: Sequence[str], resume: str | None) -> tuple[Path, ...]:
    if resume in (None, "auto"):
        if not words:
            after = " --resume auto" if resume else ""
            raise UsageError(
                "which hyperparameter scripts?", hint=f"type `lab submit{after} HPARAMS`"
            )
        return tuple(map(Path, words))
    if words:
        raise UsageError(
            f"--resume {resume} takes no script, got {words[0]}: the run knows its own",
            hint=f"type `lab submit --resume {resume}`, or `lab submit --resume auto {words[0]}`",
        )
    return ()


def _typed(parsed: Parsed) -> dict[str, Any]:
    """sbatch's options as they were typed, by their long names."""
    named = {
        "partition": parsed.one("--partition"),
        "time": parsed.one("--time"),
        "nodes": count("--nodes", parsed.one("--nodes")),
        "gpus": count("--gpus", parsed.one("--gpus")),
    }
    typed: dict[str, Any] = {key: value for key, value in named.items() if value is not None}
    for text in parsed.all("--sbatch"):
        key, equals, value = text.lstrip("-").partition("=")
        if key in typed:
            raise UsageError(f"--{key} is given twice")
        typed[key] = _number(value) if equals else True
    problems = [f"--{key}: {said}" for key, value in typed.items() if (said := _wrong(key, value))]
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise UsageError(f"sbatch would not take this\n{listed}")
    return typed


def _wrong(key: str, value: object) -> str | None:
    from torch_lab.utils import sbatch

    if key in sbatch.OWN:
        return f"not an option of sbatch: it is {key} in [tool.torch-lab.slurm]"
    return sbatch.problem(key, value)


def _number(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdecimal() and str(int(text)) == text else text
