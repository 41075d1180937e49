"""What of metrics' values is no number: plots and texts for the run's record."""

from __future__ import annotations

import copy
import inspect
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sized
from contextlib import contextmanager
from functools import partial
from traceback import extract_tb
from typing import Any

from torchmetrics import Metric, MetricCollection

from torch_lab.errors import TorchLabError
from torch_lab.modules import processes
from torch_lab.modules.merging import AnyMetric
from torch_lab.modules.notes import described
from torch_lab.modules.values import named_parts, scalar
from torch_lab.recording import NullRecorder, record
from torch_lab.utils.paths import display
from torch_lab.utils.tracebacks import is_user_file

_READABLE = 20  # classes of a matrix whose cells can hold a number
_MANY = 100
_INSTALL = "pip install 'torch-lab[plot]' installs what draws"


class Plots:
    """Puts metrics' plots into the record of the run; says once what can't be put anywhere.

    Drawn are metrics whose class has a `plot` of its own, and those with one of torchmetrics
    whose value is no number, such as a confusion matrix or a curve. Those of a stage pause for
    `pause` times as long as they took to draw; the last that were left out are not lost.
    """

    def __init__(self, pause: float = 0.0) -> None:
        self._pause = pause
        self._earliest: dict[str, float] = {}
        self._left_out: dict[str, tuple[Mapping[str, AnyMetric], Mapping[str, Any]]] = {}
        self._said: set[str] = set()

    def show(self, stage: str, metrics: Mapping[str, AnyMetric], values: Mapping[str, Any]) -> None:
        """Draw and write what `metrics` computed; called in every process."""
        begin = time.monotonic()
        if begin < self._earliest.get(stage, 0.0):
            self._left_out[stage] = {name: _kept(metrics[name]) for name in values}, dict(values)
            return
        self._left_out.pop(stage, None)
        self._show_all(stage, metrics, values)
        end = time.monotonic()
        self._earliest[stage] = end + self._pause * (end - begin)

    def catch_up(self) -> None:
        """Draw what was left out last."""
        while self._left_out:
            stage, (metrics, values) = self._left_out.popitem()
            with closing_figures():
                self._show_all(stage, metrics, values)

    def _show_all(
        self, stage: str, metrics: Mapping[str, AnyMetric], values: Mapping[str, Any]
    ) -> None:
        for name, value in values.items():
            metric = metrics[name]
            if not isinstance(metric, MetricCollection):
                self._show(name, stage, metric, value)
                continue
            for key, member in metric.items():
                # Under the name that a dict's part is logged by.
                self._show(f"{name} ({stage})", key, member, member.compute())

    def _show(self, name: str, stage: str, metric: Metric, value: Any) -> None:
        if _plots_itself(metric):
            with processes.joined(metric):
                self._draw(f"{name}/{stage}", name, metric.plot)
            return
        for key, part in named_parts(name, stage, value):
            if part is None or scalar(part) is not None:
                continue
            if isinstance(part, str):
                record().text(key, part)
            elif _figures(part):
                self._draw(key, name, partial(_given, part))
            elif part is value and _plot(metric) is not None:
                self._draw_value(key, name, metric, part)
            elif _length(part) != 0:
                self._say(
                    key,
                    f"metric {name!r}: {key} is not logged: {described(part)} is no number,"
                    " and there is no plot of it",
                )

    def _draw_value(self, title: str, name: str, metric: Metric, value: Any) -> None:
        """As torchmetrics draws it; its plots of very many classes take minutes."""
        classes = _classes(value)
        if classes > _MANY:
            self._say(name, f"metric {name!r} is not drawn: it has {classes} classes or curves")
            return
        texts = "add_text" in inspect.signature(_plot(metric)).parameters
        options = {"add_text": False} if texts and classes > _READABLE else {}
        self._draw(title, name, partial(metric.plot, value, **options))

    def _draw(self, title: str, name: str, plot: Callable[[], Any]) -> None:
        if isinstance(record(), NullRecorder):
            return
        try:
            with closing_figures():
                for i, figure in enumerate(_drawn(plot)):
                    record().figure(f"{title} {i + 1}" if i else title, figure)
        except NotImplementedError:
            pass  # how torchmetrics says that there is no plot
        except TorchLabError:
            raise
        except ImportError as error:
            self._say("import", f"metric {name!r} can't be plotted: {error}\n{_INSTALL}")
        except Exception as error:  # noqa: BLE001  any: a plot must not end a run of hours
            said = f"{type(error).__name__}: {error}{_place(error)}"
            self._say(name, f"metric {name!r} can't be plotted: {said}")

    def _say(self, about: str, text: str) -> None:
        if about not in self._said and processes.is_first():
            self._said.add(about)
            print(text, file=sys.stderr)


@contextmanager
def closing_figures() -> Iterator[None]:
    """Close those figures of pyplot that are opened within it."""
    before = _open_figures()
    try:
        yield
    finally:
        for number in _open_figures() - before:
            _pyplot().close(number)


def _kept(metric: AnyMetric) -> AnyMetric:
    """The metric, with what it has gathered where its plot needs that."""
    asked = isinstance(metric, MetricCollection) or _plots_itself(metric)
    return copy.deepcopy(metric) if asked else metric


def _given(value: Any) -> Any:
    return value


def _drawn(plot: Callable[[], Any]) -> list[Any]:
    """The figures that a plot returned, or else those that it left open in pyplot."""
    if _pyplot() is not None and not _open_figures():
        _pyplot().switch_backend("agg")  # needs no display
    before = _open_figures()
    figures = _figures(plot())
    return figures or [_pyplot().figure(number) for number in sorted(_open_figures() - before)]


def _figures(value: Any) -> list[Any]:
    """The figures in what a plot returned: (figure, axes), axes alone, several of them."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        found = [figure for each in value for figure in _figures(each)]
        return list({id(figure): figure for figure in found}.values())
    libraries = {kind.__module__.partition(".")[0] for kind in type(value).__mro__}
    if "matplotlib" in libraries:
        figure = value if hasattr(value, "savefig") else getattr(value, "figure", None)
        return [] if figure is None else [figure]
    return [value] if "plotly" in libraries and hasattr(value, "to_plotly_json") else []


def _plots_itself(metric: Metric) -> bool:
    """Whether the plot is one that torchmetrics didn't write."""
    plot = _plot(metric)
    return plot is not None and not _home(plot).startswith("torchmetrics.")


def _plot(metric: Any) -> Any:
    """The function that plots a metric, seen through torch-lab's wrapper; None if there is none."""
    plot = getattr(metric, "plot", None)
    function = getattr(plot, "__func__", plot)
    if not callable(function) or function is Metric.plot:
        return None
    return _plot(metric.metric) if _home(function) == "torch_lab.metrics" else function


def _home(function: Any) -> str:
    return getattr(function, "__module__", None) or ""


def _length(value: Any) -> int | None:
    """The length of what has one; a tensor or array of no dimension says that it does."""
    sized = isinstance(value, Sized) and getattr(value, "shape", None) != ()
    return len(value) if sized else None


def _classes(value: Any) -> int:
    """How many classes a vector, a matrix or several curves are of."""
    if isinstance(value, (list, tuple)) and value:
        value = value[0]
        if getattr(value, "ndim", 2) < 2:
            return 1  # one curve, of many points
    return _length(value) or 1


def _pyplot() -> Any:
    return sys.modules.get("matplotlib.pyplot")


def _open_figures() -> set[int]:
    return set(_pyplot().get_fignums()) if _pyplot() is not None else set()


def _place(error: Exception) -> str:
    """Where in the user's code it was raised, if there."""
    frames = [each for each in extract_tb(error.__traceback__) if is_user_file(each.filename)]
    return f" ({display(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
