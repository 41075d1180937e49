"""`lab runs`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch_lab.cli.options import HELP, Option, Parsed, Reader, answered, option_lines
from torch_lab.cli.values import count
from torch_lab.errors import ServerError

if TYPE_CHECKING:
    from torch_lab.settings import Settings
    from torch_lab.store.find import StoredRun
    from torch_lab.tasks.runs import Filter

OPTIONS = (
    Option("--sort", "KEY", "by this key, least first; `-KEY`: greatest first"),
    Option("--limit", "N", "the first N only"),
    Option("--server", help="those on the ClearML server too, and where each is"),
    Option("--json", help="everything, for other programs"),
    HELP,
)

HELP_TEXT = f"""\
lab runs [FILTER…] [options]      the runs, newest first

  lab runs
  lab runs status=completed experiment=00_digits
  lab runs 'lr<1e-3' --sort loss/validate --limit 5      the best five with a small rate
  lab runs name~wider 'created>2025-11-01' status!=failed
  lab runs --server where=server                         what `lab pull` could bring here
  lab runs --json | jq '.[].hparams.config'

{option_lines(OPTIONS)}

A filter is KEY=VALUE, or KEY with !=, <, <=, >, >= or ~ (contains); quote < and > from the shell.
KEY is name, id, status, reason, experiment, script, project, parent, host, seed, created, duration,
epoch, a metric (its last value), or a hyperparameter: config.lr, or lr. With --server, where is
local, server or both; the server's runs are those of the projects that runs here belong to, or
with a filter on `project` of any.
"""


def command(argv: Sequence[str]) -> int | None:
    """List runs."""
    reader = Reader(argv, OPTIONS)
    parsed = reader.read(reader.refuse)
    if answered(parsed, HELP_TEXT):
        return 0
    from torch_lab import settings
    from torch_lab.store import find
    from torch_lab.tasks import runs as task

    filters = [task.parse_filter(text) for text in parsed.words]
    ours = settings.load(Path.cwd())
    runs = task.told(find.runs(ours.artifacts, lost_after=ours.lost_after))
    problem = None
    if parsed.has("--server"):
        try:
            runs = _with_those_of_server(runs, filters, ours)
        except ServerError as error:
            if parsed.has("--json"):
                raise  # half of an answer is none for a program
            problem = error
    sys.stdout.write(_listing(parsed, runs, filters, ours))
    sys.stdout.flush()
    if problem is not None:
        problem.message += ": only the runs that are here are shown"
        raise problem
    return 0


def _with_those_of_server(
    runs: list[StoredRun], filters: Sequence[Filter], ours: Settings
) -> list[StoredRun]:
    from torch_lab.tasks import server_runs as task

    anywhere = any(condition.key == "project" for condition in filters)
    projects = () if anywhere else task.projects(runs, ours)
    found, cut = task.merged(runs, projects, ours.artifacts)
    if cut:
        sys.stderr.write("the server has more runs: these are its newest\n")
    return found


def _listing(
    parsed: Parsed, runs: list[StoredRun], filters: Sequence[Filter], ours: Settings
) -> str:
    from torch_lab.tasks import runs as task
    from torch_lab.utils.streams import colorful, terminal_width

    limit = count("--limit", parsed.one("--limit"))
    sort = parsed.one("--sort")
    chosen = task.select(runs, filters, sort=sort, limit=limit)
    if parsed.has("--json"):
        return json.dumps(task.as_data(chosen), indent=2) + "\n"
    if not chosen:
        return task.nothing(len(runs), ours.artifacts)
    keys = ["where"] if parsed.has("--server") else []
    keys += [condition.key for condition in filters] + ([sort.removeprefix("-")] if sort else [])
    width, color = terminal_width(sys.stdout), colorful(sys.stdout)
    return task.table(chosen, keys, width=width, color=color)
