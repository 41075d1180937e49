"""The first and the last lines of a training run."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from torch_lab.errors import LockLost, RankLost, RunIncomplete, Stopped
from torch_lab.experiment import Experiment, has_function
from torch_lab.hparams.kinds import literals
from torch_lab.hparams.overriding import config_changes, config_keys
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import CRASH, CheckpointEntry, Record
from torch_lab.store.secrets import MASK
from torch_lab.tasks import ledger
from torch_lab.tasks.mirroring import stopped_by
from torch_lab.utils.metric_names import is_variant
from torch_lab.utils.text import format_duration, plural

if TYPE_CHECKING:
    from torch_lab.tasks.session import Session


def shown(path: Path) -> str:
    """The path as one would type it from here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def headline(
    record: Record, directory: RunDirectory, resumed: CheckpointEntry | None = None
) -> str:
    """Name, id and directory of the run that begins or goes on."""
    text = f"run {record.name} (id {record.id[:8]}) in {shown(directory.path)}"
    if not record.resumes:
        return text
    if resumed is None:
        return f"{text}, from the start: it has no checkpoint"
    return f"{text}, from {Path(resumed.file).name} (epoch {resumed.epoch}, batch {resumed.batch})"


def completed(session: Session, experiment: Experiment) -> str:
    """Where everything is after a run, and what to type next."""
    best = session.best()  # also waits for the last save
    batches = plural(session.record.progress.batch, "batch", "batches")
    length = f"{batches}, {_duration(session)}"
    lines = [f"completed after {length}"]
    if stopped := ledger.stop(session.record.ledger):
        lines.append(f"  stopped   {stopped}")
    lines += [*_metrics(session.record), *_checkpoints(session)]
    if best is not None and has_function(experiment, "infer_config"):
        words = ["infer", shown(experiment.script), "--checkpoint", session.record.name]
        lines.append(f"  next      {shlex.join([*words, *set_words(session.record)])}")
    return "\n".join(lines)


def set_words(record: Record) -> list[str]:
    """The options that give a run's config again; what was masked can't be given.

    What was edited in ClearML while the run was queued goes before what it was begun with.
    """
    edited = (record.queued or {}).get("edited") or {}
    kept = [text for text in record.overrides if not _is_below(edited, text)]
    kept += [f"{_short(key)}={text}" for key, text in _config_texts(edited)]
    texts = [text for text in config_changes(kept) if not text.endswith(MASK)]
    return [word for text in texts for word in ("--set", text)]


def _is_below(edited: Iterable[str], override: str) -> bool:
    """Whether an override gives a value that was replaced later."""
    keys = [f"{key}." for key in config_keys([override])]
    return any(key.startswith(f"{each}.") for key in keys for each in edited)


def _config_texts(edited: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The config's edited values as `--set` reads them; what no text gives back is left out."""
    for key, value in edited.items():
        if not key.startswith("config."):
            continue
        plain = isinstance(value, (str, float, PurePath))
        text = str(value) if plain else repr(value)
        if MASK not in text and (plain or literals(text) == [value]):
            yield key, text


def _short(key: str) -> str:
    """A key of the config without that word, where it means the same."""
    short = key.removeprefix("config.")
    return short if config_keys([f"{short}="]) == [key] else key


def interrupted(error: BaseException, session: Session) -> str:
    """What a run that ended early has saved, and how to go on."""
    stopped = isinstance(error, (Stopped, KeyboardInterrupt))
    cause = stopped_by(session.directory, session.record, error)
    ended = "incomplete" if isinstance(error, RunIncomplete) else "failed"
    verb = (cause if " " in cause else f"stopped by {cause}") if stopped else ended
    lines = [f"{verb} after {_duration(session)}"]
    if not isinstance(error, LockLost):  # else another process goes on with the run, or it is gone
        lines += [*_checkpoints(session), *_crash(session)]
        lines.append(f"  next      {_way_on(session, error)}")
    return "\n".join(lines)


def _way_on(session: Session, error: BaseException) -> str:
    """What to type after the run ended early; a failure would only happen again as things are."""
    stopped = isinstance(error, (RankLost, Stopped, KeyboardInterrupt))
    record = session.record
    resume = shlex.join(["train", "--resume", record.name])
    if stopped:
        return resume
    begun = session.checkpoint("last") is not None or record.resumes
    if isinstance(error, RunIncomplete) or not begun:  # there is nothing left to go on with
        return f"mend it, then start again: {shlex.join(record.command)}"
    return f"mend it, then {resume} (with --force if that changed the experiment's scripts)"


def _duration(session: Session) -> str:
    """How long this start of the run has trained; between two starts it did not."""
    record = session.record
    began = record.resumes[-1].time if record.resumes else record.started or record.created
    return format_duration(time.time() - began)


def _metrics(record: Record) -> list[str]:
    """An epoch's values; those of single steps say little at the end."""
    names = [name for name in record.metrics if not is_variant(name, record.metrics)]
    shown_names = [name for name in names if not name.endswith("_step")]
    width = max((len(name) for name in shown_names), default=0)
    return [
        f"  {name:<{width}}  {record.metrics[name].last:.4g}"
        f"  (min {record.metrics[name].min:.4g}, max {record.metrics[name].max:.4g})"
        for name in sorted(shown_names)
    ]


def _crash(session: Session) -> list[str]:
    """What the exception that ended this start of the run left; an earlier one's is no news."""
    entry = session.checkpoint(CRASH)
    began = session.record.resumes[-1].time if session.record.resumes else 0
    return [] if entry is None or (entry.saved or 0) < began else _checkpoints(session, CRASH)


def _checkpoints(session: Session, *names: str) -> list[str]:
    entries = [session.checkpoint(name) for name in names or ("best", "last")]
    return [
        f"  {entry.name:<8}  {shown(session.directory.path / entry.file)}"
        f"  (epoch {entry.epoch}, batch {entry.batch})"
        for entry in entries
        if entry is not None
    ]
