"""Run PyTorch Lightning experiments as numbered folders; never lose a run.

Importing this package loads nothing heavy; names below are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module

__version__ = "2.0.0.dev0"

_MODULES = frozenset(
    {"callbacks", "data", "datasets", "hparams", "metrics", "modules", "transforms", "utils"}
)


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
