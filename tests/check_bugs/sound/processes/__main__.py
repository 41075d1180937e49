"""Two processes, among which the steps of an epoch are divided."""

import math

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def mlp(i, o, h=16):
    return nn.Sequential(nn.Linear(i, h), nn.ReLU(), nn.Linear(h, o))


class Net(pl.LightningModule):
    def __init__(self, lr, steps):
        super().__init__()
        self.lr, self.steps = lr, steps
        self.net = mlp(8, 2)

    def training_step(self, batch, _):
        loss = F.cross_entropy(self.net(batch[0]), batch[1])
        self.log("loss", loss, sync_dist=True)
        return loss

    def configure_optimizers(self):
        opt = torch.optim.SGD(self.parameters(), lr=self.lr)
        sch = torch.optim.lr_scheduler.OneCycleLR(opt, self.lr, total_steps=self.steps)
        return {"optimizer": opt, "lr_scheduler": {"scheduler": sch, "interval": "step"}}


def train_config(config):
    data = TensorDataset(torch.randn(160, 8), torch.randint(0, 2, (160,)))
    loader = DataLoader(data, 10, shuffle=True)
    steps = math.ceil(len(loader) / config["devices"]) * config["epochs"]
    return {"module": Net(config["lr"], steps), "train_dataloaders": loader}
