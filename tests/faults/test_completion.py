"""No run is called completed that left something out, and none incomplete that did as planned."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers import Project, cut
from zygote import Zygote

SCRIPT = "lab/experiments/00_plan/hparams.py"
RUN = "00_plan-hparams_v0"
CONFIGURATION = """
    import pytorch_lightning as pl
    import torch
    from torch import nn
    from torch_lab.modules import TrainLabModule

    class Data(torch.utils.data.Dataset):
        def __len__(self):
            return 10

        def __getitem__(self, i):
            return torch.full((2,), i / 10), {"y": torch.ones(1)}

    class Sampler(torch.utils.data.SequentialSampler):
        said = 10

        def __len__(self):
            return self.said

    class Acting(pl.Callback):
        def __init__(self, act):
            self.act = act

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if trainer.current_epoch == 1 and batch_idx == 1:
                getattr(self, self.act, repr)(trainer)

        def stop(self, trainer):
            trainer.should_stop = True

        def steal(self, trainer):
            next(trainer.fit_loop._data_fetcher)

    def train_config(config):
        sampler = Sampler(Data())
        sampler.said = config["said"]
        loader = torch.utils.data.DataLoader(Data(), 2, sampler=sampler)
        optimizer = {"optimizer": torch.optim.Adam, "optimizer_kwargs": {"lr": 0.01}}
        module = TrainLabModule(nn.Linear(2, 1), nn.MSELoss(), optimizer)
        return {
            "module": module, "train_dataloaders": loader, "callbacks": [Acting(config["act"])]
        }
"""
HPARAMS = """
    hparams = {
        "task": {"project_name": "tests"},
        "checkpoint": {"every_n_steps": 1, "keep": 100},
        "trainer": {
            "init": {"max_epochs": 3, "accelerator": "cpu", "enable_progress_bar": False}
        },
        "config": {"said": 10, "act": ""},
    }
"""


class Trial:
    """Commands in a project of its own."""

    def __init__(self, root: Path, zygote: Zygote) -> None:
        self.project, self.zygote, self.log = Project(root), zygote, root / "log.txt"
        self.project.write("pyproject.toml", "")
        self.project.write("lab/__init__.py", "")
        self.project.write("lab/experiments/00_plan/__main__.py", CONFIGURATION)
        self.project.write(SCRIPT, HPARAMS)

    def said(self, *words: str | Path, status: int = 0) -> str:
        self.log.unlink(missing_ok=True)
        self.zygote.run(*words, cwd=self.project.root, log=self.log, status=status)
        return self.log.read_text()


@pytest.fixture
def trial(tmp_path: Path, zygote: Zygote) -> Trial:
    return Trial(tmp_path, zygote)


def test_a_loader_that_ends_too_soon(trial: Trial) -> None:
    said = trial.said("train", SCRIPT, "-s", "said=14", status=1)
    fault = "its loader ended after 5 batches of the 7 that it said"
    assert f"epoch 0: {fault}. This run can't be completed as planned" in said
    assert f"not all that was planned was trained, or not once: epochs 0 to 2: {fault}" in said
    assert "incomplete after " in said
    assert "  next      mend it, then start again: " in said
    assert f"run directory: data/artifacts/{RUN}" in said
    record = trial.project.run(RUN).record
    assert record["status"] == "incomplete"
    assert record["reason"].endswith(fault)
    again = trial.said("train", "--resume", RUN, status=1)
    assert "incomplete after " in again
    assert trial.project.run(RUN).record["ledger"]["epochs"] == record["ledger"]["epochs"]
    shown = " ".join(trial.said("lab", "show", RUN).split())
    assert "trained epochs 0 to 2, each: 5 of 7 batches, 10 samples" in shown
    assert f"fault epochs 0 to 2: {fault}" in shown


def test_a_batch_that_a_callback_takes_away(trial: Trial) -> None:
    said = trial.said("train", SCRIPT, "-s", "act=steal", status=1)
    assert "epoch 1: 1 batch was left out; epoch 1: its loader ended after 4 batches of" in said
    assert trial.project.run(RUN).record["status"] == "incomplete"


def test_a_callback_that_stops(trial: Trial) -> None:
    said = trial.said("train", SCRIPT, "-s", "act=stop")
    assert "completed after 7 batches" in said
    assert "  stopped   by Acting.on_train_batch_end\n" in said
    record = trial.project.run(RUN).record
    assert record["status"] == "completed"
    assert record["ledger"]["stopped"] == {"by": "Acting.on_train_batch_end", "why": None}
    shown = " ".join(trial.said("lab", "show", RUN).split())
    assert "trained epoch 0: 5 batches, 10 samples trained epoch 1: 2 of 5 batches" in shown
    assert "ended by Acting.on_train_batch_end stopped by Acting.on_train_batch_end" in shown
    data = json.loads(trial.said("lab", "show", RUN, "--json"))
    assert data["ledger"]["epochs"][1]["batches"] == 2


def test_sums_over_cuts_are_those_of_the_whole_run(trial: Trial) -> None:
    said = trial.said("train", SCRIPT)
    whole = trial.project.run(RUN)
    assert "stopped" not in said
    assert whole.record["ledger"] == {
        "processes": 1,
        "epochs": [
            {
                "first": 0,
                "last": 2,
                "planned": 5,
                "batches": 5,
                "ended_by": None,
                "planned_samples": 10,
                "samples": 10,
            }
        ],
        "open": None,
        "ended": "max_epochs=3",
        "stopped": None,
        "faults": [],
    }
    for batch in (5, 7):
        run = cut(whole, batch, trial.project.artifacts / f"00_plan-hparams_v{batch}")
        trial.said("train", "--resume", run.path)
        assert run.record["status"] == "completed"
        assert run.record["ledger"] == whole.record["ledger"]
