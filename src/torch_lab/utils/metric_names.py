"""The names under which Lightning keeps what was logged."""

from __future__ import annotations

import re
from collections.abc import Container

# What a validation loss is usually called; the first that is logged says which checkpoint is best.
USUAL_MONITORS = ("loss/validate", "val_loss", "val/loss", "loss/val")
_RISING = re.compile(r"acc|f1|auroc|auc|precision|recall|iou|dice|r2|map\b", re.IGNORECASE)


def is_variant(name: str, names: Container[str]) -> bool:
    """Whether it is NAME_step or NAME_epoch, which Lightning keeps beside NAME."""
    base, underscore, kind = name.rpartition("_")
    return bool(underscore) and kind in {"step", "epoch"} and base in names


def usual_mode(name: str) -> str | None:
    """The field of a summary that holds a metric's best: "min" of a loss, "max" of an accuracy.

    None where nobody knows which way is up.
    """
    if "loss" in name or "error" in name:
        return "min"
    return "max" if _RISING.search(name) else None
