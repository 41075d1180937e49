"""`lab pull`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from torch_lab.cli.exit import FAILURE
from torch_lab.cli.options import HELP, Reader, answered, option_lines
from torch_lab.errors import UsageError

OPTIONS = (HELP,)

HELP_TEXT = f"""\
lab pull RUN      a run that only the ClearML server knows, into the artifacts folder

  lab pull 00_digits-hparams_v3               by name
  lab pull digits/00_digits-hparams_v3        where other projects have one of that name too
  lab pull 5d1deac55b08428ea6620230eb3b36dc   by the id of the run, or of its ClearML task

{option_lines(OPTIONS)}

Record, metrics, code, environment, recorded files and the checkpoints that the server has. Its
code runs only where you say that you trust it. A pull that was cut off goes on where it was when
it is given again; of a run that was under way then, it brings what there is now. A checkpoint
alone needs no pull: it is fetched when a script or `infer --checkpoint` names it.
"""


def command(argv: Sequence[str]) -> int | None:
    """Fetch a run."""
    reader = Reader(argv, OPTIONS)
    parsed = reader.read(reader.refuse)
    if answered(parsed, HELP_TEXT):
        return 0
    if len(parsed.words) != 1:
        got = f", got {len(parsed.words)}" if parsed.words else ""
        raise UsageError(f"lab pull takes one run{got}", hint="`lab runs --server` lists them")
    from torch_lab import settings
    from torch_lab.tasks import pull as task

    pulled = task.pull(parsed.words[0], settings.load(Path.cwd()), _say)
    sys.stdout.write(task.describe(pulled))
    sys.stdout.flush()
    return FAILURE if pulled.failed else 0


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
