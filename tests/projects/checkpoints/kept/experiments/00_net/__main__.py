"""A small network, and callbacks that make saving hard; `callbacks` says which."""

import json
import os
import resource
import time
from pathlib import Path
from types import SimpleNamespace

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn

from torch_lab.callbacks import RunCheckpoint
from torch_lab.checkpoints import files
from torch_lab.data import DataLoader
from torch_lab.modules import LabModule, TrainLabModule


class Data(torch.utils.data.Dataset):
    def __init__(self, bad=None):
        self.bad = bad

    def __len__(self):
        return 16

    def __getitem__(self, i):
        x = torch.full((2,), float("nan") if i == self.bad else i / 16)
        return x, {"y": x.sum()[None], "index": i}


class At(pl.Callback):
    """Does something at the start of a batch, counted from 1."""

    def __init__(self, batch, action):
        self.batch, self.action = batch, action

    @property
    def state_key(self):
        return "At"

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step + 1 == self.batch:
            self.action(trainer)


class Remembering(pl.Callback):
    """Keeps a thing that can't be saved: from the beginning, or from a batch on."""

    def __init__(self, thing=None):
        self.thing = thing

    def state_dict(self):
        return {"thing": self.thing}

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == 5:
            self.thing = nn.ReLU()


def when_recorded(trainer, file):
    record = Path(trainer.default_root_dir, "run.json")
    while file not in record.read_text():
        time.sleep(0.01)


def no_more_fsync(trainer):
    """The device takes no more checkpoints; other files it does."""
    when_recorded(trainer, "step-4.ckpt")

    def fail(descriptor):
        raise OSError(5, "Input/output error")

    files.os = SimpleNamespace(**vars(os) | {"fsync": fail})


def no_more_room(trainer):
    """Room for run.json and the like, but for no checkpoint."""
    when_recorded(trainer, "step-4.ckpt")
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))


def die(trainer):
    when_recorded(trainer, "step-6.ckpt")
    os.kill(os.getpid(), 9)


CALLBACKS = {
    "unsavable": lambda: Remembering(nn.ReLU()),
    "unsavable later": Remembering,
    "no fsync": lambda: At(6, no_more_fsync),
    "no room": lambda: At(6, no_more_room),
    "die": lambda: At(7, die),
    "ModelCheckpoint": lambda: ModelCheckpoint(
        filename="best", monitor="loss/validate", save_last=True, every_n_train_steps=None
    ),
    "unknown": lambda: RunCheckpoint("loss/valid"),
    "often": lambda: RunCheckpoint("loss/validate", every_n_steps=1, keep=3),
    "in a blink": lambda: RunCheckpoint(every_minutes=1e-9, keep=9),
}


def network(config):
    width = config["width"]
    return nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, config["outputs"]))


def train_config(config):
    loaders = {"train_dataloaders": DataLoader(Data(config["bad"]), batch_size=4, shuffle=True)}
    if config["validates"]:
        loaders["val_dataloaders"] = DataLoader(Data(), batch_size=8)
    optimizer = {"optimizer": torch.optim.Adam, "optimizer_kwargs": {"lr": 0.01}}
    return {
        "module": TrainLabModule(network(config), nn.MSELoss(), optimizer),
        "callbacks": [CALLBACKS[name]() for name in config["callbacks"]],
        **loaders,
    }


class Writer(pl.Callback):
    """Writes what the weights are."""

    def __init__(self, path):
        self.path = Path(path)

    def on_predict_end(self, trainer, pl_module):
        state = {name: value.tolist() for name, value in pl_module.model.state_dict().items()}
        self.path.write_text(json.dumps(state))


def infer_config(config):
    return {
        "module": LabModule(network(config)),
        "predict_dataloaders": DataLoader(Data(), batch_size=8),
        "callbacks": [Writer(config["out"])],
    }
