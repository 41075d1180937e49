"""An experiment with much to send: numbers, lines, pictures, an artifact, a checkpoint a step."""

from __future__ import annotations

from mirror.mirrored_lab import MirroredLab

SCRIPT = "tiny/experiments/01_talkative/hparams.py"
STEPS = 12

_HPARAMS = """
hparams = {
    "task": {"project_name": "tests", "tags": ["talkative"]},
    "checkpoint": {"every_n_steps": 1, "keep": 2},
    "trainer": {"init": {
        "max_epochs": 2, "accelerator": "cpu", "log_every_n_steps": 1,
        "enable_progress_bar": False,
    }},
    "config": {"pause": 0.0, "pictures": True},
}
"""

_MAIN = '''
"""Prints, draws and logs at each of twelve steps."""

import time

import pytorch_lightning as pl
import torch

from torch_lab import record
from torch_lab.data import DataLoader


class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 24

    def __getitem__(self, i):
        return torch.full((3, 4, 4), i / 24)


class Net(pl.LightningModule):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 1))

    def training_step(self, batch, i):
        time.sleep(self.config["pause"])
        loss = (self.net(batch) - torch.rand(len(batch), 1)).square().mean()
        self.log("loss/train", loss)
        self.log("size", float(len(batch)))
        for line in range(3):
            print(f"step {self.global_step}, line {line}")
        if self.config["pictures"] and self.global_step % 4 == 0:
            record().image("seen/train", batch[0], caption="a picture")
        return loss

    def validation_step(self, batch, i):
        self.log("loss/validate", self.net(batch).square().mean())

    def on_train_end(self):
        record().text("said", "goodbye")
        record().artifact(__file__, name="code")

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 0.01)


def train_config(config):
    return {
        "module": Net(config),
        "train_dataloaders": DataLoader(Data(), batch_size=4, shuffle=True),
        "val_dataloaders": DataLoader(Data(), batch_size=12),
    }
'''


def add_to(lab: MirroredLab) -> None:
    """Have the experiment in a project."""
    lab.write(SCRIPT, _HPARAMS)
    lab.write(SCRIPT.replace("hparams.py", "__main__.py"), _MAIN)
