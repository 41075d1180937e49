"""A small network whose shape, pace and faults are hyperparameters."""

import time
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import nn

from torch_lab.data import DataLoader
from torch_lab.modules import TrainLabModule


class Data(torch.utils.data.Dataset):
    def __init__(self, pause=0.0):
        self.pause = pause

    def __len__(self):
        return 16

    def __getitem__(self, i):
        time.sleep(self.pause)
        x = torch.full((2,), i / 16)
        return x, {"y": x.sum()[None]}


class Network(nn.Module):
    def __init__(self, config):
        super().__init__()
        widths = [2, *[config["width"]] * config["depth"]]
        self.hidden = nn.Sequential(*map(nn.Linear, widths, widths[1:]))
        if config["extra"]:
            self.extra = nn.Linear(2, 1)

    def forward(self, x):
        return self.hidden(x).mean(1, keepdim=True)


class Plain(pl.LightningModule):
    """Knows nothing of torch-lab."""

    def __init__(self, config):
        super().__init__()
        self.network = Network(config)

    def training_step(self, batch, batch_idx):
        x, md = batch
        return nn.functional.mse_loss(self.network(x), md["y"])

    def predict_step(self, batch, batch_idx):
        return self.network(batch[0])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


class Faulty(pl.Callback):
    def __init__(self, fault):
        self.fault = fault

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if self.fault == "raises" and trainer.global_step == 3:
            raise ValueError("a bad batch")
        if self.fault == "sleeps" and trainer.global_step == 3:
            sleep_once("asleep", 60)


def sleep_once(name, seconds):
    """Sleep unless that has happened before, as the file of that name tells."""
    if not Path(name).exists():
        Path(name).touch()
        time.sleep(seconds)


def loader(config, shuffle=False):
    data = Data(config["pause"])
    return DataLoader(data, batch_size=4, shuffle=shuffle, num_workers=config["num_workers"])


def module(config):
    if config["module"] == "plain":
        return Plain(config)
    optimizer = {"optimizer": torch.optim.Adam, "optimizer_kwargs": {"lr": 0.01}}
    return TrainLabModule(Network(config), nn.MSELoss(), optimizer)


def train_config(config):
    if config["building"]:
        sleep_once("building", config["building"])
    validation = DataLoader(Data(config["validation_pause"]), batch_size=4)
    return {
        "module": module(config),
        "train_dataloaders": loader(config, shuffle=True),
        "val_dataloaders": validation if config["validation_pause"] else None,
        "callbacks": [Faulty(config["fault"])],
    }


def infer_config(config, out=None):
    Path("predicting").touch()
    return {"module": module(config), "predict_dataloaders": loader(config)}
