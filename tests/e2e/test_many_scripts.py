"""`train A B C`: each an ordinary run, whatever becomes of the others and of who started them."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_project import EXPERIMENT, HPARAMS, RUN, Lab, Outcome

from forked_starters import FORKED
from helpers import StoredRun, wait_for
from terminal import CTRL_C, Terminal
from torch_lab.tasks.many.rows import Row
from torch_lab.tasks.pool import Ended, Job, Running, Slot
from torch_lab.utils.overseer import ECHO
from zygote import Zygote

VARIANT = "from torch_lab.hparams import extend\n\nhparams = extend('hparams.py', {changes!r})\n"
BEGUN = 240  # seconds for what takes ten on an idle machine
ENDLESS = {"config__pause": 0.05, "trainer__init__max_epochs": 1000}


def variant(lab: Lab, name: str, **changes: object) -> str:
    path = f"{EXPERIMENT}/{name}.py"
    keys = {key.replace("__", "."): value for key, value in changes.items()}
    lab.write(path, VARIANT.format(changes=keys))
    return path


@pytest.fixture
def lab(tmp_path: Path, zygote: Zygote) -> Lab:
    return Lab.copied(tmp_path / "project", zygote)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, zygote: Zygote) -> tuple[Lab, Outcome]:
    """Four on two slots: one fails in training, one before it has a run."""
    made = Lab.copied(tmp_path_factory.mktemp("many") / "project", zygote)
    scripts = [
        variant(made, "raises", config__fault="raises"),
        HPARAMS,
        variant(made, "lost", checkpoint__checkpoint_task_id="nobody"),
        HPARAMS,
    ]
    words = ["-s", "width=3", "--jobs", "2"]
    return made, made.do("train", *scripts, *words, env={"OMP_NUM_THREADS": ""})


def test_the_worst_exit_status_counts(trained):
    lab, outcome = trained
    assert outcome.status == 2, outcome.err
    assert lab.runs() == [RUN, "00_tiny-hparams_v1", "00_tiny-raises_v0"]
    assert lab.run(RUN).record["status"] == "completed"
    assert lab.run("00_tiny-hparams_v1").record["status"] == "completed"
    assert lab.run("00_tiny-raises_v0").record["status"] == "failed"
    assert not lab.left_alive()


def test_each_is_an_ordinary_run_with_a_log_of_its_own(trained):
    lab, _ = trained
    run = lab.run(RUN)
    assert run.record["command"] == ["torch-lab", "train", HPARAMS, "--set", "width=3"]
    assert run.record["hparams"]["config"]["width"] == 3
    assert run.console.startswith(f"run {RUN}")
    assert "ValueError: a bad batch" in lab.run("00_tiny-raises_v0").console
    variables = json.loads((run.path / "environment.json").read_text())["variables"]
    assert int(variables["OMP_NUM_THREADS"]) >= 1
    assert "TORCH_LAB_ANNOUNCE" not in variables


def test_what_is_said_in_a_pipe(trained):
    _, outcome = trained
    said = outcome.out
    assert said.startswith(f"4 scripts in {EXPERIMENT}, 2 at a time, ")
    assert "raises.py: begun as 00_tiny-raises_v0 (slot " in said
    assert "/4] hparams.py (1): completed, 00_tiny-hparams_v" in said
    assert "/4] hparams.py (2): completed, 00_tiny-hparams_v" in said
    assert "/4] raises.py: failed, 00_tiny-raises_v0" in said
    assert "/4] lost.py: failed before it had a run (exit 2)" in said
    assert "\x1b" not in said


def test_the_summary_says_what_became_of_each_and_where_to_look(trained):
    _, outcome = trained
    summary = outcome.out[outcome.out.index("\nscript ") :]
    rows = [line.split() for line in summary.splitlines() if line.startswith("hparams.py")]
    assert {row[-1] for row in rows} == {f"data/artifacts/00_tiny-hparams_v{n}" for n in (0, 1)}
    assert all(row[2] == "completed" and row[3] == "loss/train" for row in rows)
    assert (
        "raises.py: failed, ValueError: a bad batch\n"
        "  console log: data/artifacts/00_tiny-raises_v0/console.log\n"
        "  next: mend it, then train --resume 00_tiny-raises_v0\n"
    ) in summary
    assert 'lost.py: failed before it had a run (exit 2)\nerror: no run "nobody" in ' in summary


def test_all_scripts_are_checked_before_the_first_starts(lab: Lab):
    lab.write(f"{EXPERIMENT}/wrong.py", "hparams = {'trainr': {}}\n")
    outcome = lab.do("train", HPARAMS, f"{EXPERIMENT}/wrong.py", "nope.py", "-j", "1")
    assert outcome.status == 2
    assert outcome.err.startswith("error: 2 scripts are wrong, so none is trained\n")
    assert 'trainr: unknown key; did you mean "trainer"?' in outcome.err
    assert "nope.py does not exist" in outcome.err
    assert lab.runs() == []
    one = lab.do("train", HPARAMS, f"{EXPERIMENT}/wrong.py", "-j", "1")
    assert one.err.startswith(f"error: {EXPERIMENT}/wrong.py: 1 problem in hparams\n")


def test_gpus_that_are_not_there_are_said_once(lab: Lab):
    outcome = lab.do("train", HPARAMS, HPARAMS, "-g", "0,97")
    assert outcome.status == 2
    assert outcome.err.count("there is no GPU ") == 1
    assert lab.runs() == []


def test_a_launcher_starts_one_run(lab: Lab):
    ranks = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    outcome = lab.do("train", HPARAMS, HPARAMS, env=ranks)
    assert outcome.status == 2
    assert "starts the processes of one run, and there are 2 scripts\n" in outcome.err
    assert "Start one command for each, or all of them by one `train` without it." in outcome.err


def training(lab: Lab, name: str) -> Callable[[], StoredRun | None]:
    """The run of that name, once it has trained a little."""

    def look() -> StoredRun | None:
        run = lab.run(name)
        has_begun = (run.path / "run.json").exists() and run.record["checkpoints"]
        return run if has_begun else None

    return look


def test_ctrl_c_on_a_terminal(lab: Lab, zygote: Zygote):
    scripts = [variant(lab, name, **ENDLESS) for name in ("one", "two", "three")]
    env = {"COLUMNS": "100", "LINES": "30"} | FORKED
    terminal = Terminal("train", *scripts, "-j", "2", cwd=lab.root, zygote=zygote, env=env)
    for name in ("00_tiny-one_v0", "00_tiny-two_v0"):
        wait_for(training(lab, name), timeout=BEGUN)
    terminal.wait_for("/1000", timeout=BEGUN)
    terminal.type(CTRL_C)
    terminal.wait_for(
        "SIGINT: each finishes its batch, then saves (once more ends all at once)", timeout=BEGUN
    )
    terminal.wait_for("directory", timeout=BEGUN)  # the summary's
    status = terminal.ended()
    assert status == 130
    assert "2 running, 1 waiting" in terminal.said
    summary = terminal.said[terminal.said.rindex("directory") :]
    assert "one.py: aborted, SIGINT" in summary
    assert "next: train --resume 00_tiny-two_v0" in summary
    assert "not started" in summary
    for name in ("00_tiny-one_v0", "00_tiny-two_v0"):
        assert lab.run(name).record["status"] == "aborted"
    assert lab.runs() == ["00_tiny-one_v0", "00_tiny-two_v0"]
    assert not lab.left_alive()


def job(lab: Lab) -> dict[str, str]:
    """The environment of a Slurm job, whose `scontrol` notes what it is asked."""
    scontrol = lab.write("bin/scontrol", f"#!/bin/sh\necho \"$*\" >> '{lab.root}/asked'\n")
    scontrol.chmod(0o755)
    path = f"{scontrol.parent}:{os.environ['PATH']}"
    return {"PATH": path, "SLURM_JOB_ID": "17", "SLURM_JOB_NAME": "tiny"}


def test_a_second_signal_ends_all_at_once_and_a_warned_job_is_requeued_once(lab: Lab):
    script = variant(lab, "sleeps", config__fault="sleeps")  # for a minute, in its fourth batch
    env = {"TORCH_LAB_GRACE_PERIOD": "600"} | job(lab) | FORKED
    started = lab.start_one("train", script, "-j", "1", env=env)
    wait_for((lab.root / "asleep").exists, timeout=BEGUN)
    os.kill(started.pid, signal.SIGUSR1)
    wait_for(lambda: "SIGUSR1: each finishes its batch" in started.out.read_text(), timeout=BEGUN)
    time.sleep(2 * ECHO)  # sooner it is the same wish
    os.kill(started.pid, signal.SIGUSR1)
    outcome = lab.ended(started)
    assert outcome.status == 128 + signal.SIGUSR1
    record = lab.run("00_tiny-sleeps_v0").record
    assert record["status"] == "aborted"
    assert record["progress"]["batch"] == 3  # it did not wait for the fourth
    assert record["reason"] == "SIGUSR1, to be requeued in Slurm"
    assert outcome.out.endswith("Slurm job 17 is requeued: the same command goes on\n")
    assert (lab.root / "asked").read_text() == "requeue 17\n"  # when all have ended


def test_a_script_twice_in_a_job_that_is_started_again(lab: Lab):
    env = job(lab)
    for _ in range(2):
        assert lab.train(env=env).status == 0
    env |= FORKED | {"SLURM_RESTART_COUNT": "1"}
    again = lab.do("train", HPARAMS, HPARAMS, "-j", "2", env=env)
    assert again.status == 0, again.err
    rows = [line.split() for line in again.out.splitlines() if line.startswith("hparams.py")]
    found = [(row[1], row[-1].rpartition("_")[2]) for row in rows if row[2] == "completed"]
    assert found == [("(1)", "v0"), ("(2)", "v1")]
    assert lab.runs() == [RUN, "00_tiny-hparams_v1"]


def test_one_is_killed_and_then_who_started_them(lab: Lab, zygote: Zygote):
    scripts = [variant(lab, name, **ENDLESS) for name in ("one", "two")]
    started = lab.start_one("train", *scripts, "-j", "2")
    one = wait_for(training(lab, "00_tiny-one_v0"), timeout=BEGUN)
    two = wait_for(training(lab, "00_tiny-two_v0"), timeout=BEGUN)
    process = json.loads((one.path / "lock").read_text())["pid"]
    os.kill(process, signal.SIGKILL)
    wait_for(lambda: "[1/2] one.py: lost, 00_tiny-one_v0" in started.out.read_text())
    assert two.record["status"] == "running"
    os.kill(started.pid, signal.SIGKILL)
    assert zygote.wait(started.pid) == -signal.SIGKILL
    wait_for(lambda: two.record["status"] == "aborted" and not (two.path / "lock").exists())
    assert two.record["reason"].startswith("SIGTERM")


def row_of(tmp_path: Path) -> Row:
    """A script that has no run yet."""
    return Row(Path("a.py"), "a.py", Job(("train", "a.py"), tmp_path / "a.log"), 60.0)


def test_killed_from_outside_and_for_want_of_memory_are_told_apart(tmp_path: Path):
    row = row_of(tmp_path)
    job = row.job
    row.ended = Ended(job, Slot(0, None, 1), -signal.SIGKILL, 1.0)
    assert row.without_run() == "killed from outside (SIGKILL)"
    row.ended = Ended(job, Slot(0, None, 1), -signal.SIGKILL, 1.0, out_of_memory=True)
    assert row.without_run() == "killed by the system because memory ran out (SIGKILL)"
    row.ended = Ended(job, Slot(0, None, 1), -signal.SIGSEGV, 1.0)
    assert row.without_run() == "ended by SIGSEGV"


def test_what_a_signal_ends_before_it_has_a_run_was_not_started(tmp_path: Path):
    row = row_of(tmp_path)
    row.ended = Ended(row.job, Slot(0, None, 1), -signal.SIGTERM, 1.0)
    assert row.state == "failed"  # somebody has ended this one
    row.over = True
    assert (row.state, row.without_run()) == ("not started", "not started")


def test_what_was_killed_by_force_says_how_to_go_on(lab: Lab):
    assert lab.train("fault=raises").status == 1
    row = row_of(lab.root)
    directory = lab.run(RUN).path
    row.job.announcement.write_text(json.dumps({"directory": str(directory)}))
    row.running = Running(row.job, Slot(0, None, 1), 0)
    row.look()  # nobody has waited for its end
    assert row.remarks()[-1] == f"  next: mend it, then train --resume {RUN}"
