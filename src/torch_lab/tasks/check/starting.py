"""The checkpoint that hparams say to start from: is it there, and does it fit?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch_lab.checkpoints import files, resolve, weights
from torch_lab.checkpoints.resolve import Found
from torch_lab.errors import CheckpointError, CheckpointMismatch, HparamsError, StoreError
from torch_lab.mirror import launch
from torch_lab.modules.weights import compare
from torch_lab.tasks.check.findings import Finding, error, note, warning
from torch_lab.tasks.check.measuring import Snapshot
from torch_lab.tasks.check.places import of_key
from torch_lab.tasks.check.subject import Subject
from torch_lab.tasks.plan import Plan, starting_point
from torch_lab.utils.paths import display


def starting(subject: Subject) -> Iterator[Finding]:
    """What training would begin from."""
    plan = subject.plan
    try:
        named = starting_point(plan)
    except HparamsError as wrong:
        yield from (error("checkpoint", problem) for problem in wrong.problems)
        return
    if named is None:
        return
    text, key = named
    said: list[str] = []
    try:
        found = _found(plan, text, said)
        yield from (warning("checkpoint", each, of_key(plan, key)) for each in said)
        snapshot = Snapshot(subject.module)
        try:
            yield from _fits(subject, found, key)
        finally:
            snapshot.put_back()
    except CheckpointMismatch as wrong:
        yield error("checkpoint", wrong.message, of_key(plan, key), wrong.hint)
    except (CheckpointError, StoreError) as wrong:
        yield _missing(plan, wrong, key)


def _found(plan: Plan, text: str, said: list[str]) -> Found:
    name, artifacts = plan.hparams.checkpoint.checkpoint_name, plan.settings.artifacts
    found = resolve.resolve(text, name, artifacts, cwd=Path.cwd(), say=said.append)
    return replace(found, path=Path(display(found.path)))


def _missing(plan: Plan, wrong: CheckpointError | StoreError, key: str) -> Finding:
    if launch.wanted(plan.settings, offline=False):
        told = f"{wrong.message}: the ClearML server is asked for it when training begins"
        return note("checkpoint", told, of_key(plan, key))
    return error("checkpoint", wrong.message, of_key(plan, key), wrong.hint)


def _fits(subject: Subject, found: Found, key: str) -> Iterator[Finding]:
    section, place = subject.plan.hparams.checkpoint, of_key(subject.plan, key)
    if section.weights_only:
        left = weights.load_into(subject.module, found.path, strict=section.strict)
        if left:
            yield note("checkpoint", "\n".join(["some of it does not fit:", *left]), place)
        return
    contents = files.load(found.path)
    if "state_dict" not in contents or "loops" not in contents:
        yield error(
            "checkpoint",
            f"{found.path} holds no training state",
            place,
            'To take over only its weights: "checkpoint": {"weights_only": True}.',
        )
        return
    _load(subject.module, contents, found.path)
    yield from _optimizers(subject, contents, place)
    yield from _is_at_its_end(subject, contents, place)


def _load(module: Any, contents: Mapping[str, Any], path: Path) -> None:
    """As Lightning restores a module."""
    given = copy(dict(contents))
    module.on_load_checkpoint(given)
    try:
        module.load_state_dict(given["state_dict"], strict=module.strict_loading)
    except RuntimeError as wrong:
        comparison = compare(module.state_dict(), given["state_dict"])
        if not comparison.lines():
            raise CheckpointMismatch(f"{path}: {wrong}") from wrong
        raise comparison.error(module) from wrong


def _optimizers(subject: Subject, contents: Mapping[str, Any], place: str) -> Iterator[Finding]:
    own = [_groups(each.state_dict()) for each in subject.trial.optimizers]
    given = [_groups(each) for each in contents.get("optimizer_states", [])]
    if own and own != given:
        yield error(
            "checkpoint",
            f"its optimizer state is of other parameters: {_told(given)} in the checkpoint,"
            f" {_told(own)} here",
            place,
            'To take over only its weights: "checkpoint": {"weights_only": True}.',
        )


def _groups(state: Mapping[str, Any]) -> list[int]:
    return [len(group["params"]) for group in state["param_groups"]]


def _told(optimizers: list[list[int]]) -> str:
    return " and ".join("+".join(map(str, groups)) for groups in optimizers) or "none"


def _is_at_its_end(subject: Subject, contents: Mapping[str, Any], place: str) -> Iterator[Finding]:
    epochs = subject.plan.hparams.trainer.init.get("max_epochs", -1)
    done = contents.get("epoch", 0)
    if type(epochs) is int and 0 < epochs <= done:
        yield warning(
            "checkpoint",
            f"it has trained {done} epochs, and trainer.init.max_epochs is {epochs}: nothing is"
            " left to train",
            place,
            'Raise max_epochs, or take its weights only: "checkpoint": {"weights_only": True}.',
        )
