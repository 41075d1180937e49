"""What people do that isn't in the manual, in one program."""

import argparse
import os
import random
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Sampler, Subset, random_split

torch.set_float32_matmul_precision("medium")
pl.seed_everything(11)


class Lazy(Dataset):
    """Opens its file when it is first read; has a generator of its own; fetches whole batches."""

    def __init__(self, path):
        self.path, self.file = path, None
        self.rng = np.random.default_rng(0)

    def __len__(self):
        return 40

    def __getitem__(self, i):
        if self.file is None:
            self.file = np.load(self.path, mmap_mode="r")
        return torch.tensor(self.file[i]) + 0.1 * float(self.rng.standard_normal()), i % 2

    def __getitems__(self, indices):
        return [self[i] for i in indices]


class Buckets(Sampler):
    """Batches that it shuffles in place."""

    def __init__(self, n, size):
        self.batches = [list(range(i, min(i + size, n))) for i in range(0, n, size)]

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        random.shuffle(self.batches)
        return iter(self.batches)


class Data(pl.LightningDataModule):
    num_classes = 2

    def prepare_data(self):
        os.makedirs("data/raw", exist_ok=True)  # noqa: PTH103
        x = np.random.default_rng(1).standard_normal((40, 4), dtype=np.float32)
        np.save("data/raw/x.npy", x)

    def setup(self, stage=None):
        lazy = Lazy("data/raw/x.npy")
        full = ConcatDataset([lazy, Subset(lazy, range(20))])
        self.train, self.val = random_split(full, [0.8, 0.2])

    def train_dataloader(self):
        shared = {"num_workers": 1, "persistent_workers": True}
        mixed = torch.Generator()
        mixed.manual_seed(0)
        return {
            "mixed": DataLoader(self.train, 8, shuffle=True, generator=mixed, **shared),
            "buckets": DataLoader(self.train, batch_sampler=Buckets(len(self.train), 8)),
        }

    def val_dataloader(self):
        return [DataLoader(self.val, 8), DataLoader(self.val, 4)]


class Net(pl.LightningModule):
    def __init__(self, lr=1e-2, **kwargs):
        super().__init__()
        self.save_hyperparameters()
        pl.seed_everything(3)
        self.net = nn.Linear(4, 2)

    def setup(self, stage):
        assert self.trainer.datamodule.num_classes == 2

    def on_fit_start(self):
        places = [self.logger.log_dir, self.logger.save_dir, self.trainer.log_dir]
        print("places", *places, self.trainer.default_root_dir)
        print("steps", self.trainer.estimated_stepping_batches, self.trainer.num_training_batches)
        Path(self.logger.log_dir, "notes.txt").write_text("hello")
        self.logger.log_hyperparams(self.hparams, {"hp_metric": 0.0})
        self.logger.log_metrics({"extra": 1.0}, step=0)
        self.logger.log_graph(self, torch.zeros(1, 4))

    def training_step(self, batch, batch_idx):
        loss = sum(nn.functional.cross_entropy(self.net(x), y) for x, y in batch.values())
        self.log("train_loss", loss, on_step=True, on_epoch=True, prog_bar=True, logger=True)
        return {"loss": loss, "more": batch_idx}

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        x, y = batch
        self.log("val_loss", nn.functional.cross_entropy(self.net(x), y))

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.hparams.lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.trainer.max_epochs)
        return {"optimizer": optimizer, "lr_scheduler": schedule}


def train_config(config):
    return {"module": Net(**config), "datamodule": Data()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float)
    trainer = pl.Trainer(max_epochs=3)
    trainer.fit(Net(**vars(parser.parse_args())), Data())
