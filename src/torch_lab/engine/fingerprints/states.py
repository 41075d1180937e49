"""What decides how training goes on, and is in checkpoints or ought to be."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torchmetrics import Metric

from torch_lab.engine import lightning, state
from torch_lab.metric_states import own_attributes

_BLANK = frozenset(vars(torch.optim.SGD([torch.zeros(1)]))) | {"_opt_called", "_step_count"}


def core(trainer: pl.Trainer) -> Iterator[tuple[str, Any]]:
    """Each state by "KIND: NAME", or "KIND: OWNER\tNAME" where an object keeps it."""
    module = trainer.lightning_module
    for name, parameter in module.named_parameters():
        yield f"weight: {name}", parameter
    for name, value in module.named_buffers():
        yield f"buffer: {name}", value
    if lightning.accumulating(trainer) or not module.automatic_optimization:
        for name, parameter in module.named_parameters():
            yield f"gradient: {name}", parameter.grad
    yield from _optimizers(trainer)
    for config in trainer.lr_scheduler_configs:
        for name, value in vars(config.scheduler).items():
            if name != "optimizer" and not inspect.ismethod(value):
                yield f"scheduler: {type(config.scheduler).__name__}\t{name}", value
    yield from _metrics(module)
    yield from _logged(trainer)
    for name, value in state.random_state(module.device).items():
        yield f"random: {name}", value


def _optimizers(trainer: pl.Trainer) -> Iterator[tuple[str, Any]]:
    names = {id(each): name for name, each in trainer.lightning_module.named_parameters()}
    several = len(trainer.optimizers) > 1
    for number, optimizer in enumerate(trainer.optimizers):
        kind = type(optimizer).__name__ + f" {number}" * several
        for place, group in enumerate(optimizer.param_groups):
            for name, value in group.items():
                if name != "params":
                    yield f"optimizer: {kind}\t{name} of group {place}", value
        for parameter, values in optimizer.state.items():
            of = names.get(id(parameter), "a tensor")
            for name, value in _items(values):
                yield f"optimizer: {kind}\t{name} of {of}", value
        for name, value in vars(optimizer).items():
            if name not in _BLANK and not callable(value):
                yield f"optimizer: {kind}\t{name}", value


def _items(values: Any) -> list[tuple[str, Any]]:
    return list(values.items()) if isinstance(values, Mapping) else [("state", values)]


def _metrics(module: pl.LightningModule) -> Iterator[tuple[str, Any]]:
    exact = getattr(module, "exact_state", None)
    if callable(exact):
        for stage, parts in exact().items():
            for name, value in parts.items():
                inner = value.items() if name in ("metrics", "means") else [(name, value)]
                for part, each in inner:
                    yield f"metric: {part}\t{stage}", each
    for path, metric in module.named_modules():
        if isinstance(metric, Metric):
            for name in metric._defaults:
                yield f"metric: {path}\t{name}", getattr(metric, name)
            for name, value in own_attributes(metric).items():
                yield f"metric: {path}\t{name}", value


def _logged(trainer: pl.Trainer) -> Iterator[tuple[str, Any]]:
    logged = lightning.logged_state(trainer)
    for name, value in {**logged["callback_metrics"], **logged["logged_metrics"]}.items():
        yield f"logged: {name}", value
    for name, value in logged["sums"].items():
        if not value["has_reset"]:  # else it is left over from an epoch before
            yield f"logged: the epoch's {name}", value["values"]
