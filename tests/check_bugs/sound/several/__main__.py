"""Two tasks at once, each with a loader; validated on both, and on a part of what is trained on."""

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset


class Both(pl.LightningModule):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.body = nn.Sequential(nn.Linear(5, 20), nn.ReLU())
        self.class_head, self.size_head = nn.Linear(20, 3), nn.Linear(20, 1)
        self.balance = nn.Parameter(torch.zeros(2))
        self.register_buffer("weight", torch.tensor([1.0, 1.0, 2.0]))

    def on_fit_start(self):
        self.best = self.config.get("best_so_far")

    def parts(self, classes, sizes):
        (x, y), (z, size) = classes, sizes
        one = F.cross_entropy(self.class_head(self.body(x)), y, weight=self.weight)
        two = F.mse_loss(F.relu(self.size_head(self.body(z))), size)
        return torch.stack([one, two])

    def training_step(self, batch, batch_idx):
        parts = self.parts(batch["classes"], batch["sizes"])
        loss = (parts * torch.exp(-self.balance) + self.balance).sum()
        self.log("train/loss", loss)
        return {"loss": loss, "parts": parts.detach()}

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        x, y = batch
        if dataloader_idx == 1:
            self.log("val/size", F.l1_loss(F.relu(self.size_head(self.body(x))), y))
        else:
            self.log("val/class", F.cross_entropy(self.class_head(self.body(x)), y))

    def configure_optimizers(self):
        return torch.optim.Adagrad(self.parameters(), lr=self.config["lr"])


def train_config(config):
    x = torch.randn(80, 5)
    classes = TensorDataset(x, x[:, :3].argmax(1))
    sizes = TensorDataset(x * 2, (x * 2).norm(dim=1, keepdim=True))
    first, second = range(60), range(60, 80)
    return {
        "module": Both(config),
        "train_dataloaders": {
            "classes": DataLoader(Subset(classes, first), 12, shuffle=True),
            "sizes": DataLoader(Subset(sizes, first), 20, shuffle=True),
        },
        "val_dataloaders": [
            DataLoader(Subset(classes, second), 20),
            DataLoader(Subset(sizes, second), 20),
            DataLoader(Subset(classes, range(20)), 20),
        ],
    }
