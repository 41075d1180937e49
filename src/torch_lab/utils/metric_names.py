"""The names under which Lightning keeps what was logged."""

from __future__ import annotations

from collections.abc import Container

# What a validation loss is usually called; the first that is logged says which checkpoint is best.
USUAL_MONITORS = ("loss/validate", "val_loss", "val/loss", "loss/val")


def is_variant(name: str, names: Container[str]) -> bool:
    """Whether it is NAME_step or NAME_epoch, which Lightning keeps beside NAME."""
    base, underscore, kind = name.rpartition("_")
    return bool(underscore) and kind in {"step", "epoch"} and base in names
