"""What Lightning's own helpers write, say and find, under the real `train`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from test_exact import FOLDER, anybody, resume, script, train

from helpers import Project
from zygote import Zygote

__all__ = ["anybody"]


@pytest.mark.parametrize("case", ["profiled", "profiled_advanced", "profiled_torch"])
def test_a_profile_is_in_the_run(anybody: Project, zygote: Zygote, case: str) -> None:
    run = train(anybody, zygote, case)
    assert f"profile in data/artifacts/{run.path.name}/profile" in run.console
    report = (run.path / "profile" / "fit-report.txt").read_text()
    traces = [path.name for path in run.path.glob("profile/fit-report*.json")]
    assert "training_step" in report + "".join(traces)


def test_a_profiler_keeps_its_own_place(anybody: Project, zygote: Zygote) -> None:
    run = train(anybody, zygote, "profiled_elsewhere")
    assert "profile in elsewhere" in run.console
    assert (anybody.root / "elsewhere" / "fit-mine.txt").stat().st_size > 0
    assert not (run.path / "profile").exists()


def test_a_run_that_is_stopped_has_a_profile_too(anybody: Project, zygote: Zygote) -> None:
    stopping = "cases.SelfStop()"
    anybody.write(
        f"{FOLDER}/stopped.py",
        'from anybody import cases\n\nhparams = cases.hparams_of("profiled")\n'
        f'hparams["trainer"]["init"]["callbacks"] = [{stopping}]\n',
    )
    log = anybody.root / "log.txt"
    path = anybody.root / FOLDER / "stopped.py"
    assert zygote.run("train", path, cwd=anybody.root, log=log, status=None) == 128 + 15
    run = anybody.run("00_any-stopped_v0")
    assert "training_step" in (run.path / "profile" / "fit-report.txt").read_text()


def test_extra_loggers_get_everything(anybody: Project, zygote: Zygote) -> None:
    run = train(anybody, zygote, "loggers")
    status, calls = json.loads((anybody.root / "own.json").read_text())
    assert status == "success"
    hyperparameters = [call[1] for call in calls if call[0] == "hyperparams"]
    assert {"case": "loggers"} in hyperparameters  # the config
    assert {"norm": True, "lr": 0.02} in hyperparameters  # the module's save_hyperparameters()
    rows = [set(call[1]) - {"epoch"} for call in calls if call[0] == "metrics"]
    assert rows == [set(values) for *_, values in run.rows()]
    (csv,) = (run.path / "csv").rglob("metrics.csv")  # relative folders are the run's
    assert "train/loss_epoch" in csv.read_text()
    assert list(run.path.glob("lightning_logs/version_0/events.*"))


def test_a_search_for_the_learning_rate(anybody: Project, zygote: Zygote) -> None:
    run = train(anybody, zygote, "find_lr")
    assert run.console.count("found lr = ") == 1
    assert not list(run.path.glob(".*.ckpt"))
    steps = [values["steps"] for *_, values in run.rows() if "steps" in values]
    assert steps == list(range(1, 25))  # those of the search don't count
    found = run.checkpoint("step-1")["torch_lab"]["found"]
    assert run.checkpoint("step-1")["optimizer_states"][0]["param_groups"][0]["lr"] == found["lr"]
    # A search that was killed leaves its file; a run that goes on searches no more.
    (run.path / ".lr_find_x.ckpt").touch()
    resumed = resume(anybody, zygote, run, 6)
    assert not list(resumed.path.glob(".*.ckpt"))
    assert "found lr" not in (anybody.root / "log6.txt").read_text()


def test_a_search_for_the_batch_size(anybody: Project, zygote: Zygote) -> None:
    run = train(anybody, zygote, "find_batch_size")
    assert "found batch_size = 8 (before: 2)" in run.console
    assert run.rows()[-1][0] == 12  # 32 samples, three epochs
    assert not list(run.path.glob(".*.ckpt"))


def test_an_epochs_line_has_its_own_learning_rate(anybody: Project, zygote: Zygote) -> None:
    console = train(anybody, zygote, "lr_epochs").console
    lines = [line for line in console.splitlines() if line.startswith("epoch ")]
    rates = [line.split("lr-SGD ")[1].split()[0] for line in lines]
    assert rates == ["0.01", "0.007", "0.0049"]


def test_weights_that_are_put_in_place_at_the_end(anybody: Project, zygote: Zygote) -> None:
    """Through `.data`, which torch doesn't notice."""
    run = train(anybody, zygote, "teacher")
    contents = run.checkpoint()
    copy = contents["torch_lab"]["ranks"][0]["attributes"]["callbacks.1.Teacher"]["copy"]["state"]
    assert torch.equal(contents["state_dict"]["net.0.weight"], copy["0.weight"])


def test_a_file_of_some_earlier_exception_is_no_start(anybody: Project, zygote: Zygote) -> None:
    stale = anybody.root / "crash" / "on_exception.ckpt"
    stale.parent.mkdir()
    stale.write_bytes(b"no checkpoint at all")
    run = train(anybody, zygote, "monitors")
    assert run.rows()[-1][0] == 12


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("two_optimizers", "multiple optimizers is only supported with manual optimization"),
        ("twice", "more than one stateful callback of type `EarlyStopping`"),
        ("empty", "train_dataloaders: there is no batch in them"),
        ("bare", "trainer.init.barebones: it forbids the callbacks and loggers"),
        ("no_rate", "Auto has no attribute lr or learning_rate"),
        ("no_step", "No `training_step()` method defined"),
        ("interval", "`val_check_interval` (50) must be less than or equal to"),
    ],
)
def test_mistakes(anybody: Project, zygote: Zygote, case: str, words: str) -> None:
    log = anybody.root / "log.txt"
    path = script(anybody, case)
    zygote.run("train", path, cwd=anybody.root, log=log, status=2)
    assert words in log.read_text()
    assert "Traceback" not in log.read_text()


def test_fast_dev_run_works(anybody: Project, zygote: Zygote) -> None:
    run = train(anybody, zygote, "fast")
    assert run.record["progress"]["batch"] == 2
    assert Path(run.path / run.record["checkpoints"][0]["file"]).is_file()
