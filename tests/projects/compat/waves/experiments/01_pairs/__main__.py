"""Two inputs, two losses, and every callback and logger that torch-lab 1.x wanted."""

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import LearningRateMonitor
from torch import nn, optim
from torch.utils.data import DataLoader

from torch_lab.callbacks import (
    ClearMLModelCheckpoint,
    ClearMLTaskMarker,
    EpochProgress,
    NanMonitor,
)
from torch_lab.metrics import PooledMean
from torch_lab.modules import LabModule, TrainLabModule
from torch_lab.transforms import TransformCompose, TransformIterable, TransformSeperate
from waves import transforms as t
from waves.callbacks import PairWriter, Tagger
from waves.datasets import PairDataset
from waves.metrics import Drawing, PerClass


class PairModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = nn.Linear(16, 2)

    def forward(self, x):
        return self.model(torch.cat([x["wave"], x["steps"]], 1))


class TwoLosses(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("weight", torch.tensor([1.0, 2.0]))

    def forward(self, y_pred, y):
        return {
            "entropy": nn.functional.cross_entropy(y_pred, y, self.weight),
            "square": nn.functional.mse_loss(y_pred.softmax(1), y),
        }


def transform_config():
    return TransformCompose(
        TransformIterable(t.Scale(0.5), apply_to=["wave"]),
        TransformIterable(lambda x, md: (x.astype("float32"), md)),
        t.OneHot(),
    )


def data_config(config, part):
    dataset = PairDataset(config["data"], part, transform=transform_config())
    return DataLoader(dataset, batch_size=config["batch_size"], num_workers=config["num_workers"])


class OldModule(TrainLabModule):
    """Trains by the parts that 1.x's modules were made of."""

    def training_step(self, batch, batch_idx, _dataloader_idx=0):
        x, md = batch
        y_pred = self(x)
        loss = self.loss_calculate_and_log(y_pred, md)
        self.metrics_update_and_log(y_pred, md)
        assert self.get_stage() == "train"
        return {"loss": loss, "md": md, "y_pred": y_pred}


def train_config(config):
    module = {"own": OldModule, "ready": TrainLabModule}[config["module"]](
        PairModel(),
        loss_function=TwoLosses(),
        metrics={
            "hits": PooledMean(lambda y_pred, y: (y_pred.argmax(1) == y.argmax(1)).float().mean()),
            "share": PerClass(),
            "drawing": Drawing(),
        },
        optimizer_config={
            "optimizer": optim.SGD,
            "optimizer_kwargs": {"lr": config["learning_rate"]},
            "scheduler": optim.lr_scheduler.ReduceLROnPlateau,
            "scheduler_kwargs": {"patience": 0, "mode": config["mode"]},
            "monitor": config["monitor"],
        },
    )
    return dict(
        module=module,
        train_dataloaders=data_config(config, slice(None, 32)),
        val_dataloaders=data_config(config, slice(32, None)),
        callbacks=[
            ClearMLModelCheckpoint(
                monitor="hits/validate", mode="max", save_top_k=1, filename="most-hits"
            ),
            ClearMLTaskMarker(),
            Tagger(),
            EpochProgress(),
            NanMonitor(),
            LearningRateMonitor(),
            pl.callbacks.EarlyStopping(monitor=config["monitor"], mode=config["mode"], patience=9),
        ],
    )


def infer_config(config, output_path):
    return dict(
        module=LabModule(
            PairModel(),
            output_transform=TransformSeperate(
                TransformCompose(lambda y_pred, md: (int(y_pred.argmax()), md))
            ),
        ),
        predict_dataloaders=data_config(config, slice(36, None)),
        callbacks=[PairWriter(output_path)],
    )
