"""Checkpoints as torch-lab 1.x wrote them, made by Lightning from a module in its manner."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader
from torchmetrics import MeanSquaredError

from torch_lab.transforms import BaseDataTransform, TransformCompose, TransformSeperate

TASK = "0123456789abcdef0123456789abcdef"
STAGES = ("train", "sanity_check", "validate", "test", "predict")


class Round(BaseDataTransform):
    """A class of the user's, which Lightning pickles with the module's arguments."""

    def compute(self, x: torch.Tensor) -> torch.Tensor:
        return x.round()


class OldModule(pl.LightningModule):
    """Weights lose the `model.` before their names; arguments are kept, classes and all."""

    def __init__(
        self,
        model: nn.Module,
        loss_function: nn.Module,
        optimizer_config: Any,
        output_transform: Any,
    ) -> None:
        super().__init__()
        self.model = model
        self.loss_function = loss_function
        self.optimizer_config = optimizer_config
        self.output_transform = output_transform
        metrics = nn.ModuleDict({"mse": MeanSquaredError()})
        self.metrics = nn.ModuleDict({f"{name}_metrics": deepcopy(metrics) for name in STAGES})
        self.save_hyperparameters(ignore=["model", "loss_function"])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {k.removeprefix("model."): v for k, v in state.items()}

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        loss: torch.Tensor = self.loss_function(self.model(batch[0]), batch[1])
        self.log("loss/train", loss, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("loss/validate", self.loss_function(self.model(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        config = self.optimizer_config
        optimizer = config["optimizer"](self.parameters(), **config["optimizer_kwargs"])
        scheduler = config["scheduler"](optimizer, **config["scheduler_kwargs"])
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "monitor": config["monitor"]},
        }


def trained(folder: Path, epochs: int = 2) -> Path:
    """Train as the task TASK of 1.x did; returns its last checkpoint, below `folder`."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    module = OldModule(
        model,
        nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 2.0])),
        {
            "optimizer": torch.optim.AdamW,
            "optimizer_kwargs": {"lr": 0.015, "weight_decay": 0.01},
            "scheduler": torch.optim.lr_scheduler.MultiStepLR,
            "scheduler_kwargs": {"milestones": [1, 2], "gamma": 0.2},
            "monitor": "loss/validate",
        },
        TransformSeperate(TransformCompose(Round())),
    )
    data = [(torch.randn(8), torch.eye(2)[i % 2]) for i in range(32)]
    weights = folder / f"00_waves-hparams-v0-{TASK}" / "model_weights"
    pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            ModelCheckpoint(weights, monitor="loss/validate", save_last=True),
            EarlyStopping("loss/validate", patience=5),
        ],
    ).fit(module, DataLoader(data, batch_size=8), DataLoader(data, batch_size=8))
    return weights / "last.ckpt"
