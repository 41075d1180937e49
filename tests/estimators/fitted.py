"""An estimator trained by the engine as `train` does it, without a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from sklearn.datasets import make_classification, make_regression

from torch_lab.data import DataLoader
from torch_lab.engine.fit import Setting, Start, fit
from torch_lab.engine.stop import StopRequest
from torch_lab.experiment import Configuration, estimating
from torch_lab.hparams import check


class Seen(pl.Callback):
    """What is logged: at each validation, and at the end."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []
        self.last: dict[str, float] = {}

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.epochs.append(_numbers(trainer))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.last = _numbers(trainer)


def _numbers(trainer: pl.Trainer) -> dict[str, float]:
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def classes(n: int = 120, count: int = 3) -> tuple[np.ndarray, np.ndarray]:
    x, y = make_classification(n, 8, n_informative=5, n_classes=count, random_state=0)
    return x.astype(np.float32), y


def values(n: int = 120) -> tuple[np.ndarray, np.ndarray]:
    x, y = make_regression(n, 5, noise=3.0, random_state=0)
    return x.astype(np.float32), (y / 100).astype(np.float32)


def batches(x: np.ndarray, y: np.ndarray, size: int) -> DataLoader:
    """Samples one by one, as a dataset of the user's gives them."""
    return DataLoader([(row, {"y": label}) for row, label in zip(x, y.tolist(), strict=True)], size)


def configured(estimator: Any, **result: Any) -> Configuration:
    result = {"estimator": estimator, **result}
    return Configuration(**estimating.translated("train_config", result))


def trained(tmp_path: Path, estimator: Any, *, init: Any = None, **result: Any) -> Any:
    """The module after its training, with what was logged and said."""
    seen, said = Seen(), []
    result["callbacks"] = (*result.get("callbacks", ()), seen)
    configuration = configured(estimator, **result)
    hparams = check({"trainer": {"init": {"logger": False, **(init or {})}}})
    setting = Setting(tmp_path, 0, Start(), StopRequest(), None, say=said.append)
    pl.seed_everything(0, verbose=False)
    fit(configuration, hparams, setting)
    module = configuration.module
    module.seen, module.last, module.said = seen.epochs, seen.last, said
    return module
