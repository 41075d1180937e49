"""A backbone that stays as it is and a head that is trained; two speeds, warmup and decay."""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
from torch.utils.data import ConcatDataset, DataLoader, TensorDataset


def sorted_points(n, seed):
    x = torch.randn(n, 6, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(x, x[:, :3].argmax(dim=1))


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(6, 16)
        self.norm = nn.BatchNorm1d(16)
        self.last = nn.Linear(16, 16)

    def forward(self, x):
        return torch.relu(self.last(torch.relu(self.norm(self.stem(x)))))


class Tuned(pl.LightningModule):
    def __init__(self, lr, epochs):
        super().__init__()
        self.lr, self.epochs = lr, epochs
        self.backbone = Backbone()
        self.head = nn.Linear(16, 3)
        for part in (self.backbone.stem, self.backbone.norm):
            part.requires_grad_(False)

    def on_train_epoch_start(self):
        self.backbone.norm.eval()

    def step(self, batch, name):
        x, y = batch
        loss = nn.functional.cross_entropy(self.head(self.backbone(x)), y)
        self.log(name, loss, on_epoch=True)
        return loss

    def training_step(self, batch, batch_idx):
        return self.step(batch, "train/loss")

    def validation_step(self, batch, batch_idx):
        self.step(batch, "val/loss")

    def configure_optimizers(self):
        groups = [
            {"params": self.backbone.last.parameters(), "lr": self.lr / 10},
            {"params": self.head.parameters()},
        ]
        optimizer = torch.optim.AdamW(groups, lr=self.lr)
        warmup = LinearLR(optimizer, start_factor=0.1, total_iters=1)
        decay = CosineAnnealingLR(optimizer, T_max=self.epochs - 1)
        return [optimizer], [SequentialLR(optimizer, [warmup, decay], milestones=[1])]


def train_config(config):
    every = ConcatDataset([sorted_points(60, 0), sorted_points(30, 1)])
    return {
        "module": Tuned(config["lr"], config["epochs"]),
        "train_dataloaders": DataLoader(every, batch_size=15, shuffle=True, drop_last=True),
        "val_dataloaders": [DataLoader(sorted_points(20, 2), batch_size=20)],
    }
