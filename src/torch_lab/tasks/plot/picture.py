"""The curves as one picture: PNG, SVG or PDF."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from torch_lab.tasks.plot.charts import Chart, Part
from torch_lab.tasks.plot.comparison import PlottedRun, colors
from torch_lab.tasks.plot.curves import Curve, Floats, span
from torch_lab.tasks.plot.thinning import smoothed, thin
from torch_lab.tasks.table import cut

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

MOST_CHARTS = 12
_POINTS = 600  # of a curve: more than a chart has dots across
_FEW = 30  # points that are worth a mark each
_DENSE = 200  # … and that are too many for a dotted line
_LISTED, _LABEL = 40, 44  # runs in the legend, and characters of each
_DASHES = {"train": (0, (1.2, 1.6)), "test": (0, (5, 1.5, 1.2, 1.5))}
_WIDTH = {"step": 0.8}
_STYLE: dict[Any, Any] = {
    "font.size": 9.5,
    "text.parse_math": False,  # a dollar in a name is a dollar
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "axes.edgecolor": "#c9ced6",
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#eceff3",
    "xtick.color": "#667085",
    "ytick.color": "#667085",
    "axes.labelcolor": "#667085",
    "text.color": "#1d2430",
    "svg.fonttype": "none",
}


def picture(
    runs: Sequence[PlottedRun],
    charts: Sequence[Chart],
    *,
    ending: str,
    title: str,
    axis: str = "step",
    smooth: float = 0.0,
) -> bytes:
    """An image file with a chart for each of the charts."""
    import matplotlib

    with matplotlib.rc_context(matplotlib.rcParamsDefault | _STYLE):
        figure = _figure(runs, charts, title, axis, smooth)
        out = io.BytesIO()
        figure.savefig(out, format=ending.removeprefix("."), dpi=150, facecolor="white")
    return out.getvalue()


@dataclass(frozen=True)
class _Pen:
    """How all curves of the picture are drawn."""

    axis: str
    smooth: float
    alone: bool  # of one run: colors tell its curves apart, not runs
    unit: str = ""
    seconds: float = 1.0


def _figure(
    runs: Sequence[PlottedRun], charts: Sequence[Chart], title: str, axis: str, smooth: float
) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = min(len(charts), 2 if len(charts) in (2, 4) else 3)
    rows = math.ceil(len(charts) / columns)
    entries = list(_legend(runs))
    wide = max(columns * 4.0, 6.4)
    longest = max((len(label) for _, label in entries), default=0)
    across = max(1, min(len(entries), int(wide // (0.6 + 0.085 * longest))))
    room = 0.55 + 0.22 * math.ceil(len(entries) / across)
    spaced = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.1)
    figure = Figure(figsize=(wide, rows * 2.7 + room), layout=spaced)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    pen = _Pen(axis, smooth, len(runs) == 1, *(_unit(runs) if axis == "time" else ()))
    for axes, chart in zip(grid, charts, strict=False):
        _draw(axes, runs, chart, pen)
    _align(grid[: len(charts)])
    for axes in grid[len(charts) :]:
        axes.set_visible(False)
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=12)
    if entries:
        handles, labels = zip(*entries, strict=True)
        style: dict[str, Any] = {"ncols": across, "frameon": False, "fontsize": 8.5}
        figure.legend(handles, labels, loc="outside lower left", **style)
    return figure


def _align(grid: Sequence[Axes]) -> None:
    """The same stretch of the axis in all charts."""
    first, last = zip(*(axes.get_xlim() for axes in grid), strict=True)
    for axes in grid:
        axes.set_xlim(min(first), max(last))


def _legend(runs: Sequence[PlottedRun]) -> Iterator[tuple[Any, str]]:
    """The runs by color; of one run the charts say what is what."""
    from matplotlib.lines import Line2D

    if len(runs) == 1:
        return
    for run in runs[:_LISTED]:
        yield Line2D([], [], color=run.color, linewidth=2.5), _label(cut(run.name, _LABEL))
    if len(runs) > _LISTED:
        yield Line2D([], [], linewidth=0), f"and {len(runs) - _LISTED} more"


def _label(text: str) -> str:
    """A text for a legend; matplotlib passes over those that begin with an underscore."""
    return f"\u200b{text}" if text.startswith("_") else text


def _unit(runs: Sequence[PlottedRun]) -> tuple[str, float]:
    longest = max(span([curve], "time") for run in runs for curve in run.curves.values())
    return ("h", 3600.0) if longest > 7200 else ("min", 60.0) if longest > 180 else ("s", 1.0)


def _draw(axes: Axes, runs: Sequence[PlottedRun], chart: Chart, pen: _Pen) -> None:
    """One chart."""
    parts = [part for part in chart.parts if part.shown]
    drawn = [r.curves[p.metric] for r in runs for p in parts if p.metric in r.curves]
    window = pen.smooth * span(drawn, pen.axis)
    for part, own in zip(parts, colors(), strict=False):
        for run in runs:
            if part.metric in run.curves:
                look = _look(part, parts, own if pen.alone else run.color, pen)
                _curve(
                    axes,
                    run.curves[part.metric],
                    pen,
                    window,
                    look,
                    noisy=part.role != "val" and len(parts) > 1,
                )
    axes.set_title(chart.title, loc="left", fontsize=10.5, fontweight="bold")
    axes.set_xlabel(f"time ({pen.unit})" if pen.unit else pen.axis, fontsize=8.5)
    axes.margins(x=0.02)
    if not any(np.isfinite(curve.value).any() for curve in drawn):
        axes.text(0.5, 0.5, "NaN or inf throughout", transform=axes.transAxes, ha="center")
        axes.set_yticks([])
    if len(parts) > 1:
        _key(axes, parts, pen)


def _look(part: Part, parts: Sequence[Part], color: str, pen: _Pen) -> dict[str, Any]:
    """A curve's line; that of training is dotted where validation is drawn over it."""
    several = sum(each.role != "step" for each in parts) > 1 and not pen.alone
    dash = _DASHES.get(part.role, "-") if several else "-"
    return {"color": color, "linestyle": dash, "linewidth": _WIDTH.get(part.role, 1.6)}


def _key(axes: Axes, parts: Sequence[Part], pen: _Pen) -> None:
    """Which of the chart's lines is what."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], **_look(part, parts, own if pen.alone else "#667085", pen))
        for part, own in zip(parts, colors(), strict=False)
    ]
    labels = [_label(part.label or part.metric) for part in parts]
    axes.legend(handles, labels, frameon=False, fontsize=8, loc="best")


def _curve(
    axes: Axes, curve: Curve, pen: _Pen, window: float, look: dict[str, Any], *, noisy: bool
) -> None:
    line = thin(curve, _POINTS)
    places = line.places[pen.axis] / pen.seconds
    smooth = window > 0 and len(places) > 2
    faint = {"color": look["color"], "alpha": 0.28 if pen.alone else 0.12, "linewidth": 0.8}
    if line.thinned:
        axes.fill_between(places, line.low, line.high, **faint | {"linewidth": 0})
    elif smooth:
        axes.plot(places, line.mean, **faint)
    if noisy and not smooth and len(places) > _DENSE:
        look = look | {"linestyle": "-", "linewidth": 0.8, "alpha": 0.6}
    values = smoothed(line.mean, line.places[pen.axis], line.count, window)
    if len(places) <= _FEW:
        look = look | {"marker": "o", "markersize": 2.5 if len(places) > 1 else 5}
    axes.plot(places, values, **look)
    alone = _alone(values)
    axes.plot(places[alone], values[alone], ".", color=look["color"], markersize=3)


def _alone(values: Floats) -> NDArray[np.bool_]:
    """The values between two that are no numbers, of which a line shows nothing."""
    known = np.isfinite(np.concatenate(([np.nan], values, [np.nan])))
    return known[1:-1] & ~known[:-2] & ~known[2:]
