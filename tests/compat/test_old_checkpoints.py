"""Checkpoints of torch-lab 1.x: opened without running code, trained on, inferred with."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from old_checkpoint import TASK, trained
from old_project import WAVES, Old

from torch_lab.checkpoints import files

SCRIPT = f"{WAVES}/hparams.py"
FOLDER = f"00_waves-hparams-v0-{TASK}"


@pytest.fixture(scope="module")
def last(old: Old) -> Path:
    """What task TASK of 1.x left in the artifacts folder: its last checkpoint."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Lightning's, on how that Trainer is set up
        return trained(old.artifacts)


def test_it_opens_without_running_code(last: Path) -> None:
    with pytest.raises(Exception, match="Unsupported global"):
        torch.load(last, weights_only=True)
    contents = files.load(last)
    arguments = contents["hyper_parameters"]
    assert arguments["optimizer_config"]["optimizer"] is torch.optim.AdamW
    assert arguments["output_transform"] == "torch_lab.transforms.TransformSeparate"
    assert {"0.weight", "loss_function.pos_weight"} <= contents["state_dict"].keys()


def test_training_goes_on_from_a_task(old: Old, last: Path) -> None:
    run, said = old.train(SCRIPT, f"checkpoint.checkpoint_task_id={TASK}")
    assert f"from {last.relative_to(old.root)}" in said
    assert "Be aware" not in said
    parent = {"id": TASK, "name": "00_waves-hparams-v0", "checkpoint": "last"}
    assert run.record["parent"] == parent
    assert run.record["progress"] == {"batch": 12, "step": 12, "epoch": 3}
    assert min(epoch for batch, _, epoch, _ in run.rows() if batch) == 2
    scheduler = run.checkpoint()["lr_schedulers"][0]
    assert scheduler["last_epoch"] == 3
    assert scheduler["_last_lr"] == [pytest.approx(0.015 * 0.2**2)]


def test_its_weights_start_a_run(old: Old, last: Path) -> None:
    sets = [f"checkpoint.checkpoint_task_id={TASK}", "checkpoint.weights_only=True"]
    run, said = old.train(SCRIPT, *sets, "trainer.init.max_epochs=1", "config.learning_rate=0.0")
    assert f"from {last.relative_to(old.root)} (weights)" in said
    weights, own = files.load(last)["state_dict"], run.checkpoint()["state_dict"]
    assert own.keys() == {name for name in weights if name[0].isdigit()}
    for name in ("0.weight", "3.bias"):
        assert torch.equal(own[name], weights[name])


def test_inference_with_a_task_and_with_a_file(old: Old, last: Path) -> None:
    outs = [old.root / "data" / f"{name}.csv" for name in ("task", "file")]
    old.do("infer", SCRIPT, "--checkpoint", TASK, "-", outs[0])
    old.do("infer", SCRIPT, "--checkpoint", last, "-", outs[1])
    assert outs[0].read_text() == outs[1].read_text()
    assert len(outs[0].read_text().splitlines()) == 41


def test_a_checkpoint_that_the_task_has_not(old: Old, last: Path) -> None:
    said = old.do("infer", SCRIPT, "--checkpoint", f"{TASK}:best", "-", "out.csv", status=2)
    there = "it has epoch=1-step=8, last"
    folder = old.artifacts / FOLDER
    assert f"task {TASK} has no checkpoint 'best' in {folder}: {there}" in said


def test_a_task_that_is_not_here(old: Old) -> None:
    said = old.do("infer", SCRIPT, "--checkpoint", "f" * 32, "-", "out.csv", status=2)
    assert f'error: no run "{"f" * 32}" in ' in said
