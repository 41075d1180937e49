"""A LightningModule as people write it: pictures of bytes, a small network, its checkpoints."""

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
import torchmetrics
from pytorch_lightning.callbacks import LearningRateMonitor, ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, Dataset

NUM_CLASSES = 3


class Photos(Dataset):
    def __init__(self, n, seed):
        drawn = torch.Generator().manual_seed(seed)
        self.targets = torch.randint(NUM_CLASSES, (n,), generator=drawn).tolist()
        noise = torch.randint(0, 120, (n, 3, 12, 12), generator=drawn)
        for i, target in enumerate(self.targets):
            noise[i, target] += 100
        self.data = noise.to(torch.uint8)

    def __len__(self):
        return len(self.data)

    def __getitem__(self, idx):
        image = self.data[idx].float() / 255
        return (image - 0.45) / 0.22, self.targets[idx]


class ConvNet(pl.LightningModule):
    def __init__(self, width, lr, max_epochs):
        super().__init__()
        self.save_hyperparameters()
        self.features = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.ReLU(inplace=True),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(2 * width, NUM_CLASSES)
        self.val_acc = torchmetrics.Accuracy(task="multiclass", num_classes=NUM_CLASSES)

    def forward(self, x):
        x = self.features(x)
        x = self.pool(x).flatten(1)
        return self.fc(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        logits = self(x)
        loss = F.cross_entropy(logits, y)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        logits = self(x)
        self.val_acc(logits, y)
        self.log("val_loss", F.cross_entropy(logits, y), prog_bar=True)
        self.log("val_acc", self.val_acc)

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=self.hparams.lr)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.hparams.max_epochs)
        return {"optimizer": optimizer, "lr_scheduler": scheduler}


def train_config(config):
    model = ConvNet(config["width"], config["lr"], config["max_epochs"])
    return {
        "module": model,
        "train_dataloaders": DataLoader(Photos(96, 0), batch_size=config["batch"], shuffle=True),
        "val_dataloaders": DataLoader(Photos(48, 1), batch_size=config["batch"]),
        "callbacks": [
            ModelCheckpoint(monitor="val_acc", mode="max", save_top_k=2),
            LearningRateMonitor("epoch"),
        ],
    }


def infer_config(config):
    model = ConvNet(config["width"], config["lr"], config["max_epochs"])
    return {"module": model, "predict_dataloaders": DataLoader(torch.randn(4, 3, 12, 12))}
