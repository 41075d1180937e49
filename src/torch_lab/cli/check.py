"""`lab check`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch_lab.cli.exit import MISTAKE
from torch_lab.cli.options import HELP, Option, Parsed, Reader, answered, option_lines
from torch_lab.cli.values import assignments
from torch_lab.errors import UsageError

if TYPE_CHECKING:
    from torch_lab.tasks.check import Report

OPTIONS = (
    Option(
        "--set",
        "KEY=VALUE",
        "change one hyperparameter, as for train; may be repeated",
        short="-s",
        repeats=True,
    ),
    Option("--json", help="everything, for other programs"),
    Option(
        "--drill",
        help="train a short copy, kill it at several moments, resume it, and\n"
        "say whether it goes on exactly, or what is lost and who keeps it",
    ),
    HELP,
)

HELP_TEXT = f"""\
lab check HPARAMS… [options]      what is wrong with an experiment, before it costs GPU time

  lab check my_project/experiments/00_digits/hparams.py
  lab check experiments/00_digits/*.py             several scripts; each on its own
  lab check hparams.py -s batch_size=4096          would that fit?
  lab check hparams.py && train hparams.py         only if no error was found
  lab check hparams.py --drill                     does a run go on exactly when it is killed?

{option_lines(OPTIONS)}

The configuration is built, and two samples of each loader are trained, validated, tested and
predicted. Errors are certain: training would fail. Warnings are most likely mistakes. It records
no run and writes nothing into the project; callbacks are tried so far as they change nothing.

With --drill the copy trains a few batches of the same data, twice: once through, and once killed
and resumed. Its files are in the folder that TMPDIR says, and are deleted.

Exit status: 0 no error was found, 2 one was; with --drill 0 exact, 1 not exact or not resumed.
"""


def command(argv: Sequence[str]) -> int | None:
    """Check experiments."""
    reader = Reader(argv, OPTIONS)
    parsed = reader.read(reader.refuse)
    if answered(parsed, HELP_TEXT):
        return 0
    if not parsed.words:
        drill = " --drill" if parsed.has("--drill") else ""
        raise UsageError("which hyperparameter script?", hint=f"type `lab check HPARAMS{drill}`")
    if parsed.has("--drill"):
        return _drill(parsed)
    return _check(parsed)


def _drill(parsed: Parsed) -> int:
    if parsed.has("--json"):
        raise UsageError("--drill has no --json", hint="leave one of them out")
    from torch_lab.tasks.drill import drill

    return drill(_scripts(parsed.words), assignments(parsed.all("--set")))


def _scripts(words: Sequence[str]) -> list[Path]:
    """The scripts that are named; of several, those that hold hyperparameters."""
    from torch_lab.experiment.listing import among
    from torch_lab.utils.paths import display

    scripts, others = among([Path(word) for word in words])
    if not scripts:
        return others
    if others:
        names = ", ".join(map(display, others[:4])) + ", …" * (len(others) > 4)
        print(f"left out, as they hold no hyperparameters: {names}", file=sys.stderr)
    return scripts


def _check(parsed: Parsed) -> int:
    from torch_lab.utils.importing import importing

    overrides = assignments(parsed.all("--set"))
    with importing():
        from torch_lab.tasks.check import check, describe
    from torch_lab.utils.streams import colorful

    reports: list[Report] = []
    color = colorful(sys.stdout)
    for report in check(_scripts(parsed.words), overrides):
        if reports and not parsed.has("--json"):
            print()
        reports.append(report)
        if not parsed.has("--json"):
            sys.stdout.write(describe(report, color=color))
            sys.stdout.flush()
    if parsed.has("--json"):
        print(json.dumps([each.as_data() for each in reports], indent=2))
    return MISTAKE if any(each.fails for each in reports) else 0
