"""Runs with curves and recorded items, written as the formats say, for tests of `lab plot`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from torch_lab.store import find
from torch_lab.store.find import StoredRun

BEGUN = 1_790_000_000.0
Row = tuple[int, int, Mapping[str, Any]]  # batch, epoch, values


def write_run(
    artifacts: Path, name: str, rows: Iterable[Row] = (), *, number: int = 0, **record: Any
) -> Path:
    """A run directory; its step is one less than its batch, as Lightning logs."""
    folder = artifacts / name
    (folder / "metrics").mkdir(parents=True)
    experiment = name.partition("-")[0]
    begun = BEGUN + 1000 * number
    content = {
        "format": 1,
        "name": name,
        "id": f"{number + 1:08x}" * 4,
        "status": "completed",
        "experiment": experiment,
        "script": f"lab/experiments/{experiment}/{name.partition('-')[2].rpartition('_')[0]}.py",
        "created": begun,
        "started": begun,
        "ended": begun + 500,
    }
    (folder / "run.json").write_text(json.dumps(content | record))
    write_segment(folder, 0, rows, after=0, begun=begun)
    return folder


def write_segment(
    folder: Path, number: int, rows: Iterable[Row], *, after: int, begun: float = BEGUN
) -> None:
    """A segment of the journal; a batch takes a second."""
    lines: list[dict[str, Any]] = [{"format": 1, "after": after, "t": begun}]
    lines += [
        {
            "t": begun + batch - after,
            "batch": batch,
            "step": max(batch - 1, 0),
            "epoch": epoch,
            "values": values,
        }
        for batch, epoch, values in rows
    ]
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    (folder / "metrics" / f"{number:04d}.jsonl").write_text(text)


def write_items(folder: Path, items: Iterable[tuple[Mapping[str, Any], bytes]]) -> None:
    """Recorded items: what the index says of each, and its file."""
    lines: list[Mapping[str, Any]] = [{"format": 1, "after": 0, "t": BEGUN}]
    for item, content in items:
        file = folder / str(item.get("data") or item["file"])
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        lines.append({"t": BEGUN, "epoch": 0, **item})
    (folder / "media" / "0000.jsonl").write_text("".join(f"{json.dumps(i)}\n" for i in lines))


def falling(best: float, epochs: int = 4, batches: int = 10) -> list[Row]:
    """The rows of a small training: a loss each batch, a validation at each epoch's end."""
    rows: list[Row] = [(0, 0, {"loss/validate": 2.3})]
    for batch in range(1, epochs * batches + 1):
        loss = best + 2 * math.exp(-4 * batch / (epochs * batches))
        rows.append((batch, (batch - 1) // batches, {"loss/train": loss + 0.1 * (batch % 3)}))
        if batch % batches == 0:
            values = {"loss/validate": loss, "accuracy/validate": 1 / (1 + loss)}
            rows.append((batch, (batch - 1) // batches, values))
    return rows


def searched(number: int) -> tuple[list[Row], dict[str, Any]]:
    """The rows and the config of a run in a search for hyperparameters."""
    random = np.random.default_rng(number)
    rate, width = 10 ** random.uniform(-4, -1.5), int(random.choice([16, 32, 64]))
    best = 0.05 + 0.12 * abs(math.log10(rate) + 2.7) + 1.2 / width
    rows: list[Row] = []
    for batch in range(1, 801):
        loss = best + 2 * math.exp(-batch / 800 * (4 + 30 * rate))
        noise = random.normal(0, 0.06 + loss / 9)
        rows.append((batch, (batch - 1) // 40, {"loss/train": max(loss + noise, 0.01)}))
        if batch % 40 == 0:
            validated = 1.1 * loss + random.normal(0, 0.02)
            values = {"loss/validate": validated, "accuracy/validate": math.exp(-validated)}
            rows.append((batch, (batch - 1) // 40, values))
    optimizer, dropout = ("adam", "sgd")[number % 2], float(random.choice([0.0, 0.1, 0.3]))
    config = {"learning_rate": rate, "width": width, "dropout": dropout, "optimizer": optimizer}
    return rows, config


def stored(artifacts: Path, name: str) -> StoredRun:
    """A run as readers find it."""
    return next(run for run in find.runs(artifacts) if run.record.name == name)
