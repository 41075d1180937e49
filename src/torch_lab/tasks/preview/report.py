"""What a preview says in a terminal, and to other programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch.utils.data import IterableDataset, RandomSampler, SequentialSampler

from torch_lab.tasks.preview.batches import Leaf, Statistics, statistics
from torch_lab.tasks.preview.cells import Table
from torch_lab.tasks.preview.labels import Classes
from torch_lab.tasks.preview.previewing import Part, Preview
from torch_lab.tasks.preview.sources import Stream
from torch_lab.tasks.table import MISSING, columns, number, plain
from torch_lab.utils.paths import display
from torch_lab.utils.text import plural

_LISTED = 20  # classes
_ENDS = 5
_BAR = 30
_EXACT = 1e9  # a whole number below is shown with all its digits


def describe(preview: Preview, *, width: int | None = None) -> str:
    """The preview for a reader; where the picture is, `written` says."""
    sections = [_sizes(preview, width)]
    for part in preview.parts:
        sections.append(_contents(part, len(preview.parts) > 1, width))
        if part.classes is not None:
            sections.append(_classes(part, part.classes, width))
    return "\n".join("\n".join(lines) + "\n" for lines in sections)


def written(preview: Preview) -> str:
    """Where the picture is, and how much of the batch it shows."""
    shown = sum(_drawn(part) for part in preview.parts)
    samples = sum(part.samples for part in preview.parts)
    of = f" of {samples}" if shown < samples else ""
    return f"{display(preview.file)}: {shown}{of} {'sample' if samples == 1 else 'samples'}\n"


def as_data(preview: Preview) -> dict[str, Any]:
    """The preview for `--json`."""
    return {
        "script": str(preview.experiment.script),
        "experiment": preview.experiment.name,
        "split": preview.split,
        "seed": preview.seed,
        "loaders": [_size_data(stream) for stream in preview.streams],
        "batches": [_part_data(part) for part in preview.parts],
        "file": str(preview.file),
    }


def _sizes(preview: Preview, width: int | None) -> list[str]:
    head = ("split", "samples", "batches", "batch size", "order")
    rows = [[_cell(each) for each in _size_data(s).values()] for s in preview.streams]
    return columns([head, *rows], indent="", width=width)


def _size_data(stream: Stream) -> dict[str, Any]:
    loader = stream.loader
    dataset = getattr(loader, "dataset", None)
    return {
        "split": stream.name,
        "samples": None if isinstance(dataset, IterableDataset) else _length(dataset),
        "batches": _length(loader),
        "batch_size": getattr(loader, "batch_size", None),
        "order": _order(loader),
    }


def _length(value: Any) -> int | None:
    try:
        return len(value)
    except Exception:  # noqa: BLE001  any: a __len__ of the user's, or none
        return None


def _order(loader: Any) -> str | None:
    sampler = getattr(loader, "sampler", None)
    sampler = getattr(sampler, "wrapped", sampler)  # that of an exact loader
    if sampler is None or isinstance(getattr(loader, "dataset", None), IterableDataset):
        return None
    if isinstance(sampler, RandomSampler):
        return "shuffled"
    return "in order" if isinstance(sampler, SequentialSampler) else type(sampler).__name__


def _contents(part: Part, named: bool, width: int | None) -> list[str]:
    which = "the first batch" if part.batches == 1 else f"the first {part.batches} batches"
    head = f"{which} of {part.name}" if named else which
    rows = [("", "shape", "type", "min", "max", "mean", "")]
    rows += [_leaf_row(leaf) for leaf in part.leaves]
    return [head, *columns(rows, width=width)]


def _leaf_row(leaf: Leaf) -> Any:
    found = statistics(leaf)
    if found is None:
        return leaf.path, _shape(leaf), leaf.type, "", "", "", ""
    whole = not leaf.type.startswith(("float", "bfloat", "complex"))
    ends = (_number(found.low, whole), _number(found.high, whole), _number(found.mean))
    return leaf.path, _shape(leaf), leaf.type, *ends, _faults(found)


def _faults(found: Statistics) -> str:
    kinds = ((found.nans, "NaN"), (found.infinities, "inf"))
    return ", ".join(f"{count} {name}" for count, name in kinds if count)


def _shape(leaf: Leaf) -> str:
    if leaf.shape is not None:
        return "x".join(map(str, leaf.shape)) or "one number"
    shapes = sorted({each.shape for each in leaf.arrays})
    if not shapes:
        return str(len(leaf.values))
    ends = ["x".join(map(str, shape)) or "1" for shape in (shapes[0], shapes[-1])]
    return f"{len(leaf.values)} of {ends[0]} to {ends[1]}"


def _classes(part: Part, classes: Classes, width: int | None) -> list[str]:
    seen = plural(classes.seen, "sample")
    if classes.source == "batch":
        head = f"classes in the batch (of the dataset they can't be had cheaply): {seen}"
    else:
        of = f" of {classes.total}, drawn at random" if classes.seen < classes.total else ""
        head = f"classes of {part.name}: {seen}{of}, by {classes.source}"
    return [head, *columns([*_class_rows(part, classes)], width=width)]


def _class_rows(part: Part, classes: Classes) -> Iterator[Sequence[str]]:
    """Every class with its share; of many classes the rarest and the most frequent."""
    counts = classes.counts
    chosen = list(counts.items())
    if len(chosen) > _LISTED:
        ordered = sorted(chosen, key=lambda pair: -pair[1])
        chosen = [*ordered[:_ENDS], ("…", 0), *ordered[-_ENDS:]]
    most = max(counts.values(), default=1)
    for label, count in chosen:
        if not count:
            between = sorted(counts.values())[_ENDS : -_ENDS or None]
            yield "…", f"{between[0]} to {between[-1]}", "", f"in {len(between)} classes"
            continue
        share = f"{100 * count / classes.seen:.1f} %"
        yield _name(part, label), str(count), share.rjust(6), "█" * round(_BAR * count / most)


def _name(part: Part, label: Any) -> str:
    name = part.names.get(label)
    return str(label) if name is None else f"{label} {name}"


def _part_data(part: Part) -> dict[str, Any]:
    classes = part.classes
    return {
        "loader": part.name,
        "batches": part.batches,
        "samples": part.samples,
        "drawn": _drawn(part),
        "contents": [_leaf_data(leaf) for leaf in part.leaves],
        "label": None if part.label is None else part.label.path,
        "classes": plain(classes) if classes is not None else None,
        "remarks": list(part.group.said),
    }


def _leaf_data(leaf: Leaf) -> dict[str, Any]:
    return {
        "name": leaf.path,
        "shape": None if leaf.shape is None else list(leaf.shape),
        "type": leaf.type,
        **({} if (found := statistics(leaf)) is None else plain(found)),
    }


def _drawn(part: Part) -> int:
    content = part.group.content
    return len(content.rows) - 1 if isinstance(content, Table) else len(content)


def _number(value: float | None, whole: bool = False) -> str:
    if value is not None and whole and abs(value) < _EXACT:
        return str(int(value))
    return "" if value is None else number(value)


def _cell(value: Any) -> str:
    return MISSING if value is None else str(value)
