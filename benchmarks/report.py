"""The table: a line for each thing measured, with its target and whether it is met."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from benchmarks.measuring import Spread

NOTHING = "-"
HEADER = ("", "plain", "Lightning", "torch-lab", "compared", "target", "")
PACKAGES = ("torch", "pytorch-lightning", "torchmetrics", "numpy")


@dataclass(frozen=True)
class Line:
    """One line; `ok` is None where there is no target."""

    what: str
    plain: str = NOTHING
    lightning: str = NOTHING
    lab: str = NOTHING
    compared: str = NOTHING
    target: str = NOTHING
    ok: bool | None = None

    @property
    def cells(self) -> tuple[str, ...]:
        verdict = {True: "ok", False: "over", None: ""}[self.ok]
        figures = (self.plain, self.lightning, self.lab, self.compared, self.target)
        return (self.what, *figures, verdict)


def seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{1e3 * value:.0f} ms"


def micros(value: float) -> str:
    return f"{1e6 * value:.0f} µs" if value >= 1e-4 else f"{1e6 * value:.1f} µs"


def times(spread: Spread) -> str:
    """A ratio, with the quartiles."""
    return f"{spread.middle:.2f}x ({spread.low:.2f}-{spread.high:.2f})"


def table(lines: Iterable[Line]) -> str:
    """For a terminal."""
    rows = [HEADER, *(line.cells for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    return "\n".join(_aligned(row, widths) for row in rows)


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = zip(row, widths, strict=True)
    cells = [f"{first[0]:<{first[1]}}", *(f"{cell:>{width}}" for cell, width in rest)]
    return "  ".join(cells).rstrip()


def markdown(lines: Iterable[Line]) -> str:
    """For RESULTS.md."""
    rule = ("---", *["---:"] * (len(HEADER) - 1))
    rows = [HEADER, rule, *(line.cells for line in lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def about() -> str:
    """When, on what kind of machine and with which versions: no names, no paths."""
    versions = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    return (
        f"{datetime.date.today():%Y-%m-%d}; {_cores()} cores, {platform.machine()}"
        f"{', virtual' if _is_virtual() else ''}, {platform.system()}, no GPU used;"
        f" Python {platform.python_version()}, {versions}; one thread for torch"
    )


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _is_virtual() -> bool:
    try:
        return "hypervisor" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
