"""One graph, whose nodes are trained and validated on by masks."""

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader


def mlp(i, o, h=16):
    return nn.Sequential(nn.Linear(i, h), nn.ReLU(), nn.Linear(h, o))


class Planet(pl.LightningModule):
    def __init__(self, lr):
        super().__init__()
        self.lr = lr
        self.one, self.two = nn.Linear(8, 16), nn.Linear(16, 3)

    def forward(self, g):
        h = F.dropout(F.relu(self.one(g["adj"] @ g["x"])), 0.5, training=self.training)
        return self.two(g["adj"] @ h)

    def training_step(self, g, _):
        out = self(g)
        loss = F.cross_entropy(out[g["train_mask"]], g["y"][g["train_mask"]])
        self.log("train_loss", loss, batch_size=1)
        return loss

    def validation_step(self, g, _):
        m = g["val_mask"]
        out = self(g)[m]
        self.log_dict(
            {
                "val_loss": F.cross_entropy(out, g["y"][m]),
                "val_acc": (out.argmax(1) == g["y"][m]).float().mean(),
            },
            batch_size=1,
        )

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr, weight_decay=5e-4)


def train_config(config):
    n = 50
    adj = (torch.rand(n, n) < 0.1).float() + torch.eye(n)
    mask = torch.rand(n) < 0.6
    graph = {
        "x": torch.randn(n, 8),
        "adj": adj / adj.sum(1, keepdim=True),
        "y": torch.randint(0, 3, (n,)),
        "train_mask": mask,
        "val_mask": ~mask,
    }
    loader = DataLoader([graph], batch_size=1, collate_fn=lambda b: b[0])
    return {"module": Planet(config["lr"]), "train_dataloaders": loader, "val_dataloaders": loader}
