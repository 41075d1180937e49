"""Keeps the first batch that it is trained on."""

from __future__ import annotations

import torch
from torch.utils.data import DataLoader

from torch_lab.datasets import BaseDataset
from torch_lab.modules import TrainLabModule


class Points(BaseDataset):
    def __len__(self):
        return 50

    def get_raw_data(self, md):
        return torch.randn(4) + md["index"]

    def get_raw_label(self, md):
        return torch.rand(1)


class Keeping(TrainLabModule):
    def on_after_batch_transfer(self, batch, dataloader_idx):
        x, md = batch
        return (x * 2 if self.trainer.training else x), md

    def training_step(self, batch, batch_idx):
        if batch_idx == 0:
            torch.save(batch, "first.pt")
        return super().training_step(batch, batch_idx)


def train_config(config):
    optimizer = {"optimizer": torch.optim.SGD, "optimizer_kwargs": {"lr": 0.1}}
    data = DataLoader(Points(), batch_size=8, shuffle=True, num_workers=config["workers"])
    return {
        "module": Keeping(torch.nn.Linear(4, 1), torch.nn.MSELoss(), optimizer),
        "train_dataloaders": data,
    }
