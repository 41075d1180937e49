"""`lab show`: all about one run, as text or as data."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch_lab.errors import CheckpointNotFound, StoreError
from torch_lab.mirror import state
from torch_lab.mirror.state import Mirror
from torch_lab.mirror.words import clean
from torch_lab.recording import overview
from torch_lab.store import environment, git
from torch_lab.store.find import StoredRun
from torch_lab.store.record import QUEUED, UNFINISHED, CheckpointEntry, Record, Resume
from torch_lab.store.slurm import submission
from torch_lab.tasks import ledger, machines
from torch_lab.tasks.env import facts
from torch_lab.tasks.runs import duration, live, run_data
from torch_lab.tasks.slurm_queue import NOTE
from torch_lab.tasks.table import (
    MISSING,
    ago,
    colored_status,
    columns,
    flatten,
    moment,
    number,
    printable,
)
from torch_lab.utils.files import file_sizes
from torch_lab.utils.metric_names import is_variant
from torch_lab.utils.text import format_duration, format_size, plural, suggestion


@dataclass(frozen=True)
class View:
    """A run with what is read to show it."""

    run: StoredRun
    children: tuple[Record, ...]
    checkpoints: tuple[CheckpointEntry, ...]
    environment: Mapping[str, Any]
    git: Mapping[str, str]
    mirror: Mirror | None = None
    machines: tuple[dict[str, Any], ...] = ()  # the environments of the others

    @classmethod
    def of(cls, run: StoredRun, others: Sequence[StoredRun], checkpoint: str | None = None) -> View:
        """Read what belongs to a run; with a checkpoint's name, of its checkpoints only that."""
        children = (other.record for other in others if other.brief.parent == run.brief.id)
        return cls(
            run=run,
            children=tuple(children),
            checkpoints=_checkpoints(run.record, checkpoint),
            environment=environment.read(run.directory),
            git=git.recorded(run.directory.git_diff),
            mirror=_mirror(run),
            machines=machines.others(run.directory),
        )


def describe(
    view: View, *, width: int | None = None, color: bool = False, now: float | None = None
) -> str:
    """The run for a reader; tables of numbers fit the width, texts are not cut."""
    now = time.time() if now is None else now
    status = colored_status(view.run.status) if color else view.run.status
    sections = [
        [f"{view.run.record.name}  {status}", *columns(list(_facts(view, now)))],
        _fitting(_section("metrics", list(_metrics(view.run.record))), width),
        _fitting(_section("checkpoints", list(_checkpoint_rows(view.checkpoints))), width),
        _section("hparams", list(_hparams(view.run.record))),
        _section("environment", list(_environment_rows(view))),
        _section("recorded", list(overview.rows(view.run.directory))),
        _section(f"files in {view.run.directory.path}", list(_files(view.run.directory.path))),
    ]
    return "\n".join("\n".join(lines) + "\n" for lines in sections if lines)


def as_data(view: View, now: float | None = None) -> dict[str, Any]:
    """The run for `--json`."""
    data = run_data(view.run, time.time() if now is None else now)
    shown = {entry.name for entry in view.checkpoints}
    data["checkpoints"] = [entry for entry in data["checkpoints"] if entry["name"] in shown]
    return {
        **data,
        "children": [{"id": child.id, "name": child.name} for child in view.children],
        "environment": dict(view.environment),
        "other_machines": list(view.machines),
        "git": dict(view.git),
        "media": overview.media(view.run.directory),
        "machine_use": overview.machine_use(view.run.directory),
        "files": dict(_sizes(view.run.directory.path)),
    }


def _checkpoints(record: Record, name: str | None) -> tuple[CheckpointEntry, ...]:
    if name is None:
        return record.checkpoints
    chosen = tuple(entry for entry in record.checkpoints if entry.name == name)
    if not chosen:
        names = [entry.name for entry in record.checkpoints]
        raise CheckpointNotFound(
            f"run {record.name} has no checkpoint {name!r}", hint=suggestion(name, names)
        )
    return chosen


def _mirror(run: StoredRun) -> Mirror | None:
    """What was sent of a run that was made here and has begun; a damaged file says nothing."""
    if run.record.fetched is not None or run.record.status == QUEUED:
        return None
    try:
        return state.read(run.directory)
    except StoreError:
        return None


def _facts(view: View, now: float) -> Iterator[tuple[str, str]]:
    record = view.run.record
    if record.reason:
        yield "reason", printable(record.reason)
    yield "id", record.id
    yield "experiment", record.experiment
    yield "script", record.script
    if record.dev_run is not None:
        yield "dev run", str(record.dev_run)
    yield from _slurm_rows(view.run)
    if record.queued is not None and "queue" in record.queued:
        agent = record.queued.get("agent")
        yield "queue", f"{record.queued.get('queue')}{f', agent {agent}' if agent else ''}"
        yield "task", str(record.queued.get("page") or MISSING)
    yield "created", ago(record.created, now)
    yield from _times(view.run, now)
    for resume in record.resumes:
        yield "resumed", _resumed(resume)
    if record.estimator is not None:
        yield "estimator", estimator_words(record.estimator)
    done, at = record.progress, live(view.run)
    yield "progress", str(at or f"epoch {done.epoch}, step {done.step}, batch {done.batch}")
    if record.ledger is not None:
        yield from ledger.rows(record.ledger)
    yield "command", " ".join(record.command) or MISSING
    if record.overrides:
        yield "overrides", ", ".join(record.overrides)
    yield "host", record.host or MISSING
    if (count := machines.processes(record, len(view.machines))) is not None:
        yield "processes", count
    yield "seed", MISSING if record.seed is None else str(record.seed)
    if record.sweep is not None:
        yield "sweep", f"trial {record.sweep.get('trial')} of {record.sweep.get('study')}"
    if record.parent is not None:
        parent = record.parent
        yield "parent", f"{parent.name} ({parent.id[:8]}), checkpoint {parent.checkpoint}"
    if record.fetched is not None:
        server, task = record.fetched.get("server"), record.fetched.get("task_id")
        yield "fetched", f"from {server}, task {task}"
    if view.mirror is not None:
        yield "ClearML", _sent(view.mirror, view.run)
    for child in view.children:
        yield "child", f"{child.name} ({child.id[:8]})"


def estimator_words(about: Mapping[str, Any]) -> str:
    """The class of what was fitted in place of a network, and how that was done."""
    return ", ".join(str(about[key]) for key in ("class", "fitted") if about.get(key))


def _slurm_rows(run: StoredRun) -> Iterator[tuple[str, str]]:
    """The job that the run was handed to, what Slurm says of it, its log; else that it began in."""
    found, said = submission(run.directory), run.notes.get(NOTE)
    begun = run.record.slurm or {}
    number = found.job if found is not None else begun.get("job")
    if number is not None:
        yield "slurm", f"job {number}{f', {said}' if said else ''}"
    if found is not None and found.log:
        yield "log", found.log


def _resumed(resume: Resume) -> str:
    text = f"{moment(resume.time)} after {plural(resume.batch, 'batch', 'batches')}"
    job = resume.slurm or {}
    restarts = plural(job.get("restarts", 0), "restart")
    return f"{text}, in Slurm job {job.get('job')} ({restarts})" if job else text


def _sent(mirror: Mirror, run: StoredRun) -> str:
    """The task's page, and what became of the run's way there."""
    resumed = run.status in UNFINISHED or mirror.ended != run.record.ended
    if mirror.done and not resumed:
        said = "sent"
    else:
        said = f"pending: {clean(mirror.problem)}" if mirror.problem else "being sent"
    return f"{clean(mirror.page)} ({said})" if mirror.page else said


def _times(run: StoredRun, now: float) -> Iterator[tuple[str, str]]:
    if run.record.ended is not None:
        yield "ended", ago(run.record.ended, now)
    seconds = duration(run, now)
    if seconds is not None:
        yield "duration", format_duration(seconds)


def _section(title: str, rows: Sequence[Sequence[str]]) -> list[str]:
    return [title, *columns(rows)] if rows else []


def _fitting(lines: Sequence[str], width: int | None) -> list[str]:
    """The lines without what stands beyond the terminal's edge, which --json has."""
    if width is None:
        return list(lines)
    return [line if len(line) <= width else f"{line[: width - 1]}…" for line in lines]


def _metrics(record: Record) -> Iterator[Sequence[str]]:
    if record.metrics:
        yield "", "last", "min", "max"
    for name, summary in record.metrics.items():
        yield name, number(summary.last), number(summary.min), number(summary.max)


def _checkpoint_rows(entries: Sequence[CheckpointEntry]) -> Iterator[Sequence[str]]:
    if entries:
        yield "", "file", "size", "epoch", "step", "batch", "metrics"
    for entry in entries:
        size = MISSING if entry.size is None else format_size(entry.size)
        metrics = ", ".join(
            f"{name} {number(value)}"
            for name, value in entry.metrics.items()
            if not is_variant(name, entry.metrics)
        )
        counts = (str(entry.epoch), str(entry.step), str(entry.batch))
        yield entry.name, entry.file, size, *counts, metrics


def _hparams(record: Record) -> Iterator[Sequence[str]]:
    """Under the keys that `--set` takes."""
    edited = (record.queued or {}).get("edited") or {}
    for key, value in flatten(record.hparams).items():
        changed = "(--set)" if _is_set(key, record.overrides) else ""
        yield key, repr(value), "(edited in ClearML)" if key in edited else changed


def _is_set(key: str, overrides: Sequence[str]) -> bool:
    names = {text.partition("=")[0].strip() for text in overrides}
    return any(key in (name, f"config.{name}") for name in names)


def _environment_rows(view: View) -> Iterator[Sequence[str]]:
    if view.environment:
        yield from facts(view.environment)
        yield from machines.rows(view.environment, view.machines)
    for name, value in view.git.items():
        yield ("git" if name == "state" else f"git {name}"), value


def _files(path: Path) -> Iterator[Sequence[str]]:
    for name, size in _sizes(path):
        yield name, format_size(size)


def _sizes(path: Path) -> Iterator[tuple[str, int]]:
    """The files of a run, and its folders with all that is in them: links count once, or not."""
    for entry in sorted(path.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield f"{entry.name}/", sum(file_sizes([entry]).values())
        elif entry.is_file():
            yield entry.name, entry.stat().st_size
