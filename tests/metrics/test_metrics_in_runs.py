"""Metrics of a real `train`: on one process and on two with uneven shares; errors that tell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import forked_ranks
from helpers import Project, StoredRun
from zygote import Zygote

MAIN = """
    import torch
    from plotly import graph_objects as go
    from torch import nn
    from torchmetrics import MetricCollection
    from torchmetrics.classification import (
        MulticlassAccuracy, MulticlassAUROC, MulticlassConfusionMatrix, MulticlassROC,
    )
    from torchmetrics.retrieval import RetrievalMRR
    from torchmetrics.wrappers import ClasswiseWrapper

    from torch_lab.data import DataLoader
    from torch_lab.metrics import MetricWrapper, PooledMean
    from torch_lab.modules import TrainLabModule


    def samples(count, seed, wrong):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(count, 4, generator=generator)
        y = torch.randint(3, (count,), generator=generator)
        if wrong is not None:
            y[wrong] = 7
        return [(x[i], {"y": y[i], "index": i}) for i in range(count)]


    def ranked(y_pred, y):
        indexes = y[:, None].expand(-1, 3)
        return y_pred.flatten(), (torch.arange(3) == y[:, None]).flatten(), indexes.flatten()


    def error(y_pred, y):
        return (y_pred.argmax(1) != y).float().mean()


    class Counted(MulticlassConfusionMatrix):
        def compute(self):
            super().compute()

        def plot(self):
            return go.Figure(layout={"title": {"text": f"{int(self.confmat.sum())} samples"}})


    METRICS = {
        "all": lambda: {
            "accuracy": MulticlassAccuracy(3, average="micro"),
            "auroc": MulticlassAUROC(3),
            "mrr": MetricWrapper(ranked, RetrievalMRR()),
            "error": PooledMean(error),
            "of": ClasswiseWrapper(MulticlassAccuracy(3, average=None)),
            "both": MetricCollection({"roc": MulticlassROC(3), "auroc": MulticlassAUROC(3)}),
            "matrix": MulticlassConfusionMatrix(3),
            "counted": Counted(3),
        },
        "accuracy": lambda: {"accuracy": MulticlassAccuracy(3)},
        "mrr": lambda: {"mrr": RetrievalMRR()},
    }


    def train_config(config):
        def loader(count, seed):
            return DataLoader(samples(count, seed, config["wrong"]), batch_size=2)

        still = {"optimizer": torch.optim.SGD, "optimizer_kwargs": {"lr": 0.0}}
        loss = nn.L1Loss() if config["l1"] else lambda y_pred, y: y_pred.square().mean()
        return {
            "module": TrainLabModule(nn.Linear(4, 3), loss, still, METRICS[config["metrics"]]()),
            "train_dataloaders": loader(16, 1),
            "val_dataloaders": loader(9, 2),
            "test_dataloaders": loader(5, 3),
        }
"""
HPARAMS = """
    hparams = {
        "trainer": {"init": {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False}},
        "config": {"metrics": "all", "wrong": None, "l1": False},
    }
"""
SCRIPT = "lab_project/experiments/00_metrics/hparams.py"


@pytest.fixture
def lab(project: Project) -> Project:
    project.write(SCRIPT, HPARAMS)
    project.write("lab_project/experiments/00_metrics/__main__.py", MAIN)
    return project


def final(run: StoredRun) -> dict[str, float]:
    values: dict[str, float] = {}
    for _, _, _, row in run.rows():
        values |= {name: value for name, value in row.items() if not name.endswith("_step")}
    return values


def test_two_uneven_ranks_and_plots(lab: Project, zygote: Zygote) -> None:
    """9 and 5 samples in batches of two: ranks have different numbers of batches and samples."""
    zygote.run("train", SCRIPT, "-s", "trainer.init.devices=1", cwd=lab.root, log=lab.root / "log")
    sets = ["-s", "trainer.init.devices=2", "-s", "trainer.init.strategy=ddp"]
    forked = {forked_ranks.WANTED: str(lab.root / "ranks")}
    pid = zygote.start("train", SCRIPT, *sets, cwd=lab.root, log=lab.root / "log", env=forked)
    assert zygote.wait(pid) == 0, (lab.root / "log").read_text()
    one, two = (lab.run(f"00_metrics-hparams_v{n}") for n in range(2))
    expected = final(one)
    assert {"mrr/validate", "of (test)/multiclassaccuracy_2", "both (train)/auroc"} <= set(expected)
    assert final(two) == pytest.approx(expected, abs=1e-6)
    for run in (one, two):
        media = run.path / "media"
        drawn = {str(each.parent.relative_to(media)) for each in media.rglob("*.png")}
        assert {f"matrix/{stage}" for stage in ("train", "validate", "test")} <= drawn
        assert "counted/train" not in drawn
        for stage, count in (("train", 16), ("validate", 9), ("test", 5)):
            figures = list((media / "counted" / stage).glob("*.json"))
            assert figures
            for figure in figures:
                assert json.loads(figure.read_text())["layout"]["title"]["text"] == (
                    f"{count} samples"
                )


def failing(lab: Project, zygote: Zygote, *sets: str) -> str:
    log = lab.root / "log"
    words = [word for each in sets for word in ("-s", each)]
    zygote.run("train", SCRIPT, *words, cwd=lab.root, log=log, status=1)
    return Path(log).read_text()


def test_a_bad_batch_is_told_though_many_are_added_at_once(lab: Project, zygote: Zygote) -> None:
    said = failing(lab, zygote, "metrics=accuracy", "wrong=4")
    told = "in metric 'accuracy' (validate), batch 3: y_pred float32 (2, 3), y int64 (2,) of "
    assert told in said
    assert said.split(told)[1].splitlines()[0].endswith(" to 7")
    assert said.count("Traceback") == 1


def test_wrong_arguments_and_shapes(lab: Project, zygote: Zygote) -> None:
    said = failing(lab, zygote, "metrics=mrr")
    assert (
        "missing 1 required positional argument: 'indexes'\nin metric 'mrr' (validate), batch 1:"
        in said
    )
    assert "torch_lab.metrics.MetricWrapper(preprocessor, metric) makes other arguments" in said
    said = failing(lab, zygote, "l1=True")
    assert "in loss_function: y_pred float32 (2, 3), y int64 (2,)" in said
