"""`lab sync` over real HTTP: what the server has then is what the run's directory holds."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from clearml_server.fixture import ClearMLServer
from helpers import wait_for
from mirror.made_runs import (
    MadeRun,
    assert_same,
    console_of,
    expected_status,
    models_of,
    status_of,
    task_of,
    warnings_of,
    whole_run,
)
from mirror.synced import Synced
from torch_lab.mirror import state
from torch_lab.store import record as records
from torch_lab.store.record import Parent
from zygote import Zygote

# What `lab sync` asks of a server for a run with all there is.
ENDPOINTS = [
    *("tasks.create", "tasks.started", "tasks.edit", "tasks.completed", "tasks.get_all"),
    *("projects.create", "projects.get_all", "models.create", "models.get_all"),
    *("models.add_or_update_metadata", "events.add_batch", "files.POST", "files.GET"),
]


@pytest.fixture
def project(tmp_path: Path, zygote: Zygote, clearml_server: ClearMLServer) -> Synced:
    return Synced.made(tmp_path / "made", zygote, clearml_server)


@pytest.fixture
def shared(tmp_path: Path, zygote: Zygote, shared_clearml_server: ClearMLServer) -> Synced:
    """Beside a server with what other tests have sent."""
    shared_clearml_server.heal()
    return Synced.made(tmp_path / "made", zygote, shared_clearml_server)


def same(project: Synced, made: MadeRun, status: str | None = None) -> None:
    assert_same(project.server, made.run, status)


# -- one run --------------------------------------------------------------------------------------


def test_all_of_a_run_arrives(shared: Synced) -> None:
    made = whole_run(shared.artifacts)
    outcome = shared.sync()
    page = shared.mirror(made.run).page
    assert outcome.out == (
        "00_made-hparams_v0: sent 9,100 scalars, 3,051 lines of the log, 20 items, 5 artifacts,"
        f" checkpoint best (3.0 MB), checkpoint last (1.5 MB), {page}\n"
    )
    assert outcome.err == ""
    same(shared, made)


def test_what_was_sent_is_not_sent_again(project: Synced) -> None:
    made = whole_run(project.artifacts, batches=20, size=1000)
    project.sync()
    before = project.server.counts()
    assert project.sync().out == "1 run up to date\n"
    assert project.sync(made.run.name).out.startswith("00_made-hparams_v0: up to date, http://")
    asked = {key for key, count in project.server.counts().items() if count != before.get(key)}
    assert asked == {"auth.login", "tasks.get_all"}


def test_a_failure_is_told_with_its_reason(shared: Synced) -> None:
    made = shared.begun().batches(3).end("failed", "RuntimeError: boom")
    shared.sync()
    assert status_of(task_of(shared.server, records.read(made.run))) == (
        "failed",
        "RuntimeError: boom",
    )


def test_numbers_that_are_none_are_told_of_once(shared: Synced) -> None:
    made = whole_run(shared.artifacts, batches=5, size=10)
    shared.sync()
    made.run.mirror_file.unlink()
    shared.sync()
    task = task_of(shared.server, records.read(made.run))
    (said,) = warnings_of(shared.server, task["id"])
    assert said.startswith("loss/train is nan at step 10")
    same(shared, made)


def test_a_run_whose_mirror_is_lost_is_not_doubled(project: Synced) -> None:
    made = whole_run(project.artifacts, batches=50, size=1000)
    project.sync()
    made.run.mirror_file.unlink()
    project.sync()
    assert len(project.server.tasks()) == 1
    same(project, made)


def test_output_goes_where_the_hyperparameters_say(project: Synced, tmp_path: Path) -> None:
    place = tmp_path / "bücket"
    hparams = {"task": {"output_uri": str(place), "project_name": "all/made"}}
    made = project.begun(hparams=hparams).batches(2).checkpoint("last").end()
    project.sync()
    (model,) = project.server.models(made.run.name)
    assert model["uri"].startswith("file://")
    file = Path(model["uri"].removeprefix("file://"))
    assert file.read_bytes() == (made.run.checkpoints / "step-2.ckpt").read_bytes()
    assert project.server.project(made.run.name) == "all/made"
    task = project.server.task(made.run.name)
    assert task["output"]["destination"] == str(place)
    assert [each for each in project.server.files() if "models" in each] == []


# -- whatever gets lost on the way ----------------------------------------------------------------


@pytest.mark.parametrize("done", [True, False], ids=["after", "before"])
def test_every_request_that_is_lost_once_is_made_up_for(project: Synced, done: bool) -> None:
    """Whether or not the server had done what was asked when its answer was lost."""
    made = whole_run(project.artifacts, batches=400)
    for endpoint in ENDPOINTS:
        project.server.fault("drop", endpoints=[endpoint], done=done, times=1)
    for _ in range(4):
        if project.ended(project.start_sync()).status == 0:
            break
    same(project, made)
    assert len(project.server.tasks()) == 1


def test_kills_at_any_moment_double_nothing(project: Synced) -> None:
    kill_again_and_again(project, whole_run(project.artifacts), kills=8, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_many_kills_double_nothing(project: Synced, seed: int) -> None:
    kill_again_and_again(project, whole_run(project.artifacts), kills=15, seed=seed)


def kill_again_and_again(project: Synced, made: MadeRun, kills: int, seed: int) -> None:
    draw = random.Random(seed)
    project.server.fault("slow", seconds=0.02)
    for _ in range(kills):
        started = project.start_sync()
        time.sleep(draw.uniform(0.5, 2.0))
        os.kill(started.pid, signal.SIGKILL)
        project.zygote.wait(started.pid)
    project.server.heal()
    project.sync()
    same(project, made)
    assert len(project.server.tasks()) == 1


def test_two_at_once_do_no_harm(project: Synced) -> None:
    made = whole_run(project.artifacts)
    started = [project.start_sync() for _ in range(3)]
    outcomes = [project.ended(each) for each in started]
    assert [each.status for each in outcomes] == [0, 0, 0]
    sent = [each.out for each in outcomes if ": sent 9,100 scalars" in each.out]
    others = [each.out for each in outcomes if each.out not in sent]
    assert len(sent) == 1
    assert all("sent by another process" in out or "up to date" in out for out in others)
    same(project, made)


# -- runs that go on ------------------------------------------------------------------------------


def test_what_a_resumed_run_supersedes_is_taken_back(shared: Synced) -> None:
    made = shared.begun().batches(30).items(3).artifact("old", "a.txt").checkpoint("last").end()
    shared.sync()
    same(shared, made)
    made.resume(20).batches(7).items(1).artifact("new", "a.txt").end("failed", "boom")
    assert shared.sync().out.startswith(f"{made.run.name}: sent 81 scalars, 37 lines of the log")
    same(shared, made)


def test_a_run_that_died_is_failed_until_it_goes_on(shared: Synced) -> None:
    made = shared.begun().batches(10)
    made.lock.release()  # as if its process was gone
    shared.sync()
    task = task_of(shared.server, records.read(made.run))
    assert status_of(task)[0] == "failed"
    made.resume(10).batches(5).end()
    shared.sync()
    same(shared, made)
    assert len([e for e in console_of(shared.server, task["id"]) if "batch 3:" in e]) == 1


def test_a_run_under_way_is_sent_as_far_as_it_is(shared: Synced) -> None:
    made = shared.begun().batches(10)
    outcome = shared.sync()
    assert f"{made.run.name}: sent 30 scalars" in outcome.out
    assert outcome.out.endswith("it is still being trained\n")
    assert task_of(shared.server, made.writer.record)["status"] == "in_progress"
    made.batches(10).end()
    shared.sync()
    same(shared, made)


def test_a_newer_checkpoint_takes_the_place_of_the_one_before(project: Synced) -> None:
    made = project.begun().batches(5).checkpoint("last", "best")
    project.sync()
    task = project.server.tasks()[0]
    first = models_of(project.server, task)
    assert set(first) == {"last", "best"}
    made.batches(5).checkpoint("last").end()
    project.sync()
    same(project, made)
    names = [Path(each).name for each in project.server.files() if "/models/" in each]
    assert sorted(name[17:] for name in names) == ["step-10.ckpt", "step-5.ckpt"]
    made.resume(10).batches(5).checkpoint("last", "best").end()
    project.sync()
    same(project, made)
    names = [Path(each).name for each in project.server.files() if "/models/" in each]
    assert [name[17:] for name in names] == ["step-15.ckpt"]


# -- several runs ---------------------------------------------------------------------------------


def test_a_run_is_sent_after_the_one_it_started_from(project: Synced) -> None:
    first = project.begun().batches(3).checkpoint("last").end()
    record = records.read(first.run)
    parent = Parent(record.id, record.name, "last")
    second = project.begun(parent=parent, created=1.0).batches(3).end()  # a clock that was wrong
    other = project.begun().batches(1).end()
    outcome = project.sync(second.run.name)
    assert [line.split(":")[0] for line in outcome.out.splitlines()] == [
        first.run.name,
        second.run.name,
    ]
    task = task_of(project.server, records.read(second.run))
    assert task["parent"] == task_of(project.server, record)["id"]
    assert project.mirror(other.run).task_id is None


def test_runs_that_cannot_be_sent_do_not_stop_the_others(project: Synced) -> None:
    damaged, newer, sound = (project.begun(f"0{i}_x-h").batches(2).end() for i in range(3))
    damaged.run.record_file.write_text("{")
    content = json.loads(newer.run.record_file.read_text())
    newer.run.record_file.write_text(json.dumps(content | {"format": 99}))
    outcome = project.sync(status=1)
    assert "00_x-h_v0: pending: " in outcome.out
    assert "is damaged" in outcome.out
    assert "01_x-h_v0: pending: run 01_x-h_v0 was written by a newer torch-lab" in outcome.out
    assert "02_x-h_v0: sent 6 scalars, 2 lines of the log" in outcome.out
    same(project, sound)


def test_a_journal_of_a_newer_torch_lab_does_not_stop_the_others(project: Synced) -> None:
    newer, sound = (project.begun(f"0{i}_x-h").batches(2).end() for i in range(2))
    segment = newer.run.metrics / "0000.jsonl"
    segment.write_text(segment.read_text().replace('"format":1', '"format":7', 1))
    outcome = project.sync(status=1)
    assert "00_x-h_v0: pending: " in outcome.out
    assert "was written by a newer torch-lab (format 7)" in outcome.out
    same(project, sound)


def test_a_run_that_is_deleted_meanwhile_does_not_stop_the_others(project: Synced) -> None:
    first, second = (project.begun(f"0{i}_x-h").batches(500).end() for i in range(2))
    project.server.fault("slow", seconds=0.3)
    started = project.start_sync()
    wait_for(first.run.mirror_file.exists)
    shutil.rmtree(first.run.path)
    outcome = project.ended(started)
    assert outcome.status == 1
    assert "00_x-h_v0: pending: " in outcome.out
    assert not first.run.path.exists()
    same(project, second)


# -- a server that forgets, moves, or is not there ------------------------------------------------


def test_a_forgotten_run_is_sent_again_when_it_is_named(project: Synced) -> None:
    made = whole_run(project.artifacts, batches=20, size=1000)
    project.sync()
    project.server.forget()
    name = made.run.name
    assert project.sync().out == (
        f"{name}: was sent, but its task is gone from the server; `lab sync {name}` sends it"
        " again\n"
    )
    assert f"{name}: sent 100 scalars" not in project.sync().out
    assert f"{name}: sent" in project.sync(name).out
    same(project, made)


def test_a_run_whose_task_was_reset_is_sent_again_when_it_is_named(project: Synced) -> None:
    made = whole_run(project.artifacts)
    project.sync()
    (task,) = project.server.tasks()
    project.server.call("tasks.reset", task=task["id"], force=True)
    name = made.run.name
    assert project.sync().out == (
        f"{name}: was sent, but its task was reset on the server; `lab sync {name}` sends it"
        " again\n"
    )
    assert f"{name}: sent" in project.sync(name).out
    same(project, made)
    assert project.sync().out == "1 run up to date\n"


def test_a_run_that_is_forgotten_under_way_gets_a_new_task(project: Synced) -> None:
    made = project.begun().batches(20).checkpoint("last")
    project.sync()
    before = project.mirror(made.run).task_id
    project.server.forget()
    made.batches(20).checkpoint("last").end()
    project.sync()
    assert project.mirror(made.run).task_id != before
    same(project, made)


def test_another_server_gets_all_of_it(
    project: Synced, shared_clearml_server: ClearMLServer
) -> None:
    made = whole_run(project.artifacts, batches=20, size=1000)
    project.sync()
    project.sync(env=shared_clearml_server.environment)
    assert_same(shared_clearml_server, made.run)
    assert project.mirror(made.run).server == shared_clearml_server.url
    project.sync()  # and back again
    same(project, made)


def test_without_its_file_server_a_run_has_its_status_all_the_same(project: Synced) -> None:
    made = whole_run(project.artifacts, batches=20, size=1000)
    project.server.fault("files")
    outcome = project.sync(status=1, env={"TORCH_LAB_SYNC_PATIENCE": "1"})
    assert f"{made.run.name}: pending: " in outcome.out
    record = records.read(made.run)
    assert status_of(task_of(project.server, record)) == expected_status(record, None)
    project.server.heal()
    project.sync()
    same(project, made)


def test_a_server_that_goes_away_leaves_the_rest_pending(project: Synced) -> None:
    runs = [project.begun(f"0{i}_x-h").batches(2000).end() for i in range(2)]
    project.server.fault("slow", seconds=0.2)
    started = project.start_sync(env={"TORCH_LAB_SYNC_PATIENCE": "1"})
    wait_for(lambda: (state.read(runs[0].run) or state.Mirror()).status == "in_progress")
    project.server.stop()
    outcome = project.ended(started)
    assert outcome.status == 1
    assert [line.split(": ")[:2] for line in outcome.out.splitlines()] == [
        ["00_x-h_v0", "pending"],
        ["01_x-h_v0", "pending"],
    ]
    project.server.start()
    project.sync()
    for made in runs:
        same(project, made)


def test_no_server_is_said_at_once(project: Synced) -> None:
    project.begun().batches(1).end()
    project.server.stop()
    outcome = project.sync(status=2)
    assert outcome.out == ""
    assert outcome.err.startswith("error: the ClearML server at http://127.0.0.1")
    nowhere = {name: "" for name in project.server.environment if name.startswith("CLEARML")}
    outcome = project.sync(status=2, env={**nowhere, "HOME": str(project.root)})
    assert outcome.err.startswith("error: no ClearML server is configured\n")


# -- mistakes -------------------------------------------------------------------------------------


def test_mistakes(project: Synced) -> None:
    made = project.begun(fetched={"server": "x", "task_id": "y"}).end()
    queued = project.begun(status="queued")
    name = made.run.name
    for words, message in {
        (f"{name}:last",): f"error: lab sync sends whole runs, not {name}:last\n`lab sync {name}`",
        (name,): f"error: {name} was fetched from a server: it is there",
        (queued.run.name,): f"error: {queued.run.name} is queued: there is nothing to send",
        ("nothing",): 'error: no run "nothing" in ',
        ("--follow", name): "error: --follow sends all runs that come; name none",
        ("--beside", "1"): "error: --beside belongs to --follow",
        ("--folow",): 'error: unknown option --folow\ndid you mean "--follow"?',
    }.items():
        outcome = project.sync(*words, status=2)
        assert outcome.err.startswith(message), outcome
        assert outcome.out == ""


def test_an_empty_folder_has_nothing_to_send(shared: Synced) -> None:
    assert shared.sync().out == f"no runs to send in {shared.artifacts}\n"


def test_a_run_that_holds_nothing_yet_is_done_at_once(shared: Synced) -> None:
    made = shared.begun("00_empty-hparams")
    made.run.environment_file.unlink()
    made.end("failed", "killed before it began")
    assert shared.sync(made.run.name).out.startswith(f"{made.run.name}: sent ")
    assert shared.mirror(made.run).done
