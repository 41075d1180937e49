"""What Slurm says of the runs that it is to begin, or to go on with: queued, requeued, gone.

`squeue` is asked only where there are such runs, once for all, and not waited for. What became of
a job that Slurm has no more is noted beside its run, so that it needn't be asked for again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from torch_lab.errors import StoreError, UsageError
from torch_lab.store.find import INTERRUPTED, StoredRun
from torch_lab.store.record import QUEUED
from torch_lab.store.slurm import SCHEDULER, Submission, submission, write_submission

REQUEUED, LOST = "requeued", "lost"
WAITING = (QUEUED, REQUEUED)
NOTE = "slurm"  # the key of what a listed run is to be told with
_SECONDS = 2.0  # that somebody waits who wants to see a list
_ASKED_AGAIN = (", requeued in Slurm", ", to be requeued in Slurm")  # how its reason ends
_ENDS = """
BOOT_FAIL CANCELLED COMPLETED DEADLINE FAILED NODE_FAIL OUT_OF_MEMORY PREEMPTED REVOKED TIMEOUT
"""
_WORKS = "COMPLETING RUNNING SIGNALING STAGE_OUT STOPPED SUSPENDED RESIZING"
_OVER, _WORKING = frozenset(_ENDS.split()), frozenset(_WORKS.split())
_FORMAT = "%i|%T|%r|%S|%j"


@dataclass(frozen=True)
class Job:
    """A job as squeue shows it."""

    id: str
    state: str
    reason: str
    start: str
    name: str

    def __str__(self) -> str:
        said = [self.state.lower().replace("_", " ")]
        if self.reason not in ("", "None", "(null)"):
            said.append(f"({self.reason})")
        if self.state == "PENDING" and self.start not in ("", "N/A"):
            said.append(f"to start about {self.start}")
        return " ".join(said)


class _Unknown(Exception):
    """Slurm can't be asked."""


def handed_over(run: StoredRun) -> bool:
    """Whether a run is queued in Slurm, as far as its record tells."""
    return run.status == QUEUED and run.facts.exactly("queued.scheduler") == SCHEDULER


def as_slurm_says(runs: Sequence[StoredRun]) -> list[StoredRun]:
    """The runs, those that wait for Slurm with what it says of them by now."""
    known = {id(run): found for run in runs if (found := _waits_for(run)) is not None}
    if not known:
        return list(runs)
    asked = [run for run in runs if id(run) in known and known[id(run)].gone is None]
    try:
        jobs = _asked(asked) if asked else {}
    except _Unknown as error:
        if any(map(handed_over, asked)):
            print(f"queued runs are shown as they were submitted: {error}", file=sys.stderr)
        return list(runs)
    return [_judged(run, known[id(run)], jobs) if id(run) in known else run for run in runs]


def refuse_waiting(run: StoredRun, *, force: bool = False) -> None:
    """Raise where a job is to begin a run, or to go on with it: it would be trained twice."""
    if force or not (handed_over(run) or run.status in INTERRUPTED):
        return
    (told,) = as_slurm_says([run])
    if told.status not in (*WAITING, "starting"):
        return
    found = submission(run.directory)
    job = f"job {found.job}" if found is not None else "a job"
    raise UsageError(
        f"run {run.record.name} is {told.status} in Slurm: {job} trains it",
        hint="`scancel` that job first; or --force, where Slurm has it no more.",
    )


def _waits_for(run: StoredRun) -> Submission | None:
    """The job that is to begin a run, or to go on with it; `gone` where nobody needs to ask."""
    if run.where == "server" or run.brief.fetched:
        return None
    queued = handed_over(run)
    if not (queued or run.status in INTERRUPTED):
        return None
    found = submission(run.directory)
    if queued:  # where its submission was cut off it is known by its name
        return found or Submission("")
    if found is not None and _is_since(found, run):
        return found
    asked = _requeued_job(run)
    if asked is None or (found is not None and found.job == asked):
        return found
    return Submission(asked)


def _is_since(found: Submission, run: StoredRun) -> bool:
    """Whether a run was handed over after it had ended."""
    return found.submitted > (run.brief.ended or 0.0)


def _requeued_job(run: StoredRun) -> str | None:
    """The job that a run has asked to be started again, and which Slurm said it would."""
    reason = str(run.facts.exactly("reason") or "")
    if not reason.endswith(_ASKED_AGAIN):
        return None
    starts = [run.record.slurm, *(each.slurm for each in run.record.resumes)]
    jobs = [start.get("job") for start in starts if start]
    return str(jobs[-1]) if jobs and jobs[-1] else None


def _judged(run: StoredRun, found: Submission, jobs: dict[str, Job]) -> StoredRun:
    job = jobs.get(found.job) if found.job else _named(run, jobs)
    if found.gone is None and job is not None and job.state not in _OVER:
        return _noted(run.changed(status=_status(run, found, job)), job)
    if found.gone is None and (not _own(run) or found.cluster is not None):
        return run  # Slurm may hide the jobs of others; those of other clusters weren't asked for
    gone = found.gone or (str(job) if job is not None else "gone")
    if found.gone is None and found.job:
        with suppress(StoreError):  # somebody who may only look
            write_submission(run.directory, replace(found, gone=gone))
    return _noted(run.changed(status=LOST) if handed_over(run) else run, gone)


def _status(run: StoredRun, found: Submission, job: Job) -> str:
    """The status of a run whose job Slurm has."""
    if handed_over(run):
        return "starting" if job.state in _WORKING else QUEUED
    if job.state in _WORKING:
        return run.status  # it ends, or begins, at this moment; or somebody else uses the job
    return QUEUED if found.job and _is_since(found, run) else REQUEUED


def _noted(run: StoredRun, job: object) -> StoredRun:
    run.notes[NOTE] = str(job)
    return run


def _named(run: StoredRun, jobs: dict[str, Job]) -> Job | None:
    return next((job for job in jobs.values() if job.name == run.folder), None)


def _own(run: StoredRun) -> bool:
    with suppress(OSError):
        return run.directory.path.stat().st_uid == os.getuid()
    return False


def _asked(runs: Sequence[StoredRun]) -> dict[str, Job]:
    """The jobs of those to whom the runs belong, by their numbers."""
    import subprocess  # slow to import, and needed only here

    # Asked by user: a list of numbers is refused as a whole where Slurm has forgotten one.
    users = ",".join(sorted(set(_users(runs)))) or str(os.getuid())
    command = ["squeue", "--noheader", "--array", "--states=all"]
    try:
        done = subprocess.run(
            [*command, f"--user={users}", f"--format={_FORMAT}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _Unknown("squeue does not answer") from None
    except OSError as error:
        raise _Unknown(f"squeue can't be run: {error.strerror or error}") from None
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"status {done.returncode}"
        raise _Unknown(f"squeue fails: {said}")
    lines = (line.split("|", 4) for line in done.stdout.splitlines())
    return {parts[0].strip(): Job(*map(str.strip, parts)) for parts in lines if len(parts) == 5}


def _users(runs: Sequence[StoredRun]) -> Iterator[str]:
    for run in runs:
        with suppress(OSError):
            yield str(run.directory.path.stat().st_uid)
