"""What a sample is to the eye: an image, a signal, a row of values, a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from torch_lab.tasks.preview.batches import Array, Leaf, magnitudes

Kind = Literal["image", "signal", "values", "text", "other"]

_COLORS = (1, 3, 4)  # channels that are gray, colors, colors and their opacity
_FEW = 32  # so many numbers are read, more are looked at
_FIRST = ("x", "image", "images", "pixel_values", "img", "input", "inputs", "data", "audio")
_TOKENS = ("input_ids", "tokens", "token_ids")
_TEXTS = (*_TOKENS, "text", "texts", "features")


@dataclass(frozen=True)
class Look:
    """How the samples of a leaf are shown, and what has to be said of that."""

    kind: Kind
    said: str | None = None


def data_of(leaves: Sequence[Leaf]) -> Leaf | None:
    """The part of a batch that is its samples' data: the one that is called so, else the first
    of the greatest dimension."""
    own = [leaf for leaf in leaves if not leaf.shared]
    for name in (*_FIRST, *_TEXTS):
        for leaf in own:
            if leaf.path.rpartition(".")[2].partition("[")[0] == name:
                return leaf
    return max(own, key=lambda leaf: len(_shape(leaf)), default=None)


def look_of(leaf: Leaf) -> Look:
    """What the samples are."""
    if all(isinstance(value, str) for value in leaf.values):
        return Look("text")
    arrays = leaf.arrays
    if len(arrays) != len(leaf.values) or not arrays:
        return Look("other")
    shape, whole = arrays[0].shape, arrays[0].dtype.kind in "iub"
    said = "of complex numbers the magnitude is shown" if arrays[0].dtype.kind == "c" else None
    if whole and len(shape) == 1 and leaf.path.rpartition(".")[2] in _TOKENS:
        return Look("text")
    return Look(_kind(shape, whole), said or _choice(shape))


def image(array: Array) -> Array:
    """A sample that is an image as HxW, HxWx3 or HxWx4."""
    array = magnitudes(array)
    while array.ndim > 3:  # a video, a volume: its middle
        axis = 1 if array.shape[0] in _COLORS and array.ndim == 4 else 0
        array = array.take(array.shape[axis] // 2, axis)
    if array.ndim == 2:
        return array
    if array.shape[0] in _COLORS:
        array = np.moveaxis(array, 0, -1)
    elif array.shape[-1] not in _COLORS:
        array = np.moveaxis(array, 0, -1)[..., :1]
    return array[..., 0] if array.shape[-1] == 1 else array


def lines(array: Array) -> Array:
    """A sample that is a signal as channels x length."""
    array = magnitudes(array)
    rows = array.reshape(-1, array.shape[-1])
    return rows.T if _is_long(rows.shape[::-1]) else rows


def _shape(leaf: Leaf) -> tuple[int, ...]:
    arrays = leaf.arrays
    return arrays[0].shape if arrays else ()


def _kind(shape: tuple[int, ...], whole: bool) -> Kind:
    if len(shape) <= 1 or max(shape) == np.prod(shape):
        count = int(np.prod(shape))
        if count <= _FEW:
            return "values"
        return "text" if whole and len(shape) == 1 else "signal"
    flat = shape[1:] if len(shape) == 3 and shape[0] == 1 else shape
    if len(flat) == 2 and (_is_long(flat) or _is_long(flat[::-1])):
        return "signal"
    return "image" if len(shape) in (2, 3, 4) else "other"


def _is_long(shape: tuple[int, ...]) -> bool:
    """Whether (channels, length) are a signal's: much longer than it has channels."""
    channels, length = shape
    return (channels <= 16 and length >= 4 * channels) or (
        channels <= 64 and length >= 8 * channels
    )


def _choice(shape: tuple[int, ...]) -> str | None:
    """What is left out where a picture can't show all."""
    if len(shape) == 4:
        axis = 1 if shape[0] in _COLORS else 0
        return f"of {shape[axis]} frames or slices the middle one is shown"
    if len(shape) == 3 and shape[0] not in _COLORS and shape[-1] not in _COLORS:
        return f"of {shape[0]} channels the first is shown"
    return None


def words(value: Any, limit: int = 90) -> str:
    """A text, or the numbers of tokens, in a line."""
    if not isinstance(value, str):
        shown = value.ravel()[: limit // 2].tolist() if isinstance(value, np.ndarray) else [value]
        value = " ".join(map(str, shown)) + (" …" if np.size(value) > len(shown) else "")
    line = " ".join(value.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
