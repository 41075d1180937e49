"""The Trainer of a trial: the experiment's own, but for what makes it long, wide or lasting."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch_lab.engine import lightning

# What is left out: it concerns how much is done, on how many devices, and where it is kept.
_LEFT_OUT = frozenset(
    {
        "accelerator",
        "barebones",
        "callbacks",
        "default_root_dir",
        "devices",
        "enable_checkpointing",
        "enable_model_summary",
        "enable_progress_bar",
        "fast_dev_run",
        "limit_predict_batches",
        "limit_test_batches",
        "logger",
        "max_time",
        "min_epochs",
        "min_steps",
        "num_nodes",
        "overfit_batches",
        "profiler",
        "strategy",
        "sync_batchnorm",
    }
)


class TrialTrainer(lightning.Trainer):
    """Tells whoever plans by it how long training will be, though it trains one batch."""

    planned: Callable[[], int | float] = staticmethod(lambda: math.inf)  # batches of an epoch
    accumulated: int = 1
    begun = False

    @property
    def num_training_batches(self) -> int | float:
        """As planned, until training begins."""
        return super().num_training_batches if self.begun else self.planned()

    @property
    def estimated_stepping_batches(self) -> int | float:
        """As planned."""
        begun, now = self.begun, self.accumulate_grad_batches
        self.begun, self.accumulate_grad_batches = False, self.accumulated
        try:
            return super().estimated_stepping_batches
        finally:
            self.begun, self.accumulate_grad_batches = begun, now


def without_refused(init: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that plans are made by, where Lightning refuses some of all."""
    counts = ("max_epochs", "max_steps", "limit_val_batches", "limit_train_batches")
    return {key: init[key] for key in counts if isinstance(init.get(key), (int, float))}


def trial_init(init: Mapping[str, Any], accelerator: str) -> dict[str, Any]:
    """The arguments of a Trainer that trains one batch on one device."""
    kept = {key: value for key, value in init.items() if key not in _LEFT_OUT}
    for limit in ("max_epochs", "max_steps"):
        if kept.get(limit) == 0:
            del kept[limit]
    kept.setdefault("max_epochs", -1)
    return kept | {
        "accelerator": accelerator,
        "devices": 1,
        "accumulate_grad_batches": 1,
        "check_val_every_n_epoch": 1,
        "val_check_interval": 1.0,
        "limit_train_batches": 1,
        "limit_val_batches": 0 if init.get("limit_val_batches") == 0 else 1,
        "limit_test_batches": 1,
        "log_every_n_steps": 1,
        "num_sanity_val_steps": 0,
        "enable_progress_bar": False,
        "use_distributed_sampler": False,
        "inference_mode": kept.get("inference_mode", False),
    }


def _processes(init: Mapping[str, Any]) -> int:
    """Among how many the batches of an epoch are divided, as far as hparams say."""
    devices, nodes = init.get("devices"), init.get("num_nodes", 1)
    count = len(devices) if isinstance(devices, list) else devices
    count = int(count) if isinstance(count, str) and count.isdigit() else count
    return max(count, 1) * nodes if type(count) is int and type(nodes) is int else 1


def planned_batches(init: Mapping[str, Any], lengths: list[int | None]) -> int | float:
    """How many batches an epoch has, for each process, by the Trainer's limit and the loaders."""
    limit = init.get("limit_train_batches", 1.0)
    if not lengths or None in lengths:
        return limit if type(limit) is int else math.inf
    longest = max(length for length in lengths if length is not None)
    if init.get("use_distributed_sampler", True):
        longest = math.ceil(longest / _processes(init))
    if type(limit) is int:
        return min(limit, longest)
    return int(longest * limit) if isinstance(limit, float) else longest
