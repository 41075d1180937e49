"""What the experiments add to Lightning's loop."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from torch_lab.callbacks import PredictionWriter


class PredictionsToCsv(PredictionWriter):
    """Writes a row for each image: its index, the predicted digit, how sure, the right digit."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, row=columns)

    def report(self, trainer: pl.Trainer) -> None:
        """Say how many are right; called when the file is complete."""
        if self.path.suffix != ".csv" or not self.rows:
            super().report(trainer)
            return
        with self.path.open(encoding="utf-8", newline="") as file:
            right = sum(row["digit"] == row["label"] for row in csv.DictReader(file))
        print(f"{right} of {self.rows} digits right; written to {self.path}")


def columns(sample: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of one image; "out" is what the output_transform made of its logits."""
    probability, digit = sample["out"].max(dim=0)
    return {
        "index": sample["md"]["index"],
        "digit": digit,
        "probability": f"{probability:.4f}",
        "label": sample["md"]["y"],
    }
