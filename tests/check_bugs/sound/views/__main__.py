"""Two views of each sample, told from those of all others; every sample does meet every other."""

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Views(Dataset):
    def __init__(self, n):
        self.x = torch.randn(n, 12, generator=torch.Generator().manual_seed(n))
        self.kind = torch.arange(n) % 3

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        one, two = (self.x[i] + 0.1 * torch.randn(12) for _ in range(2))
        return one, two, self.kind[i]


class Contrast(pl.LightningModule):
    def __init__(self, temperature, lr):
        super().__init__()
        self.save_hyperparameters()
        self.encoder = nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 24))
        self.projection = nn.Sequential(nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 6))

    def info_nce(self, one, two):
        z = F.normalize(self.projection(self.encoder(torch.cat([one, two]))), dim=1)
        likeness = z @ z.T / self.hparams.temperature
        likeness.fill_diagonal_(-9e15)
        partner = torch.arange(len(z), device=z.device).roll(len(one))
        return F.cross_entropy(likeness, partner)

    def by_kind(self, one, kind):
        z = self.encoder(one)
        distance = (z.unsqueeze(1) - z).pow(2).sum(-1)
        same = (kind.unsqueeze(1) == kind).float()
        return (same * distance + (1 - same) * F.relu(1 - distance)).mean()

    def training_step(self, batch, _):
        one, two, kind = batch
        loss = self.info_nce(one, two) + 0.1 * self.by_kind(one, kind)
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch, _):
        self.log("val/loss", self.info_nce(*batch[:2]))

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.hparams.lr, weight_decay=1e-4)


def train_config(config):
    return {
        "module": Contrast(**config),
        "train_dataloaders": DataLoader(Views(64), batch_size=16, shuffle=True, drop_last=True),
        "val_dataloaders": DataLoader(Views(33), batch_size=16),
    }
