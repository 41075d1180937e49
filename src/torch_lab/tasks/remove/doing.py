"""What was chosen carried out, one run after the other: a failure of one is not the others'."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from torch_lab.errors import RunLocked, StoreError, TorchLabError
from torch_lab.tasks.remove import slimming, trash
from torch_lab.tasks.remove.choosing import Choice
from torch_lab.utils.text import plural


@dataclass
class Done:
    """What was deleted, and what could not be."""

    runs: int = 0
    checkpoints: int = 0
    size: int = 0
    problems: list[str] = field(default_factory=list)


def carry_out(choice: Choice, lost_after: float) -> Done:
    """Delete what was chosen; `problems` tells what could not be."""
    done = Done()
    for run in choice.going:
        name = run.folder
        if _tried(partial(trash.remove, run.directory, lost_after), name, done):
            done.runs += 1
            done.size += choice.sizes.get(name, 0)
    for each in choice.slimmed:
        name = each.run.folder
        if _tried(partial(slimming.carry_out, each, lost_after), name, done):
            done.checkpoints += len(each.names)
            done.size += each.size
    return done


def finish(artifacts: Path, lost_after: float) -> int:
    """Delete what a deletion that was interrupted has left; how many runs that were."""
    finished = 0
    for path in trash.leftovers(artifacts):
        with suppress(RunLocked):  # it lives: it is back
            trash.settle(path, lost_after)
            finished += 1
    return finished


def require_done(done: Done) -> None:
    """Raise what is to be said of what could not be deleted."""
    if done.problems:
        lines = "\n".join(f"  {problem}" for problem in done.problems)
        raise StoreError(
            f"{plural(len(done.problems), 'run')} could not be deleted\n{lines}",
            hint="What was begun is finished by the next `lab rm`.",
        )


def _tried(action: Callable[[], None], name: str, done: Done) -> bool:
    try:
        action()
    except TorchLabError as error:
        done.problems.append(f"{name}: {error.message}")
        return False
    return True
