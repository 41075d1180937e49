"""What `lab rm` is about to do, and has done, in words."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from torch_lab.tasks.remove.choosing import Choice
from torch_lab.tasks.remove.doing import Done
from torch_lab.tasks.table import columns, rough
from torch_lab.utils.paths import display
from torch_lab.utils.text import format_size, plural

_MOST = 30  # lines of each kind


def describe(choice: Choice, *, width: int | None = None) -> str:
    """What would go, what stays and why."""
    now = time.time()
    lines: list[str] = []
    for title, rows in (
        ("these runs go", list(_going(choice, now))),
        ("of these runs checkpoints go", list(_slimmed(choice))),
        ("these stay", [(each.run.folder, each.why) for each in choice.kept]),
    ):
        if rows:
            lines += [title, *columns(rows[:_MOST], width=width)]
            lines += [f"  and {len(rows) - _MOST} more"] if len(rows) > _MOST else []
    if choice.spared:
        lines.append(f"{plural(choice.spared, 'run')} of {choice.chosen} kept by --keep")
    return "".join(f"{line}\n" for line in lines)


def question(choice: Choice) -> str:
    """What is asked before anything is deleted."""
    return f"Delete {_what(len(choice.going), _count(choice), choice.size)}?"


def told(done: Done) -> str:
    """What was deleted."""
    return f"deleted {_what(done.runs, done.checkpoints, done.size)}\n"


def _what(runs: int, checkpoints: int, size: int) -> str:
    parts = [plural(runs, "run")] if runs else []
    parts += [plural(checkpoints, "checkpoint")] if checkpoints else []
    return f"{' and '.join(parts) or 'nothing'}, {format_size(size)}"


def _count(choice: Choice) -> int:
    return sum(len(each.names) for each in choice.slimmed)


def _going(choice: Choice, now: float) -> Iterator[Sequence[str]]:
    for run in choice.going:
        directory = run.directory
        link = directory.path.is_symlink()
        size = format_size(choice.sizes.get(directory.name, 0))
        what = f"the link; {display(directory.path.resolve())} stays" if link else size
        yield directory.name, run.record.id[:8], run.status, rough(now - run.record.created), what


def _slimmed(choice: Choice) -> Iterator[Sequence[str]]:
    for each in choice.slimmed:
        stay = f"{', '.join(each.staying)} stay" if len(each.staying) > 1 else ""
        stay = f"{each.staying[0]} stays" if len(each.staying) == 1 else stay or "none stays"
        gone = ", ".join(each.names) or plural(len(each.files), "stray file")
        yield each.run.folder, gone, format_size(each.size), stay
