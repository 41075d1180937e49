"""From the runs to the file."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch_lab.errors import UsageError
from torch_lab.store.find import StoredRun
from torch_lab.tasks.plot.charts import Chart, charts
from torch_lab.tasks.plot.comparison import PlottedRun, plotted
from torch_lab.tasks.plot.curves import AXES
from torch_lab.tasks.runs.judging import main_metric
from torch_lab.tasks.table import moment
from torch_lab.utils.files import write_atomic
from torch_lab.utils.folders import making
from torch_lab.utils.paths import display
from torch_lab.utils.text import format_size, plural, suggestion

PAGE = (".html", ".htm")
PICTURE = (".png", ".svg", ".pdf")
_MANY = 200
_INSTALL = "pip install 'torch-lab[plot]' installs what draws"


@dataclass(frozen=True)
class Wanted:
    """What is to be drawn, and where it goes."""

    out: Path
    metrics: tuple[str, ...] = ()
    axis: str = "step"
    smooth: float = 0.0


def check(wanted: Wanted) -> None:
    """Say what can't be, before journals of gigabytes are read."""
    ending = wanted.out.suffix.lower()
    if ending not in (*PAGE, *PICTURE):
        got = f"got {wanted.out.name!r}"
        raise UsageError(
            f"lab plot writes a page (.html) or a picture ({', '.join(PICTURE)}), {got}",
            hint="`--out curves.html`, or `--out curves.png`",
        )
    if wanted.axis not in AXES:
        raise UsageError(f"there is no axis {wanted.axis!r}", hint=suggestion(wanted.axis, AXES))
    if wanted.out.is_dir():
        raise UsageError(f"{display(wanted.out)} is a folder", hint="name a file in it")
    _require("plotly" if ending in PAGE else "matplotlib")


def _require(library: str) -> None:
    from importlib.util import find_spec

    if find_spec(library) is None:
        raise UsageError(f"lab plot draws with {library}, which is not installed", hint=_INSTALL)


def draw(runs: Sequence[StoredRun], wanted: Wanted) -> list[str]:
    """Write the file; what to tell about it."""
    everyone = plotted(runs)
    with_curves = [run for run in everyone if run.curves]
    if not with_curves:
        names = ", ".join(run.name for run in everyone[:3])
        raise UsageError(f"nothing has been logged yet by {names}")
    found = charts([run.curves for run in with_curves], wanted.metrics, _main(with_curves))
    is_page = wanted.out.suffix.lower() in PAGE
    content = _page(everyone, found, wanted) if is_page else _picture(with_curves, found, wanted)
    with making(wanted.out):
        wanted.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(wanted.out, content)
    return list(_told(everyone, with_curves, found, wanted, len(content)))


def _page(runs: Sequence[PlottedRun], found: Sequence[Chart], wanted: Wanted) -> bytes:
    from torch_lab import __version__
    from torch_lab.tasks.plot.page import page

    made = f"{moment(time.time())}, torch-lab {__version__}"
    return page(runs, found, title=_title(runs), made=made, axis=wanted.axis, smooth=wanted.smooth)


def _picture(runs: Sequence[PlottedRun], found: Sequence[Chart], wanted: Wanted) -> bytes:
    from torch_lab.tasks.plot.picture import MOST_CHARTS, picture

    return picture(
        runs,
        found[:MOST_CHARTS],
        ending=wanted.out.suffix.lower(),
        title=_title(runs),
        axis=wanted.axis,
        smooth=wanted.smooth,
    )


def _title(runs: Sequence[PlottedRun]) -> str:
    """The run's name, or how many there are of what."""
    if len(runs) == 1:
        return runs[0].name
    experiments = list(dict.fromkeys(run.stored.record.experiment for run in runs))
    named = ", ".join(name for name in experiments[:3] if name)
    more = f" and {len(experiments) - 3} more" if len(experiments) > 3 else ""
    return f"{len(runs)} runs of {named}{more}" if named else f"{len(runs)} runs"


def _main(runs: Sequence[PlottedRun]) -> str | None:
    """The metric that the first of the runs is judged by: its chart comes first."""
    mains = (main_metric(run.stored) for run in runs)
    return next((name for name in mains if name is not None), None)


def _told(
    runs: Sequence[PlottedRun],
    drawn: Sequence[PlottedRun],
    found: Sequence[Chart],
    wanted: Wanted,
    size: int,
) -> list[str]:
    from torch_lab.tasks.plot.picture import MOST_CHARTS

    is_page = wanted.out.suffix.lower() in PAGE
    count = len(found) if is_page else min(len(found), MOST_CHARTS)
    counts = f"{plural(len(drawn), 'run')}, {plural(count, 'chart')}, {format_size(size)}"
    lines = [f"{display(wanted.out)}: {counts}"]
    if count < len(found):
        left = ", ".join(chart.title for chart in found[count:][:5])
        lines.append(
            f"{len(found) - count} more are not drawn: {left}{', …' * (len(found) - count > 5)};"
            " `--metric` chooses, a page (.html) has all"
        )
    silent = [run.name for run in runs if not run.curves]
    if silent:
        lines.append(f"nothing logged yet: {', '.join(silent[:5])}{', …' * (len(silent) > 5)}")
    if is_page and len(runs) > _MANY:
        lines.append(f"a page of {len(runs)} runs is slow to draw: `--limit 50` takes fewer")
    return lines
