"""The Slurm job that a process is part of, and the one that a run was handed to: slurm.json."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from torch_lab.store.failures import storing
from torch_lab.store.paths import RunDirectory
from torch_lab.utils.files import write_atomic

FORMAT = 1
SCHEDULER = "slurm"  # in a record's `queued`, where a ClearML queue has its name
_INTERACTIVE = ("bash", "interactive")  # names of jobs that a person sits at


@dataclass(frozen=True)
class Job:
    """The Slurm job that this process is part of, and how many times it was started again."""

    id: str
    restarts: int = 0
    interactive: bool = False

    def as_record(self) -> dict[str, Any]:
        """What the record keeps of it."""
        return {"job": self.id, "restarts": self.restarts}


def current(environment: Mapping[str, str] = os.environ) -> Job | None:
    """The job of this process; None outside of Slurm.

    A task of an array goes by the array's number and its own: alone, the number that one of them
    shares with the array would mean all of them.
    """
    job, array = environment.get("SLURM_JOB_ID", ""), environment.get("SLURM_ARRAY_JOB_ID")
    if array:
        job = f"{array}_{environment.get('SLURM_ARRAY_TASK_ID', '')}"
    if not re.fullmatch(r"\d+(_\d+)?", job):
        return None
    restarts = environment.get("SLURM_RESTART_COUNT", "")
    at_terminal = "SLURM_PTY_PORT" in environment
    named = environment.get("SLURM_JOB_NAME") in _INTERACTIVE
    return Job(job, int(restarts) if restarts.isdecimal() else 0, at_terminal or named)


def as_record() -> dict[str, Any] | None:
    """What the record keeps of this process's job."""
    job = current()
    return None if job is None else job.as_record()


@dataclass(frozen=True)
class Submission:
    """The job that a run was handed to; `gone`: what became of it, once Slurm has it no more."""

    job: str
    log: str = ""
    submitted: float = 0.0
    cluster: str | None = None
    gone: str | None = None


def submission(run: RunDirectory) -> Submission | None:
    """What slurm.json says; None where there is none, or none that can be read."""
    try:
        content = json.loads(run.slurm_file.read_bytes())
        known = {each.name: content[each.name] for each in fields(Submission)}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Submission(**known)


def write_submission(run: RunDirectory, found: Submission) -> None:
    """Replace slurm.json."""
    content = {"format": FORMAT, **asdict(found)}
    with storing("write", run.slurm_file):
        write_atomic(run.slurm_file, json.dumps(content).encode() + b"\n")
