"""Run PyTorch Lightning experiments as numbered folders; never lose a run.

Importing this package loads nothing heavy; names below are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module

__version__ = "2.0.0.dev0"

_MODULES = frozenset(
    {
        "callbacks",
        "data",
        "datasets",
        "hparams",
        "loggers",
        "metrics",
        "modules",
        "paths",
        "transforms",
        "typing",
        "utils",
    }
)
_FUNCTIONS = {"record": "recording", "runs": "access", "build": "access"}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _FUNCTIONS:
        value: object = getattr(import_module(f"{__name__}.{_FUNCTIONS[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_FUNCTIONS})
