"""Random augmentation, dropout, batch norm, state in hooks, plateau, metrics: hard to resume."""

from __future__ import annotations

import random
import time

import numpy as np
import pytorch_lightning as pl
import torch
import torchmetrics
from exact_project import faults, rank_faults
from pytorch_lightning.callbacks import EarlyStopping, EMAWeightAveraging
from torch import nn

from torch_lab.data import DataLoader
from torch_lab.modules import TrainLabModule

SAMPLES = 72


class Data(torch.utils.data.Dataset):
    def __init__(self, pause=0.0, fail=None):
        generator = torch.Generator().manual_seed(5)
        self.x = torch.randn(SAMPLES, 8, generator=generator)
        self.y = (self.x.sum(1) > 0).long()
        self.pause = pause
        self.fail = fail

    def __len__(self):
        return SAMPLES

    def __getitem__(self, i):
        time.sleep(self.pause)
        if self.fail is not None:
            self.fail(i)
        x = self.x[i].clone()
        if random.random() < 0.5:
            x = -x
        x = x + 0.1 * torch.randn(8) + 0.1 * float(np.random.rand())
        return x, {"y": self.y[i], "index": i}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 2)
        )
        self.register_buffer("average", torch.zeros(32, 8))

    def forward(self, x):
        return self.layers(x)


class Module(TrainLabModule):
    """Keeps state in hooks that run before and after Lightning's own points of saving."""

    def on_train_batch_end(self, *args):
        super().on_train_batch_end(*args)
        weight = self.model.layers[0].weight.detach()
        self.model.average.mul_(0.9).add_(weight, alpha=0.1)

    def on_train_epoch_start(self):
        super().on_train_epoch_start()
        self.model.average.add_(0.01)

    def on_train_epoch_end(self):
        super().on_train_epoch_end()
        self.model.average.mul_(0.99)
        self.log("average", self.model.average.mean())


class Summed(pl.Callback):
    """Logs a mean over the epoch through Lightning, which forgets it when it is cut."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        pl_module.log(
            "seen", batch[0].mean(), on_step=True, on_epoch=True, batch_size=len(batch[0])
        )


def train_config(config):
    rank_faults.at_config()
    kind = config["scheduler"]
    schedulers = {
        "plateau": {
            "scheduler": torch.optim.lr_scheduler.ReduceLROnPlateau,
            "scheduler_kwargs": {"patience": 0, "factor": 0.5, "threshold": 10.0},
            "monitor": "loss/validate",
        },
        "step": {
            "scheduler": torch.optim.lr_scheduler.OneCycleLR,
            "scheduler_kwargs": {"max_lr": 1e-2, "total_steps": 1000},
            "interval": "step",
        },
        "epoch": {
            "scheduler": torch.optim.lr_scheduler.StepLR,
            "scheduler_kwargs": {"step_size": 1, "gamma": 0.5},
            "interval": "epoch",
        },
    }
    module = Module(
        Net(),
        nn.CrossEntropyLoss(),
        {"optimizer": torch.optim.AdamW, "optimizer_kwargs": {"lr": 1e-2}, **schedulers[kind]},
        metrics={
            "accuracy": torchmetrics.Accuracy("multiclass", num_classes=2),
            "auroc": torchmetrics.AUROC("multiclass", num_classes=2),
        },
    )
    workers = {"num_workers": config["num_workers"], "persistent_workers": config["persistent"]}
    if config["timeout"]:
        workers["timeout"] = config["timeout"]
    callbacks = [Summed(), EarlyStopping("loss/validate", **config["stopping"])]
    if config["ema"]:
        callbacks.append(EMAWeightAveraging(decay=0.8))
    return {
        "module": module,
        "train_dataloaders": DataLoader(
            Data(config["pause"], faults.fail), batch_size=16, shuffle=True, **workers
        ),
        "val_dataloaders": DataLoader(Data(), batch_size=32),
        "test_dataloaders": DataLoader(Data(), batch_size=32) if config["tests"] else None,
        "callbacks": [*callbacks, *faults.dying(), *rank_faults.striking()],
    }
