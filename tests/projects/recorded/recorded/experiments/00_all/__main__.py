"""Records all that can be recorded, by torch_lab.record() and as for a TensorBoardLogger."""

import os
import signal
import time
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytorch_lightning as pl
import torch

from torch_lab import record
from torch_lab.data import DataLoader

mpl.use("Agg")


class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 16

    def __getitem__(self, i):
        if torch.utils.data.get_worker_info() is not None:
            record().text("from a worker", "never")
        return torch.rand(3, 4, 4)


class Net(pl.LightningModule):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.net = torch.nn.Conv2d(3, 1, 4)

    def on_train_start(self):
        self.logger.experiment.add_text("start", "once", self.current_epoch)

    def training_step(self, batch, i):
        time.sleep(self.config["pause"])
        record().scalar("by hand", batch.mean(), every=3)
        record().image("seen", batch[0], caption=f"batch {i}", every=3)
        if self.config["mistake"] and self.global_step == 2:
            record().image("wrong", batch[0] * 300)
        return self.net(batch).mean()

    def on_train_batch_end(self, outputs, batch, i):
        if self.global_step == self.config["kill_at"] and not Path("killed").exists():
            Path("killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def validation_step(self, batch, i):
        out = self.net(batch)
        self.log("out", out.mean())
        if i == 0:
            record().image("first", batch[:2], caption=["a", "b"])
            experiment = self.logger.experiment
            experiment.add_image("board/image", batch[0], self.current_epoch)
            experiment.add_histogram("board/weights", self.net.weight, self.current_epoch)
            experiment.add_scalar("board/scalar", out.mean(), self.current_epoch)
            figure = plt.figure(figsize=(1, 1))
            experiment.add_figure("board/figure", figure, self.current_epoch)

    def test_step(self, batch, i):
        record().table("tested", {"mean": batch.mean((1, 2, 3))}, every=1)

    def on_train_end(self):
        record().artifact(__file__, name="code")

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def train_config(config):
    record().text("building", "once")
    return {
        "module": Net(config),
        "train_dataloaders": DataLoader(
            Data(), batch_size=4, shuffle=True, num_workers=config["num_workers"]
        ),
        "val_dataloaders": DataLoader(Data(), batch_size=8),
        "test_dataloaders": DataLoader(Data(), batch_size=8),
    }


def infer_config(config):
    record().text("inferring", "never")
    return {"module": Predicting(config), "predict_dataloaders": DataLoader(Data(), batch_size=8)}


class Predicting(Net):
    def predict_step(self, batch, i):
        record().image("inferred", batch[0])
        return batch
