"""What a metric computed: numbers, which are logged under their names, and other things."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def named_values(name: str, stage: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    """The numbers in what a metric computed, under the names they are logged by."""
    for key, part in named_parts(name, stage, value):
        number = scalar(part)
        if number is not None:
            yield key, number


def named_parts(name: str, stage: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A value under its name, or what it holds where it is a dict."""
    if isinstance(value, Mapping):
        yield from _leaves(f"{name} ({stage})", value)
    else:
        yield f"{name}/{stage}", value


def _leaves(prefix: str, value: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    for key, each in value.items():
        if isinstance(each, Mapping):
            yield from _leaves(f"{prefix}/{key}", each)
        else:
            yield f"{prefix}/{key}", each


def scalar(value: Any) -> Tensor | None:
    """A real number as a tensor that can be logged; None for anything else."""
    if (
        isinstance(value, (np.ndarray, np.generic))
        and value.size == 1
        and value.dtype.kind in "biuf"
    ):
        value = value.item()
    if isinstance(value, (bool, int, float)):
        return torch.tensor(float(value))
    if not isinstance(value, Tensor) or value.numel() != 1 or value.is_complex():
        return None
    found: Tensor = value.detach().reshape(())
    return found if found.is_floating_point() else found.to(torch.get_default_dtype())
