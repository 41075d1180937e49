"""Runs that are cut between their last boundary and their end, and what goes on from there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping
from test_boundaries import Plain, Run


def stopping() -> EarlyStopping:
    """Ends the training after the second epoch."""
    return EarlyStopping("val_loss", patience=1, min_delta=10.0)


class End(pl.Callback):
    """Does at training's end what must neither be left out nor done twice."""

    def __init__(self, folder: Path, *, halves: bool, logs: bool) -> None:
        self.folder, self.halves, self.logs = folder, halves, logs
        self.calls = 0

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.calls += 1
        if (saved := self.folder / "step-15.ckpt").exists():
            shutil.copy(saved, self.folder / "before.ckpt")
        if self.halves:
            pl_module.net[0].weight.data.mul_(0.5)
        if self.logs:
            trainer.logger.log_metrics({"the end": 1.0})


def run_to_end(folder: Path, checkpoint: Path | None, **does: bool) -> tuple[Run, End]:
    end = End(folder, **does)
    run = Run(folder, Plain, end)
    run.rows.batch = lambda: run.points.position().batch
    return run.fit(checkpoint), end


def test_a_run_that_was_asked_to_stop_stops_where_it_was(tmp_path: Path) -> None:
    whole = Run(tmp_path, Plain, stopping(), max_epochs=5).fit()
    assert whole.points.batches == 10
    cut = Run(tmp_path / "cut", Plain, stopping(), max_epochs=5).fit(tmp_path / "step-10.ckpt")
    assert cut.points.batches == 10
    assert cut.state() == whole.state()


def test_another_run_that_starts_from_there_trains_on(tmp_path: Path) -> None:
    Run(tmp_path, Plain, stopping(), max_epochs=5).fit()
    other = Run(tmp_path / "other", Plain, stopping(), max_epochs=5)
    other.policy.fill(every_n_steps=1, every_minutes=None, keep=1, goes_on=False)
    assert other.fit(tmp_path / "step-10.ckpt").points.batches == 15


@pytest.mark.parametrize(
    "does", [{"halves": True, "logs": True}, {"halves": False, "logs": True}], ids=str
)
def test_the_hooks_of_the_end_run_once(tmp_path: Path, does: dict[str, bool]) -> None:
    whole, _ = run_to_end(tmp_path, None, **does)
    told: list[Any] = [row for row in whole.rows.rows if "the end" in row[-1]]
    assert [row[0] for row in told] == [15]

    cut, end = run_to_end(tmp_path / "before", tmp_path / "before.ckpt", **does)
    assert end.calls == 1
    assert cut.state() == whole.state()
    assert cut.rows.rows == told

    cut, end = run_to_end(tmp_path / "after", tmp_path / "step-15.ckpt", **does)
    assert end.calls == 0
    assert cut.state() == whole.state()
    assert cut.rows.rows == []


def test_an_end_that_leaves_nothing_costs_no_save(tmp_path: Path) -> None:
    whole, _ = run_to_end(tmp_path, None, halves=False, logs=False)
    assert [point.batch for point in whole.saver.points] == list(range(1, 16))
    saved = torch.load(tmp_path / "step-15.ckpt", weights_only=True)
    assert saved["torch_lab"]["ended"] is False
    _, end = run_to_end(tmp_path / "cut", tmp_path / "step-15.ckpt", halves=False, logs=False)
    assert end.calls == 1
