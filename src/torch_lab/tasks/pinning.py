"""Checkpoints that hparams name, as an agent on another machine finds them.

"The newest run of that script" is one run now and may be another when the agent begins; and a
checkpoint that lies only here is none for it.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch_lab.errors import CheckpointNotFound, RunNotFound, StoreError
from torch_lab.hparams import Hparams
from torch_lab.mirror import state
from torch_lab.store import find
from torch_lab.store.find import StoredRun
from torch_lab.store.record import Parent
from torch_lab.tasks.plan import Plan, named_in_hparams, say, starting_point

if TYPE_CHECKING:
    from torch_lab.checkpoints.resolve import Found


def pinned(plan: Plan, *, same_files: bool = False) -> tuple[Hparams, Parent | None]:
    """The hyperparameters with each checkpoint named by its run's id, and the one to start from.

    `same_files`: whoever begins the run sees this machine's files, as the nodes of a cluster do.
    """
    hparams, parent = plan.hparams, None
    start = starting_point(plan)
    if start is not None:
        text, key = start
        run, name, parent = _pin(plan, text, key, same_files)
        if key == "trainer.fit.ckpt_path":
            hparams = _with_path(hparams, "fit", run, name)
        else:
            section = replace(hparams.checkpoint, checkpoint_task_id=run, checkpoint_name=name)
            hparams = replace(hparams, checkpoint=section)
    path = (hparams.trainer.validate or {}).get("ckpt_path")
    if path is not None:
        run, name, _ = _pin(plan, os.fspath(path), "trainer.validate.ckpt_path", same_files)
        hparams = _with_path(hparams, "validate", run, name)
    return hparams, parent


def _with_path(hparams: Hparams, section: str, run: str, name: str) -> Hparams:
    path = run if run.endswith(".ckpt") else f"{run}:{name}"
    kwargs: dict[str, Any] = {**getattr(hparams.trainer, section), "ckpt_path": path}
    return replace(hparams, trainer=replace(hparams.trainer, **{section: kwargs}))


def _pin(plan: Plan, text: str, key: str, same_files: bool) -> tuple[str, str, Parent | None]:
    """What an agent is to look for, the checkpoint's name there, and the run it belongs to."""
    # Brings torch, which hparams that name no checkpoint don't need.
    from torch_lab.checkpoints import remote, resolve

    artifacts, name = plan.settings.artifacts, plan.hparams.checkpoint.checkpoint_name
    with named_in_hparams(plan.hparams, plan.options.overrides, key, text):
        try:
            found = resolve.resolve(text, name, artifacts, cwd=Path.cwd(), say=say)
        except RunNotFound as error:
            place = remote.look(text, name, artifacts, error, local=False)
        except CheckpointNotFound as error:  # a run that was queued here, and ended elsewhere?
            place = remote.look(_task(text, artifacts), name, artifacts, error, local=False)
        else:
            if not same_files:
                return _as_agents_find_it(found, text, name)
            pinned_to = str(found.path.absolute()) if found.run is None else found.run.record.id
            return pinned_to, found.name, found.parent
        return place.task_id, place.name, None


def _task(text: str, artifacts: Path) -> str:
    """The task of the run that a text names here, for `RUN:NAME` with the checkpoint's name."""
    try:
        run, chosen = find.resolve(text, artifacts, cwd=Path.cwd())
    except RunNotFound:
        return text
    task = find.task_of(run)
    return text if task is None else f"{task}:{chosen}" if chosen else task


def _as_agents_find_it(found: Found, text: str, name: str) -> tuple[str, str, Parent | None]:
    if found.run is not None and _is_sent(found, found.run):
        return found.run.record.id, found.name, found.parent
    if found.task is not None:
        return found.task.id, found.name, found.parent
    if Path(text).expanduser().is_absolute():
        say(f"{text} has to be there for the agent, too")
        return str(found.path), name, found.parent
    raise CheckpointNotFound(
        f"checkpoint {text} is not on the ClearML server, and an agent may not see this machine's"
        " files",
        hint=_instead(found),
    )


def _instead(found: Found) -> str:
    path = f"give its path: {found.path}"
    if found.run is None:
        return f"If the agent sees the same files, {path}"
    name = found.run.record.name
    return (
        f"`lab sync {name}` sends the last and the best one of a run."
        f" If the agent sees the same files, {path}"
    )


def _is_sent(found: Found, run: StoredRun) -> bool:
    """Whether the server has the checkpoint, or had it first."""
    if run.record.fetched is not None:
        return True
    files = {run.directory.path / each.file: each.sha256 for each in run.record.checkpoints}
    try:
        mirror = state.read(run.directory)
    except StoreError:
        return False
    sent = {each.get("content") for each in mirror.models.values()} if mirror else set()
    return bool(files.get(found.path)) and files[found.path] in sent
