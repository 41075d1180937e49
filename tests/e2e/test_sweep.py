"""`lab sweep` as people use it."""

from __future__ import annotations

import json
import os
import signal

import pytest

from e2e import sweeping
from e2e.sweeping import SEARCH, STUDY
from e2e.tiny_project import EXPERIMENT, Lab
from helpers import wait_for
from torch_lab import hparams

WIDTHS = '"config.width": trial.suggest_int("width", 2, 8)'


@pytest.fixture(scope="module")
def searched(tmp_path_factory, zygote):
    """A sweep of six trials that is over, and what it has said."""
    lab = Lab.copied(tmp_path_factory.mktemp("swept") / "tiny", zygote)
    asks = WIDTHS + ', "extra": trial.suggest_categorical("extra", [True, False])'
    sweeping.write(lab, asks, metric="loss/train", sampler="random", trials=6)
    done = lab.do("lab", "sweep", SEARCH, "-j", "2")
    assert done.status == 0, done.err + done.out
    return lab, done.out


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


def test_proposals_are_the_same_each_time(searched, tmp_path, zygote):
    """With one trial at a time; here the sampler looks at no other trial."""
    first = [each["overrides"] for each in sweeping.trials(searched[0])]
    lab = Lab.copied(tmp_path / "tiny", zygote)
    asks = WIDTHS + ', "extra": trial.suggest_categorical("extra", [True, False])'
    sweeping.write(lab, asks, metric="loss/train", sampler="random", trials=2)
    assert lab.do("lab", "sweep", SEARCH, "-j", "1").status == 0
    assert [each["overrides"] for each in sweeping.trials(lab)] == first[:2]


def test_a_trial_that_fails_and_one_that_is_pruned(tmp_path, zygote):
    """The others go on; a pruned one ends after its validation and says why."""
    lab = Lab.copied(tmp_path / "tiny", zygote)
    asks = (
        '"fault": trial.suggest_categorical("fault", ["", "raises"]),'
        ' "trainer.init.max_epochs": trial.suggest_int("epochs", 2, 3), "validation_pause": 1e-9'
    )
    sweeping.write(lab, asks, sampler="grid", pruner="threshold", pruner_kwargs={"lower": 1e9})
    done = lab.do("lab", "sweep", SEARCH, "-j", "2")
    found = sweeping.trials(lab)
    assert [each["state"] for each in found] == ["pruned", "pruned", "failed", "failed"], done.out
    assert done.status == 1  # none is completed
    assert "ValueError: a bad batch" in found[2]["reason"]
    record = lab.run(found[0]["run"]).record
    assert record["status"] == "completed"
    assert record["ledger"]["stopped"]["by"] == "pruner"
    assert record["progress"]["epoch"] == 1


def test_stopped_and_gone_on_with(tmp_path, zygote):
    """Ctrl-C: the runs under way save and end; the next start resumes them."""
    lab = Lab.copied(tmp_path / "tiny", zygote)
    sweeping.write(lab, WIDTHS + ', "pause": 0.1', metric="loss/train", trials=3)
    started = lab.start_one("lab", "sweep", SEARCH, "-j", "2")
    wait_for(lambda: len([r for r in sweeping.runs(lab) if r["checkpoints"]]) == 2)
    os.kill(started.pid, signal.SIGINT)
    ended = lab.ended(started)
    assert ended.status == 130, ended.err
    assert {each["state"] for each in sweeping.trials(lab)} == {"interrupted"}
    assert f"stopped: `lab sweep {SEARCH}` goes on" in ended.out
    again = lab.do("lab", "sweep", SEARCH, "-j", "2")
    assert again.status == 0, again.err
    assert again.out.count("goes on as") == 2
    sweeping.check(lab, 3)


def test_two_share_the_work_of_one_storage(tmp_path, zygote):
    """A database here, as for many machines."""
    lab = Lab.copied(tmp_path / "tiny", zygote)
    storage = f"sqlite:///{tmp_path}/trials.db"
    sweeping.write(lab, WIDTHS, metric="loss/train", sampler="random", storage=storage, trials=8)
    both = [lab.start_one("lab", "sweep", SEARCH, "-j", "1") for _ in range(2)]
    ended = [lab.ended(each) for each in both]
    assert [each.status for each in ended] == [0, 0], ended
    sweeping.check(lab, 8)
    begun = [each.out.count("begins") for each in ended]
    assert sum(begun) == 8
    assert min(begun) > 0, "each has a share"


def test_a_metric_that_no_run_has(tmp_path, zygote):
    """The first run tells; with the right name it counts, and isn't trained again."""
    lab = Lab.copied(tmp_path / "tiny", zygote)
    sweeping.write(lab, WIDTHS, metric="loss/validate", trials=1)
    wrong = lab.do("lab", "sweep", SEARCH)
    assert wrong.status == 2
    assert "has no value of the sweep's metric 'loss/validate'" in wrong.err
    assert "(SWEEP['metric'], or --metric)" in wrong.err
    right = lab.do("lab", "sweep", SEARCH, "--metric", "loss/train")
    assert (right.status, right.out.count("begins")) == (0, 0), right.err
    sweeping.check(lab, 1, "--metric", "loss/train")


def test_trials_that_cannot_be_trained(tmp_path, zygote):
    """A mistake ends the search with what the run's command said; so does a row of failures."""
    lab = Lab.copied(tmp_path / "tiny", zygote)
    sweeping.write(lab, '"checkpoint.checkpoint_task_id": "nobody"')
    mistake = lab.do("lab", "sweep", SEARCH, "-j", "1")
    assert mistake.status == 2
    assert "trial 0 can't be trained:\nerror: no run" in mistake.err
    assert lab.do("lab", "sweep", SEARCH, "--out", "x.py").status == 2
    sweeping.write(lab, '"fault": "raises", "trainer.init.max_epochs": 2', name="hopeless")
    failing = lab.do("lab", "sweep", SEARCH, "-j", "1")
    assert failing.status == 1
    said = "3 trials have failed and none is completed, the last one with: ValueError: a bad batch"
    assert said in failing.err
    assert "`train search.py` alone may show more." in failing.err
