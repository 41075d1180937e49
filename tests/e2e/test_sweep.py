"""`lab sweep` as people use it."""

from __future__ import annotations

import json
import os
import signal
from functools import partial

import pytest

from e2e import sweeping
from e2e.sweeping import SEARCH, STUDY
from e2e.tiny_project import EXPERIMENT, Lab
from forked_starters import FORKED
from helpers import wait_for
from terminal import Terminal
from torch_lab import hparams
from torch_lab.tasks.sweep import ledger
from torch_lab.tasks.sweep.design import Design
from torch_lab.tasks.sweep.owners import OWNER

WIDTHS = '"config.width": trial.suggest_int("width", 2, 8)'
# What sweeps of these tests do besides, at moments that no test could meet from outside.
DIES = """

def die(trial):
    import os, signal
    from pathlib import Path

    if {dies}:
        Path("died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return False
"""
MEETS = """

def meet():
    import os, time
    from pathlib import Path

    Path(f"here-{os.getpid()}").touch()
    while len(list(Path().glob("here-*"))) < 2:
        time.sleep(0.01)
"""
LEAVES = f"""

def leave():
    from pathlib import Path

    if Path("leave").exists():
        Path("leave").unlink()
        Path("data/artifacts/.sweeps/{STUDY}.journal").rename("away")
"""
KILLED = """

_made = train_config


def train_config(config):
    import os, signal

    if config["fault"] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    return _made(config)
"""


@pytest.fixture(scope="module")
def searched(tmp_path_factory, zygote):
    """A sweep of six trials that is over, and what it has said.

    The first one was begun on another machine, of which nothing was heard since.
    """
    lab = Lab.copied(tmp_path_factory.mktemp("swept") / "tiny", zygote)
    asks = WIDTHS + ', "extra": trial.suggest_categorical("extra", [True, False])'
    sweeping.write(lab, asks, metric="loss/train", sampler="random", trials=6)
    _begin_elsewhere(lab)
    done = lab.do("lab", "sweep", SEARCH, "-j", "2", env={"TORCH_LAB_LOST_AFTER": "2"})
    assert done.status == 0, done.err + done.out
    return lab, done.out


def _begin_elsewhere(lab: Lab) -> None:
    design = Design(STUDY, "loss/train", sampler="random")
    trials = ledger.begun(design, str(lab.artifacts / ".sweeps" / f"{STUDY}.journal"), 60.0)
    owner = trials.owners.claim()
    owner["process"] = {**owner["process"], "host": "elsewhere"}
    trials.note(trials.new(6), OWNER, owner)


def test_each_trial_is_a_run(searched):
    lab, said = searched
    found = sweeping.check(lab, 6)
    best = min(found, key=lambda each: each["value"])
    assert [each["best"] for each in found] == [each is best for each in found]
    assert f"best      trial {best['trial']}: loss/train {best['value']:.4g}" in said
    assert said.count("begins: config.width=") == 6
    record = lab.run(best["run"]).record
    assert best["value"] == record["metrics"]["loss/train"]["min"]
    assert record["sweep"]["study"] == STUDY


def test_runs_can_be_asked_for_their_trial(searched):
    lab, _ = searched
    listed = lab.do("lab", "runs", f"sweep.study={STUDY}", "sweep.trial=3", "--json")
    (run,) = json.loads(listed.out)
    assert f"trial 3 of {STUDY}" in lab.do("lab", "show", run["name"]).out


def test_a_sweep_that_is_over_has_nothing_to_do(searched):
    lab, _ = searched
    again = lab.do("lab", "sweep", SEARCH)
    assert again.status == 0
    assert "6 over before" in again.out
    assert "begins" not in again.out
    sweeping.check(lab, 6)


def test_the_status_is_a_table(searched):
    lab, _ = searched
    said = lab.do("lab", "sweep", SEARCH, "--status").out
    assert f"sweep {STUDY}: 6 trials, 6 completed (least loss/train is best)" in said
    assert said.count("completed  ") == 6


def test_the_best_trial_becomes_a_script(searched):
    lab, _ = searched
    best = next(each for each in sweeping.trials(lab) if each["best"])
    out = f"{EXPERIMENT}/found.py"
    done = lab.do("lab", "sweep", SEARCH, "--out", out)
    assert done.out.startswith(f"{out}: trial {best['trial']}, loss/train ")
    assert lab.do("lab", "diff", out, best["run"]).status == 0
    loaded = hparams.load(lab.root / out)
    assert loaded.config == lab.run(best["run"]).record["hparams"]["config"]
    again = lab.do("lab", "sweep", SEARCH, "--out", out)
    assert (again.status, "exists" in again.err) == (2, True)


def test_proposals_are_the_same_each_time(tmp_path, zygote):
    """One trial at a time, also where the search was killed in the midst of a proposal."""
    found = []
    for name, dies in (
        ("whole", "False"),
        ("cut", 'trial.number == 1 and not Path("died").exists()'),
    ):
        lab = Lab.copied(tmp_path / name, zygote)
        asks = f'{WIDTHS}, "extra": trial.suggest_categorical("extra", [True, die(trial)])'
        kwargs = {"n_startup_trials": 1}
        sweeping.write(lab, asks, metric="loss/train", sampler_kwargs=kwargs, trials=3)
        script = lab.root / SEARCH
        script.write_text(script.read_text() + DIES.format(dies=dies))
        if name == "cut":
            killed = lab.do("lab", "sweep", SEARCH, "-j", "1", env=FORKED)
            assert killed.status == -signal.SIGKILL
        done = lab.do("lab", "sweep", SEARCH, "-j", "1", env=FORKED)
        assert done.status == 0, done.err
        found.append([(each["overrides"], each["value"]) for each in sweeping.check(lab, 3)])
    assert found[0] == found[1]


def test_trials_that_fail_and_some_that_are_pruned(tmp_path, zygote):
    """The others go on; a pruned one ends after its validation, on all ranks, and says why.

    A trial whose process is killed is started again, but not for ever.
    """
    lab = Lab.copied(tmp_path / "tiny", zygote)
    lab.append(KILLED)
    asks = (
        '"fault": (fault := trial.suggest_categorical("fault", ["", "raises", "killed"])),'
        ' "trainer.init.devices": 1 if fault else trial.suggest_int("devices", 1, 2),'
        ' "trainer.init.max_epochs": 2, "validation_pause": 1e-9'
    )
    sweeping.write(lab, asks, sampler="grid", pruner="threshold", pruner_kwargs={"lower": 1e9})
    done = lab.do("lab", "sweep", SEARCH, "-j", "2", env=FORKED)
    found = sweeping.trials(lab)
    states = [each["state"] for each in found]
    assert states == ["pruned", "pruned", "failed", "failed"], done.out + done.err
    assert done.status == 1  # none is completed
    assert "ValueError: a bad batch" in found[2]["reason"]
    assert found[3]["reason"] == "killed 3 times (signal 9)"
    assert done.out.count("trial 3 was killed (signal 9): it goes on") == 2
    for each in found[:2]:
        record = lab.run(each["run"]).record
        assert record["status"] == "completed"
        assert record["ledger"]["stopped"]["by"] == "pruner"
        assert record["progress"]["epoch"] == 1
    assert (lab.artifacts / found[1]["run"] / "console.1.log").exists()


def test_stopped_and_gone_on_with(tmp_path, zygote):
    """Ctrl-C: the runs under way save and end; the next start resumes them."""
    lab = Lab.copied(tmp_path / "tiny", zygote)
    sweeping.write(lab, WIDTHS + ', "pause": 0.1', metric="loss/train", trials=3)
    started = lab.start_one("lab", "sweep", SEARCH, "-j", "2")
    saved = lambda: [run for run in sweeping.runs(lab) if run["checkpoints"]]  # noqa: E731
    wait_for(lambda: len(saved()) == 2, timeout=300)
    os.kill(started.pid, signal.SIGINT)
    ended = lab.ended(started)
    assert ended.status == 130, ended.err
    assert {each["state"] for each in sweeping.trials(lab)} == {"interrupted"}
    assert f"stopped: `lab sweep {SEARCH}` goes on" in ended.out
    again = lab.do("lab", "sweep", SEARCH, "-j", "2", env=FORKED)
    assert again.status == 0, again.err
    assert again.out.count("goes on as") == 2
    sweeping.check(lab, 3)


def test_two_share_the_work_of_one_storage(tmp_path, zygote):
    """A database here, as for many machines; each has begun a trial before one is trained."""
    lab = Lab.copied(tmp_path / "tiny", zygote)
    storage = f"sqlite:///{tmp_path}/trials.db"
    asks = f'{WIDTHS}, "depth": meet() or 1'
    sweeping.write(lab, asks, metric="loss/train", sampler="random", storage=storage, trials=5)
    script = lab.root / SEARCH
    script.write_text(script.read_text() + MEETS)
    both = [lab.start_one("lab", "sweep", SEARCH, "-j", "1", env=FORKED) for _ in range(2)]
    ended = [lab.ended(each) for each in both]
    assert [each.status for each in ended] == [0, 0], ended
    sweeping.check(lab, 5)
    begun = [each.out.count("begins") for each in ended]
    assert sum(begun) == 5
    assert min(begun) > 0, "each has a share"


def test_a_storage_that_goes_away(tmp_path, zygote):
    """What is under way comes to its end, and counts when the storage is back.

    On a terminal there is a table of what is under way, below the lines.
    """
    lab = Lab.copied(tmp_path / "tiny", zygote)
    asks = f'{WIDTHS}, "depth": (leave() if trial.number else None) or 1'
    sweeping.write(lab, asks, metric="loss/train", sampler="random", trials=2)
    script = lab.root / SEARCH
    script.write_text(script.read_text() + LEAVES)
    (lab.root / "leave").touch()
    left = lab.do("lab", "sweep", SEARCH, "-j", "2", env=FORKED | {"TORCH_LAB_LOST_AFTER": "1"})
    assert left.status == 1
    assert f"{STUDY}.journal can't be reached: No such file" in left.err
    assert "Nothing is lost: started again when it is back, the sweep goes on." in left.err
    assert "Traceback" not in left.err
    assert [run["status"] for run in sweeping.runs(lab)] == ["completed"]
    (lab.root / "away").rename(lab.artifacts / ".sweeps" / f"{STUDY}.journal")
    (lab.root / "leave").touch()
    words = ("lab", "sweep", SEARCH, "-j", "2")
    terminal = Terminal(*words, cwd=lab.root, zygote=zygote, env=FORKED)
    wait = partial(terminal.wait_for, timeout=300)
    wait("; nothing is begun until it can be")
    wait("1 of 2 trials over, the best so far: trial 0, loss/train")
    (lab.root / "away").rename(lab.artifacts / ".sweeps" / f"{STUDY}.journal")
    for text in ("the sweep's storage is back", "trial  state", "slot ", "trial 1 completed: "):
        wait(text)
    assert terminal.ended() == 0
    assert terminal.said.count(" begins: ") == 1
    sweeping.check(lab, 2)


def test_a_metric_that_no_run_has(tmp_path, zygote):
    """The first run tells; with the right name it counts, and isn't trained again."""
    lab = Lab.copied(tmp_path / "tiny", zygote)
    sweeping.write(lab, WIDTHS, metric="loss/validate", trials=1)
    wrong = lab.do("lab", "sweep", SEARCH, env=FORKED)
    assert wrong.status == 2
    assert "has no value of the sweep's metric 'loss/validate'" in wrong.err
    assert "(SWEEP['metric'], or --metric)" in wrong.err
    right = lab.do("lab", "sweep", SEARCH, "--metric", "loss/train", env=FORKED)
    assert (right.status, right.out.count("begins")) == (0, 0), right.err
    sweeping.check(lab, 1, "--metric", "loss/train")


def test_trials_that_cannot_be_trained(tmp_path, zygote):
    """A mistake ends the search with what the run's command said; so does a row of failures."""
    lab = Lab.copied(tmp_path / "tiny", zygote)
    sweeping.write(lab, '"checkpoint.checkpoint_task_id": "nobody"')
    mistake = lab.do("lab", "sweep", SEARCH, "-j", "1", env=FORKED)
    assert mistake.status == 2
    assert "trial 0 can't be trained:\nerror: no run" in mistake.err
    assert lab.do("lab", "sweep", SEARCH, "--out", "x.py").status == 2
    sweeping.write(lab, '"fault": "raises", "trainer.init.max_epochs": 2', name="hopeless")
    failing = lab.do("lab", "sweep", SEARCH, "-j", "1", env=FORKED)
    assert failing.status == 1
    said = "3 trials have failed and none is completed, the last one with: ValueError: a bad batch"
    assert said in failing.err
    assert "`train search.py` alone may show more." in failing.err
