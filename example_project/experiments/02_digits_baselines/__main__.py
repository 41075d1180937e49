"""What classic models make of the digits that 00_digits trains a network on.

    train example_project/experiments/02_digits_baselines/{hparams,forest,boosting,xgb}.py
    lab runs --best accuracy/validate

The same images and the same metrics as there. `estimator` stands in place of `module`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from example_project import ROOT
from example_project.callbacks import PredictionsToCsv
from example_project.datasets import Digits
from torch_lab.data import DataLoader

CLASSES = 10
# Named after this folder, so that a copy of it writes a file of its own.
OUTPUT = ROOT / "data" / "predictions" / f"{Path(__file__).parent.name}.csv"


def train_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return what `train` runs: an estimator, the data, metrics."""
    return {
        "estimator": estimator(config["model"], config["arguments"]),
        "train_dataloaders": loader(config, "train", shuffle=True),
        "val_dataloaders": loader(config, "validation"),
        # Under the names that they have in 00_digits, so that runs of both can be compared.
        "metrics": {
            "accuracy": MulticlassAccuracy(CLASSES, average="micro"),
            "top2": MulticlassAccuracy(CLASSES, average="micro", top_k=2),
            "f1": MulticlassF1Score(CLASSES, average="macro"),
        },
    }


def infer_config(
    config: dict[str, Any],
    output: Path = OUTPUT,
    split: str = "test",
) -> dict[str, Any]:
    """Return what `infer` runs; the fitted estimator comes from the checkpoint."""
    return {
        "estimator": estimator(config["model"], config["arguments"]),
        "output_transform": probabilities,
        "predict_dataloaders": loader(config, split),
        "callbacks": [PredictionsToCsv(output)],
    }


def estimator(model: str, arguments: dict[str, Any]) -> Any:
    """Return the model of that name, not fitted."""
    match model:
        case "logistic":
            return make_pipeline(StandardScaler(), LogisticRegression(**arguments))
        case "forest":
            return RandomForestClassifier(**arguments)
        case "boosting":
            return HistGradientBoostingClassifier(**arguments)
        case "xgboost":
            from xgboost import XGBClassifier  # the others do without it

            return XGBClassifier(**arguments)
    raise ValueError(f'no model "{model}": there are logistic, forest, boosting, xgboost')


def probabilities(y_pred: Tensor, md: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
    """Return what the CSV is written from: an estimator's predictions are probabilities already."""
    return y_pred, md


def loader(config: dict[str, Any], split: str, *, shuffle: bool = False) -> DataLoader:
    """Return the batches of a split; an estimator gets them as one array, a row for each image."""
    return DataLoader(
        Digits(config["data"], split),
        batch_size=config["batch_size"],
        shuffle=shuffle,
        num_workers=config["num_workers"],
    )
