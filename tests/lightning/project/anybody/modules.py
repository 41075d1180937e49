"""Modules as anybody writes them: automatic, by hand, with several optimizers, with hooks."""

from __future__ import annotations

import random

import numpy as np
import pytorch_lightning as pl
import torch
import torchmetrics
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

SAMPLES, BATCH = 32, 8


class Data(Dataset):
    def __init__(self, samples=SAMPLES, seed=5):
        self.x = torch.randn(samples, 4, generator=torch.Generator().manual_seed(seed))

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        x = self.x[i] + 0.1 * torch.randn(4) * random.random() + 0.1 * float(np.random.rand())
        return x, (self.x[i].sum() > 0).long()


def loader(samples=SAMPLES, batch_size=BATCH, **kwargs):
    return DataLoader(Data(samples), batch_size=batch_size, **{"shuffle": True} | kwargs)


class LabData(Data):
    """Batches as torch-lab's own modules take them."""

    def __getitem__(self, i):
        x, y = super().__getitem__(i)
        return x, {"y": y}


def lab_loader():
    return DataLoader(LabData(), batch_size=BATCH, shuffle=True)


def network(norm=True):
    middle = [nn.BatchNorm1d(8)] if norm else []
    return nn.Sequential(nn.Linear(4, 8), *middle, nn.Dropout(0.2), nn.ReLU(), nn.Linear(8, 2))


class Plain(pl.LightningModule):
    """Dropout, batch norm, `self.log` and a torchmetric."""

    def __init__(self, norm=True, lr=1e-2):
        super().__init__()
        self.save_hyperparameters()
        self.lr = lr
        self.net = network(norm)
        self.accuracy = torchmetrics.Accuracy("multiclass", num_classes=2)

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        y = self(batch[0])
        loss = cross_entropy(y, batch[1])
        self.accuracy(y, batch[1])
        self.log("train/loss", loss, on_step=True, on_epoch=True, prog_bar=True, sync_dist=True)
        self.log("train/worst", loss, on_epoch=True, on_step=False, reduce_fx="max")
        self.log("train/accuracy", self.accuracy, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        loss = cross_entropy(self(batch[0]), batch[1])
        self.log_dict({"val_loss": loss, "val_twice": 2 * loss})

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), self.lr)


class Scheduled(Plain):
    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), self.lr, momentum=0.9)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.7)]


class Gan(pl.LightningModule):
    """Two optimizers and a scheduler stepped by hand, one of them every other batch."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.generator, self.critic = nn.Linear(3, 4), network()

    def training_step(self, batch, batch_idx):
        first, second = self.optimizers()
        fake = self.generator(torch.randn(len(batch[0]), 3))
        self.toggle_optimizer(first)
        loss = cross_entropy(self.critic(fake), torch.ones(len(fake), dtype=torch.long))
        first.zero_grad()
        self.manual_backward(loss)
        self.clip_gradients(first, gradient_clip_val=0.5, gradient_clip_algorithm="norm")
        first.step()
        self.untoggle_optimizer(first)
        judged = cross_entropy(self.critic(batch[0]), batch[1])
        self.manual_backward(judged)
        if batch_idx % 2:
            second.step()
            second.zero_grad()
            self.lr_schedulers().step()
        self.log_dict({"generator": loss, "critic": judged}, prog_bar=True)

    def configure_optimizers(self):
        first = torch.optim.Adam(self.generator.parameters(), 1e-2)
        second = torch.optim.Adam(self.critic.parameters(), 1e-2)
        return [first, second], [torch.optim.lr_scheduler.StepLR(second, 2, 0.5)]


class Lbfgs(Plain):
    """An optimizer that calls its closure several times a step."""

    def __init__(self):
        super().__init__(norm=False)

    def configure_optimizers(self):
        return torch.optim.LBFGS(self.parameters(), 0.1, max_iter=3)


class Average(pl.LightningModule):
    """Loss over several loaders in a dict or a list."""

    def __init__(self):
        super().__init__()
        self.net = network()

    def training_step(self, batch, batch_idx):
        batches = batch.values() if isinstance(batch, dict) else batch
        losses = [cross_entropy(self.net(x), y) for x, y in (b for b in batches if b is not None)]
        loss = sum(losses) / len(losses)
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        loss = cross_entropy(self.net(batch[0]), batch[1])
        self.log("val_loss", loss, add_dataloader_idx=True)
        self.log(f"mine/{dataloader_idx}", loss, add_dataloader_idx=False)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 1e-2)


class OwnData(Plain):
    """Brings its own data."""

    def train_dataloader(self):
        return loader()

    def val_dataloader(self):
        return [loader(16, shuffle=False), loader(8, shuffle=False)]


class Drawn(Plain):
    """Draws its data whenever it is asked for its loader."""

    def train_dataloader(self):
        x = torch.randn(SAMPLES, 4) * random.random()
        return DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), BATCH, shuffle=True)


class Late(Plain):
    """Builds its layers in configure_model, its callbacks itself, and keeps more in checkpoints."""

    def __init__(self):
        super().__init__()
        self.net = None
        self.seen = []

    def configure_model(self):
        if self.net is None:
            self.net = network()

    def configure_callbacks(self):
        return [pl.callbacks.EarlyStopping("val_loss", patience=40)]

    def training_step(self, batch, batch_idx):
        self.seen.append(float(batch[0].sum()))
        return (
            super().training_step(batch, batch_idx) + 1e-3 * self.seen[0] * self.net[0].bias.sum()
        )

    def on_save_checkpoint(self, checkpoint):
        checkpoint["seen"] = self.seen

    def on_load_checkpoint(self, checkpoint):
        self.seen = list(checkpoint["seen"])


class Auto(pl.LightningModule):
    """A regression without validation that accumulates what it logs in torchmetrics' means."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 1)
        self.mean = torchmetrics.MeanMetric()

    def training_step(self, batch, batch_idx):
        loss = mse_loss(self.net(batch[0]).squeeze(1), batch[1].float())
        self.mean.update(loss)
        return {"loss": loss, "more": loss.detach()}

    def on_train_epoch_end(self):
        self.log("mean", self.mean.compute())
        self.mean.reset()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.05)


class DataModule(pl.LightningDataModule):
    """Prepares, sets up, and gives new data each epoch."""

    def __init__(self, batch_size=BATCH):
        super().__init__()
        self.batch_size = batch_size
        self.asked = 0

    def setup(self, stage):
        self.samples = SAMPLES

    def train_dataloader(self):
        self.asked += 1
        return loader(self.samples, self.batch_size)

    def val_dataloader(self):
        return loader(16, shuffle=False)

    def state_dict(self):
        return {"asked": self.asked}

    def load_state_dict(self, state):
        self.asked = state["asked"]


class Stream(IterableDataset):
    """Samples in an order of its own."""

    def __init__(self, samples=SAMPLES):
        self.data = Data(samples)

    def __iter__(self):
        return (self.data[i] for i in range(len(self.data)))


class SizedStream(Stream):
    def __len__(self):
        return len(self.data)
