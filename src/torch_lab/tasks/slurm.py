"""Slurm's batch jobs: asked to run again when they are warned, and known again when they do."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch_lab import experiment as experiments
from torch_lab import settings as settings_
from torch_lab.store import find
from torch_lab.store.find import StoredRun
from torch_lab.store.record import QUEUED, Record
from torch_lab.store.secrets import mask_text
from torch_lab.store.slurm import Job, current
from torch_lab.tasks.options import TrainOptions
from torch_lab.tasks.plan import run_prefix, say
from torch_lab.utils.text import plural

SUBMITTED = "_TORCH_LAB_SUBMITTED"  # tells a job that `lab submit` made the id of its run
TURN = "_TORCH_LAB_TURN"  # of commands with the same script, which one this is: 0, 1, …
WARNINGS = (signal.SIGUSR1, signal.SIGUSR2)  # what `sbatch --signal=USR1@90` sends
_PATIENCE = 10.0  # seconds for scontrol, at most


# -- a job that is warned --------------------------------------------------------------------


def to_requeue(signum: int) -> Job | None:
    """The job that is to run again after this signal."""
    job = current()
    return job if job is not None and not job.interactive and signum in WARNINGS else None


def requeue(job: Job, patience: float = _PATIENCE) -> str | None:
    """Ask Slurm to run the job again; returns what went wrong, and says it."""
    problem = _refusal(job, patience)
    if problem is not None:
        say(f"warning: Slurm doesn't start job {job.id} again: {problem}")
    return problem


def requeue_after(signum: int) -> None:
    """Have the job started again in which several commands were warned; all have ended by now."""
    job = to_requeue(signum)
    if job is not None and requeue(job) is None:
        print(f"Slurm job {job.id} is requeued: the same command goes on")


def _refusal(job: Job, patience: float) -> str | None:
    try:
        done = subprocess.run(
            ["scontrol", "requeue", job.id],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=min(patience, _PATIENCE),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "scontrol does not answer"
    except OSError as error:
        return f"scontrol can't be run: {error.strerror or error}"
    if done.returncode == 0:
        return None
    said = " ".join(f"{done.stderr} {done.stdout}".split())
    return said or f"scontrol ended with status {done.returncode}"


# -- a job that runs again -------------------------------------------------------------------


def submitted_run(options: TrainOptions) -> StoredRun | None:
    """The run that `lab submit` made this job for, as far as it is; None outside of such a job.

    Slurm may start a job again whatever became of its run: one that is completed is no mistake.
    """
    number = os.environ.get(SUBMITTED)
    if not number or options.resume is None or current() is None:
        return None
    settings = settings_.load(Path.cwd())
    stored, _ = find.resolve(
        options.resume, settings.artifacts, cwd=Path.cwd(), lost_after=settings.lost_after
    )
    return stored if stored.record.id == number else None


def earlier_run(options: TrainOptions) -> StoredRun | None:
    """The run that this very job began with the same command before it was started again."""
    job = current()
    if job is None or job.restarts == 0 or options.script is None:
        return None
    found = _of_turn(list(_begun_by(job, options)), os.environ.pop(TURN, None))
    if found is not None and found.status != "completed":
        say(f"{_again(job)}: {found.record.name}, which it had begun, goes on")
    return found


def _of_turn(newest_first: Sequence[StoredRun], turn: str | None) -> StoredRun | None:
    if turn is None:
        return newest_first[0] if newest_first else None
    oldest_first = newest_first[::-1]
    return oldest_first[int(turn)] if int(turn) < len(oldest_first) else None


def nothing_to_do(run: StoredRun) -> str:
    """What to say of a run of this job that it had completed before it was started again."""
    job = current()
    assert job is not None
    return f"{_again(job)}: {run.record.name}, which it had begun, is completed"


def _again(job: Job) -> str:
    return f"Slurm job {job.id} was started again ({plural(job.restarts, 'time')})"


def _begun_by(job: Job, options: TrainOptions) -> Iterator[StoredRun]:
    assert options.script is not None
    experiment = experiments.find(options.script)
    settings = settings_.load(experiment.script)
    prefix = run_prefix(experiment, options.dev_run)
    overrides = tuple(mask_text(text) for text in options.overrides)
    for run in find.runs(settings.artifacts, lost_after=settings.lost_after):
        alike = run.folder.rpartition("_v")[0] == prefix
        if alike and run.record.overrides == overrides and _is_of(run.record, job):
            yield run


def _is_of(record: Record, job: Job) -> bool:
    starts = (record.slurm, *(each.slurm for each in record.resumes))
    ours = any(start is not None and start.get("job") == job.id for start in starts)
    return ours and record.status != QUEUED and record.fetched is None
