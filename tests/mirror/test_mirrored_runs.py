"""Trainings beside a real sender and a server over HTTP: what people see, and what is there after.

What each event looks like on the server, and what survives which fault, has tests of its own.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clearml_server.fixture import ClearMLServer
from e2e.tiny_project import HPARAMS, RUN
from helpers import wait_for
from mirror.mirrored_lab import MirroredLab, mirrored
from zygote import Zygote

SLOW = ("-s", "pause=0.1")  # a second of training
LONG = ("-s", "pause=0.2", "-s", "trainer.init.max_epochs=100")  # for those that are ended


@pytest.fixture
def lab(
    tmp_path: Path, zygote: Zygote, shared_clearml_server: ClearMLServer
) -> Iterator[MirroredLab]:
    shared_clearml_server.heal()
    with mirrored(tmp_path / "tiny", zygote, shared_clearml_server.environment) as made:
        yield made


@pytest.fixture
def alone(tmp_path: Path, zygote: Zygote, clearml_server: ClearMLServer) -> Iterator[MirroredLab]:
    """Beside a server of its own, to be broken."""
    with mirrored(tmp_path / "tiny", zygote, clearml_server.environment) as made:
        yield made


def task_of(lab: MirroredLab, server: ClearMLServer, name: str = RUN) -> dict[str, Any]:
    """The run's task on the server."""
    identifier = lab.mirror(name).task_id
    assert identifier is not None
    return server.task(identifier)


def page_of(lab: MirroredLab, name: str = RUN) -> str:
    page = lab.mirror(name).page
    assert page is not None
    return page


def test_a_run_is_there_when_training_ends(
    lab: MirroredLab, shared_clearml_server: ClearMLServer
) -> None:
    outcome = lab.done("train", HPARAMS, *SLOW)
    page = page_of(lab)
    assert page.startswith(shared_clearml_server.url)
    *before, last = outcome.err.splitlines()
    assert last == f"sent to ClearML: {page}"
    assert before in ([], [f"ClearML: {page}"])  # a slow machine may know it only at the end
    task = task_of(lab, shared_clearml_server)
    assert (task["name"], task["status"]) == (RUN, "completed")
    assert shared_clearml_server.project(task["id"]) == "tests"
    assert lab.run(RUN).record["sync"] is True
    wait_for(lambda: not lab.senders())  # nothing is left to do


def test_a_dev_run_is_mirrored_too(lab: MirroredLab, shared_clearml_server: ClearMLServer) -> None:
    outcome = lab.done("train", HPARAMS, "-d", "2")
    name = f"dev_{RUN}"
    assert f"sent to ClearML: {page_of(lab, name)}" in outcome.err
    task = task_of(lab, shared_clearml_server, name)
    assert shared_clearml_server.project(task["id"]) == "test"


def test_the_first_number_is_above_those_of_the_server(
    lab: MirroredLab, shared_clearml_server: ClearMLServer
) -> None:
    """Through a command that imports torch: the question has that much time."""
    project = shared_clearml_server.call("projects.create", name="numbers")["id"]
    for name in ("00_tiny-hparams_v7", "00_tiny-hparams_v4", "00_tiny-hparams_v90x"):
        shared_clearml_server.call("tasks.create", name=name, type="training", project=project)
    lab.write(HPARAMS, lab.root.joinpath(HPARAMS).read_text().replace('"tests"', '"numbers"'))
    done = lab.command("train", HPARAMS, env=lab.environment)
    assert lab.runs() == ["00_tiny-hparams_v8"]
    assert "sent to ClearML: " in done.stderr
    # The next one is above those that are here, whatever the server says.
    lab.done("train", HPARAMS, "-o")
    assert lab.runs() == ["00_tiny-hparams_v8", "00_tiny-hparams_v9"]


def test_a_sender_that_is_killed_is_started_again(
    lab: MirroredLab, shared_clearml_server: ClearMLServer
) -> None:
    training = lab.start_one("train", HPARAMS, "-s", "pause=0.3")
    first = wait_for(lab.senders)
    wait_for(lambda: lab.mirror(RUN).task_id)
    lab.end_senders()
    second = wait_for(lab.senders)
    assert first != second
    outcome = lab.ended(training)
    assert (outcome.status, outcome.err.count("sent to ClearML")) == (0, 1)
    assert "warning" not in outcome.err
    assert task_of(lab, shared_clearml_server)["status"] == "completed"


def test_a_server_that_goes_and_comes_back(
    alone: MirroredLab, clearml_server: ClearMLServer
) -> None:
    training = alone.start_one("train", HPARAMS, "-s", "pause=1.0")
    wait_for(lambda: alone.mirror(RUN).page)
    wait_for(lambda: "ClearML: " in training.err.read_text())
    clearml_server.stop()
    wait_for(lambda: "warning" in training.err.read_text())
    clearml_server.start()
    outcome = alone.ended(training)
    assert outcome.status == 0
    page, warning, sent = outcome.err.splitlines()
    assert page == f"ClearML: {page_of(alone)}"
    assert f"{page}\n" in alone.run(RUN).console
    assert warning.startswith("warning: nothing more is sent to ClearML for now: ")
    assert sent == f"sent to ClearML: {page_of(alone)}"
    assert task_of(alone, clearml_server)["status"] == "completed"
    scalars = clearml_server.scalars(task_of(alone, clearml_server)["id"])
    rows = [(step, values) for _, step, _, values in alone.run(RUN).rows()]
    steps = [step for step, values in rows if "loss/train" in values]
    assert steps
    assert [step for step, _ in scalars["loss", "train"]] == steps


def test_ctrl_c_then_resumed_it_is_one_task(
    lab: MirroredLab, shared_clearml_server: ClearMLServer
) -> None:
    training = lab.start_one("train", HPARAMS, "-s", "pause=0.4")
    wait_for(lambda: (lab.artifacts / RUN / "metrics").exists() and lab.run(RUN).rows())
    os.kill(training.pid, signal.SIGINT)
    outcome = lab.ended(training)
    assert outcome.status == 130
    assert "sent to ClearML: " in outcome.err
    task = task_of(lab, shared_clearml_server)
    assert task["status"] == "stopped"
    outcome = lab.done("train", "--resume", RUN)
    assert outcome.err.splitlines()[-1] == f"sent to ClearML: {page_of(lab)}"
    assert task_of(lab, shared_clearml_server)["id"] == task["id"]
    assert task_of(lab, shared_clearml_server)["status"] == "completed"


def test_a_failure_is_read_before_it_is_waited_for(
    lab: MirroredLab, shared_clearml_server: ClearMLServer
) -> None:
    outcome = lab.do("train", HPARAMS, "-s", "fault=raises")
    assert outcome.status == 1
    raised, sent = outcome.err.index("a bad batch"), outcome.err.index("sent to ClearML: ")
    assert raised < sent
    task = task_of(lab, shared_clearml_server)
    assert task["status"] == "failed"
    assert "a bad batch" in task["status_reason"]


def test_two_trainings_have_one_sender(
    lab: MirroredLab, shared_clearml_server: ClearMLServer
) -> None:
    trainings = [lab.start_one("train", HPARAMS, *SLOW) for _ in range(2)]
    outcomes = [lab.ended(training) for training in trainings]
    assert [(each.status, each.err.count("sent to ClearML")) for each in outcomes] == [(0, 1)] * 2
    for name in lab.runs():
        assert task_of(lab, shared_clearml_server, name)["status"] == "completed"
    assert len(lab.runs()) == 2
    log = next(lab.artifacts.glob(".senders/*/sender.log")).read_text()
    assert log.count("connected") == 1, log


def test_aborted_in_the_web_page(alone: MirroredLab, clearml_server: ClearMLServer) -> None:
    training = alone.start_one("train", HPARAMS, *LONG)
    wait_for(lambda: alone.mirror(RUN).page)
    wait_for(lambda: alone.run(RUN).record["checkpoints"])
    wait_for(lambda: task_of(alone, clearml_server)["status"] == "in_progress")
    clearml_server.abort(task_of(alone, clearml_server)["id"])
    outcome = alone.ended(training)
    assert outcome.status == 143
    record = alone.run(RUN).record
    assert (record["status"], record["reason"]) == ("aborted", "aborted in ClearML (SIGTERM)")
    assert "aborted in ClearML (SIGTERM) after " in outcome.out
    assert f"next      train --resume {RUN}" in outcome.out
    assert task_of(alone, clearml_server)["status"] == "stopped"
    # An abort is of the start that it ended, not of the next.
    resumed = alone.start_one("train", "--resume", RUN)
    wait_for(lambda: task_of(alone, clearml_server)["status"] == "in_progress")
    os.kill(resumed.pid, signal.SIGTERM)
    assert alone.ended(resumed).status == 143
    assert alone.run(RUN).record["reason"] == "SIGTERM"


def test_a_sender_that_was_started_for_another_server_gives_way(
    lab: MirroredLab, shared_clearml_server: ClearMLServer
) -> None:
    patient = {"TORCH_LAB_SYNC_PATIENCE": "60"}
    nowhere = {**patient, "CLEARML_API_HOST": "http://127.0.0.1:1"}
    first = lab.done("train", HPARAMS, "-d", "2", env=nowhere)
    assert "pending for ClearML" in first.err
    (before,) = lab.senders()
    second = lab.done("train", HPARAMS, *SLOW, env=patient)
    assert "warning" not in second.err
    assert f"sent to ClearML: {page_of(lab)}" in second.err
    assert before not in lab.senders()
    assert task_of(lab, shared_clearml_server)["status"] == "completed"
    wait_for(lambda: lab.mirror(f"dev_{RUN}").done)  # what the first one could not send
