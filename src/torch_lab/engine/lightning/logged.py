"""What self.log() has summed up so far in this epoch, and the values callbacks and schedulers
monitor: Lightning keeps neither in its checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.connectors.logger_connector.result import (
    _Metadata,
    _ResultMetric,
    _Sync,
)

from torch_lab.engine.lightning.progress import in_mid_epoch

_META = ("fx", "name", "prog_bar", "logger", "on_step", "on_epoch", "enable_graph")
_META_MORE = ("add_dataloader_idx", "dataloader_idx", "metric_attribute")


def logged_state(trainer: pl.Trainer) -> dict[str, Any]:
    """Running sums of self.log, and the latest metrics, as plain data."""
    connector = trainer._logger_connector
    sums = {
        key: _result_state(result)
        for key, result in trainer.fit_loop.epoch_loop._results.items()
        if in_mid_epoch(trainer)
    }
    return {
        "sums": sums,
        "callback_metrics": _on_cpu(connector._callback_metrics),
        "logged_metrics": _on_cpu(connector._logged_metrics),
    }


def _on_cpu(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.detach().cpu().clone() if isinstance(value, torch.Tensor) else value
        for name, value in metrics.items()
    }


def _result_state(result: _ResultMetric) -> dict[str, Any]:
    meta = {name: getattr(result.meta, name) for name in (*_META, *_META_MORE)}
    meta["reduce_fx"] = result.meta.reduce_fx.__name__
    sync = {"should": result.meta.sync.should, "rank_zero_only": result.meta.sync.rank_zero_only}
    values = {}
    if result.is_tensor:
        values = {name: getattr(result, name).detach().cpu().clone() for name in result._defaults}
    return {
        "meta": meta,
        "sync": sync,
        "values": values,
        "updates": result._update_count,
        "has_reset": result.has_reset,
        # Lightning logs this again at steps that don't log the key themselves.
        "latest": _on_cpu({"": result._forward_cache})[""] if result.is_tensor else None,
    }


def restore_logged_state(trainer: pl.Trainer, state: Mapping[str, Any]) -> None:
    """The reverse of `logged_state`, in a trainer that is about to go on."""
    connector = trainer._logger_connector
    for metrics, saved in (
        (connector._callback_metrics, state["callback_metrics"]),
        (connector._logged_metrics, state["logged_metrics"]),
    ):
        metrics.clear()
        metrics.update(saved)
    if not in_mid_epoch(trainer):
        return
    # Lightning empties the sums when an epoch's first batch logs; this isn't the first.
    connector._first_loop_iter = True
    for key, saved in state["sums"].items():
        trainer.fit_loop.epoch_loop._results[key] = _restored_result(trainer, saved)


def _restored_result(trainer: pl.Trainer, saved: Mapping[str, Any]) -> _ResultMetric:
    meta = _Metadata(**saved["meta"])
    sync = saved["sync"]
    meta.sync = _Sync(
        _should=sync["should"],
        fn=trainer.strategy.reduce,
        rank_zero_only=sync["rank_zero_only"],
    )
    attribute = meta.metric_attribute
    result = _ResultMetric(meta, is_tensor=attribute is None)
    if attribute is not None:
        result.value = trainer.lightning_module.get_submodule(attribute)
    for name, value in saved["values"].items():
        setattr(result, name, value)
    result._update_count = saved["updates"]
    result.has_reset = saved["has_reset"]
    result._forward_cache = saved["latest"]
    return result.to(trainer.lightning_module.device)
