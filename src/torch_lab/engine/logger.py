"""Lightning's logger for a run: every row goes to the journal."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from pytorch_lightning.loggers.logger import Logger


class Rows(Protocol):
    """Where rows go: a store.journal.Journal."""

    def append(self, batch: int, step: int, epoch: int, values: Mapping[str, float]) -> None:
        """Write one row."""


class RunLogger(Logger):
    """Writes what is logged to the run's journal, and tells Lightning where the run lives."""

    def __init__(self, directory: Path, journal: Rows | None, batch: Callable[[], int]) -> None:
        super().__init__()
        self._directory = directory
        self._journal = journal  # None on ranks other than 0
        self._batch = batch

    @property
    def name(self) -> str:
        """The run's name; with save_dir and version it makes Lightning's default paths."""
        return self._directory.name

    @property
    def version(self) -> str:
        """Empty: the run's name holds its number already."""
        return ""

    @property
    def save_dir(self) -> str:
        """The folder the run's directory is in."""
        return str(self._directory.parent)

    @property
    def log_dir(self) -> str:
        """The run's directory."""
        return str(self._directory)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """One row; Lightning passes the epoch among the metrics."""
        if self._journal is None:
            return
        values = dict(metrics)
        epoch = int(values.pop("epoch", 0))
        if values:
            self._journal.append(self._batch(), step or 0, epoch, values)

    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Nothing to do: run.json has the hyperparameters from the start."""
