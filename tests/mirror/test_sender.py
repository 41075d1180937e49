"""The sender that lives beside trainings: `lab sync --follow`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clearml_server.fixture import ClearMLServer
from e2e.tiny_project import Outcome, Started
from helpers import wait_for
from mirror.made_runs import MadeRun, assert_same, console_of, status_of, task_of, whole_run
from mirror.synced import Synced
from torch_lab.mirror import senders
from torch_lab.store import record as records
from torch_lab.store.host import process_start
from torch_lab.store.lock import Holder, Lock
from torch_lab.store.record import Parent
from zygote import Zygote


class Following(Synced):
    """Senders that do not outlive the test."""

    def follow(self, *words: str, **env: str) -> Started:
        """Start a sender that gives up soon."""
        env = {"TORCH_LAB_SYNC_PATIENCE": "10", **env}
        return self.start_sync("--follow", *words, env=env)

    def state(self) -> senders.State:
        return senders.read_state(self.artifacts)

    def finished(self, started: Started) -> Outcome:
        outcome = self.ended(started)
        assert outcome.status == 0, outcome
        assert outcome.err == ""
        return outcome

    def kill_senders(self) -> None:
        holder = senders.holder_of(senders.home(self.artifacts))
        if holder is not None and senders.lives(self.artifacts, 60):
            os.kill(holder.process.pid, signal.SIGKILL)


@pytest.fixture
def project(tmp_path: Path, zygote: Zygote, clearml_server: ClearMLServer) -> Iterator[Following]:
    made = Following.made(tmp_path / "made", zygote, clearml_server)
    made.artifacts.mkdir(parents=True)
    yield made
    made.kill_senders()


def same(project: Synced, made: MadeRun, status: str | None = None) -> None:
    assert_same(project.server, made.run, status)


def status(project: Synced, made: MadeRun) -> str | None:
    task_id = project.mirror(made.run).task_id
    return project.server.task(task_id)["status"] if task_id else None


def test_a_run_is_followed_to_its_end(project: Following) -> None:
    made = project.begun(sync=True).batches(5)
    sender = project.follow()
    wait_for(lambda: len(console_of(project.server, made.run.name)) == 5 if named(project) else 0)
    made.batches(5).items(1).checkpoint("last", "best")
    wait_for(lambda: len(console_of(project.server, made.run.name)) == 10)
    wait_for(lambda: set(project.mirror(made.run).models) == {"last", "best"})
    assert status(project, made) == "in_progress"
    made.batches(5).end("failed", "boom")
    outcome = project.finished(sender)
    same(project, made)
    said = [line[20:] for line in outcome.out.splitlines()]
    assert said == ["connected", f"{made.run.name}: sent, {project.mirror(made.run).page}"]


def named(project: Synced) -> list[dict[str, Any]]:
    return project.server.tasks()


def test_only_runs_that_were_begun_for_the_server_are_sent(project: Following) -> None:
    local = project.begun("00_local-hparams").batches(1).checkpoint("last").end()
    record = records.read(local.run)
    project.begun("01_alone-hparams").batches(1).end()
    project.begun("02_fetched-hparams", sync=True, fetched={"task_id": "x"}).end()
    parent = Parent(record.id, record.name, "last")
    made = project.begun("03_ours-hparams", sync=True, parent=parent).batches(1).end()
    project.finished(project.follow())
    assert sorted(each["name"] for each in named(project)) == [local.run.name, made.run.name]
    task = task_of(project.server, records.read(made.run))
    assert task["parent"] == task_of(project.server, record)["id"]
    same(project, local)
    same(project, made)


def test_there_is_one_for_each_folder(project: Following) -> None:
    made = project.begun(sync=True)
    first = project.follow()
    wait_for(lambda: project.state().state == "connected")
    second = project.finished(project.follow())
    assert f"process {first.pid} on " in second.out
    made.end()
    project.finished(first)


def test_a_run_that_another_process_sends_is_left_to_it(project: Following) -> None:
    made = project.begun(sync=True).batches(2).end()
    made.run.mirror_lock.path.mkdir()
    lock = Lock.acquire(made.run.mirror_lock, lost_after=60)
    outcome = project.finished(project.follow(TORCH_LAB_SYNC_PATIENCE="3"))
    said = f"{made.run.name} is being sent by process {os.getpid()} on "
    assert outcome.out.count(said) == 1
    assert named(project) == []
    lock.release()
    project.finished(project.follow())
    same(project, made)


def test_it_lives_as_long_as_the_process_beside_which_it_was_started(project: Following) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as training:
        sender = project.follow("--beside", str(training.pid))
        wait_for(lambda: project.state().state == "connected")
        made = project.begun(sync=True).batches(2).end()
        wait_for(lambda: project.mirror(made.run).done)
        assert senders.lives(project.artifacts, 60)
        training.communicate(b"\n")
        project.finished(sender)
    same(project, made)


def test_it_ends_at_once_where_nothing_is_to_be_sent(project: Following) -> None:
    begun = time.monotonic()
    project.finished(project.follow(TORCH_LAB_SYNC_PATIENCE="300"))
    assert time.monotonic() - begun < 120


def test_it_gives_up_after_a_while_without_a_server(project: Following) -> None:
    project.server.stop()
    made = project.begun(sync=True).batches(2).end()
    project.finished(project.follow(TORCH_LAB_SYNC_PATIENCE="1"))
    assert project.state().state == "unreachable"
    assert "can't be reached" in (project.state().problem or "")
    project.server.start()
    project.finished(project.follow())
    same(project, made)


def test_a_server_that_comes_back_gets_all_of_it(project: Following) -> None:
    made = project.begun(sync=True).batches(5)
    sender = project.follow()
    wait_for(lambda: status(project, made) == "in_progress")
    project.server.stop()
    made.batches(5)
    wait_for(lambda: project.state().state == "unreachable")
    project.server.start()
    wait_for(lambda: project.state().state == "connected")
    made.batches(5).end()
    project.finished(sender)
    same(project, made)


def test_a_server_that_is_away_costs_nearly_nothing(project: Following) -> None:
    made = project.begun(sync=True).batches(5)
    project.server.stop()
    sender = project.follow()
    wait_for(lambda: project.state().state == "unreachable")
    before = cpu_seconds(sender.pid)
    time.sleep(3)
    assert cpu_seconds(sender.pid) - before < 0.6
    made.end()
    project.finished(sender)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_sigterm_ends_it_and_the_next_goes_on(project: Following) -> None:
    made = project.begun(sync=True).batches(500)
    sender = project.follow()
    wait_for(lambda: project.mirror(made.run).positions)
    os.kill(sender.pid, signal.SIGTERM)
    assert project.ended(sender).status == 128 + signal.SIGTERM
    assert not senders.lives(project.artifacts, 60)
    made.batches(5).end()
    project.finished(project.follow())
    same(project, made)


def test_a_training_that_was_killed_is_told_as_lost(project: Following) -> None:
    made = project.begun(sync=True).batches(3)
    sender = project.follow()
    wait_for(lambda: status(project, made) == "in_progress")
    made.lock.release()  # as if its process was gone
    project.finished(sender)
    same(project, made, "lost")


def test_an_abort_in_the_web_page_stops_the_training_once(project: Following) -> None:
    code = "import signal, time; signal.signal(15, lambda *_: print('stop', flush=True));"
    code += " print('up', flush=True); [time.sleep(0.1) for _ in iter(int, 1)]"
    words = [sys.executable, "-c", code]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as training:
        assert training.stdout is not None
        assert training.stdout.readline() == "up\n"
        made = project.begun(sync=True).batches(3)
        held_by(made, training.pid)
        sender = project.follow()
        wait_for(lambda: status(project, made) == "in_progress")
        project.server.abort(str(project.mirror(made.run).task_id))
        assert training.stdout.readline() == "stop\n"
        assert project.mirror(made.run).abort is not None
        time.sleep(6)  # longer than from one look to the next
        training.kill()
        assert training.stdout.read() == ""
    reason = "aborted in ClearML (SIGTERM)"
    made.run.lock.write_bytes(made.lock.holder.content())
    made.checkpoint("last").end("aborted", reason)
    project.finished(sender)
    task = task_of(project.server, records.read(made.run))
    assert status_of(task)[0] == "stopped"
    assert reason in status_of(task)[1]
    assert [each["name"] for each in task["models"]["output"]] == ["last"]


def held_by(made: MadeRun, pid: int) -> None:
    """Have the run's lock name another process."""
    process = replace(made.lock.holder.process, pid=pid, started=process_start(pid))
    other = Holder(made.lock.holder.token, made.lock.holder.generation, process)
    made.run.lock.write_bytes(other.content())


def test_a_resumed_run_is_no_longer_aborted(project: Following) -> None:
    made = project.begun(sync=True).batches(3).end("aborted", "SIGTERM")
    project.finished(project.follow())
    made.resume(3).batches(2)
    sender = project.follow()
    wait_for(lambda: status(project, made) == "in_progress")
    made.batches(1).end()
    project.finished(sender)
    same(project, made)


def test_sync_beside_it_waits_for_what_it_sends(project: Following) -> None:
    made = project.begun(sync=True).batches(3)
    sender = project.follow()
    wait_for(lambda: status(project, made) == "in_progress")
    outcome = project.sync()
    assert outcome.out == (
        f"{made.run.name}: is being trained, and sent as it goes by process {sender.pid} on"
        f" {os.uname().nodename}\n"
    )
    made.batches(400).checkpoint("last", size=3_000_000).end()
    outcome = project.sync(made.run.name)
    assert "sent by another process" in outcome.out or "up to date" in outcome.out
    project.finished(sender)
    same(project, made)


@pytest.mark.slow
def test_a_backlog_is_sent(project: Following) -> None:
    made = [whole_run(project.artifacts, batches=300, sync=True) for _ in range(8)]
    project.finished(project.follow())
    for each in made:
        same(project, each)
