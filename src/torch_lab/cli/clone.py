"""`lab clone`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from torch_lab.cli.options import HELP, Option, Parsed, Reader, answered, option_lines
from torch_lab.errors import UsageError

OPTIONS = (
    Option("--from", "RUN", "the code that this run was trained with"),
    Option("--trust", help="take code of a run that was fetched from elsewhere"),
    HELP,
)

HELP_TEXT = f"""\
lab clone EXPERIMENT TITLE [options]      the next numbered experiment, from an existing one

  lab clone 00_digits "wider net"                by name: makes 01_wider_net beside it
  lab clone 0 wider                              by number
  lab clone my_project/experiments/00_digits wider
  lab clone --from 00_digits-hparams_v3 wider    as that run was trained, whatever changed since

{option_lines(OPTIONS)}

Scripts, and what git tracks beside them, are copied; caches, checkpoints and what git ignores are
not. Imports and paths in the scripts that lead into the old folder lead into the new one; all else
stays as it is, and what still names the old experiment is listed. origin.json, in the new folder,
says where it came from.
"""


def command(argv: Sequence[str]) -> int | None:
    """Clone an experiment."""
    reader = Reader(argv, OPTIONS)
    parsed = reader.read(reader.refuse)
    if answered(parsed, HELP_TEXT):
        return 0
    word, title = _words(parsed)
    from torch_lab.tasks import clone as task

    made = task.clone(word, title, parsed.one("--from"), trust=parsed.has("--trust"))
    sys.stdout.write(task.describe(made))
    sys.stdout.flush()
    return 0


def _words(parsed: Parsed) -> tuple[str | None, str]:
    match parsed.words, parsed.one("--from"):
        case [title], str():
            return None, title
        case [word, title], _:
            return word, title
        case [_], None:
            message = "lab clone takes an experiment and a title for the new one, got one of them"
            raise UsageError(message, hint='for instance `lab clone 00_digits "wider net"`')
        case [], _:
            message = "lab clone takes an experiment and a title for the new one"
            raise UsageError(message, hint='for instance `lab clone 00_digits "wider net"`')
    _, *rest = parsed.words
    raise UsageError(
        f"lab clone takes an experiment and a title, got {len(parsed.words)} words",
        hint=f'quote a title with spaces: "{" ".join(rest)}"',
    )
