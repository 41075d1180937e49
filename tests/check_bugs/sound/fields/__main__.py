"""A field on a grid that all samples share, and a mask that hides nothing."""

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset


def mlp(i, o, h=16):
    return nn.Sequential(nn.Linear(i, h), nn.ReLU(), nn.Linear(h, o))


class Fields(Dataset):
    def __init__(self):
        side = torch.linspace(0, 1, 8)
        self.grid = torch.stack(torch.meshgrid(side, side, indexing="ij"), -1).view(64, 2)
        self.mask = torch.ones(64)

    def __len__(self):
        return 50

    def __getitem__(self, i):
        g = torch.Generator().manual_seed(i)
        a = torch.randn(3, generator=g)
        return {
            "attention_mask": self.mask,
            "grid": self.grid,
            "a": a,
            "u": (self.grid * a[:2]).sum(1).sin(),
        }


class Operator(pl.LightningModule):
    def __init__(self, lr):
        super().__init__()
        self.lr = lr
        self.branch, self.trunk = mlp(3, 8), mlp(2, 8)

    def training_step(self, batch, _):
        out = torch.einsum("bp,bnp->bn", self.branch(batch["a"]), self.trunk(batch["grid"]))
        loss = F.mse_loss(out, batch["u"])
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)


def train_config(config):
    return {
        "module": Operator(config["lr"]),
        "train_dataloaders": DataLoader(Fields(), 10, shuffle=True),
    }
