"""The runs of a plot beside each other: what was set differently, what came out."""

from __future__ import annotations

import colorsys
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch_lab.store.find import StoredRun
from torch_lab.tasks.plot.curves import Curve, curves
from torch_lab.tasks.table import flatten

# Told apart on white and on black, also by most who see colors differently; neighbors far apart.
_COLORS = (
    "#4269d0",
    "#ff725c",
    "#3ca951",
    "#efb118",
    "#a463f2",
    "#6cc5b0",
    "#ff8ab7",
    "#9c6b4e",
    "#97bbf5",
    "#9498a0",
    "#c2367a",
    "#0f7f7a",
    "#8a9a12",
    "#c4560f",
    "#6a5acd",
    "#1f97d4",
)
_GOLDEN = 0.618034
_SECTION = re.compile(r"^(?:config\.|trainer\.init\.|task\.)")


@dataclass(frozen=True)
class PlottedRun:
    """A run, its color, and all it has logged."""

    stored: StoredRun
    name: str
    color: str
    curves: Mapping[str, Curve]

    @property
    def settings(self) -> dict[str, Any]:
        """Its hyperparameters under dotted keys, with the seed that was drawn."""
        flat = flatten(self.stored.record.hparams)
        if flat.get("seed") is None and self.stored.record.seed is not None:
            flat["seed"] = self.stored.record.seed
        return flat


def plotted(runs: Sequence[StoredRun]) -> list[PlottedRun]:
    """The runs with their curves and colors; those of one name are told apart by their ids."""
    names = [run.record.name for run in runs]
    counts = Counter(names)
    told = (
        name if counts[name] == 1 else f"{name} ({run.record.id[:8]})"
        for run, name in zip(runs, names, strict=True)
    )
    return [
        PlottedRun(run, name, color, curves(run))
        for run, name, color in zip(runs, told, colors(), strict=False)
    ]


def colors() -> Iterator[str]:
    """A color for each run, as many as are asked for."""
    yield from _COLORS
    hue = 0.25
    while True:
        hue = (hue + _GOLDEN) % 1
        red, green, blue = colorsys.hls_to_rgb(hue, 0.42, 0.5)
        yield f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def differing(runs: Sequence[PlottedRun]) -> list[str]:
    """The hyperparameters that are not the same in all runs."""
    every = [run.settings for run in runs]
    keys = dict.fromkeys(key for settings in every for key in settings)
    return [
        key
        for key in keys
        if len({repr(settings[key]) if key in settings else None for settings in every}) > 1
    ]


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """Those of `config` first; each key without its section, where that leaves them different."""
    ordered = sorted(keys, key=lambda key: not key.startswith("config."))
    short = {key: _SECTION.sub("", key, count=1) for key in ordered}
    taken = list(short.values())
    return {key: name if taken.count(name) == 1 else key for key, name in short.items()}
