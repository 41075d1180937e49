"""`lab runs`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch_lab.cli.options import HELP, Option, Parsed, Reader, answered, option_lines
from torch_lab.cli.values import count
from torch_lab.errors import ServerError, UsageError

if TYPE_CHECKING:
    from torch_lab.settings import Settings
    from torch_lab.store.find import StoredRun
    from torch_lab.tasks.runs import Filter

OPTIONS = (
    Option("--sort", "KEY", "by this key, least first; `-KEY`: greatest first"),
    Option("--limit", "N", "the first N only"),
    Option("--best", "METRIC", "the runs that have the metric, by the best value that it reached"),
    Option("--mode", "min|max", "which value of it is best, where its name doesn't tell"),
    Option(
        "--group-by", "KEY,…", "a line for all runs with the same value: how many, mean,\nspread"
    ),
    Option("--server", help="those on the ClearML server too, and where each is"),
    Option("--json", help="everything, for other programs"),
    HELP,
)

HELP_TEXT = f"""\
lab runs [FILTER…] [options]      the runs, newest first

  lab runs
  lab runs status=completed experiment=00_digits
  lab runs 'lr<1e-3' --sort loss/validate --limit 5      the five with the least last loss
  lab runs --best accuracy/validate --limit 5            the best five, by what they ever reached
  lab runs --group-by lr,width                           mean and spread over what else differs
  lab runs --group-by hparams --best loss/validate       the same but for the seed: a line each
  lab runs name~wider 'created>2025-11-01' status!=failed tags=baseline
  lab runs --server where=server                         what `lab pull` could bring here
  lab runs --json | jq '.[].hparams.config'

{option_lines(OPTIONS)}

A filter is KEY=VALUE, or KEY with !=, <, <=, >, >= or ~ (contains); quote < and > from the shell.
KEY is name, id, status, reason, experiment, script, project, parent, host, seed, created, duration,
epoch, a metric (its last value; METRIC.min and METRIC.max are its extremes), a hyperparameter:
config.lr, or lr; or anything else in run.json: checkpoints.best.epoch, ledger.ended, slurm.job.
Of a list, KEY=VALUE also asks whether VALUE is in it. A run under way has its epoch, the time left
in seconds (left) and batches a second (rate). --best and --group-by pass over dev runs, which
overfit on purpose, where there are others. With --server, where is local, server or both; the
server's runs are those of the projects that runs here belong to, or with a filter on `project` of
any.
"""


def command(argv: Sequence[str]) -> int | None:
    """List runs."""
    reader = Reader(argv, OPTIONS)
    parsed = reader.read(reader.refuse)
    if answered(parsed, HELP_TEXT):
        return 0
    from torch_lab.utils.garbage import left_lying

    _check(parsed)
    with left_lying():
        return _list(parsed)


def _list(parsed: Parsed) -> int:
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


def _check(parsed: Parsed) -> None:
    """Refuse what makes no sense, before anything is read."""
    mode = parsed.one("--mode")
    if mode not in (None, "min", "max"):
        raise UsageError(f"--mode is min or max, not {mode!r}")
    if mode and not (parsed.has("--best") or parsed.has("--group-by")):
        raise UsageError("--mode says which value is best", hint="add --best METRIC")
    if parsed.has("--group-by") and not (parsed.one("--group-by") or "").strip(", "):
        raise UsageError("--group-by needs a key", hint="for instance --group-by lr")
    if parsed.has("--best") and parsed.has("--sort") and not parsed.has("--group-by"):
        raise UsageError(
            "--best and --sort each give an order",
            hint="leave one of them out: --best METRIC --limit N lists the best N",
        )


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

    if parsed.has("--group-by"):
        return _groups(parsed, task.select(runs, filters), len(runs), ours)
    limit, metric = count("--limit", parsed.one("--limit")), parsed.one("--best")
    sort, mode = parsed.one("--sort"), None
    if metric is None:
        chosen = task.select(runs, filters, sort=sort, limit=limit)
    elif chosen := task.contenders(task.select(runs, filters)):
        task.require_metric(metric, chosen)
        mode = parsed.one("--mode") or task.mode_of(chosen, metric)
        chosen = task.ranked(chosen, metric, mode)[:limit]
    if parsed.has("--json"):
        return _json(task.as_data(chosen))
    if not chosen:
        return task.nothing(len(runs), ours.artifacts)
    from torch_lab.utils.streams import colorful, terminal_width

    keys = ["where"] if parsed.has("--server") else []
    keys += [condition.key for condition in filters] + ([sort.removeprefix("-")] if sort else [])
    width, color = terminal_width(sys.stdout), colorful(sys.stdout)
    return task.table(chosen, keys, metric=metric, mode=mode, width=width, color=color)


def _groups(parsed: Parsed, chosen: list[StoredRun], total: int, ours: Settings) -> str:
    from torch_lab.tasks import runs as task
    from torch_lab.tasks.runs.groups import grouped
    from torch_lab.utils.streams import terminal_width

    if not chosen:
        return _json([]) if parsed.has("--json") else task.nothing(total, ours.artifacts)
    found = grouped(
        chosen,
        task.group_keys(parsed.one("--group-by") or ""),
        metric=parsed.one("--best"),
        mode=parsed.one("--mode"),
        sort=parsed.one("--sort"),
        limit=count("--limit", parsed.one("--limit")),
    )
    if parsed.has("--json"):
        return _json(found.as_data())
    return found.table(width=terminal_width(sys.stdout))


def _json(data: object) -> str:
    import json

    return json.dumps(data, indent=2) + "\n"
