"""Fewer points that tell the same, and curves without their noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from torch_lab.tasks.plot.curves import AXES, Curve, Floats


@dataclass(frozen=True)
class Line:
    """A curve as it is drawn: each point stands for `count` values, which lie in low … high."""

    places: dict[str, Floats]
    mean: Floats
    low: Floats
    high: Floats
    count: Floats

    @property
    def thinned(self) -> bool:
        """Whether any point stands for several values."""
        return bool((self.count > 1).any())


def thin(curve: Curve, most: int) -> Line:
    """The curve in at most so many points: means of neighbors, with their least and greatest.

    No spike is lost: it is in low or high. A point lies in the middle of what it stands for, the
    first and the last one at the curve's ends.
    """
    size = len(curve.value)
    if size <= most:
        places = {axis: curve.along(axis) for axis in AXES}
        return Line(places, curve.value, curve.value, curve.value, np.ones(size))
    edges = np.linspace(0, size, most + 1).astype(np.int64)
    begins, ends = edges[:-1], edges[1:]
    middles = (begins + ends - 1) // 2
    middles[0], middles[-1] = 0, size - 1
    known = ~np.isnan(curve.value)
    count = np.add.reduceat(known.astype(np.float64), begins)
    low = np.minimum.reduceat(np.where(known, curve.value, np.inf), begins)
    high = np.maximum.reduceat(np.where(known, curve.value, -np.inf), begins)
    with np.errstate(all="ignore"):
        mean = np.add.reduceat(np.where(known, curve.value, 0.0), begins) / count
    mean[count == 0] = low[count == 0] = high[count == 0] = np.nan
    places = {axis: curve.along(axis)[middles] for axis in AXES}
    return Line(places, mean, low, high, count)


def smoothed(values: Floats, places: Floats, count: Floats, window: float) -> Floats:
    """Means over what came before, which counts less the longer ago it was on the axis.

    After a window's length it counts e^-3, a twentieth. Since distances on the axis count, not
    numbers of points, curves that were logged or thinned differently are smoothed alike.
    """
    if window <= 0:
        return values
    out = np.full(len(values), np.nan)
    total = weight = 0.0
    before = None
    for i, (value, place, each) in enumerate(
        zip(values.tolist(), places.tolist(), count.tolist(), strict=True)
    ):
        if not np.isfinite(value):
            continue
        fading = 1.0 if before is None else float(np.exp(-3 * max(place - before, 0.0) / window))
        total, weight = total * fading + value * each, weight * fading + each
        before, out[i] = place, total / weight
    return out
