"""The batch that was under way where an exception came up."""

from __future__ import annotations

from dataclasses import dataclass
from traceback import walk_tb
from typing import Any

from pytorch_lightning.loops.fetchers import _DataFetcher
from pytorch_lightning.loops.loop import _Loop


@dataclass(frozen=True)
class Step:
    """The batch that a loop was working on, or was about to get (`batch` None)."""

    batch: Any
    index: int
    loader: int = 0


def step_of(error: BaseException) -> Step | None:
    """The batch under way where `error` was raised; None between batches.

    The loops' counters don't tell: they stand alike in an epoch's last batch and in its end hooks.
    """
    for code, names in reversed(_frames(error)):
        owner = names.get("self")
        if isinstance(owner, _DataFetcher):
            return Step(None, owner.fetched)
        if isinstance(owner, _Loop) and code in _STEPS and "batch_idx" in names:
            return Step(names.get("batch"), names["batch_idx"], names.get("dataloader_idx", 0))
    return None


def in_a_loop(error: BaseException) -> bool:
    """Whether `error` came up while batches were handled, or at such a loop's ends."""
    return any(isinstance(names.get("self"), _Loop) for _, names in _frames(error))


def _frames(error: BaseException) -> list[tuple[str, dict[str, Any]]]:
    return [(f.f_code.co_name, f.f_locals) for f, _ in walk_tb(error.__traceback__)]


_STEPS = ("advance", "_evaluation_step", "_predict_step")
