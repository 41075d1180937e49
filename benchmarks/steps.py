"""One step of a tiny network, in the engine of a real run."""

from __future__ import annotations

import statistics
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torchmetrics
from torch.nn.functional import cross_entropy

from benchmarks import subjects
from benchmarks.bare import plain_epoch
from benchmarks.measuring import alternate
from benchmarks.models import CLASSES, mlp, ready_loader
from benchmarks.report import Line, micros, times
from benchmarks.timing import StepTimer, step_cost, window_costs

ROUNDS, BATCHES, EPOCHS = 15, 500, 3
RATIO = 1.25
GROWTH_ROUNDS, SHORT, LONG = 9, 500, 8000
GROWTH = 1.05


class Bare(pl.LightningModule):
    """Lightning with nothing on it."""

    def __init__(self) -> None:
        super().__init__()
        self.model = mlp()

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return cross_entropy(self.model(batch[0]), batch[1]["y"])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


class ByHand(Bare):
    """Lightning's usual way to the loss, a NaN check and three metrics."""

    def __init__(self) -> None:
        super().__init__()
        self.accuracy = torchmetrics.Accuracy("multiclass", num_classes=CLASSES)
        self.f1 = torchmetrics.F1Score("multiclass", num_classes=CLASSES)
        self.auroc = torchmetrics.AUROC("multiclass", num_classes=CLASSES)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        y_pred, y = self.model(batch[0]), batch[1]["y"]
        loss = cross_entropy(y_pred, y)
        if not torch.isfinite(loss):
            raise ValueError("the loss is no number")
        self.log("loss/train", loss, on_epoch=True)
        for name in ("accuracy", "f1", "auroc"):
            metric = getattr(self, name)
            metric.update(y_pred.detach(), y)
            self.log(f"{name}/train", metric, on_step=False, on_epoch=True)
        return loss


def run() -> list[Line]:
    """A step with everything, beside a step with nothing."""
    with tempfile.TemporaryDirectory() as folder, _settled():
        rounds = alternate(
            ROUNDS,
            {
                "plain": _plain,
                "lightning": lambda: _lightning(Bare(), Path(folder)),
                "by hand": lambda: _lightning(ByHand(), Path(folder), logs=True),
                "lab": lambda: step_cost(_lab(Path(folder), BATCHES, EPOCHS)),
            },
        )
    ratio, by_hand = rounds.ratio("lab", to="lightning"), rounds.ratio("lab", to="by hand")
    plain, lab = micros(rounds.median("plain")), micros(rounds.median("lab"))
    return [
        Line(
            "a step: loss, NaN watch, 3 metrics, journal, exact data",
            plain=plain,
            lightning=micros(rounds.median("lightning")),
            lab=lab,
            compared=times(ratio),
            target="1.25x",
            ok=ratio.middle <= RATIO,
        ),
        Line(
            "the same where Lightning logs loss and metrics too",
            plain=plain,
            lightning=micros(rounds.median("by hand")),
            lab=lab,
            compared=times(by_hand),
        ),
    ]


def growth() -> list[Line]:
    """The last steps of a long epoch, beside as many batches in short epochs."""
    with tempfile.TemporaryDirectory() as folder, _settled():
        rounds = alternate(
            GROWTH_ROUNDS,
            {
                "short": lambda: step_cost(_lab(Path(folder), SHORT, LONG // SHORT)),
                "long": lambda: _late(_lab(Path(folder), LONG, 1)),
            },
        )
    ratio = rounds.ratio("long", to="short")
    return [
        Line(
            "a step late in 8,000 batches an epoch (plain: in 500)",
            plain=micros(rounds.median("short")),
            lab=micros(rounds.median("long")),
            compared=times(ratio),
            target="1.05x",
            ok=ratio.middle <= GROWTH,
        )
    ]


def _plain() -> float:
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loader = ready_loader(BATCHES)
    return step_cost([plain_epoch(model, optimizer, loader) for _ in range(EPOCHS)])


def _lightning(module: pl.LightningModule, folder: Path, *, logs: bool = False) -> float:
    from pytorch_lightning.loggers import CSVLogger

    timer = StepTimer()
    trainer = pl.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        callbacks=[timer],
        logger=CSVLogger(folder) if logs else False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    trainer.fit(module, ready_loader(BATCHES))
    return step_cost(timer.epochs)


def _lab(folder: Path, batches: int, epochs: int) -> list[list[float]]:
    subjects.train("mlp", folder, f"config.batches={batches}", f"trainer.init.max_epochs={epochs}")
    return StepTimer.latest.epochs


def _late(epochs: list[list[float]]) -> float:
    """The second half only: what grows has grown by then."""
    costs = window_costs(epochs[0])
    return statistics.median(costs[len(costs) // 2 :])


@contextmanager
def _settled() -> Iterator[None]:
    """One thread, and none of Lightning's remarks."""
    import logging

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    torch.set_num_threads(threads)
