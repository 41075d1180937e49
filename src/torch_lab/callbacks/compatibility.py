"""Callbacks that torch-lab 1.x needed for ClearML; a run does by itself what they did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint

# Name → what takes its place.
DEPRECATED = {
    "ClearMLModelCheckpoint": "each run keeps its last and best checkpoints;"
    " RunCheckpoint(monitor=…, mode=…) says what the best is",
    "ClearMLTaskMarker": "each run records by itself how it ends; remove it",
}


class ClearMLModelCheckpoint(ModelCheckpoint):
    """Lightning's ModelCheckpoint, whose `monitor` and `mode` also choose the run's own best.

    It takes ModelCheckpoint's arguments and talks to no server. Without `dirpath` it saves into
    the run's `checkpoints/`.
    """

    def __init__(self, *args: Any, task: object = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)


class ClearMLTaskMarker(pl.Callback):
    """Does nothing."""


def monitored(callbacks: Sequence[pl.Callback]) -> dict[str, Any]:
    """What the callbacks say of the run's best: a ClearMLModelCheckpoint, else a ModelCheckpoint.

    As in Lightning, where `ckpt_path="best"` means the first of them.
    """
    watching = [each for each in callbacks if isinstance(each, ModelCheckpoint) and each.monitor]
    watching.sort(key=lambda each: not isinstance(each, ClearMLModelCheckpoint))
    return next(({"monitor": each.monitor, "mode": each.mode} for each in watching), {})
