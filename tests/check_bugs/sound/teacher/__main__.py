"""A pupil learns from a teacher that follows it slowly; the teacher is in no optimizer."""

import copy

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

HEAT = 2.0


class Pupil(pl.LightningModule):
    def __init__(self, lr, momentum):
        super().__init__()
        self.lr, self.momentum = lr, momentum
        self.pupil = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 4))
        self.teacher = copy.deepcopy(self.pupil)
        self.frozen = [nn.Linear(6, 4).eval()]  # in a list, to be no part of the module

    def training_step(self, batch, _):
        x, y = batch
        with torch.no_grad():
            aim = F.softmax((self.teacher(x) + self.frozen[0].to(x.device)(x)) / HEAT, dim=-1)
        scores = self.pupil(x)
        soft = F.kl_div(F.log_softmax(scores / HEAT, dim=-1), aim, reduction="batchmean")
        loss = F.cross_entropy(scores, y) + HEAT**2 * soft
        self.log("train_loss", loss)
        return loss

    @torch.no_grad()
    def on_train_batch_end(self, *_):
        for slow, fast in zip(self.teacher.parameters(), self.pupil.parameters(), strict=True):
            slow.lerp_(fast, 1 - self.momentum)

    def validation_step(self, batch, _):
        x, y = batch
        scores = self.pupil(x)
        self.log_dict({"val_loss": F.cross_entropy(scores, y), "val_acc": hits(scores, y)})

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.pupil.parameters(), self.lr, momentum=0.9, nesterov=True)
        scheduler = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=5, power=2.0)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler}}


def hits(scores, y):
    return (scores.argmax(-1) == y).float().mean()


def train_config(config):
    x = torch.randn(90, 6)
    data = TensorDataset(x, x[:, :4].argmax(1))
    train, val = random_split(data, [0.7, 0.3], torch.Generator().manual_seed(0))
    return {
        "module": Pupil(config["lr"], config["momentum"]),
        "train_dataloaders": DataLoader(train, 9, shuffle=True),
        "val_dataloaders": DataLoader(val, 9),
    }
