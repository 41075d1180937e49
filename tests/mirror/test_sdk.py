"""`"task": {"sdk": True}`: code of an experiment that asks ClearML's SDK for its task."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clearml_server.fixture import ClearMLServer
from e2e.tiny_project import HPARAMS, RUN, Outcome, Started
from helpers import environment, wait_for
from mirror.asking_project import ASKING
from mirror.mirrored_lab import MirroredLab, mirrored
from torch_lab.mirror import state
from torch_lab.mirror.state import Mirror
from torch_lab.store.paths import RunDirectory
from zygote import Zygote

SDK = ("train", HPARAMS, "-s", "task.sdk=True")
SLOW = ("-s", "pause=0.1")
LONG = ("-s", "pause=0.2", "-s", "trainer.init.max_epochs=100")  # for those that are ended
NONE = "Task.current_task() is None in this run"


@pytest.fixture
def lab(
    tmp_path: Path, zygote: Zygote, shared_clearml_server: ClearMLServer
) -> Iterator[MirroredLab]:
    shared_clearml_server.heal()
    with mirrored(tmp_path / "tiny", zygote, shared_clearml_server.environment) as made:
        made.append(ASKING)
        yield made


@pytest.fixture
def alone(tmp_path: Path, zygote: Zygote, clearml_server: ClearMLServer) -> Iterator[MirroredLab]:
    """Beside a server of its own, to be broken."""
    with mirrored(tmp_path / "tiny", zygote, clearml_server.environment) as made:
        made.append(ASKING)
        yield made


def task_id(lab: MirroredLab, name: str = RUN) -> str:
    found = lab.mirror(name).task_id
    assert found is not None
    return found


def said(started: Started, words: str) -> bool:
    return started.out.exists() and words in started.out.read_text()


def own(lab: MirroredLab, server: ClearMLServer, name: str = RUN) -> list[int]:
    """The steps at which the experiment's own scalar is on the server."""
    return [step for step, _ in server.scalars(task_id(lab, name)).get(("own", "series"), [])]


class TestATask:
    def test_what_the_code_gives_and_what_the_record_has(
        self, lab: MirroredLab, shared_clearml_server: ClearMLServer
    ) -> None:
        server = shared_clearml_server
        outcome = lab.done(*SDK, "-s", "num_workers=2")
        assert f"task: {task_id(lab)} True" in outcome.out
        task = server.task(task_id(lab))
        assert task["status"] == "completed"
        assert {"hparams", "own section"} <= set(task["hyperparams"])
        assert {"hparams.py", "environment", "own object"} <= set(task["configuration"])
        assert "own tag" in task["tags"]
        artifacts = [each["key"] for each in task["execution"]["artifacts"]]
        assert {"own artifact", "run.json", "source"} <= set(artifacts)
        assert own(lab, server) == list(range(1, 9))
        assert ("loss", "train") in server.scalars(task["id"])
        assert {each["name"] for each in task["models"]["output"]} >= {"last"}

    def test_it_is_fenced_in(self, lab: MirroredLab, shared_clearml_server: ClearMLServer) -> None:
        """Signals, status, children, random numbers and the console are as without it."""
        outcome = lab.done(*SDK, "-s", "num_workers=2")
        assert "handler: StopRequest" in outcome.out
        assert "heirs: []" in outcome.out
        for name in ("mark_failed", "mark_completed"):
            said = f"{name}() of the ClearML task has no effect: the run's end says how"
            assert said in outcome.err
        logs = "\n".join(shared_clearml_server.logs(task_id(lab))).splitlines()
        for line in ("printed by the SDK", "reported alone", "first epoch done"):
            assert logs.count(line) == 1
        assert "reported alone" not in outcome.out
        lab.done("train", HPARAMS, "--offline")
        assert lab.run(RUN).weights() == lab.newest().weights()
        assert lab.run(RUN).rows() == lab.newest().rows()

    def test_how_a_failed_run_ended(
        self, lab: MirroredLab, shared_clearml_server: ClearMLServer
    ) -> None:
        lab.append("\ndef broken(*_):\n    raise ValueError('on purpose')\n")
        lab.append("\nAsking.on_train_epoch_end = broken\n")
        assert lab.do(*SDK).status == 1
        task = shared_clearml_server.task(task_id(lab))
        assert task["status"] == "failed"
        assert "on purpose" in task["status_reason"]
        assert own(lab, shared_clearml_server) == [1, 2, 3, 4]

    def test_resumed_it_is_the_same_task(
        self, lab: MirroredLab, shared_clearml_server: ClearMLServer
    ) -> None:
        steps = self._resumed(lab, shared_clearml_server, RUN)
        if not steps:  # once, on a busy machine, the SDK's own reporter had sent nothing at its end
            steps = self._resumed(lab, shared_clearml_server, RUN.replace("_v0", "_v1"))
        assert steps >= {5, 6, 7, 8}
        assert max(steps) == 8

    def _resumed(self, lab: MirroredLab, server: ClearMLServer, run: str) -> set[int]:
        started = lab.start_one(*SDK, *SLOW)
        wait_for(lambda: said(started, "first epoch done"))
        os.killpg(started.pid, signal.SIGKILL)
        lab.ended(started)
        first = task_id(lab, run)
        outcome = lab.done("train", "--resume", run)
        print(outcome.err)
        assert f"task: {first} True" in outcome.out
        assert (server.task(first)["status"], task_id(lab, run)) == ("completed", first)
        return set(own(lab, server, run))

    def test_an_abort_in_the_web_page_stops_the_run(
        self, lab: MirroredLab, shared_clearml_server: ClearMLServer
    ) -> None:
        started = lab.start_one(*SDK, *LONG)
        wait_for(lambda: said(started, "printed by the SDK"))
        wait_for(lambda: lab.run(RUN).rows())
        shared_clearml_server.abort(task_id(lab))
        outcome = lab.ended(started)
        assert outcome.status == 143, outcome
        assert lab.run(RUN).record["reason"] == "aborted in ClearML (SIGTERM)"
        assert shared_clearml_server.task(task_id(lab))["status"] == "stopped"


class TestNoTask:
    def test_offline(self, lab: MirroredLab) -> None:
        outcome = lab.done(*SDK, "--offline")
        assert "task: None True" in outcome.out
        assert f"task.sdk: no ClearML server is configured, or --offline is set; {NONE}" in (
            outcome.err
        )

    def test_a_server_that_is_away_at_the_start(
        self, alone: MirroredLab, clearml_server: ClearMLServer
    ) -> None:
        clearml_server.stop()
        outcome = alone.done(*SDK)
        assert "task: None True" in outcome.out
        (line,) = [each for each in outcome.err.splitlines() if "task.sdk" in each]
        assert line.startswith("warning: task.sdk: ")
        assert line.endswith(NONE)
        clearml_server.start()
        alone.done("lab", "sync")
        assert clearml_server.task(task_id(alone))["status"] == "completed"


class TestJoining:
    """By a process of its own: the SDK leaves its marks on one."""

    @pytest.fixture
    def task(self, clearml_server: ClearMLServer) -> str:
        created = clearml_server.call("tasks.create", name="00_alone-hparams_v0", type="training")
        clearml_server.call("tasks.started", task=created["id"])
        return str(created["id"])

    def joined(self, folder: Path, server: ClearMLServer, task: str | None, *words: str) -> str:
        """What came of it; the process ends by itself."""
        state.write(RunDirectory(folder), Mirror(server=server.url, task_id=task))
        code = [sys.executable, Path(__file__).with_name("join_with_sdk.py"), folder, server.url]
        done = subprocess.run(
            [*code, *(words or ("20",))],
            env=environment(**server.environment),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()[-1]

    def test_the_task_of_the_sender(
        self, tmp_path: Path, clearml_server: ClearMLServer, task: str
    ) -> None:
        assert self.joined(tmp_path, clearml_server, task) == task
        assert clearml_server.task(task)["status"] == "in_progress"

    def test_none_is_made_in_time(self, tmp_path: Path, clearml_server: ClearMLServer) -> None:
        said = self.joined(tmp_path, clearml_server, None, "0.5")
        assert said == "ServerUnreachable: the run has no task on the ClearML server yet"

    def test_a_sender_that_is_refused(self, tmp_path: Path, clearml_server: ClearMLServer) -> None:
        said = self.joined(tmp_path, clearml_server, None, "20", "refused")
        assert said == "ServerUnreachable: the ClearML server is refused"

    def test_a_server_that_hangs(
        self, tmp_path: Path, clearml_server: ClearMLServer, task: str
    ) -> None:
        clearml_server.fault("hang")
        said = self.joined(tmp_path, clearml_server, task, "2")
        assert said == "ServerUnreachable: the ClearML server doesn't answer its SDK in time"

    def test_a_task_that_is_gone(self, tmp_path: Path, clearml_server: ClearMLServer) -> None:
        gone = "0" * 32
        said = self.joined(tmp_path, clearml_server, gone)
        assert said == f"ServerError: the ClearML server has no task {gone} any more"
        assert clearml_server.tasks() == []  # the one that the SDK made instead is gone too

    def test_credentials_that_are_refused(
        self, tmp_path: Path, clearml_server: ClearMLServer, task: str
    ) -> None:
        clearml_server.fault("error", endpoints=["auth.login"], status=401)
        said = self.joined(tmp_path, clearml_server, task)
        assert said.startswith("ServerError: ClearML's SDK can't open the task: ")


class TestAServerThatGoes:
    def ended(self, alone: MirroredLab, server: ClearMLServer, fault: str) -> Outcome:
        started = alone.start_one(*SDK, *SLOW, env={"TORCH_LAB_SYNC_WAIT": "3"})
        wait_for(lambda: said(started, "first epoch done"))
        server.stop() if fault == "stop" else server.fault(fault)
        return alone.ended(started)

    @pytest.mark.parametrize("fault", ["stop", "hang"])
    def test_the_run_ends_all_the_same(
        self, alone: MirroredLab, clearml_server: ClearMLServer, fault: str
    ) -> None:
        outcome = self.ended(alone, clearml_server, fault)
        assert outcome.status == 0, outcome
        assert alone.run(RUN).record["status"] == "completed"
        assert "ClearML's SDK had not sent all after 3.0 s" in outcome.err
        assert "the run's record is sent as ever" in outcome.err
