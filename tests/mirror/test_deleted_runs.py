"""`lab rm` beside a ClearML server: what it has not got stays, and its sender survives."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from clearml_server.fixture import ClearMLServer
from e2e.tiny_project import Outcome, Started
from helpers import wait_for
from mirror.made_runs import MadeRun, whole_run
from mirror.synced import Synced
from zygote import Zygote


class Tidied(Synced):
    """A project whose server is configured, in which runs are deleted."""

    def rm(self, *words: str) -> Outcome:
        said = self.root / "said" / uuid.uuid4().hex
        said.mkdir(parents=True)
        out, err = said / "out", said / "err"
        env = self.server.environment
        pid = self.zygote.start("lab", "rm", *words, cwd=self.root, log=out, errors=err, env=env)
        return self.ended(Started(pid, out, err))

    def made_run(self) -> MadeRun:
        return self.begun(sync=True).batches(3).checkpoint("last", "best").end()


@pytest.fixture
def project(tmp_path: Path, zygote: Zygote, clearml_server: ClearMLServer) -> Iterator[Tidied]:
    made = Tidied.made(tmp_path / "made", zygote, clearml_server)
    made.artifacts.mkdir(parents=True)
    yield made
    assert [path.name for path in made.artifacts.glob(".deleted-*")] == []


def test_a_run_goes_once_it_was_sent(project: Tidied) -> None:
    run = project.made_run().run
    refused = project.rm(run.name, "--yes")
    assert refused.status == 2
    assert "not all of it is on the ClearML server yet (`lab sync`)" in refused.err
    assert project.server.tasks() == []  # nobody was asked, nor told
    project.sync()
    (task,) = project.server.tasks()
    done = project.rm(run.name, "--yes")
    assert done.status == 0, done.err
    assert project.runs() == []
    assert [each["id"] for each in project.server.tasks()] == [task["id"]]
    assert project.sync().err == ""


def test_checkpoints_go_here_and_stay_there(project: Tidied) -> None:
    made = project.made_run()
    project.sync()
    models = project.mirror(made.run).models
    done = project.rm(made.run.name, "--keep", "checkpoints=none", "--yes")
    assert done.status == 0, done.err
    assert list(made.run.checkpoints.iterdir()) == []
    project.sync()
    assert project.mirror(made.run).models == models
    assert project.mirror(made.run).done
    (task,) = project.server.tasks()
    assert len(task["models"]["output"]) == 2
    assert project.rm(made.run.name, "--yes").status == 0  # it was sent as it is now


def test_a_sender_survives_the_run_that_it_sends(project: Tidied) -> None:
    made = whole_run(project.artifacts, batches=4000, size=30_000_000, sync=True)
    other = project.begun("01_other-hparams", sync=True).batches(2).end()
    sender = project.start_sync("--follow", env={"TORCH_LAB_SYNC_PATIENCE": "5"})
    wait_for(lambda: project.mirror(made.run).task_id)
    assert not project.mirror(made.run).done
    done = project.rm(made.run.name, "--yes", "--force")
    assert done.status == 0, done.err
    outcome = project.ended(sender)
    assert outcome.status == 0, outcome
    assert "Traceback" not in outcome.out + outcome.err
    assert project.runs() == [other.run.name]
    assert project.mirror(other.run).done
    record = json.loads(other.run.record_file.read_text())
    assert record["status"] == "completed"
