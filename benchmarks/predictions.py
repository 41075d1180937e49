"""PredictionWriter: seconds and memory for ten million predictions.

Each measurement is a process of its own:

python -m benchmarks.predictions nothing|plain|lab FILE ROWS
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.report import Line, seconds
from benchmarks.saving import peak_megabytes
from benchmarks.subjects import ROOT, environment

ROWS, FEW, BATCH = 10_000_000, 100_000, 1_000
MEGABYTES = 20.0
FORMATS = (("CSV", "csv"), ("JSON lines", "jsonl"), ("Parquet", "parquet"))


def run() -> list[Line]:
    lines = []
    for name, ending in FORMATS:
        few, many = _measured("lab", ending, FEW), _measured("lab", ending, ROWS)
        nothing = _measured("nothing", ending, ROWS)
        plain = _measured("plain", ending, ROWS) if ending == "csv" else None
        took = many["seconds"] - nothing["seconds"]
        lines.append(
            Line(
                f"{ROWS:,} predictions to {name}{' (plain: csv.writer)' if plain else ''}",
                plain=seconds(plain["seconds"] - nothing["seconds"]) if plain else "-",
                lab=seconds(took),
                compared=f"{1e6 * took / ROWS:.1f} µs a row",
            )
        )
        grown = many["peak"] - few["peak"]
        lines.append(
            Line(
                f"… peak memory (plain: of {FEW:,})",
                plain=f"{few['peak']:.0f} MB",
                lab=f"{many['peak']:.0f} MB",
                compared=f"{grown:+.0f} MB",
                target=f"+{MEGABYTES:.0f} MB",
                ok=grown <= MEGABYTES,
            )
        )
    return lines


def _measured(kind: str, ending: str, rows: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"out.{ending}")
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.predictions", kind, str(file), str(rows)],
            cwd=ROOT,
            env=environment(Path(folder)),
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"predictions with {kind}: exit {done.returncode}\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


# -- in the process that is measured ---------------------------------------------------------


def _predict(kind: str, file: Path, rows: int) -> dict[str, float]:
    import pytorch_lightning as pl
    import torch

    from torch_lab.callbacks import PredictionWriter
    from torch_lab.data import DataLoader
    from torch_lab.modules import LabModule

    class Numbers(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return rows

        def __getitems__(self, indices: list[int]) -> list[int]:
            return indices

    class Plain(pl.Callback):
        """What one would write oneself."""

        def setup(self, *args: Any, **kwargs: Any) -> None:
            self.file = file.open("w", newline="")
            self.writer = csv.writer(self.file)

        def on_predict_batch_end(self, trainer: Any, module: Any, outputs: Any, *_: Any) -> None:
            columns = outputs["md"]["index"].tolist(), outputs["y_pred"][:, 0].tolist()
            self.writer.writerows(zip(*columns, strict=True))

        def teardown(self, *args: Any, **kwargs: Any) -> None:
            self.file.close()

    def collate(indices: list[int]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        index = torch.tensor(indices)
        return index.float().unsqueeze(1) / 7, {"index": index}

    callbacks = {"nothing": [], "plain": [Plain()], "lab": [PredictionWriter(file)]}[kind]
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=callbacks,
    )
    loader = DataLoader(Numbers(), batch_size=BATCH, collate_fn=collate)
    begin = time.perf_counter()
    trainer.predict(LabModule(torch.nn.Linear(1, 1)), loader, return_predictions=False)
    return {"seconds": time.perf_counter() - begin, "peak": peak_megabytes()}


if __name__ == "__main__":
    print(json.dumps(_predict(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))))
