"""`train`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch_lab.cli.options import (
    DEBUG,
    HELP,
    VERSION,
    Option,
    Parsed,
    Reader,
    answered,
    option_lines,
)
from torch_lab.cli.values import assignments, batch_limit, count, gpu_list
from torch_lab.errors import UsageError
from torch_lab.tasks.options import TrainOptions

OPTIONS = (
    Option(
        "--dev-run",
        "N",
        "a quick check: overfit N batches, or that fraction of them, in a\n"
        'run named "dev_…" that is never taken for the newest',
        short="-d",
    ),
    Option(
        "--offline",
        help="record locally only, even where a ClearML server is configured\n"
        "(`lab sync RUN` can send the run later)",
        short="-o",
    ),
    Option(
        "--gpu-devices",
        "0,1",
        "the GPUs to train on (-g 0 1 will do)",
        short="-g",
        takes_numbers=True,
    ),
    Option(
        "--jobs",
        "N",
        "how many of several scripts are trained at a time where no\nGPU is named",
        short="-j",
    ),
    Option(
        "--set",
        "KEY=VALUE",
        "change one hyperparameter: config.lr, or just lr where the first\n"
        "word is no section; a Python literal, else text; may be repeated",
        short="-s",
        repeats=True,
    ),
    Option(
        "--queue",
        "NAME",
        "hand the run to a ClearML queue: an agent trains it, with this\n"
        "machine's code and hyperparameters",
    ),
    Option("--resume", "RUN", "go on with an interrupted run; `auto`: see above"),
    Option("--force", help="resume although the experiment's scripts have changed"),
    Option("--trust", help="load a checkpoint that could run code; only if you know its source"),
    DEBUG,
    HELP,
    VERSION,
)

HELP_TEXT = f"""\
train HPARAMS… [options]     train experiments, each with a set of hyperparameters
train --resume RUN           go on with an interrupted run, exactly where it was

  train my_project/experiments/00_digits/hparams.py
  train hparams.py --dev-run 3                     does it run? overfit three batches
  train hparams.py -s lr=1e-3 -s trainer.init.max_epochs=20
  train hparams.py -g 0,1                          on two GPUs
  train a.py b.py c.py -g 0,1                      one on each GPU, the next as soon as one is free
  train experiments/00_digits/*.py -j 4            four at a time
  train hparams.py --queue gpu                     on the machine of a ClearML agent
  train --resume 00_digits-hparams_v3              a run's name, id, or the beginning of one
  train --resume auto hparams.py                   this script's newest interrupted run,
                                                   else a new one: for jobs that are restarted
                                                   (only runs begun with the same --set and
                                                   --dev-run as are given here)

{option_lines(OPTIONS)}

`lab show HPARAMS` lists what a script's config holds, with types, defaults and descriptions.

Exit status: 0 done, 1 failed while running, 2 a mistake in what was asked, 128+N ended by signal N.
"""


def command(argv: Sequence[str]) -> int | None:
    """Train."""
    from torch_lab.tasks.pool.child import end_with_pool

    end_with_pool()
    reader = Reader(argv, OPTIONS)
    parsed = reader.read(reader.refuse)
    if answered(parsed, HELP_TEXT):
        return 0
    options = train_options(parsed)
    jobs = count("--jobs", parsed.one("--jobs"))
    if len(parsed.words) > 1 or jobs is not None:
        return _train_many(parsed, options, jobs)
    from torch_lab.cli.debugger import post_mortem
    from torch_lab.tasks.train import train

    with post_mortem(wanted=parsed.has("--debug")):
        train(options)
    return 0


def _train_many(parsed: Parsed, options: TrainOptions, jobs: int | None) -> int:
    for name in ("--debug", "--queue"):
        if parsed.has(name):
            raise UsageError(f"{name} takes one script", hint="start one command for each")
    if not parsed.words:
        raise UsageError(f"--jobs is for several scripts, and --resume {options.resume} takes none")
    from torch_lab.tasks.many import train_many

    return train_many(list(map(Path, parsed.words)), options, jobs)


def train_options(parsed: Parsed) -> TrainOptions:
    """What the words of a command line ask for; no script where there are several."""
    resume = parsed.one("--resume")
    return TrainOptions(
        script=_script(parsed.words, resume),
        resume=resume,
        dev_run=batch_limit(parsed.one("--dev-run")),
        gpus=gpu_list(parsed.one("--gpu-devices")),
        overrides=assignments(parsed.all("--set")),
        force=_with_resume(parsed, "--force", resume),
        trust=parsed.has("--trust"),
        offline=parsed.has("--offline"),
        queue=parsed.one("--queue"),
    )


def _script(words: Sequence[str], resume: str | None) -> Path | None:
    if resume in (None, "auto"):
        if not words:
            after = " --resume auto" if resume else ""
            raise UsageError("which hyperparameter script?", hint=f"type `train{after} HPARAMS`")
        return Path(words[0]) if len(words) == 1 else None
    if words:
        raise UsageError(
            f"--resume {resume} takes no script, got {', '.join(words)}: the run knows its own",
            hint=f"type `train --resume {resume}`, or `train --resume auto {words[0]}`",
        )
    return None


def _with_resume(parsed: Parsed, name: str, resume: str | None) -> bool:
    if parsed.has(name) and resume is None:
        hint = f"type `train --resume RUN {name}`"
        raise UsageError(f"{name} has a meaning only with --resume", hint=hint)
    return parsed.has(name)
