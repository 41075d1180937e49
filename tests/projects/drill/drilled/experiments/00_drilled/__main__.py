"""A small training, and the ways in which people's code loses its state when it is cut."""

from __future__ import annotations

import itertools
import os
import random
from collections import deque

import numpy as np
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, Sampler
from torchmetrics import Metric

OWN = np.random.default_rng(0)  # no generator of torch-lab's
STEPS = 0
SAMPLES = 64


class Points(torch.utils.data.Dataset):
    def __init__(self, fault):
        self.fault = fault
        self.x = torch.randn(SAMPLES, 4, generator=torch.Generator().manual_seed(1))
        self.seen = 0

    def __len__(self):
        return SAMPLES

    def __getitem__(self, index):
        x = self.x[index] + 0.1 * torch.randn(4)
        if self.fault == "dataset":  # each look at the data changes what comes next
            self.seen += 1
            x = x + 0.01 * self.seen
        if self.fault == "again":  # the same within an epoch of the drill, then no more
            self.x[index] *= 0.9
        if self.fault == "generator":
            x = x + torch.from_numpy(OWN.normal(size=4)).float()
        if self.fault == "chance":
            x = x + os.urandom(1)[0] / 255
        return x


class Stream(IterableDataset):
    def __iter__(self):
        for _ in range(SAMPLES):
            yield torch.randn(4)


class Forgetful(Sampler):
    """Goes on from its own last order, and has no state_dict."""

    def __init__(self):
        self.order = list(range(SAMPLES))

    def set_epoch(self, epoch):
        random.shuffle(self.order)

    def __len__(self):
        return SAMPLES

    def __iter__(self):
        random.shuffle(self.order)
        return iter(self.order)


class Counting(torch.optim.SGD):
    """Its steps shrink by a count that is in no state dict."""

    calls = None

    def step(self, closure=None):
        self.calls = (self.calls or 0) + 1
        for group in self.param_groups:
            group["lr"] = 0.1 / self.calls
        return super().step(closure)


class Warm(torch.optim.lr_scheduler.LRScheduler):
    """Saves nothing of how warm it is."""

    heat = 0

    def get_lr(self):
        self.heat += 1
        return [0.01 * self.heat for _ in self.base_lrs]

    def state_dict(self):
        return {}


class Latest(Metric):
    """Keeps the last losses in what torchmetrics doesn't know as a state."""

    def __init__(self):
        super().__init__()
        self.last = deque(maxlen=100)

    def update(self, loss):
        self.last.append(loss.detach())

    def compute(self):
        return torch.stack(list(self.last)).mean()


class Cycled(pl.Callback):
    """Takes the learning rate from an iterator, which nobody can save."""

    def __init__(self):
        self.rates = itertools.cycle([0.1, 0.01, 0.05])

    def on_train_batch_start(self, trainer, *_):
        trainer.optimizers[0].param_groups[0]["lr"] = next(self.rates)


class Module(pl.LightningModule):
    def __init__(self, fault):
        super().__init__()
        self.fault = fault
        self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 1))
        self.noise = (0.1 * step for step in itertools.count())
        if fault == "buffer":
            self.register_buffer("average", torch.zeros(4), persistent=False)
        if fault == "metric":
            self.latest = Latest()

    def training_step(self, x, _):
        global STEPS
        if self.fault == "buffer":
            self.average = 0.9 * self.average + 0.1 * x.mean(0)
            x = x - self.average
        if self.fault == "attribute":
            x = x + next(self.noise)
        if self.fault == "variable":
            STEPS += 1
            x = x * (1 + 0.01 * STEPS)
        if self.fault == "random":
            x = x + float(OWN.normal())
        if self.fault == "sets":
            digits = {str(digit) for digit in range(10)}  # never twice in one order by chance
            x = x * (1 + float("0." + "".join(digits)))
        loss = self.net(x).pow(2).mean()
        if self.fault == "metric":
            self.latest(loss)
            self.log("latest", self.latest, on_epoch=True, on_step=False)
        self.log("loss", loss)
        return loss

    def validation_step(self, x, _):
        self.log("val_loss", self.net(x).pow(2).mean())

    def on_train_start(self):
        if self.fault == "layer":
            nn.init.zeros_(self.net[3].weight)

    def on_load_checkpoint(self, checkpoint):
        if self.fault == "loading":
            raise KeyError("this model's checkpoints can't be loaded")

    def configure_optimizers(self):
        kind = Counting if self.fault == "optimizer" else torch.optim.SGD
        optimizer = kind(self.parameters(), lr=0.1, momentum=0.9)
        if self.fault == "scheduler":
            return [optimizer], [{"scheduler": Warm(optimizer), "interval": "step"}]
        return optimizer


def train_config(config):
    fault = config["fault"]
    sampler = Forgetful() if fault == "sampler" else None
    data = Stream() if fault == "stream" else Points(fault)
    return {
        "module": Module(fault),
        "train_dataloaders": DataLoader(
            data,
            4,
            sampler=sampler,
            num_workers=config["workers"],
            shuffle=fault == "again",
        ),
        "val_dataloaders": DataLoader(Points(None), 8),
        "callbacks": [Cycled()] if fault == "callback" else [],
    }
