"""A config that goes on to layers and loaders as **kwargs."""

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def mlp(i, o, h=16):
    return nn.Sequential(nn.Linear(i, h), nn.ReLU(), nn.Linear(h, o))


class Net(pl.LightningModule):
    def __init__(self, optimizer, **encoder):
        super().__init__()
        self.optimizer = optimizer
        self.layer = build_layer(**encoder)
        self.out = nn.Linear(encoder["d_model"], 2)

    def training_step(self, batch, _):
        loss = F.cross_entropy(self.out(self.layer(batch[0]).mean(1)), batch[1])
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), **self.optimizer)


def build_layer(**kwargs):
    return nn.TransformerEncoderLayer(batch_first=True, **kwargs)


def train_config(config):
    data = TensorDataset(torch.randn(64, 5, 16), torch.randint(0, 2, (64,)))
    return {
        "module": Net(config["optimizer"], **config["encoder"]),
        "train_dataloaders": DataLoader(data, shuffle=True, **config["loader"]),
    }
