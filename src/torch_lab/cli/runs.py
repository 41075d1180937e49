"""`lab runs`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from torch_lab.cli.options import HELP, Option, Parsed, Reader, answered, option_lines
from torch_lab.cli.values import count

OPTIONS = (
    Option("--sort", "KEY", "by this key, least first; `-KEY`: greatest first"),
    Option("--limit", "N", "the first N only"),
    Option("--json", help="everything, for other programs"),
    HELP,
)

HELP_TEXT = f"""\
lab runs [FILTER…] [options]      the runs, newest first

  lab runs
  lab runs status=completed experiment=00_digits
  lab runs 'lr<1e-3' --sort loss/validate --limit 5      the best five with a small rate
  lab runs name~wider 'created>2025-11-01' status!=failed
  lab runs --json | jq '.[].hparams.config'

{option_lines(OPTIONS)}

A filter is KEY=VALUE, or KEY with !=, <, <=, >, >= or ~ (contains); quote < and > from the shell.
KEY is name, id, status, reason, experiment, script, parent, host, seed, created, duration, epoch,
a metric (its last value), or a hyperparameter: config.lr, or lr.
"""


def command(argv: Sequence[str]) -> int | None:
    """List runs."""
    reader = Reader(argv, OPTIONS)
    parsed = reader.read(reader.refuse)
    if answered(parsed, HELP_TEXT):
        return 0
    sys.stdout.write(_listing(parsed))
    sys.stdout.flush()
    return 0


def _listing(parsed: Parsed) -> str:
    from torch_lab import settings
    from torch_lab.store import find
    from torch_lab.tasks import runs as task
    from torch_lab.utils.streams import colorful, terminal_width

    filters = [task.parse_filter(text) for text in parsed.words]
    limit = count("--limit", parsed.one("--limit"))
    ours = settings.load(Path.cwd())
    runs = find.runs(ours.artifacts, lost_after=ours.lost_after)
    sort = parsed.one("--sort")
    chosen = task.select(runs, filters, sort=sort, limit=limit)
    if parsed.has("--json"):
        return json.dumps(task.as_data(chosen), indent=2) + "\n"
    if not chosen:
        return task.nothing(len(runs), ours.artifacts)
    keys = [condition.key for condition in filters] + ([sort.removeprefix("-")] if sort else [])
    width, color = terminal_width(sys.stdout), colorful(sys.stdout)
    return task.table(chosen, keys, width=width, color=color)
