"""The logger of torch-lab 1.x; deprecated: a run's record takes everything that is logged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import TensorBoardLogger

from torch_lab.recording import NullRecorder, record
from torch_lab.utils.deprecation import deprecated


class ClearMlLogger(TensorBoardLogger):
    """Hands what it is given to the record of the run under way; calls no server.

    In `trainer.init` of a run it makes no difference: the Trainer logs to the run's own logger
    alone. Outside of a run it writes TensorBoard files into `root_dir/task_name/logs`.
    """

    task = None  # 1.x kept its ClearML task here; code that asks finds that there is none

    def __init__(
        self,
        hparams: Mapping[str, Any],
        config_path: str | Path,
        task_name: str,
        root_dir: str | Path,
        **kwargs: Any,
    ) -> None:
        deprecated(
            "torch_lab.loggers.ClearMlLogger",
            "a run logs to its own record; torch_lab.record() adds to that",
        )
        fixed: dict[str, Any] = {"name": "", "version": "", "default_hp_metric": False}
        super().__init__(str(Path(root_dir) / task_name / "logs"), **(fixed | kwargs))
        self.config_path = config_path
        self.task_hparams = hparams

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """One scalar for each metric."""
        if isinstance(record(), NullRecorder):
            super().log_metrics(dict(metrics), step)
        else:
            for name, value in metrics.items():
                record().scalar(name, value)
