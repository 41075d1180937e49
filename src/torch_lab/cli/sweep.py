"""`lab sweep`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch_lab.cli.options import HELP, Option, Parsed, Reader, answered, option_lines
from torch_lab.cli.values import assignments, count, gpu_list
from torch_lab.errors import UsageError

if TYPE_CHECKING:
    from torch_lab.tasks.sweep.search import Order

OPTIONS = (
    Option("--trials", "N", "how many trials there are to be in all (20; of a grid, all)"),
    Option("--metric", "NAME", "what is to be best (loss/validate)"),
    Option("--mode", "min|max", "which value of it is best, where its name doesn't tell"),
    Option(
        "--gpu-devices",
        "0,1",
        "a trial at a time on each of these GPUs (-g 0 1 will do)",
        short="-g",
        takes_numbers=True,
    ),
    Option("--jobs", "N", "how many trials at a time, without naming GPUs", short="-j"),
    Option(
        "--set",
        "KEY=VALUE",
        "change one hyperparameter of all trials; may be repeated",
        short="-s",
        repeats=True,
    ),
    Option(
        "--storage",
        "URL",
        "where the trials are kept: a file (in the artifacts folder, if none\n"
        "is named), or a database for many machines",
    ),
    Option("--offline", help="record locally only, even where a ClearML server is configured"),
    Option("--trust", help="let trials load what only pickle can load"),
    Option("--force", help="let interrupted trials go on though their code has changed"),
    Option("--status", help="list the trials, and start none"),
    Option("--json", help="with --status: everything, for other programs"),
    Option("--out", "FILE", "write the best trial as a script that extends this one"),
    HELP,
)

HELP_TEXT = f"""\
lab sweep SCRIPT [options]      search hyperparameters; each trial is an ordinary run

  lab sweep my_project/experiments/00_digits/search.py --trials 50 -j 4
  lab sweep search.py -g 0,1                    the next trial as soon as a GPU is free
  lab sweep search.py --status                  how far it is
  lab sweep search.py --out best.py             the best trial, to be trained as any script

SCRIPT is a hyperparameter script that also says what to try:

  def sweep(trial):
      return {{"config.learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)}}

  SWEEP = {{"metric": "accuracy/validate", "sampler": "tpe", "pruner": "median", "trials": 50}}

The keys of SWEEP: metric, mode, trials, storage, name, seed, sampler (tpe, random, grid, gp,
cmaes, qmc, nsgaii) and sampler_kwargs, pruner (median, percentile, halving, hyperband, threshold)
and pruner_kwargs: Optuna's, with its keyword arguments. Started again, a sweep goes on; started
twice, also on two machines with one storage, the processes share the work.

{option_lines(OPTIONS)}
"""


def command(argv: Sequence[str]) -> int | None:
    """Search hyperparameters."""
    reader = Reader(argv, OPTIONS)

    def refuse(word: str) -> None:
        _refuse_absent(word)
        reader.refuse(word)

    parsed = reader.read(refuse)
    if answered(parsed, HELP_TEXT):
        return 0
    _check(parsed)
    order = _order(parsed)
    if (out := parsed.one("--out")) is not None:
        return _write(order, Path(out))
    if parsed.has("--status"):
        return _status(order, as_json=parsed.has("--json"))
    return _search(order, parsed)


# What people know from `train` and `lab submit`, and what a sweep has in its place.
_DESIGN = "SWEEP in the script says it."
_ABSENT = {
    "--dev-run": "One trial's hyperparameters are tried by `train SCRIPT --dev-run N`; a small"
    " sweep by `--trials 2 -s trainer.init.max_epochs=1 --storage FILE`.",
    "--queue": "No trial goes to a ClearML queue: start `lab sweep` on each machine with one"
    " --storage, and they share the work.",
    "--resume": "None is needed: the same command goes on with the sweep.",
    "--debug": "One trial's hyperparameters are tried by `train SCRIPT --debug -s KEY=VALUE`.",
    "--partition": "`lab sweep` is a command for a batch script of your own; several jobs with one"
    " --storage share the work.",
} | dict.fromkeys(("--sampler", "--pruner", "--seed", "--name"), _DESIGN)
_ALIASES = {"-d": "--dev-run", "--pdb": "--debug"}
_ALIASES |= dict.fromkeys(("--array", "--time", "--nodes", "--gpus"), "--partition")


def _refuse_absent(word: str) -> None:
    """Say what there is in place of an option of other commands."""
    name = word.partition("=")[0]
    hint = _ABSENT.get(_ALIASES.get(name, name))
    if hint is not None:
        raise UsageError(f"lab sweep has no option {name}", hint=hint)


def _check(parsed: Parsed) -> None:
    if len(parsed.words) != 1:
        got = f", got {len(parsed.words)}: {', '.join(parsed.words)}" if parsed.words else ""
        raise UsageError(f"lab sweep takes one script{got}", hint="type `lab sweep SCRIPT`")
    if parsed.has("--json") and not parsed.has("--status"):
        raise UsageError("--json goes with --status", hint="add --status")
    if parsed.has("--status") and parsed.has("--out"):
        raise UsageError("--status and --out are two things to do", hint="do one, then the other")


def _order(parsed: Parsed) -> Order:
    from torch_lab import experiment as experiments
    from torch_lab import settings as settings_
    from torch_lab.tasks.sweep import design, storage
    from torch_lab.tasks.sweep.search import Order

    found = experiments.find(parsed.words[0])
    settings = settings_.load(found.script)
    options = {key: parsed.one(f"--{key}") for key in ("metric", "mode", "storage")}
    trials = count("--trials", parsed.one("--trials"))
    wanted, sweep = design.read(found, {**options, "trials": trials})
    place = storage.place_of(wanted.storage, wanted.name, settings.artifacts, settings.root)
    return Order(
        found,
        settings,
        wanted,
        sweep,
        place,
        assignments(parsed.all("--set")),
        offline=parsed.has("--offline"),
        trust=parsed.has("--trust"),
        force=parsed.has("--force"),
    )


def _search(order: Order, parsed: Parsed) -> int:
    from torch_lab.tasks.sweep import searching

    gpus = gpu_list(parsed.one("--gpu-devices"))
    return searching.search(order, gpus, count("--jobs", parsed.one("--jobs")))


def _status(order: Order, *, as_json: bool) -> int:
    from torch_lab.tasks.sweep import ledger, report
    from torch_lab.utils.streams import terminal_width

    trials = ledger.found(order.design, order.storage, order.settings.lost_after)
    rows = [] if trials is None else report.rows(order, trials)
    if as_json:
        import json

        print(json.dumps(rows, indent=2))
    else:
        print(report.table(order, rows, width=terminal_width(sys.stdout)), end="")
    return 0


def _write(order: Order, out: Path) -> int:
    from torch_lab.tasks.sweep import ledger, report

    trials = ledger.found(order.design, order.storage, order.settings.lost_after)
    print(report.write_best(order, trials, out))
    return 0
