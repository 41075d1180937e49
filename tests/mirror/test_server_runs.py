"""`lab runs --server`: those of the server beside those that are here, each once."""

from __future__ import annotations

import json
import shutil
import time

import pytest

from e2e.tiny_project import HPARAMS, RUN
from mirror.elsewhere import OFF, Elsewhere, elsewhere, here
from mirror.mirrored_lab import MirroredLab
from mirror.server_content import Content

__all__ = ["elsewhere", "here"]


@pytest.fixture(scope="module")
def others(elsewhere: Elsewhere) -> Content:
    """What else is on the server: a failed run, one of another project, tasks of other kinds."""
    content = Content(elsewhere.server)
    for number, (name, project) in enumerate(
        [("00_tiny-failed_v0", "tests"), ("00_far-hparams_v7", "far/away")]
    ):
        tags = ["torch-lab", f"torch-lab-run:{str(number) * 32}"]
        rate = {"section": "hparams", "name": "config/lr", "value": "0.25", "type": "float"}
        hparams = {"config/lr": rate}
        task = content.task(
            name,
            project,
            system_tags=tags,
            hyperparams={"hparams": hparams},
            script={"entry_point": "pkg/experiments/00_tiny/failed.py"},
        )
        elsewhere.server.call("tasks.started", task=task, force=True)
        reason = {"status_reason": "incomplete: no time", "status_message": "incomplete"}
        elsewhere.server.call("tasks.failed", task=task, force=True, **reason)
    content.task(
        "00_put-away_v0",
        "tests",
        system_tags=["torch-lab", "archived", f"torch-lab-run:{'9' * 32}"],
    )
    content.task("a data set", "tests", type="data_processing")
    return content


def listed(lab: MirroredLab, *words: str) -> dict[str, str]:
    """Each run's name, and where it is."""
    done = lab.done("lab", "runs", "--server", *words)
    _, *lines = done.out.splitlines()
    return {line.split()[0]: line.split()[3] for line in lines}


def test_all_that_there_are(here: MirroredLab, elsewhere: Elsewhere, others: Content) -> None:
    assert listed(here) == {
        "00_far-hparams_v7": "server",
        "00_tiny-failed_v0": "server",
        RUN: "server",
    }
    assert here.done("lab", "runs").out.startswith("no runs yet")
    assert here.runs() == []


def test_beside_those_that_are_here(
    here: MirroredLab, elsewhere: Elsewhere, others: Content
) -> None:
    """Of the ClearML projects that the runs here belong to."""
    shutil.copytree(elsewhere.run.path, here.artifacts / RUN)
    here.done("train", HPARAMS, "-o")
    assert listed(here) == {
        "00_tiny-hparams_v1": "local",
        RUN: "both",
        "00_tiny-failed_v0": "server",
    }
    assert listed(here, "where=server") == {"00_tiny-failed_v0": "server"}
    assert "00_far-hparams_v7" in listed(here, "project!=tests")


def test_filters_and_keys(here: MirroredLab, elsewhere: Elsewhere, others: Content) -> None:
    assert listed(here, "lr=0.25", "status=incomplete", "experiment=00_tiny", "script=failed")
    assert listed(here, "project=far/away") == {"00_far-hparams_v7": "server"}
    assert set(listed(here, "loss/train>0", "--limit", "1")) == {RUN}


def test_a_run_that_was_fetched_while_it_trained(
    here: MirroredLab, elsewhere: Elsewhere, others: Content
) -> None:
    """The server knows how it went on, what is here does not."""
    here.done("lab", "pull", RUN)
    file = here.artifacts / RUN / "run.json"
    stale = json.loads(file.read_text()) | {"status": "running", "ended": None, "metrics": {}}
    file.write_text(json.dumps(stale))
    (run,) = json.loads(here.done("lab", "runs", "--server", "--json", f"name={RUN}").out)
    original = elsewhere.record
    assert (run["where"], run["status"], run["id"]) == ("both", "completed", original["id"])
    assert abs(run["ended"] - original["ended"]) < 60
    assert run["metrics"]["loss/train"] == pytest.approx(original["metrics"]["loss/train"])
    assert run["checkpoints"]  # of which only what is here is known


def test_for_other_programs(here: MirroredLab, elsewhere: Elsewhere, others: Content) -> None:
    done = here.done("lab", "runs", "--server", "--json", f"name={RUN}")
    (run,) = json.loads(done.out)
    original = elsewhere.record
    assert (run["where"], run["directory"], run["status"]) == ("server", None, "completed")
    assert run["hparams"]["config"] == original["hparams"]["config"]
    assert run["metrics"]["loss/train"] == pytest.approx(original["metrics"]["loss/train"])
    for key in ("id", "name", "experiment", "script"):
        assert run[key] == original[key]
    assert abs(run["ended"] - original["ended"]) < 60
    (failed,) = json.loads(
        here.done("lab", "runs", "--server", "--json", "lr=0.25", "project=tests").out
    )
    assert (failed["status"], failed["reason"]) == ("incomplete", "no time")


def test_a_server_that_is_away(here: MirroredLab, elsewhere: Elsewhere) -> None:
    shutil.copytree(elsewhere.run.path, here.artifacts / RUN)
    started = time.monotonic()
    outcome = here.do("lab", "runs", "--server", env=OFF)
    assert time.monotonic() - started < 60
    assert outcome.status == 2
    assert RUN in outcome.out
    assert "127.0.0.1:9 can't be reached" in outcome.err
    assert "only the runs that are here are shown" in outcome.err
    outcome = here.do("lab", "runs", "--server", "--json", env=OFF)
    assert (outcome.status, outcome.out) == (2, "")


def test_a_server_that_hangs(here: MirroredLab, elsewhere: Elsewhere) -> None:
    elsewhere.server.fault("hang", endpoints=["tasks.*"])
    started = time.monotonic()
    outcome = here.do("lab", "runs", "--server")
    assert time.monotonic() - started < 70
    assert outcome.status == 2
    assert "did not answer within" in outcome.err


def test_a_server_that_lists_what_is_no_run(here: MirroredLab, elsewhere: Elsewhere) -> None:
    content = Content(elsewhere.server)
    tags = ["torch-lab", f"torch-lab-run:{'8' * 32}"]
    task = content.task("odd \x1b[2J name", "odd/one", system_tags=tags)
    outcome = here.do("lab", "runs", "--server", "project=odd/one")
    assert (outcome.status, "\x1b" in outcome.out) == (0, False)
    assert "odd" in outcome.out
    elsewhere.server.call("tasks.delete", task=task, force=True)
