"""`lab rm`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch_lab.cli.options import HELP, Option, Parsed, Reader, answered, option_lines
from torch_lab.errors import UsageError

if TYPE_CHECKING:
    from torch_lab.tasks.remove import Choice

OPTIONS = (
    Option("--keep", "RULE", "delete all but what a rule keeps; repeat it for more", repeats=True),
    Option("--group-by", "KEY,…", "with --keep: in each group of runs with the same value"),
    Option("--yes", help="without asking", short="-y"),
    Option(
        "--force",
        help="also what another run starts from, waits in a queue,\n"
        "or isn't on the configured ClearML server yet",
    ),
    HELP,
)

HELP_TEXT = f"""\
lab rm RUN… [options]                    delete runs
lab rm FILTER… [options]                 those that meet filters, as `lab runs` takes them
lab rm [FILTER…] --keep RULE [options]   all of these but some

  lab rm 00_digits-hparams_v3 3f2a
  lab rm '00_digits-*'                                     all whose names are like this
  lab rm status=failed 'created<2025-11-01'
  lab rm experiment=00_digits --keep best=3:loss/validate --keep newest=5
  lab rm --keep newest=2 --group-by script
  lab rm status=completed --keep checkpoints=best          the runs stay, of their checkpoints best

{option_lines(OPTIONS)}

Says what would go and how much that is, then asks; nothing is deleted unless the answer is yes.
A RULE is newest=N; best=N:METRIC, with :min or :max behind it where the name doesn't tell; or
checkpoints=NAME,…: what no other rule keeps loses its other checkpoints (checkpoints=none: all)
instead of being deleted; an interrupted run keeps its last. The newest and the best are never dev
runs where there are others. Never deleted: a run that lives. Only with --force: one that another
starts from, one that waits in a queue, one that is not yet on a configured server. Links are
deleted, never what they lead to. Numbers are not used again. The ClearML server's tasks are left
alone.
"""


def command(argv: Sequence[str]) -> int | None:
    """Delete runs."""
    reader = Reader(argv, OPTIONS)
    parsed = reader.read(reader.refuse)
    if answered(parsed, HELP_TEXT):
        return 0
    from torch_lab import settings
    from torch_lab.tasks import remove as task
    from torch_lab.utils.text import plural

    ours = settings.load(Path.cwd())
    if parsed.has("--group-by") and not parsed.has("--keep"):
        raise UsageError("--group-by belongs to --keep", hint="for instance `--keep newest=2`")
    rules = task.parse_rules(parsed.all("--keep"))
    finished = task.finish(ours.artifacts, ours.lost_after)
    if finished:
        print(f"finished deleting {plural(finished, 'run')}", flush=True)
    if not parsed.words and not parsed.has("--keep"):
        return _nothing_asked(finished)
    group_by, force = parsed.one("--group-by"), parsed.has("--force")
    choice = task.choose(parsed.words, rules, ours, group_by=group_by, force=force)
    return _delete(choice, parsed, ours.lost_after)


def _nothing_asked(finished: int) -> int:
    if not finished:
        raise UsageError(
            "lab rm takes runs, filters or --keep",
            hint="`lab runs` lists the runs, `lab rm --help` shows how to choose among them",
        )
    return 0


def _delete(choice: Choice, parsed: Parsed, lost_after: float) -> int:
    from torch_lab.tasks import remove as task
    from torch_lab.utils.streams import terminal_width

    sys.stdout.write(task.describe(choice, width=terminal_width(sys.stdout)))
    sys.stdout.flush()
    if not (choice.going or choice.slimmed):
        unmet = parsed.words and not choice.chosen
        print("no run meets that: nothing to delete" if unmet else "nothing to delete")
        return 0
    if not parsed.has("--yes") and not _confirmed(task.question(choice)):
        print("nothing was deleted")
        return 0
    done = task.carry_out(choice, lost_after)
    sys.stdout.write(task.told(done))
    sys.stdout.flush()
    task.require_done(done)
    return 0


def _confirmed(question: str) -> bool:
    """Whether somebody says yes; Ctrl-D is no, as is all that isn't yes."""
    if not sys.stdin.isatty():
        raise UsageError(f"{question} Nobody can answer here", hint="Add --yes if that is right.")
    sys.stdout.write(f"{question} [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
