"""Shapes cut out of noisy pictures by a small U-Net, with the data in a datamodule."""

from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn as nn
from pytorch_lightning.callbacks import LearningRateMonitor, ModelCheckpoint
from torch.utils.data import DataLoader, Dataset, random_split
from torchmetrics import JaccardIndex

from torch_lab.callbacks import PredictionWriter

CLASSES = 3  # background, disc, box


def draw(rng, size):
    """A picture with a disc and a box, and the class of each of its pixels."""
    y, x = np.mgrid[:size, :size]
    mask = np.zeros((size, size), dtype=np.int64)
    cy, cx, r = rng.integers(3, size - 3), rng.integers(3, size - 3), rng.integers(2, 5)
    mask[(y - cy) ** 2 + (x - cx) ** 2 <= r**2] = 1
    top, left, side = rng.integers(0, size - 4), rng.integers(0, size - 4), rng.integers(3, 6)
    mask[top : top + side, left : left + side] = 2
    image = np.stack([mask == 1, mask == 2, np.ones_like(mask)]).astype(np.float32)
    return image + 0.3 * rng.standard_normal(image.shape, dtype=np.float32), mask


class ShapesDataset(Dataset):
    """Reads the files of a folder, one for each picture, when they are asked for."""

    def __init__(self, folder, augment):
        self.files = sorted(Path(folder).glob("*.npz"))
        self.augment = augment

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        with np.load(self.files[index]) as file:
            image, mask = file["image"], file["mask"]
        if self.augment and np.random.rand() < 0.5:
            image, mask = image[:, :, ::-1].copy(), mask[:, ::-1].copy()
        if self.augment:
            image = image * np.random.uniform(0.8, 1.2)
        return torch.from_numpy(image).float(), torch.from_numpy(mask)


class ShapesDataModule(pl.LightningDataModule):
    def __init__(self, data_dir="data/shapes", batch_size=8, size=16, num_workers=0):
        super().__init__()
        self.save_hyperparameters()

    def prepare_data(self):
        folder = Path(self.hparams.data_dir)
        if folder.exists():
            return
        folder.mkdir(parents=True)
        rng = np.random.default_rng(0)
        for i in range(60):
            image, mask = draw(rng, self.hparams.size)
            np.savez(folder / f"{i:03}.npz", image=image, mask=mask)

    def setup(self, stage):
        generator = torch.Generator().manual_seed(42)
        full = ShapesDataset(self.hparams.data_dir, augment=True)
        plain = ShapesDataset(self.hparams.data_dir, augment=False)
        self.train_set, _, _ = random_split(full, [40, 12, 8], generator=generator)
        generator.manual_seed(42)
        _, self.val_set, self.test_set = random_split(plain, [40, 12, 8], generator=generator)

    def train_dataloader(self):
        return DataLoader(
            self.train_set,
            batch_size=self.hparams.batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=self.hparams.num_workers,
            persistent_workers=self.hparams.num_workers > 0,
        )

    def val_dataloader(self):
        return DataLoader(self.val_set, batch_size=self.hparams.batch_size)

    def test_dataloader(self):
        return DataLoader(self.test_set, batch_size=self.hparams.batch_size)

    def predict_dataloader(self):
        return self.test_dataloader()


def double_conv(in_channels, out_channels):
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    def __init__(self, in_channels, n_classes, width):
        super().__init__()
        self.enc1 = double_conv(in_channels, width)
        self.enc2 = double_conv(width, 2 * width)
        self.bottom = double_conv(2 * width, 4 * width)
        self.pool = nn.MaxPool2d(2)
        self.up2 = nn.ConvTranspose2d(4 * width, 2 * width, 2, stride=2)
        self.dec2 = double_conv(4 * width, 2 * width)
        self.up1 = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.dec1 = double_conv(2 * width, width)
        self.out = nn.Conv2d(width, n_classes, 1)

    def forward(self, x):
        x1 = self.enc1(x)
        x2 = self.enc2(self.pool(x1))
        x = self.bottom(self.pool(x2))
        x = self.dec2(torch.cat([self.up2(x), x2], dim=1))
        x = self.dec1(torch.cat([self.up1(x), x1], dim=1))
        return self.out(x)


class SegModel(pl.LightningModule):
    def __init__(self, lr=1e-2, width=4):
        super().__init__()
        self.save_hyperparameters()
        self.net = UNet(3, CLASSES, width)
        self.criterion = nn.CrossEntropyLoss(weight=torch.tensor([0.5, 1.0, 1.0]))
        self.train_iou = JaccardIndex(task="multiclass", num_classes=CLASSES)
        self.val_iou = JaccardIndex(task="multiclass", num_classes=CLASSES)
        self.test_iou = JaccardIndex(task="multiclass", num_classes=CLASSES)

    def forward(self, x):
        return self.net(x)

    def _shared_step(self, batch, metric, stage):
        images, masks = batch
        logits = self(images)
        loss = self.criterion(logits, masks)
        metric.update(logits, masks)
        self.log(f"{stage}_loss", loss, prog_bar=True)
        return loss

    def training_step(self, batch, batch_idx):
        loss = self._shared_step(batch, self.train_iou, "train")
        self.log("train_iou", self.train_iou, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self._shared_step(batch, self.val_iou, "val")

    def on_validation_epoch_end(self):
        self.log("val_iou", self.val_iou.compute(), prog_bar=True)
        self.val_iou.reset()

    def test_step(self, batch, batch_idx):
        self._shared_step(batch, self.test_iou, "test")
        self.log("test_iou", self.test_iou)

    def predict_step(self, batch, batch_idx):
        images, _ = batch
        return self(images).argmax(dim=1)

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=self.hparams.lr)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "monitor": "val_loss"},
        }


def train_config(config):
    datamodule = ShapesDataModule(data_dir="data/shapes", batch_size=8)
    model = SegModel(**config)

    checkpoint = ModelCheckpoint(
        monitor="val_iou",
        mode="max",
        save_top_k=2,
        save_last=True,
        filename="{epoch}-{val_iou:.2f}",
    )
    callbacks = [checkpoint, LearningRateMonitor()]
    return {"module": model, "datamodule": datamodule, "callbacks": callbacks}


def infer_config(config):
    callbacks = [PredictionWriter("masks.jsonl")]
    return {"module": SegModel(**config), "datamodule": ShapesDataModule(), "callbacks": callbacks}
