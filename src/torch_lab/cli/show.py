"""`lab show`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from torch_lab.cli.options import HELP, Option, Parsed, Reader, answered, option_lines
from torch_lab.errors import UsageError

OPTIONS = (Option("--json", help="everything, for other programs"), HELP)

HELP_TEXT = f"""\
lab show RUN[:CHECKPOINT] [options]      all about one run

  lab show 00_digits-hparams_v3            by name
  lab show 3f2a                            by the beginning of a name or id
  lab show 00_digits/hparams               the newest run of that script
  lab show data/artifacts/00_digits-hparams_v3
  lab show 3f2a:best                       one checkpoint of it

{option_lines(OPTIONS)}
"""


def command(argv: Sequence[str]) -> int | None:
    """Show a run."""
    reader = Reader(argv, OPTIONS)
    parsed = reader.read(reader.refuse)
    if answered(parsed, HELP_TEXT):
        return 0
    sys.stdout.write(_description(parsed))
    sys.stdout.flush()
    return 0


def _description(parsed: Parsed) -> str:
    if len(parsed.words) != 1:
        got = f", got {len(parsed.words)}" if parsed.words else ""
        raise UsageError(f"lab show takes one run{got}", hint="`lab runs` lists them")
    from torch_lab import settings
    from torch_lab.store import find
    from torch_lab.tasks import show as task
    from torch_lab.utils.streams import colorful

    cwd = Path.cwd()
    ours = settings.load(cwd)
    lost_after = ours.lost_after
    run, name = find.resolve(parsed.words[0], ours.artifacts, cwd=cwd, lost_after=lost_after)
    view = task.View.of(run, find.runs(ours.artifacts, lost_after=lost_after), name)
    if parsed.has("--json"):
        return json.dumps(task.as_data(view), indent=2) + "\n"
    return task.describe(view, color=colorful(sys.stdout))
