"""One page with everything in it: no other file, no network."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np

from torch_lab.tasks.plot.charts import Chart
from torch_lab.tasks.plot.comparison import PlottedRun, differing, short_keys
from torch_lab.tasks.plot.curves import AXES, Curve, Floats
from torch_lab.tasks.plot.media import gallery
from torch_lab.tasks.plot.thinning import Line, thin
from torch_lab.tasks.runs.judging import direction

POINTS = 200_000  # in the whole page, and of one curve …
_MOST, _LEAST = 1000, 64
_SCRIPTS = ("core.js", "runs.js", "curves.js", "coordinates.js", "media.js", "main.js")
_LONGEST = 200  # characters of a hyperparameter
_ESCAPES = {ord(each): f"\\u{ord(each):04x}" for each in "<>&\u2028\u2029"}


def page(
    runs: Sequence[PlottedRun],
    charts: Sequence[Chart],
    *,
    title: str,
    made: str,
    axis: str = "step",
    smooth: float = 0.0,
) -> bytes:
    """The page, in UTF-8."""
    from plotly.offline import get_plotlyjs

    # A browser reads line ends as one character before it compares digests.
    scripts = [get_plotlyjs().replace("\r\n", "\n"), _program()]
    content = {
        "title": title,
        "made": made,
        "axis": axis,
        "smooth": smooth,
        "runs": [_run(run, charts) for run in runs],
        "keys": short_keys(differing(runs)),
        "directions": _directions(runs, charts),
        **_drawn(runs, charts),
        **_recorded(runs),
    }
    text = _asset("page.html")
    parts = {
        "POLICY": html.escape(_policy(scripts)),
        "TITLE": html.escape(title),
        "STYLE": _asset("page.css"),
        "DATA": embedded(content),
        "PLOTLY": scripts[0],
        "PROGRAM": scripts[1],
    }
    # One after the other from the front: what is put in is not looked through again.
    pieces = text.split("%%")
    pieces[1::2] = [parts[name] for name in pieces[1::2]]
    return "".join(pieces).encode("utf-8", "replace")


def embedded(content: Any) -> str:
    """JSON that can stand between two tags of a page, whatever the texts in it say."""
    return json.dumps(content, allow_nan=False, separators=(",", ":")).translate(_ESCAPES)


def _policy(scripts: Sequence[str]) -> str:
    """What a browser may do with the page: run these very scripts, and ask nobody for anything."""
    digests = [hashlib.sha256(script.encode()).digest() for script in scripts]
    allowed = " ".join(f"'sha256-{base64.b64encode(each).decode()}'" for each in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline';"
        " img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
    )


def _program() -> str:
    return "(() => {\n" + "\n".join(_asset(name) for name in _SCRIPTS) + "})();\n"


def _asset(name: str) -> str:
    return (files("torch_lab.tasks.plot") / "assets" / name).read_text(encoding="utf-8")


def _run(run: PlottedRun, charts: Sequence[Chart]) -> dict[str, Any]:
    record = run.stored.record
    metrics = [part.metric for chart in charts for part in chart.parts if part.role != "step"]
    return {
        "name": run.name,
        "id": record.id[:8],
        "status": run.stored.status,
        "reason": record.reason,
        "experiment": record.experiment,
        "script": record.script,
        "created": record.created,
        "color": run.color,
        "settings": {key: plain(value) for key, value in run.settings.items()},
        "final": {name: _final(run.curves[name]) for name in metrics if name in run.curves},
    }


def _directions(runs: Sequence[PlottedRun], charts: Sequence[Chart]) -> dict[str, int]:
    """Of which metrics less is better (-1), and of which more (1)."""
    found = {}
    for metric in (part.metric for chart in charts for part in chart.parts):
        first = next(run for run in runs if metric in run.curves)
        mode = direction(first.stored, metric)
        if mode is not None:
            found[metric] = 1 if mode == "max" else -1
    return found


def plain(value: Any) -> Any:
    """A hyperparameter: a number, or a text."""
    if isinstance(value, str):
        return value[:_LONGEST]
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return value if abs(value) < 2**53 else str(value)[:_LONGEST]
    return repr(value)[:_LONGEST]


def _final(curve: Curve) -> list[float | str]:
    return [_exact(each) for each in (curve.last, curve.least, curve.greatest)]


def _exact(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _drawn(runs: Sequence[PlottedRun], charts: Sequence[Chart]) -> dict[str, Any]:
    """The charts; metrics that were logged together share their places on the axes."""
    places: dict[bytes, int] = {}
    shared: list[dict[str, list[float]]] = []
    most = _room(runs, charts)

    def place(line: Line) -> int:
        key = b"".join(line.places[axis].tobytes() for axis in AXES)
        if key not in places:
            places[key] = len(shared)
            shared.append({axis: _rounded(line.places[axis], 10) for axis in AXES})
        return places[key]

    drawn = []
    for chart in charts:
        curves = [
            {"run": r, "part": p, **_line(line := thin(run.curves[part.metric], most), place(line))}
            for p, part in enumerate(chart.parts)
            for r, run in enumerate(runs)
            if part.metric in run.curves
        ]
        parts = [vars(part) for part in chart.parts]
        drawn.append({"title": chart.title, "parts": parts, "curves": curves})
    return {"charts": drawn, "places": shared}


def _room(runs: Sequence[PlottedRun], charts: Sequence[Chart]) -> int:
    """How many points each curve may have."""
    names = [part.metric for chart in charts for part in chart.parts]
    count = sum(name in run.curves for run in runs for name in names)
    return max(_LEAST, min(_MOST, POINTS // max(count, 1)))


def _line(line: Line, place: int) -> dict[str, Any]:
    found: dict[str, Any] = {"at": place, "y": _rounded(line.mean, 6)}
    if line.thinned:
        found["low"], found["high"] = _rounded(line.low, 6), _rounded(line.high, 6)
        found["count"] = _rounded(line.count, 10)
    return found


def _rounded(values: Floats, digits: int) -> list[Any]:
    """Numbers as short as they may be; what is none leaves a gap."""
    finite = np.isfinite(values).tolist()
    return [
        _short(value, digits) if number else None
        for value, number in zip(values.tolist(), finite, strict=True)
    ]


def _short(value: float, digits: int) -> float | int:
    rounded = float(f"{value:.{digits}g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded


def _recorded(runs: Sequence[PlottedRun]) -> dict[str, Any]:
    found = gallery(runs)
    data: Mapping[str, Any] = {
        "media": found.data(),
        "left_out": found.recorded - len(found.shown),
    }
    return dict(data)
