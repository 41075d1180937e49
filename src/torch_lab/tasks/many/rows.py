"""What is known of each script that is to be trained: where it is, and what its run says."""

from __future__ import annotations

import os
import shlex
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch_lab.errors import StoreError
from torch_lab.store import record as records
from torch_lab.store.find import INTERRUPTED, StoredRun
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import UNFINISHED, MetricSummary
from torch_lab.tasks.pool import Ended, Job, Running
from torch_lab.tasks.report import shown
from torch_lab.tasks.runs.judging import main_metric
from torch_lab.tasks.runs.live import live, newest_values
from torch_lab.tasks.table import MISSING, number, rough
from torch_lab.utils.paths import display
from torch_lab.utils.text import format_duration
from torch_lab.utils.threads import ENDING

WAITING, STARTING, NEVER = "waiting", "starting", "not started"


@dataclass
class Row:
    """One script; `run` is as it was last looked at."""

    script: Path
    label: str
    job: Job
    lost_after: float
    running: Running | None = None
    ended: Ended | None = None
    run: StoredRun | None = None
    over = False  # nothing is started any more

    def look(self) -> None:
        """Read what its run says by now."""
        directory = None if self.running is None and self.ended is None else self.job.run
        self.run = None if directory is None else _read(directory, self.lost_after)

    @property
    def under_way(self) -> bool:
        """Whether its process runs."""
        return self.running is not None and self.ended is None

    @property
    def state(self) -> str:
        """Its run's status, or what it is without one."""
        if self.ended is not None and self.run is None:
            if self._stopped_early:
                return NEVER
            return "failed" if self.ended.status else "ended"
        if self.run is not None:
            return self.run.status
        if self.running is not None:
            return STARTING
        return NEVER if self.over else WAITING

    @property
    def _stopped_early(self) -> bool:
        """Whether the signal that ended all came before it had a run."""
        return self.over and self.ended is not None and -self.ended.status in ENDING

    @property
    def name(self) -> str:
        """Its run's name."""
        return MISSING if self.run is None else self.run.brief.name

    @property
    def seconds(self) -> float | None:
        """How long it has taken, so far."""
        if self.ended is not None:
            return self.ended.seconds
        return None if self.running is None else time.monotonic() - self.running.began

    @property
    def metric(self) -> str:
        """The metric that its run is judged by, with its value."""
        name = None if self.run is None else main_metric(self.run)
        if self.run is None or name is None:
            return MISSING
        return f"{name} {number(self.run.facts.metric(name))}"

    def cells(self) -> list[str]:
        """Its line in the live table."""
        at = None if self.run is None else live(self.run)
        epoch = at.where if at is not None else MISSING
        left = rough(at.left) if at is not None else MISSING
        where = str(self.running.slot) if self.under_way and self.running else MISSING
        cells = [self.label, self.state, epoch, self.metric, left, rough(self.seconds)]
        return [*cells, where, self.name]

    def outcome(self) -> str:
        """How it ended, in a line for pipes and logs."""
        assert self.ended is not None
        parts = [self.state if self.run is not None else self.without_run()]
        parts += [self.name] * (self.run is not None)
        parts += [self.metric] * (self.metric != MISSING)
        return ", ".join([*parts, format_duration(self.ended.seconds)])

    def without_run(self) -> str:
        """How its command ended before it had a run."""
        assert self.ended is not None
        if self._stopped_early:
            return NEVER
        return self.killed() or f"{self.state} before it had a run (exit {self.ended.exit_status})"

    def killed(self) -> str:
        """In words, where its process was killed."""
        if self.ended is None or self.ended.status >= 0:
            return ""
        name = signal.Signals(-self.ended.status).name
        if self.ended.out_of_memory:
            return f"killed by the system because memory ran out ({name})"
        return f"killed from outside ({name})" if name == "SIGKILL" else f"ended by {name}"

    def remarks(self) -> list[str]:
        """What there is to say of an end that is not a good one."""
        if self.run is None or (self.ended is not None and not self.ended.status):
            return []
        if self.ended is None and self.run.status not in INTERRUPTED:  # as far as is known yet
            return []
        directory, reason = self.run.directory, self.run.record.reason
        said = [text for text in (self.killed(), reason) if text]
        lines = [f"{self.label}: {', '.join([self.state, *said])}"]
        lines.append(f"  console log: {shown(directory.console())}")
        if self.run.status in INTERRUPTED:
            words = "" if self.run.status in ("aborted", "lost") else "mend it, then "
            lines.append(f"  next: {words}{shlex.join(['train', '--resume', self.run.brief.name])}")
        return lines


def _read(directory: RunDirectory, lost_after: float) -> StoredRun | None:
    """The run with the values that it has logged so far as its metrics."""
    try:
        record = records.read(directory)
        run = StoredRun(directory, record, records.status(directory, record, lost_after))
    except StoreError:  # deleted, or on a disk that is gone
        return None
    if run.status not in UNFINISHED:
        return run
    values = {**_last(record.metrics), **newest_values(run)}
    metrics = {name: MetricSummary(value, value, value) for name, value in values.items()}
    return run.changed(record=replace(record, metrics=metrics))


def _last(metrics: Mapping[str, MetricSummary]) -> dict[str, float]:
    return {name: summary.last for name, summary in metrics.items()}


def labels(scripts: Sequence[Path]) -> tuple[Path | None, list[str]]:
    """The folder that all of them are in, and what is left of each one's path.

    With a number where a script is there more than once.
    """
    counts: dict[Path, int] = {}
    found, folder = [], _common_folder(scripts)
    for script in scripts:
        counts[script] = count = counts.get(script, 0) + 1
        name = display(script) if folder is None else str(script.relative_to(folder))
        found.append(name if scripts.count(script) == 1 else f"{name} ({count})")
    return folder, found


def _common_folder(scripts: Sequence[Path]) -> Path | None:
    """The folder, where naming it once is shorter."""
    folder = Path(os.path.commonpath([script.parent for script in scripts]))
    return folder if folder.is_relative_to(Path.cwd()) and folder != Path.cwd() else None
