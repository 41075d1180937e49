"""Pixels brought to the range that a picture has, and what was done to them, in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from torch_lab.tasks.preview.batches import Array

_MEAN = np.array([0.485, 0.456, 0.406])
_STD = np.array([0.229, 0.224, 0.225])
_SLACK = 0.02
_NEARLY_BLACK = -1.7
_BAD = (1.0, 0.0, 1.0)  # magenta: no picture has much of it


def scaled(images: Sequence[Array]) -> tuple[list[Array], str | None]:
    """All images as HxWx3 with values 0..1, on one scale, and what has to be said of that."""
    values = np.concatenate([each.ravel() for each in images])
    finite = values[np.isfinite(values)]
    faults = finite.size < values.size
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    kind = images[0].dtype.kind
    made, said = _one_scale(images, low, high, kind)
    pictures = [_opaque(each, ~np.isfinite(raw)) for each, raw in zip(made, images, strict=True)]
    told = [said, "NaN and infinite pixels are magenta" if faults else None]
    return pictures, "; ".join(filter(None, told)) or None


def _one_scale(
    images: Sequence[Array], low: float, high: float, kind: str
) -> tuple[list[Array], str | None]:
    if kind == "b" or (low >= 0 and high <= 1):
        return [each.astype(float) for each in images], None
    if low >= 0 and high <= 255 and (kind in "iu" or high > 16):
        said = None if images[0].dtype == np.uint8 else f"values 0 to 255 ({images[0].dtype})"
        return [each / 255 for each in images], said
    if low >= -1 and high <= 1:
        return [(each + 1) / 2 for each in images], "rescaled from -1 to 1"
    if _is_imagenets(images, low):
        undone = [each[..., :3] * _STD + _MEAN for each in images]
        return undone, "normalized: ImageNet's mean and deviation are undone here"
    what = "normalized: " if low < 0 else ""
    said = f"{what}rescaled from {low:.3g} to {high:.3g}"
    return [(each - low) / max(high - low, 1e-12) for each in images], said


def _is_imagenets(images: Sequence[Array], low: float) -> bool:
    """Whether all values are such as the usual normalization of colors 0..1 makes, black too."""
    if low > _NEARLY_BLACK or any(each.ndim != 3 for each in images):
        return False
    below, above = -_MEAN / _STD - _SLACK, (1 - _MEAN) / _STD + _SLACK
    colors = [each[..., :3] for each in images]
    return not any(((each < below) | (each > above)).any() for each in colors)


def _opaque(image: Array, faults: Array) -> Array:
    """Three channels, on white where there is an opacity; faults in a color of their own."""
    if image.ndim == 2:
        image, faults = np.stack([image] * 3, axis=-1), faults[..., None]
    if image.shape[-1] == 4:
        opacity = np.clip(image[..., 3:], 0, 1)
        image = image[..., :3] * opacity + (1 - opacity)
    picture: Array = np.clip(np.nan_to_num(image), 0, 1)
    picture[faults.any(axis=-1)] = _BAD
    return picture
