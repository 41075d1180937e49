"""A learning rate of 1, and a schedule that makes a small one of it."""

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def mlp(i, o, h=16):
    return nn.Sequential(nn.Linear(i, h), nn.ReLU(), nn.Linear(h, o))


class Net(pl.LightningModule):
    def __init__(self, d_model, warmup):
        super().__init__()
        self.save_hyperparameters()
        self.net = mlp(8, 3, d_model)

    def training_step(self, batch, _):
        loss = F.cross_entropy(self.net(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        opt = torch.optim.Adam(self.parameters(), lr=1.0, betas=(0.9, 0.98), eps=1e-9)

        def noam(step):
            step = max(step, 1)
            return self.hparams.d_model**-0.5 * min(step**-0.5, step * self.hparams.warmup**-1.5)

        return {
            "optimizer": opt,
            "lr_scheduler": {
                "scheduler": torch.optim.lr_scheduler.LambdaLR(opt, noam),
                "interval": "step",
            },
        }


def train_config(config):
    return {
        "module": Net(**config),
        "train_dataloaders": DataLoader(
            TensorDataset(torch.randn(100, 8), torch.randint(0, 3, (100,))), 10, shuffle=True
        ),
    }
