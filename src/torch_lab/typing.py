"""The types that torch-lab 1.x named for annotations; deprecated."""

from __future__ import annotations

from typing import Any, Optional

from numpy import ndarray
from torch import Tensor

from torch_lab.utils.deprecation import deprecated

_TYPES: dict[str, Any] = {
    "CollateData": int | float | str | ndarray | Tensor,
    "JsonDict": dict[str, Optional[str | float | int | list[Any] | dict[str, Any]]],  # noqa: UP045
}


def __getattr__(name: str) -> object:
    if name not in _TYPES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    deprecated(__name__, "write types out, dict[str, Any] for instance")
    return _TYPES[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *_TYPES})
