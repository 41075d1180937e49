"""A class for each pixel, in a datamodule; the train and validation parts read the same files."""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, random_split
from torchmetrics import JaccardIndex

VOID = 255  # pixels that nobody has labeled


class Scenes(Dataset):
    def __init__(self, n=48, augment=False):
        drawn = torch.Generator().manual_seed(0)
        self.images = torch.rand(n, 3, 16, 16, generator=drawn)
        self.masks = self.images.argmax(dim=1)
        self.masks[:, 0] = VOID
        self.augment = augment

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        image, mask = self.images[i], self.masks[i]
        if self.augment and torch.rand(()) < 0.5:
            image, mask = image.flip(-1), mask.flip(-1)
        return image, mask


class SceneData(pl.LightningDataModule):
    def __init__(self, batch_size):
        super().__init__()
        self.batch_size = batch_size

    def setup(self, stage=None):
        cut = torch.Generator().manual_seed(1)
        self.train_set, _ = random_split(Scenes(augment=True), [36, 12], generator=cut)
        cut.manual_seed(1)
        _, self.val_set = random_split(Scenes(), [36, 12], generator=cut)

    def train_dataloader(self):
        return DataLoader(self.train_set, self.batch_size, shuffle=True, drop_last=True)

    def val_dataloader(self):
        return DataLoader(self.val_set, self.batch_size)


class Segmenter(pl.LightningModule):
    def __init__(self, width, lr):
        super().__init__()
        self.lr = lr
        self.net = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1),
            nn.GroupNorm(2, width),
            nn.GELU(),
            nn.Conv2d(width, 3, 1),
        )
        self.criterion = nn.CrossEntropyLoss(ignore_index=VOID)
        self.iou = JaccardIndex(task="multiclass", num_classes=3, ignore_index=VOID)

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        image, mask = batch
        loss = self.criterion(self(image), mask)
        self.log("loss/train", loss)
        return {"loss": loss}

    def validation_step(self, batch, batch_idx):
        image, mask = batch
        scores = self(image)
        self.iou.update(scores, mask)
        self.log("loss/validate", self.criterion(scores, mask))

    def on_validation_epoch_end(self):
        self.log("iou/validate", self.iou.compute())
        self.iou.reset()

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)
        total = self.trainer.estimated_stepping_batches
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: max(0.0, 1 - i / total))
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]


def train_config(config):
    return {
        "module": Segmenter(config["width"], config["lr"]),
        "datamodule": SceneData(config["batch_size"]),
    }
