"""How commands end: by signals, a second one, by force, when their readers go away.

Every signal at every stage is in tests/faults/test_signals.py.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from tiny_project import EXPERIMENT, HPARAMS, MAIN, RUN, Lab, Outcome, Started

from helpers import argv, environment, wait_for

SIGNALS = pytest.mark.parametrize(
    "signum", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"]
)
PROMPT = 15.0  # seconds; an idle machine needs a tenth of one
SLOW = ("pause=0.01",)  # 40 ms a batch


def start(lab: Lab, *sets: str, env: dict[str, str] | None = None) -> Started:
    options = [word for text in sets for word in ("-s", text)]
    return lab.start_one("train", HPARAMS, *options, env=env)


def stopped(lab: Lab, started: Started, signum: int) -> Outcome:
    """Signal a command that is under way; it has to end soon."""
    sent = time.monotonic()
    os.kill(started.pid, signum)
    outcome = lab.ended(started)
    assert time.monotonic() - sent < PROMPT
    assert "Traceback" not in outcome.err
    return outcome


def saved(lab: Lab, batch: int) -> None:
    wait_for((lab.artifacts / RUN / "checkpoints" / f"step-{batch}.ckpt").exists)


def assert_aborted(lab: Lab, outcome: Outcome, signum: int) -> None:
    assert outcome.status == 128 + signum
    record = lab.run(RUN).record
    assert (record["status"], record["reason"]) == ("aborted", signal.Signals(signum).name)
    assert f"stopped by {signal.Signals(signum).name} after " in outcome.out
    assert outcome.out.endswith(f"  next      train --resume {RUN}\n")


def assert_goes_on_as_if_nothing_had_happened(lab: Lab) -> None:
    resumed = lab.do("train", "--resume", RUN)
    assert resumed.status == 0, resumed.err
    assert lab.train().status == 0
    cut, whole = lab.run(RUN), lab.newest()
    assert cut.record["status"] == whole.record["status"] == "completed"
    assert cut.path != whole.path
    assert cut.weights() == whole.weights()
    assert cut.rows() == whole.rows()


# -- signals in training ---------------------------------------------------------------------


@SIGNALS
def test_in_training_the_step_is_finished_and_saved(lab: Lab, signum: int) -> None:
    started = start(lab, *SLOW, "checkpoint.every_n_steps=3")
    saved(lab, 3)
    outcome = stopped(lab, started, signum)
    assert_aborted(lab, outcome, signum)
    name = signal.Signals(signum).name
    assert outcome.err.count(f"{name}: finishing this batch, then saving (at most 30 s;") == 1
    record = lab.run(RUN).record
    last = next(entry for entry in record["checkpoints"] if entry["name"] == "last")
    assert last["batch"] == record["progress"]["batch"]
    assert max(row[0] for row in lab.run(RUN).rows()) == last["batch"]
    assert_goes_on_as_if_nothing_had_happened(lab)


def test_ctrl_c_reaches_loader_workers_too(lab: Lab) -> None:
    """A terminal sends SIGINT to the whole group."""
    started = start(lab, *SLOW, "num_workers=2")
    saved(lab, 3)
    os.killpg(started.pid, signal.SIGINT)
    outcome = lab.ended(started)
    assert_aborted(lab, outcome, signal.SIGINT)
    assert outcome.err.count("SIGINT: finishing this batch") == 1
    assert "Traceback" not in outcome.err
    assert_goes_on_as_if_nothing_had_happened(lab)


@SIGNALS
def test_a_second_signal_does_not_wait_for_the_step(lab: Lab, signum: int) -> None:
    started = start(lab, "fault=sleeps")
    wait_for((lab.root / "asleep").exists)
    saved(lab, 3)
    time.sleep(0.3)  # now it sleeps
    os.kill(started.pid, signum)
    time.sleep(1)
    outcome = stopped(lab, started, signum)
    assert_aborted(lab, outcome, signum)
    assert lab.run(RUN).record["progress"]["batch"] == 3
    assert_goes_on_as_if_nothing_had_happened(lab)


def test_a_step_that_does_not_end_is_given_up(lab: Lab) -> None:
    started = start(lab, "fault=sleeps", env={"TORCH_LAB_GRACE_PERIOD": "0.5"})
    wait_for((lab.root / "asleep").exists)
    saved(lab, 3)
    time.sleep(0.3)
    outcome = stopped(lab, started, signal.SIGTERM)
    assert outcome.status == 1
    log = lab.run(RUN).console
    assert "most recent call first" in log
    assert "sleep_once" in log
    assert re.search(rf"{RUN} .*lost", lab.do("lab", "runs").out)
    assert_goes_on_as_if_nothing_had_happened(lab)


# -- signals before and after it -------------------------------------------------------------


def test_while_the_configuration_is_built(lab: Lab) -> None:
    signum = signal.SIGTERM
    started = start(lab, "building=60")
    wait_for((lab.root / "building").exists)
    time.sleep(0.3)
    assert_aborted(lab, stopped(lab, started, signum), signum)
    assert lab.run(RUN).record["checkpoints"] == []
    resumed = lab.do("train", "--resume", RUN)
    assert resumed.status == 0
    assert "from the start: it has no checkpoint" in resumed.out
    assert lab.run(RUN).record["status"] == "completed"


@SIGNALS
def test_while_the_experiment_is_imported(lab: Lab, signum: int) -> None:
    """No run has been claimed yet, so nothing is left."""
    text = (lab.root / MAIN).read_text()
    lab.write(MAIN, f"import time, pathlib\npathlib.Path('here').touch()\ntime.sleep(60)\n{text}")
    started = start(lab)
    wait_for((lab.root / "here").exists)
    time.sleep(0.3)
    outcome = stopped(lab, started, signum)
    # The signal itself is what a shell calls 128 + N.
    assert outcome.status in (128 + signum, -signum)
    assert (outcome.out, outcome.err) == ("", "")
    assert lab.runs() == []


@SIGNALS
def test_while_torch_is_imported(lab: Lab, signum: int) -> None:
    process = lab.start("train", HPARAMS)
    time.sleep(1)
    process.send_signal(signum)
    said = process.communicate(timeout=PROMPT)[0]
    assert process.returncode in (128 + signum, -signum)
    assert said == ""
    assert lab.runs() == []


def test_inference(lab: Lab, tmp_path: Path) -> None:
    signum = signal.SIGTERM
    litter = tmp_path / "litter"
    litter.mkdir()
    words = ["infer", HPARAMS, "--checkpoint", "none", "--set", "pause=10"]
    started = lab.start_one(*words, env={"TMPDIR": str(litter)})
    wait_for((lab.root / "predicting").exists)
    wait_for(lambda: list(litter.iterdir()))
    time.sleep(0.5)
    outcome = stopped(lab, started, signum)
    assert outcome.status == 128 + signum
    assert list(litter.iterdir()) == []
    assert lab.runs() == []


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_no_thread_takes_signals_from_the_main_one(lab: Lab) -> None:
    """What another thread takes does not wake the main one from a sleep."""
    started = start(lab, "fault=sleeps")
    saved(lab, 3)
    for task in Path(f"/proc/{started.pid}/task").iterdir():
        (blocked,) = re.findall(r"^SigBlk:\s*(\w+)$", (task / "status").read_text(), re.MULTILINE)
        has = bool(int(blocked, 16) & 1 << (signal.SIGTERM - 1))
        assert has == (task.name != str(started.pid))
    os.kill(started.pid, signal.SIGTERM)
    time.sleep(0.5)
    stopped(lab, started, signal.SIGTERM)


# -- those that don't end it -----------------------------------------------------------------


NOHUP = """
import signal
from torch_lab.cli.main import main

signal.signal(signal.SIGHUP, signal.SIG_IGN)  # all that nohup does, but for where output goes
main()
"""


def test_a_hang_up_does_not_end_what_nohup_runs(lab: Lab, tmp_path: Path) -> None:
    script, log = tmp_path / "nohup.py", tmp_path / "log"
    script.write_text(NOHUP)
    words = ("train", HPARAMS, "-s", "pause=0.02")
    pid = lab.zygote.start_script(script, *words, cwd=lab.root, log=log)
    saved(lab, 2)
    os.kill(pid, signal.SIGHUP)
    assert lab.zygote.wait(pid) == 0
    assert "completed after 8 batches" in log.read_text()
    assert lab.run(RUN).record["status"] == "completed"


def test_a_reader_that_goes_away_does_not_end_training(lab: Lab) -> None:
    train = " ".join(argv("train", HPARAMS))
    done = subprocess.run(
        ["bash", "-c", f'{train} | head -1; echo "status ${{PIPESTATUS[0]}}"'],
        cwd=lab.root,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    first, status = done.stdout.splitlines()
    assert first.startswith(f"run {RUN} (id ")
    assert status == "status 0"
    assert done.stderr == ""
    assert lab.run(RUN).record["status"] == "completed"
    assert "completed after 8 batches" in lab.run(RUN).console


def test_what_was_written_to_a_file_that_nobody_closed_is_in_it(lab: Lab) -> None:
    """Not forked: it is Python's end that is hurried."""
    lab.append(
        "\n\nclass Holder: ...\n\n\nholder = Holder()\nholder.itself = holder\n"
        'holder.file = open("left_open.txt", "w")\nholder.file.write("all of it")\n'
    )
    done = subprocess.run(
        argv("infer", HPARAMS, "--checkpoint", "none"),
        cwd=lab.root,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (lab.root / "left_open.txt").read_text() == "all of it"


# -- at the end ------------------------------------------------------------------------------

KEEPS = """

class Log:
    def __init__(self, name):
        self.file = Path(__file__).with_name(name).open("w")
        self.file.write("written\\n")
        self.itself = self  # only a search for garbage would find that it can go


Log("left.txt")
Log.kept = [Log("kept.txt")]
ours = train_config


def train_config(config):
    Log.kept.append(Log("configured.txt"))
    return ours(config)
"""


def test_files_that_nobody_closed_are_written_at_the_end(lab: Lab) -> None:
    lab.append(KEEPS)
    lab.command("train", HPARAMS)  # one that imports torch itself
    for name in ("left.txt", "kept.txt", "configured.txt"):
        assert (lab.root / EXPERIMENT / name).read_text() == "written\n", name
