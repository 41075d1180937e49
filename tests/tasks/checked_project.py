"""Experiments for the tests of `lab check`: one that is sound, and how others are made of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from helpers import Project
from torch_lab.tasks.check import Finding, Report, examine

MAIN = """\
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from torch import nn
from torchmetrics.classification import MulticlassAccuracy

from torch_lab.data import DataLoader
from torch_lab.modules import LabModule, TrainLabModule


def points(n):
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(n))
    return [(each, {"y": (each.sum() > 0).long()}) for each in x]


def module(net=None, loss=None, metrics=None, **more):
    optimizer = {"optimizer": torch.optim.Adam, "optimizer_kwargs": {"lr": 0.01}, **more}
    net = nn.Linear(3, 2) if net is None else net
    metrics = {"accuracy": MulticlassAccuracy(2)} if metrics is None else metrics
    return TrainLabModule(net, loss or nn.CrossEntropyLoss(), optimizer, metrics)


def parts(**other):
    return {
        "module": module(),
        "train_dataloaders": DataLoader(points(40), batch_size=8, shuffle=True),
        "val_dataloaders": DataLoader(points(16), batch_size=8),
        **other,
    }


class Watching(pl.Callback):
    def on_train_epoch_end(self, trainer, pl_module):
        self.act(trainer)
"""
TRAIN = "def train_config(config): return parts()\n"
EPOCHS = '{"max_epochs": 3}'

Look = Callable[..., Report]


@pytest.fixture
def look(project: Project) -> Look:
    """Examine an experiment of the project's, made of MAIN and more; nothing of it may change."""

    def looked(
        main: str = TRAIN,
        init: str = EPOCHS,
        more: str = "",
        kept: Sequence[str] = (),
        **files: str,
    ) -> Report:
        folder = "lab_project/experiments/00_a"
        project.write(f"{folder}/__main__.py", MAIN + main)
        text = f'hparams = {{"config": {{}}, "trainer": {{"init": {init}}}, {more}}}\n'
        script = project.write(f"{folder}/h.py", text)
        for name, content in files.items():
            project.write(name.replace("__", "/"), content)
        before = tree(project.root)
        report = examine(script)
        after = tree(project.root)
        assert sorted(Path(name).name for name in after.keys() - before.keys()) == list(kept)
        assert {name: after.get(name) for name in before} == before
        return report

    return looked


def tree(root: Path) -> dict[str, bytes]:
    found = (path for path in root.rglob("*") if "__pycache__" not in path.parts)
    return {str(path): path.read_bytes() for path in found if path.is_file()}


def one(report: Report, level: str, code: str) -> Finding:
    """The only finding that is more than a note."""
    found = [each for each in report.findings if each.level != "note"]
    assert [(each.level, each.code) for each in found] == [(level, code)], report.findings
    return found[0]


def told(findings: Sequence[Finding]) -> list[tuple[str, str]]:
    return [(each.level, each.code) for each in findings]
