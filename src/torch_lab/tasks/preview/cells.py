"""Samples made ready to be drawn: pictures, curves or rows, each with its label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from torch_lab.tasks.preview.batches import Array, Leaf, as_array, magnitudes
from torch_lab.tasks.preview.labels import hot, plain_label
from torch_lab.tasks.preview.looks import Look, image, lines, words
from torch_lab.tasks.preview.scaling import scaled

_NAMES = ("index", "i", "id", "idx", "name", "filename", "file", "path")
_COLUMNS = 12
_LARGE = 640  # pixels at a picture's longer side: every so many of a larger one are taken
MANY_CURVES = 8  # more are no lines that one could tell apart
_TINTS = np.array(
    [
        (0.12, 0.47, 0.71),
        (1.0, 0.5, 0.05),
        (0.17, 0.63, 0.17),
        (0.84, 0.15, 0.16),
        (0.58, 0.4, 0.74),
        (0.55, 0.34, 0.29),
        (0.89, 0.47, 0.76),
        (0.74, 0.74, 0.13),
        (0.09, 0.75, 0.81),
    ]
)


@dataclass(frozen=True)
class Cell:
    """One sample: pictures side by side, or curves; its label above, which one it is below."""

    title: str = ""
    caption: str = ""
    pictures: tuple[Array, ...] = ()
    curves: Array | None = None
    target: Array | None = None  # curves too
    boxes: Array | None = None  # x0, y0, x1, y1 a row


@dataclass(frozen=True)
class Table:
    """Samples as rows; the first row holds the names of the columns."""

    rows: list[list[str]] = field(default_factory=list)


@dataclass(frozen=True)
class Group:
    """The samples of one loader, as they are drawn."""

    name: str
    content: list[Cell] | Table
    said: tuple[str, ...] = ()


def group(
    name: str,
    leaves: Sequence[Leaf],
    parts: tuple[Leaf | None, Leaf | None],
    look: Look,
    names: Mapping[Any, str],
    count: int,
) -> Group:
    """The first samples of a loader; `parts` are the data and the label among its leaves."""
    x, label = parts
    texts = _titles(label, names, count)
    captions = _captions(leaves, count)
    if x is None or look.kind in ("values", "text", "other"):
        table = _table(x, look, texts, captions, count)
        return Group(name, _with_texts(table, leaves, parts, captions), _said(look.said))
    if look.kind == "signal":
        cells = _signals(x, label, texts, captions)
        return Group(name, cells, _said(look.said, _curves_said(cells)))
    boxes = next((leaf for leaf in leaves if leaf.path.rpartition(".")[2] == "boxes"), None)
    cells, said = _images(x, label, texts, captions, _boxes(boxes, len(texts)))
    return Group(name, cells, _said(look.said, said))


def _said(*texts: str | None) -> tuple[str, ...]:
    return tuple(filter(None, texts))


def _images(
    x: Leaf,
    label: Leaf | None,
    texts: list[str],
    captions: list[str],
    boxes: list[Array | None],
) -> tuple[list[Cell], str | None]:
    whole = [image(each) for each in x.arrays[: len(texts)]]
    step = max(-(-max(each.shape[:2]) // _LARGE) for each in whole)
    pictures, said = scaled([each[::step, ::step] for each in whole])
    beside = _masked(label, pictures, [each.shape[:2] for each in whole], step)
    if not beside and (beside := _targets(label, len(pictures), step)):
        texts = [""] * len(pictures)  # what is drawn needs no words
    more = beside or [()] * len(pictures)
    cells = [
        Cell(title, caption, (picture, *others), boxes=None if box is None else box / step)
        for picture, others, box, title, caption in zip(
            pictures, more, boxes, texts, captions, strict=True
        )
    ]
    return cells, said


def _masked(
    label: Leaf | None, pictures: Sequence[Array], sizes: Sequence[Any], step: int
) -> list[tuple[Array, ...]]:
    """Each picture once more with its mask laid over it, where the labels are masks."""
    targets = _of_images(label, len(pictures))
    flat = [each.reshape([n for n in each.shape if n > 1]) for each in targets]
    if not flat or not all(map(_is_mask, flat, sizes)):
        return []
    masks = [each[::step, ::step] for each in flat]
    return [(_tinted(picture, mask),) for picture, mask in zip(pictures, masks, strict=True)]


def _targets(label: Leaf | None, count: int, step: int) -> list[tuple[Array, ...]]:
    """The images that the labels are."""
    targets = _of_images(label, count)
    if not targets or targets[0].dtype.kind != "f" or min(targets[0].shape[-2:]) < 2:
        return []
    return [(each,) for each in scaled([image(each)[::step, ::step] for each in targets])[0]]


def _of_images(label: Leaf | None, count: int) -> list[Array]:
    """The labels, if each is of two or three dimensions."""
    found = label.arrays[:count] if label is not None and label.path[-5:] != "boxes" else []
    return found if len(found) == count and all(each.ndim in (2, 3) for each in found) else []


def _is_mask(target: Array, size: Any) -> bool:
    if target.shape != size:
        return False
    return target.dtype.kind in "iub" or bool(np.isin(target, (0, 1)).all())


def _tinted(picture: Array, mask: Array) -> Array:
    """The picture with each class but 0 in a color of its own."""
    classes = mask.astype(np.int64)
    colors = _TINTS[(classes - 1) % len(_TINTS)]
    tinted: Array = np.where((classes != 0)[..., None], 0.45 * picture + 0.55 * colors, picture)
    return tinted


def _boxes(leaf: Leaf | None, count: int) -> list[Array | None]:
    """The boxes around what is seen in each image: corners, as torchvision has them."""
    values = leaf.values[:count] if leaf is not None else []
    found = [each if _is_boxes(each) else None for each in values]
    return found + [None] * (count - len(found))


def _is_boxes(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == 2 and value.shape[1] == 4


def _curves_said(cells: Sequence[Cell]) -> str | None:
    if any(each.target is not None for each in cells):
        return "dashed: the target"
    channels = max((len(each.curves) for each in cells if each.curves is not None), default=0)
    return f"{channels} channels, each a row of colors" if channels > MANY_CURVES else None


def _signals(x: Leaf, label: Leaf | None, texts: list[str], captions: list[str]) -> list[Cell]:
    cells = []
    for number, array in enumerate(x.arrays[: len(texts)]):
        curves = lines(array)
        target = _curve(label, number, curves.shape[-1])
        title = texts[number] if target is None else ""
        cells.append(Cell(title, captions[number], curves=curves, target=target))
    return cells


def _curve(label: Leaf | None, number: int, length: int) -> Array | None:
    """The label where it goes along with the signal."""
    value = label.values[number] if label is not None else None
    if not isinstance(value, np.ndarray) or value.ndim == 0 or length not in value.shape:
        return None
    found = lines(value)
    return found if found.shape[-1] == length else None


def _table(x: Leaf | None, look: Look, texts: list[str], captions: list[str], count: int) -> Table:
    values = x.values[:count] if x is not None else []
    made = [_row(value, look) for value in values]
    head = _head(x, look, max(map(len, made), default=0))
    rows = [head, *made]
    for name, column in (("label", texts), ("sample", captions)):
        if any(column):
            rows = [[cell, *row] for cell, row in zip([name, *column], rows, strict=False)]
    return Table(rows)


def _with_texts(
    table: Table, leaves: Sequence[Leaf], parts: tuple[Leaf | None, ...], captions: Sequence[str]
) -> Table:
    """The table with what else is written in a batch: the sentences that tokens are of, say."""
    rows = table.rows
    for leaf in leaves:
        values = leaf.values[: len(rows) - 1]
        known = leaf.shared or any(leaf is each for each in parts)
        if known or not all(isinstance(each, str) for each in values):
            continue
        texts = [words(each, 60) for each in values]
        if texts and texts != list(captions[: len(texts)]):
            column = [leaf.path, *texts, *[""] * (len(rows) - 1 - len(texts))]
            rows = [[*row, cell] for row, cell in zip(rows, column, strict=True)]
    return Table(rows)


def _head(x: Leaf | None, look: Look, width: int) -> list[str]:
    name = x.path if x is not None else "x"
    if look.kind != "values" or width <= 1:
        return [name] if width else []
    return [f"{name}[{i}]" for i in range(width - 1)] + [
        "…" if width > _COLUMNS else f"{name}[{width - 1}]"
    ]


def _row(value: Any, look: Look) -> list[str]:
    if look.kind == "text":
        return [words(value)]
    array = as_array(value)
    if array is None:
        return [words(value) if isinstance(value, str) else _described(value)]
    if look.kind == "other":
        return [f"{_shape(array.shape)} {array.dtype}"]
    numbers = [_number(each) for each in array.ravel()[:_COLUMNS]]
    return [*numbers, "…"] if array.size > _COLUMNS else numbers


def _described(value: Any) -> str:
    return words(f"{type(value).__name__} {value!r}")


def _titles(label: Leaf | None, names: Mapping[Any, str], count: int) -> list[str]:
    values = label.values[:count] if label is not None else []
    if label is not None and label.uneven:  # so many of each sample as there are
        texts = [words(", ".join(map(_number, np.ravel(each))), 30) for each in values]
    else:
        texts = [_title(each, names) for each in values]
    return texts + [""] * (count - len(values))


def _title(value: Any, names: Mapping[Any, str]) -> str:
    plain = plain_label(value)
    if isinstance(plain, str):
        return words(plain, 30)
    if plain is not None:
        name = names.get(plain)
        return _number(plain) if name is None else words(f"{plain} {name}", 30)
    several = hot(value)
    if several is not None:
        return words(", ".join(names.get(each, str(each)) for each in several) or "none", 30)
    array = as_array(value)
    return "" if array is None else _of_array(array)


def _of_array(array: Array) -> str:
    """A label of several numbers: all if they are few, of a mask its classes, else its shape."""
    if array.ndim == 1 and array.size <= 4:
        return ", ".join(map(_number, array))
    present = np.unique(array)
    if array.ndim in (2, 3) and array.dtype.kind in "iub" and present.size <= 8:
        return f"classes {', '.join(map(str, present.astype(int)))}"
    return _shape(array.shape)


def _captions(leaves: Sequence[Leaf], count: int) -> list[str]:
    """Which sample each is, as far as the batch knows."""
    for name in _NAMES:
        for leaf in leaves:
            if leaf.path.rpartition(".")[2] == name and not leaf.shared:
                return [_which(value) for value in leaf.values[:count]]
    return [""] * count


def _which(value: Any) -> str:
    plain = plain_label(value)
    if isinstance(plain, int):
        return f"#{plain}"
    return plain if isinstance(plain, str) and len(plain) <= 24 else f"…{str(plain)[-23:]}"


def _number(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    value = magnitudes(np.asarray(value)).item()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "one number"
