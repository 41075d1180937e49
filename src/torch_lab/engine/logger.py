"""Lightning's logger for a run: rows go to the journal, all else to its record."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_fabric.loggers.logger import _DummyExperiment as DummyExperiment
from pytorch_lightning.loggers.logger import Logger

from torch_lab.engine import lightning
from torch_lab.recording.live import RunRecorder

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class RunLogger(Logger):
    """Writes what is logged to the run's record, and tells Lightning where the run lives."""

    def __init__(self, directory: Path, recorder: RunRecorder | None) -> None:
        super().__init__()
        self._directory = directory
        self._recorder = recorder  # None on ranks other than 0
        self._experiment: SummaryWriter | None = None

    @property
    def name(self) -> str:
        """The run's name."""
        return self._directory.name

    @property
    def version(self) -> str:
        """Empty: the run's name holds its number already."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run's directory; also what Lightning says is `trainer.log_dir`."""
        return str(self._directory)

    @property
    def log_dir(self) -> str:
        """The run's directory."""
        return str(self._directory)

    @property
    def experiment(self) -> SummaryWriter:
        """A SummaryWriter of TensorBoard's whose scalars, images and figures reach the record.

        On ranks other than 0 it takes every call and does nothing.
        """
        if self._recorder is None:
            return DummyExperiment()  # type: ignore[return-value]
        if self._experiment is None:
            if lightning.is_setting_up():
                raise AttributeError("experiment: made when it is used")
            from torch_lab.engine.summaries import RecordWriter  # imports TensorBoard

            self._experiment = RecordWriter(self._recorder)
        return self._experiment

    @property
    def task(self) -> Any:
        """The run's ClearML task where hparams' task.sdk has it open here, else None."""
        clearml = sys.modules.get("clearml")
        return None if clearml is None else clearml.Task.current_task()

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """One row; Lightning passes the epoch among the metrics."""
        if self._recorder is None:
            return
        values = dict(metrics)
        epoch = values.pop("epoch", None)
        if values:
            self._recorder.scalars(values, step=step, epoch=None if epoch is None else int(epoch))

    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Nothing to do: run.json has the hyperparameters from the start."""

    def log_image(
        self,
        key: str,
        images: Sequence[Any],
        step: int | None = None,
        caption: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Images as other loggers of Lightning take them: a list, and a list of captions."""
        if self._recorder is not None:
            self._recorder.image(key, list(images), caption=caption, step=step)

    def log_text(
        self,
        key: str,
        columns: list[str] | None = None,
        data: list[list[str]] | None = None,
        dataframe: Any = None,
        step: int | None = None,
    ) -> None:
        """Rows of texts, as a table."""
        self.log_table(key, columns, data, dataframe, step)

    def log_table(
        self,
        key: str,
        columns: list[str] | None = None,
        data: list[list[Any]] | None = None,
        dataframe: Any = None,
        step: int | None = None,
    ) -> None:
        """A table: a data frame, or rows with the names of their columns."""
        if self._recorder is None:
            return
        if dataframe is not None:
            self._recorder.table(key, dataframe, step=step)
        else:
            self._recorder.table(key, data or [], columns=columns, step=step)
