"""Train a small convolutional network on handwritten digits, and infer with it.

    train example_project/experiments/00_digits/hparams.py
    infer example_project/experiments/00_digits/hparams.py --checkpoint 00_digits/hparams:best

Both commands import this file, call the function of their name with a copy of hparams["config"],
and run what it returns.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytorch_lightning.callbacks import EarlyStopping
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from example_project import ROOT
from example_project.callbacks import PredictionsToCsv
from example_project.datasets import Digits
from example_project.models import DigitNet
from example_project.published import fetched
from example_project.transforms import RandomNoise, RandomShiftRotate
from torch_lab.data import DataLoader
from torch_lab.modules import LabModule, TrainLabModule
from torch_lab.transforms import Transform, TransformCompose

CLASSES = 10
# Named after this folder, so that a copy of it writes a file of its own.
OUTPUT = ROOT / "data" / "predictions" / f"{Path(__file__).parent.name}.csv"


def train_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return what `train` runs: a module, the data, callbacks."""
    module = TrainLabModule(
        model=DigitNet(config["width"], config["dropout"]),
        loss_function=nn.CrossEntropyLoss(),
        optimizer_config={
            "optimizer": AdamW,
            "optimizer_kwargs": {
                "lr": config["learning_rate"],
                "weight_decay": config["weight_decay"],
            },
            # Smaller steps once the validation loss gets no better.
            "scheduler": ReduceLROnPlateau,
            "scheduler_kwargs": {"factor": 0.3, "patience": config["patience_reduce"]},
            "monitor": "loss/validate",
        },
        # Logged as accuracy/train, accuracy/validate … beside loss/train and loss/validate.
        metrics={
            "accuracy": MulticlassAccuracy(CLASSES, average="micro"),
            "top2": MulticlassAccuracy(CLASSES, average="micro", top_k=2),
            "f1": MulticlassF1Score(CLASSES, average="macro"),
        },
    )
    # Training images are changed a little each time they are seen, validation images never.
    augment = TransformCompose(
        RandomShiftRotate(config["degrees"], config["shift"]),
        RandomNoise(config["noise"]),
    )
    return {
        "module": module,
        "train_dataloaders": loader(config, "train", augment, shuffle=True),
        "val_dataloaders": loader(config, "validation"),
        # `train` itself keeps the last checkpoint and the one with the best loss/validate.
        "callbacks": [EarlyStopping("loss/validate", patience=config["patience_stop"])],
    }


def infer_config(
    config: dict[str, Any],
    output: Path = OUTPUT,
    split: str = "test",
) -> dict[str, Any]:
    """Return what `infer` runs. The command's further arguments are parsed by the annotations."""
    return {
        # Only the network: the weights come from the checkpoint, loss and optimizer are not needed.
        "module": LabModule(DigitNet(config["width"], config["dropout"]), probabilities),
        "predict_dataloaders": loader(config, split),
        "callbacks": [PredictionsToCsv(output)],
    }


def probabilities(y_pred: Tensor, md: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
    """Return what the CSV is written from: the network's logits as probabilities."""
    return y_pred.softmax(dim=1), md


def loader(
    config: dict[str, Any],
    split: str,
    transform: Transform | None = None,
    *,
    shuffle: bool = False,
) -> DataLoader:
    """Return the batches of a split. torch_lab's DataLoader is torch's, but can be resumed."""
    return DataLoader(
        Digits(fetched(config["dataset"], otherwise=config["data"]), split, transform),
        batch_size=config["batch_size"],
        shuffle=shuffle,
        num_workers=config["num_workers"],
    )
