"""Batch jobs of Slurm: warned, requeued, and started again. `scontrol` is a script of the test."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.tiny_project import HPARAMS, RUN, Lab, Outcome
from helpers import wait_for
from torch_lab.engine import trainer as trainers
from zygote import Zygote

SETS = ("-s", "checkpoint.every_n_steps=3")
WORKS = 'echo "$@" >> asked'
REFUSES = 'echo "slurm_requeue error: Job is disabled" >&2; exit 1'


@pytest.fixture
def lab(tmp_path: Path, zygote: Zygote) -> Iterator[Lab]:
    made = Lab.copied(tmp_path / "project", zygote)
    yield made
    assert made.left_alive() == []


def job(lab: Lab, scontrol: str | None = WORKS, **variables: str) -> dict[str, str]:
    """The environment of a process of a batch job, with a `scontrol` that does this."""
    commands = lab.root / "bin"
    commands.mkdir(exist_ok=True)
    if scontrol is not None:
        script = lab.write("bin/scontrol", f"#!/bin/sh\n{scontrol}\n")
        script.chmod(0o755)
    path = f"{commands}:/usr/bin:/bin"
    return {"PATH": path, "SLURM_JOB_ID": "17", "SLURM_JOB_NAME": "digits"} | variables


def warned(lab: Lab, env: dict[str, str], signum: int = signal.SIGUSR1) -> Outcome:
    """A training that gets a signal after its third batch."""
    go = lab.hold()
    started = lab.start_one("train", HPARAMS, *SETS, env=env)
    wait_for((lab.artifacts / RUN / "checkpoints" / "step-3.ckpt").exists, timeout=240)
    os.kill(started.pid, signum)
    go.touch()
    return lab.ended(started)


def asked(lab: Lab) -> str:
    """What `scontrol` was asked for."""
    path = lab.root / "asked"
    return path.read_text() if path.exists() else ""


@pytest.mark.parametrize("signum", [signal.SIGUSR1, signal.SIGUSR2], ids=["SIGUSR1", "SIGUSR2"])
def test_a_warned_job_is_requeued_and_goes_on(lab: Lab, signum: signal.Signals) -> None:
    outcome = warned(lab, job(lab), signum)
    assert outcome.status == 128 + signum
    assert asked(lab) == "requeue 17\n"
    assert "job 17 is requeued: the same command goes on with this run" in outcome.out
    record = lab.run(RUN).record
    assert record["status"] == "aborted"
    assert record["reason"] == f"{signum.name}, requeued in Slurm"
    assert record["slurm"] == {"job": "17", "restarts": 0}

    again = job(lab, SLURM_RESTART_COUNT="1")
    resumed = lab.do("train", HPARAMS, *SETS, env=again)
    assert resumed.status == 0, resumed.err
    line = f"Slurm job 17 was started again (1 time): {RUN}, which it had begun, goes on"
    assert line in resumed.err
    assert lab.runs() == [RUN]
    record = lab.run(RUN).record
    assert record["status"] == "completed"
    assert record["resumes"][0]["slurm"] == {"job": "17", "restarts": 1}
    assert lab.do("train", HPARAMS, *SETS).status == 0
    assert lab.run(RUN).weights() == lab.newest().weights()

    shown = lab.do("lab", "show", RUN).out
    assert "in Slurm job 17 (1 restart)" in shown


def test_what_a_job_has_completed_is_not_trained_again(lab: Lab) -> None:
    """A batch script with two commands begins with the first one again."""
    assert lab.do("train", HPARAMS, env=job(lab)).status == 0
    again = lab.do("train", HPARAMS, env=job(lab, SLURM_RESTART_COUNT="2"))
    said = f"Slurm job 17 was started again (2 times): {RUN}, which it had begun, is completed\n"
    assert (again.status, again.out) == (0, said)
    assert lab.runs() == [RUN]


def test_other_commands_and_other_jobs_begin_runs_of_their_own(lab: Lab) -> None:
    warned(lab, job(lab))
    for words, env in (
        ([HPARAMS, *SETS, "-s", "width=3"], job(lab, SLURM_RESTART_COUNT="1")),
        ([HPARAMS, *SETS], job(lab, SLURM_RESTART_COUNT="1", SLURM_JOB_ID="18")),
        ([HPARAMS, *SETS], job(lab)),
    ):
        before = len(lab.runs())
        assert lab.do("train", *words, env=env).status == 0
        assert len(lab.runs()) == before + 1


def test_a_task_of_an_array_requeues_itself_alone(lab: Lab) -> None:
    array = {"SLURM_ARRAY_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "3"}
    warned(lab, job(lab, **array))
    assert asked(lab) == "requeue 17_3\n"
    assert lab.run(RUN).record["slurm"]["job"] == "17_3"


@pytest.mark.parametrize(
    ("scontrol", "problem"),
    [
        (REFUSES, "slurm_requeue error: Job is disabled"),
        ("exit 4", "scontrol ended with status 4"),
        (None, "scontrol can't be run: No such file or directory"),
        ("sleep 60", "scontrol does not answer"),
    ],
    ids=["refuses", "fails", "missing", "hangs"],
)
def test_where_slurm_does_not_requeue(lab: Lab, scontrol: str | None, problem: str) -> None:
    outcome = warned(lab, job(lab, scontrol) | {"TORCH_LAB_GRACE_PERIOD": "15"})
    assert outcome.status == 128 + signal.SIGUSR1
    assert f"warning: Slurm doesn't start job 17 again: {problem}" in outcome.err
    record = lab.run(RUN).record
    assert record["status"] == "aborted"
    assert record["reason"] == f"SIGUSR1, not requeued in Slurm: {problem}"
    assert lab.do("train", "--resume", RUN).status == 0


@pytest.mark.parametrize(
    ("signum", "variables"),
    [
        (signal.SIGTERM, {}),  # of a job that is cancelled, or preempted, which requeues by itself
        (signal.SIGUSR1, {"SLURM_JOB_NAME": "interactive"}),
        (signal.SIGUSR1, {"SLURM_PTY_PORT": "40000"}),
        (signal.SIGUSR1, {"SLURM_JOB_ID": ""}),
    ],
    ids=["SIGTERM", "interactive", "at a terminal", "no job"],
)
def test_what_is_no_warning_of_a_batch_job(
    lab: Lab, signum: signal.Signals, variables: dict[str, str]
) -> None:
    assert warned(lab, job(lab, **variables), signum).status == 128 + signum
    assert asked(lab) == ""
    assert lab.run(RUN).record["reason"] == signum.name


def test_a_job_of_one_task_trains_on_several_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning takes one of Slurm's tasks for each device, and here for the only one."""
    monkeypatch.setenv("SLURM_NTASKS", "1")
    monkeypatch.setenv("SLURM_JOB_NAME", "digits")
    init = {"devices": 2, "strategy": "ddp", "accelerator": "cpu", "enable_progress_bar": False}
    assert trainers.build(init, [], directory=tmp_path, logger=None).world_size == 2
