"""What the experiments add to Lightning's loop."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import IO, Any

import pytorch_lightning as pl


class PredictionsToCsv(pl.Callback):
    """Writes a row for each image: its index, the predicted digit, how sure, the right digit.

    Rows are written as batches come, into a hidden file beside `path` that gets its name when all
    are there: whoever finds `path` finds it complete.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        self.file: IO[str] | None = None
        self.total = self.right = 0

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the file, before time is spent on predictions that could not be written."""
        if trainer.world_size > 1:
            raise RuntimeError("PredictionsToCsv writes from one process: use one device to infer")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.total = self.right = 0
        self.file = self.temporary.open("w", encoding="utf-8", newline="")
        self.rows = csv.writer(self.file, lineterminator="\n")
        self.rows.writerow(("index", "digit", "probability", "label"))

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: dict[str, Any],
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write a batch: `out` is what the module's output_transform made of the logits."""
        md = outputs["md"]
        probabilities, digits = outputs["out"].max(dim=1)
        columns = (md["index"], digits, probabilities, md["y"])
        for row in zip(*(column.tolist() for column in columns), strict=True):
            index, digit, probability, label = row
            self.rows.writerow((index, digit, f"{probability:.4f}", label))
            self.total += 1
            self.right += digit == label

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Give the complete file its name."""
        if self.file is not None:
            self.file.close()
            self.temporary.replace(self.path)
            print(f"{self.right} of {self.total} digits right; written to {self.path}")

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Leave no half a file behind."""
        if self.file is not None:
            self.file.close()
            self.temporary.unlink(missing_ok=True)
