"""Checkpoints that only the ClearML server has, asked for in a process of its own.

Nothing here imports clearml or waits for longer than it says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch_lab.errors import CheckpointError, CheckpointNotFound, ServerError, TorchLabError
from torch_lab.mirror.asking import ask
from torch_lab.mirror.patience import LOOK, seconds_for
from torch_lab.store import find
from torch_lab.store.record import LOST_AFTER
from torch_lab.utils.text import format_size


@dataclass(frozen=True)
class Place:
    """Where a checkpoint is: in a run that is here after all, or a task of the server."""

    name: str
    server: str
    run: Path | None = None
    task_id: str = ""
    title: str = ""
    size: int | None = None


@dataclass(frozen=True)
class Got:
    """A checkpoint that was fetched, and the directory of the run if it is torch-lab 2's."""

    path: Path
    run: Path | None
    task_id: str
    task: str


def look(
    text: str, name: str, artifacts: Path, error: TorchLabError, *, local: bool = True
) -> Place:
    """What the server has by this name; else `error`, which says what is here, and that it hasn't.

    With `local`, a run that is here and has another name on the server is found too.
    """
    readings = find.readings(text)
    name = name.removesuffix(".ckpt")
    runs = str(artifacts) if local else None
    try:
        said = ask("find", LOOK, readings=readings, name=name, artifacts=runs)
    except CheckpointNotFound as missing:
        if isinstance(error, CheckpointError):
            error.hint = error.hint or missing.hint
            raise _unknown(error, missing.message) from missing
        raise
    except ServerError as away:
        raise _unknown(error, f"{away.message}, so that only what is here is known") from away
    if not said["found"]:
        raise _unknown(error, f"the ClearML server at {said['server']} has no task of that name")
    run = Path(said["run"]) if said.get("run") else None
    task = (said.get("task_id", ""), said.get("title", ""), said.get("size"))
    return Place(said["name"], said["server"], run, *task)


def fetch(place: Place, artifacts: Path, say: Callable[[str], None]) -> Got:
    """Bring the checkpoint here, or wait for whoever does so already."""
    size = "" if place.size is None else f" ({format_size(place.size)})"
    say(f"fetching {place.name}{size} of {place.title} ({place.task_id}) from {place.server}")
    seconds = seconds_for(place.size)
    said = ask(
        "fetch",
        seconds + LOOK,
        task_id=place.task_id,
        name=place.name,
        artifacts=str(artifacts),
        lost_after=LOST_AFTER,
        seconds=seconds,
    )
    run = Path(said["run"]) if said["run"] else None
    return Got(Path(said["path"]), run, said["task_id"], said["task"])


def _unknown(error: TorchLabError, addition: str) -> TorchLabError:
    """The error that says what is not here, with what the server says."""
    error.message = f"{error.message}, and {addition}"
    return error
