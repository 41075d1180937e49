"""The names under which Lightning keeps what was logged."""

from __future__ import annotations

from collections.abc import Container


def is_variant(name: str, names: Container[str]) -> bool:
    """Whether it is NAME_step or NAME_epoch, which Lightning keeps beside NAME."""
    base, underscore, kind = name.rpartition("_")
    return bool(underscore) and kind in {"step", "epoch"} and base in names
