"""One dataset and a sampler for each part of it; columns of numbers and of names, in a dict."""

import numpy as np
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, Dataset, SubsetRandomSampler
from torchmetrics import MeanSquaredError, R2Score

CITIES = ["Ulm", "Bonn", "Kiel", "Jena"]


class Rows(Dataset):
    def __init__(self, n=100):
        rng = np.random.default_rng(1)
        self.city = rng.integers(0, len(CITIES), n)
        self.numbers = rng.normal(size=(n, 3)).astype("float32")
        self.price = (self.numbers.sum(1) + self.city + rng.normal(size=n) / 9).astype("float32")

    def __len__(self):
        return len(self.price)

    def __getitem__(self, i):
        return {"x": self.numbers[i], "city": self.city[i], "y": self.price[i], "id": str(i)}


class Tabular(pl.LightningModule):
    def __init__(self, embedding, hidden, lr=1e-3, **trained):
        super().__init__()
        self.lr, self.trained = lr, trained
        self.cities = nn.Embedding(len(CITIES), embedding)
        self.net = nn.Sequential(nn.Linear(3 + embedding, hidden), nn.Mish(), nn.Linear(hidden, 1))
        self.mse, self.r2 = MeanSquaredError(), R2Score()

    def forward(self, batch):
        return self.net(torch.cat([batch["x"], self.cities(batch["city"])], dim=1)).flatten()

    def training_step(self, batch):
        loss = (self(batch) - batch["y"]).square().mean()
        self.log("mse", loss, batch_size=len(batch["y"]))
        return loss

    def validation_step(self, batch):
        guess = self(batch)
        self.mse(guess, batch["y"])
        self.r2(guess, batch["y"])
        self.log_dict({"val/mse": self.mse, "val/r2": self.r2}, batch_size=len(guess))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), self.lr, weight_decay=self.trained["decay"])


def train_config(config):
    data = Rows()
    order = np.random.default_rng(config["fold_seed"]).permutation(len(data))
    held = order[config["fold"] :: config["folds"]].tolist()
    used = sorted(set(range(len(data))) - set(held))
    batches = BatchSampler(SubsetRandomSampler(used), config["batch_size"], drop_last=False)
    return {
        "module": Tabular(**config["model"]),
        "train_dataloaders": DataLoader(data, batch_sampler=batches),
        "val_dataloaders": DataLoader(data, batch_size=50, sampler=SubsetRandomSampler(held)),
    }
