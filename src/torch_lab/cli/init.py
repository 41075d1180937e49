"""`lab init`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from torch_lab.cli.options import HELP, Option, Reader, answered, option_lines
from torch_lab.errors import UsageError

OPTIONS = (
    Option("--name", "NAME", "the package's name, if not the folder's"),
    HELP,
)

HELP_TEXT = f"""\
lab init [PATH] [options]      a new project that trains at once

  lab init my_project              a new folder with package, first experiment, tests, README
  lab init                         in this folder, beside what is there
  lab init "Thesis 2026" --name thesis

{option_lines(OPTIONS)}

Then `cd my_project` and `train my_project/experiments/00_shapes/hparams.py`: its data is drawn by
its own code. Nothing that is there already is changed: a README.md, a .gitignore or a
pyproject.toml stays, and any other file in the way ends it before it writes.
"""


def command(argv: Sequence[str]) -> int | None:
    """Make a project."""
    reader = Reader(argv, OPTIONS)
    parsed = reader.read(reader.refuse)
    if answered(parsed, HELP_TEXT):
        return 0
    if len(parsed.words) > 1:
        words = " ".join(parsed.words)
        hint = f'with spaces in it, quote it: `lab init "{words}"`'
        raise UsageError(f"lab init takes one folder, got {len(parsed.words)}", hint=hint)
    if parsed.words == [""]:
        raise UsageError("lab init got a name without a letter", hint="is a variable empty?")
    from torch_lab.tasks import init as task

    made = task.init(Path(*parsed.words), parsed.one("--name"))
    sys.stdout.write(task.describe(made))
    sys.stdout.flush()
    return 0
