"""`lab diff`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch_lab.cli.options import HELP, Option, Parsed, Reader, answered, option_lines
from torch_lab.errors import UsageError

if TYPE_CHECKING:
    from torch_lab.tasks.diff import Comparison

OPTIONS = (
    Option("--now", help="with one RUN: what has changed in the working tree since"),
    Option("--stat", help="of the code only which files differ, and by how many lines"),
    Option("--json", help="everything, for other programs"),
    HELP,
)

HELP_TEXT = f"""\
lab diff A B [options]          what differs between two runs, scripts or experiments
lab diff RUN --now [options]    what has changed in the working tree since a run began

  lab diff 00_digits-hparams_v0 00_digits-hparams_v3     two runs, by name
  lab diff 3f2a 00_digits/small_lr                       by an id's beginning; a script's newest
  lab diff 3f2a my_project/experiments/00_digits/hparams.py     a run, and a script as it is now
  lab diff 00_digits 01_digits_wider                     two experiments, by their folders' names
  lab diff 3f2a --now --stat
  lab diff 3f2a 91cc --json | jq '.hparams'

{option_lines(OPTIONS)}

Hyperparameters key by key, what each run was begun with, final metrics, machine and packages, then
the code as a unified diff: of a run as its source bundle has it, of a script as it is now. Of the
code that is the experiment and what its project's package holds beside it; other experiments only
where one of the two names them. Exit status 0, whether anything differs or not.
"""


def command(argv: Sequence[str]) -> int | None:
    """Say what differs."""
    reader = Reader(argv, OPTIONS)
    parsed = reader.read(reader.refuse)
    if answered(parsed, HELP_TEXT):
        return 0
    _require_words(parsed)
    from torch_lab.tasks import diff as task
    from torch_lab.utils.streams import colorful, terminal_width

    found = _compared(parsed)
    if parsed.has("--json"):
        text = json.dumps(task.as_data(found), indent=2) + "\n"
    else:
        width, color = terminal_width(sys.stdout), colorful(sys.stdout)
        text = task.describe(found, stat=parsed.has("--stat"), width=width, color=color)
    sys.stdout.write(text)
    sys.stdout.flush()
    return 0


def _compared(parsed: Parsed) -> Comparison:
    from torch_lab import settings
    from torch_lab.tasks import diff as task
    from torch_lab.tasks.diff.naming import run_named

    ours = settings.load(Path.cwd())
    if parsed.has("--now"):
        run = run_named(parsed.words[0], ours)
        return task.compare(task.of_run(run), task.of_working_tree(run))
    a, b = (task.named(word, ours) for word in parsed.words)
    return task.compare(a, b)


def _require_words(parsed: Parsed) -> None:
    wanted = 1 if parsed.has("--now") else 2
    if len(parsed.words) == wanted:
        return
    got = f", got {len(parsed.words)}" if parsed.words else ""
    if wanted == 1:
        raise UsageError(f"lab diff --now takes one run{got}", hint="`lab runs` lists the runs")
    raise UsageError(
        f"lab diff takes two runs, scripts or experiments{got}",
        hint="`lab diff A B`, or `lab diff RUN --now` for what has changed since",
    )
