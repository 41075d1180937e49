"""`lab show`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from torch_lab.cli.options import HELP, Option, Parsed, Reader, answered, option_lines
from torch_lab.errors import RunNotFound, UsageError

OPTIONS = (Option("--json", help="everything, for other programs"), HELP)

HELP_TEXT = f"""\
lab show RUN[:CHECKPOINT] [options]      all about one run
lab show HPARAMS [options]               a script's values, the fields of its config, its runs

  lab show 00_digits-hparams_v3            by name
  lab show 3f2a                            by the beginning of a name or id
  lab show 00_digits/hparams               the newest run of that script
  lab show data/artifacts/00_digits-hparams_v3
  lab show 3f2a:best                       one checkpoint of it
  lab show my_project/experiments/00_digits/hparams.py

{option_lines(OPTIONS)}
"""


def command(argv: Sequence[str]) -> int | None:
    """Show a run or a script."""
    reader = Reader(argv, OPTIONS)
    parsed = reader.read(reader.refuse)
    if answered(parsed, HELP_TEXT):
        return 0
    if len(parsed.words) != 1:
        got = f", got {len(parsed.words)}" if parsed.words else ""
        raise UsageError(f"lab show takes one run or script{got}", hint="`lab runs` lists the runs")
    (word,) = parsed.words
    if word.endswith(".py") and Path(word).is_file():
        return _show_script(Path(word), parsed)
    try:
        return _say(_run(word, parsed))
    except RunNotFound as error:
        name_server(error)
        if word.endswith(".py"):
            from torch_lab.utils.scripts import existing_script

            existing_script(word)  # says which scripts there are
        raise


def name_server(error: RunNotFound) -> None:
    """Say that a server may have the run; whether it has is not asked, which could take long."""
    from torch_lab.mirror.configured import configured

    if error.unknown and configured():
        error.hint = f"{error.hint}\n`lab pull RUN` looks for it on the ClearML server."


def _say(text: str) -> int:
    sys.stdout.write(text)
    sys.stdout.flush()
    return 0


def _show_script(path: Path, parsed: Parsed) -> int:
    """What is wrong with its values is said last; what could be set in their place comes first."""
    from torch_lab.tasks import show_script as task
    from torch_lab.utils.streams import colorful, terminal_width

    view = task.ScriptView.of(path)
    if parsed.has("--json"):
        return _say(json.dumps(task.as_data(view), indent=2) + "\n")
    width, color = terminal_width(sys.stdout), colorful(sys.stdout)
    _say(task.describe(view, width=width, color=color))
    if view.problem is not None:
        raise view.problem
    return 0


def _run(word: str, parsed: Parsed) -> str:
    from torch_lab import settings
    from torch_lab.store import find
    from torch_lab.tasks import show as task
    from torch_lab.tasks.runs import told
    from torch_lab.utils.streams import colorful, terminal_width

    cwd = Path.cwd()
    ours = settings.load(cwd)
    lost_after = ours.lost_after
    found, name = find.resolve(word, ours.artifacts, cwd=cwd, lost_after=lost_after)
    (run,) = told([found], again=True)
    view = task.View.of(run, find.runs(ours.artifacts, lost_after=lost_after), name)
    if parsed.has("--json"):
        return json.dumps(task.as_data(view), indent=2) + "\n"
    width, color = terminal_width(sys.stdout), colorful(sys.stdout)
    return task.describe(view, width=width, color=color)
