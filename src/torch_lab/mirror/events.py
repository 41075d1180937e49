"""What a run logged and recorded as ClearML's events, in the shapes that its SDK gives them.

An event is a dict as events.add_batch takes it. Numbers and plots at one step of one series
replace each other on the server, so that sending them again does no harm; lines of a log don't.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from torch_lab.mirror import plots
from torch_lab.recording.items import Item
from torch_lab.recording.machine import Sample
from torch_lab.store.console_times import Line
from torch_lab.store.journal import Row
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import Record

Event: TypeAlias = dict[str, Any]
Upload: TypeAlias = Callable[[Path, str], str]  # a file, and its path in the run → its address

_SUMMARY_STEP = -(2**31)  # the SDK's sign that a number belongs to no step
_LARGEST = 3.4e38  # the server keeps numbers in single precision
_LONGEST_LINE = 100_000
_LARGEST_PLOT = 5_000_000
_MOST_ROWS = 1000


def series(name: str) -> tuple[str, str]:
    """A name as metric and variant, which share a graph: `loss/train` is loss, train."""
    metric, _, variant = name.rpartition("/")
    return (metric, variant) if metric.strip() and variant.strip() else (name, name)


def name_of(metric: str, variant: str) -> str:
    """The name that `series` made these of."""
    return metric if metric == variant else f"{metric}/{variant}"


# -- numbers ----------------------------------------------------------------------------------


def scalars(task: str, row: Row, said: set[str], worker: str) -> Iterator[Event]:
    """A row's numbers at their step; the first of a name that is none is a line of the log.

    `said` holds the names of which the log tells already.
    """
    for name, value in row.values.items():
        if abs(value) <= _LARGEST:
            yield _scalar(task, row.t, *series(name), row.step, value)
        elif name not in said:
            said.add(name)
            yield unfit(task, row, name, worker)


def unfit(task: str, row: Row, name: str, worker: str) -> Event:
    """The line of the log that tells of a NaN, an infinity or what its database takes for one."""
    text = (
        f"{name} is {row.values[name]} at step {row.step}; such values are left out of the"
        " graphs, here and later (the run's journal has them)"
    )
    return _log(task, int(row.t * 1000), text, worker, "WARNING")


def summary(task: str, record: Record) -> Iterator[Event]:
    """What each metric was in the end, and the best of the one that chose the checkpoint."""
    moment = record.ended or record.started or record.created
    values = {name: metric.last for name, metric in record.metrics.items()}
    monitor = record.best.monitor if record.best else "loss/validate"
    if monitor in record.metrics:
        least = record.best is None or record.best.mode == "min"
        metric = record.metrics[monitor]
        values[f"best {monitor}"] = metric.min if least else metric.max
    for name, value in values.items():
        if abs(value) <= _LARGEST:
            yield _scalar(task, moment, "Summary", name, _SUMMARY_STEP, value)


def machine(task: str, sample: Sample, origin: float) -> Iterator[Event]:
    """What was used of the machine, over the seconds since the first sample."""
    for name, value in sample.values.items():
        metric, variant, scale = _use(name)
        second = max(int(sample.t - origin), 0)
        yield _scalar(task, sample.t, metric, variant, second, round(value / scale, 3))


def _use(name: str) -> tuple[str, str, float]:
    """Metric, variant and divisor, the SDK's where it has them: its graphs are known by name."""
    scale = 2.0**30 if name.endswith("_memory_bytes") or name == "memory_bytes" else 1.0
    gpu, _, what = name.partition("_")
    if gpu.startswith("gpu") and gpu[3:]:
        return ":monitor:gpu", f"gpu_{gpu[3:]}_{_GPU.get(what, what)}", scale
    return ":monitor:machine", _MACHINE.get(name, name), scale


_MACHINE = {
    "cpu_percent": "cpu_usage",
    "memory_bytes": "memory_used_gb",
    "training_cpu_percent": "training_cpu_usage",
    "training_memory_bytes": "training_memory_used_gb",
}
_GPU = {
    "percent": "utilization",
    "memory_bytes": "mem_used_gb",
    "celsius": "temperature",
    "watts": "power_draw",
}


def _scalar(task: str, t: float, metric: str, variant: str, step: int, value: float) -> Event:
    return _event("training_stats_scalar", task, t, metric, variant, step) | {"value": value}


# -- items ------------------------------------------------------------------------------------


def item(task: str, run: RunDirectory, item: Item, upload: Upload) -> Iterator[Event]:
    """An item of media/, whose files are uploaded first; nothing where they are gone.

    Artifacts are no events.
    """
    show = _SHOWN.get(item.kind)
    if show is not None and (run.path / item.file).is_file():
        yield from show(task, run, item, upload)


def _picture(task: str, run: RunDirectory, item: Item, upload: Upload) -> Iterator[Event]:
    """A debug sample; these have no captions, so that one with a caption is a plot besides."""
    url = upload(run.path / item.file, item.file)
    yield _sample(task, item, url)
    if item.caption:
        yield from _framed(task, item, url)


def _figure(task: str, run: RunDirectory, item: Item, upload: Upload) -> Iterator[Event]:
    data = run.path / item.data if item.data else None
    if data is not None and data.is_file():
        yield from _interactive(task, run, item, data, upload)
        return
    url = upload(run.path / item.file, item.file)
    framed = list(_framed(task, item, url))
    yield from framed or [_sample(task, item, url)]


def _interactive(
    task: str, run: RunDirectory, item: Item, data: Path, upload: Upload
) -> Iterator[Event]:
    if data.stat().st_size > _LARGEST_PLOT:
        yield _sample(task, item, upload(data, data.relative_to(run.path).as_posix()))
    else:
        yield _plot(task, item, data.read_text(encoding="utf-8", errors="replace"))


def _table(task: str, run: RunDirectory, item: Item, upload: Upload) -> Iterator[Event]:
    """The beginning of it as a plot; one that isn't whole there is a file besides."""
    path = run.path / item.file
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = csv.reader(file)
        shown = [row for row, _ in zip(rows, range(_MOST_ROWS + 1), strict=False)]
        whole = next(rows, None) is None
    small = whole and path.stat().st_size <= _LARGEST_PLOT
    note = "" if small else f"the first of its rows; {item.file} has all"
    if path.stat().st_size > _LARGEST_PLOT:
        shown = shown[:1]
    if not small:
        yield _sample(task, item, upload(path, item.file))
    yield _plot(task, item, json.dumps(plots.table(shown, *_titles(item), note)))


def _text(task: str, run: RunDirectory, item: Item, upload: Upload) -> Iterator[Event]:
    yield _sample(task, item, upload(run.path / item.file, item.file))


_SHOWN: Mapping[str, Callable[[str, RunDirectory, Item, Upload], Iterator[Event]]] = {
    "image": _picture,
    "figure": _figure,
    "table": _table,
    "text": _text,
}


_NUMBERED = re.compile(r".*/\d+-(\d+)\.\w+")


def _titles(item: Item) -> tuple[str, str]:
    """Metric and variant: several items of one name at one step would replace each other.

    Their files are numbered, whether they were recorded together or one after the other.
    """
    metric, variant = series(item.name)
    number = _NUMBERED.fullmatch(item.file)
    if number is None and item.index is None:
        return metric, variant
    return metric, f"{variant}/{number[1] if number else item.index}"


def _framed(task: str, item: Item, url: str) -> Iterator[Event]:
    """An image as a plot, which the web page can show from a server of files alone."""
    if url.startswith("http"):
        title = "/".join(_titles(item))
        plot = plots.image(url, title, item.size or (640, 480), item.caption)
        yield _plot(task, item, json.dumps(plot))


def _plot(task: str, item: Item, plot: str) -> Event:
    event = _event("plot", task, item.t, *_titles(item), item.step)
    return event | {"plot_str": plot}


def _sample(task: str, item: Item, url: str) -> Event:
    """A debug sample: an image, or any other file that a browser opens."""
    event = _event("training_debug_image", task, item.t, *_titles(item), item.step)
    return event | {"url": url, "key": plots.path_of(url)}


# -- console ----------------------------------------------------------------------------------


def console(task: str, line: Line, worker: str) -> Event:
    """A line of what was printed; its time tells it from all others of the same log."""
    text = line.text
    if len(text) > _LONGEST_LINE:
        text = f"{text[:_LONGEST_LINE]}… ({len(text) - _LONGEST_LINE:,} more characters)"
    return _log(task, line.milliseconds, text, worker, "INFO")


def _log(task: str, milliseconds: int, text: str, worker: str, level: str) -> Event:
    return {
        "type": "log",
        "task": task,
        "timestamp": milliseconds,
        "level": level,
        "worker": worker,
        "msg": text,
    }


def _event(kind: str, task: str, t: float, metric: str, variant: str, step: int) -> Event:
    place = {"metric": metric, "variant": variant, "iter": step}
    return {"type": kind, "task": task, "timestamp": int(t * 1000), **place}
