"""What a process must hold, beside what Lightning saves, to go on bit for bit.

Random generators, metrics that have seen part of an epoch, running sums of self.log, gradients
that wait for more batches: each rank has its own.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
import torch.distributed
from torchmetrics import Metric, MetricCollection

from torch_lab.engine import lightning
from torch_lab.metric_states import Attributes, metric_state, pristine_attributes, restore_metric
from torch_lab.modules import TrainLabModule


def capture(trainer: pl.Trainer, before: Attributes) -> dict[str, Any]:
    """This rank's state, as plain data on the CPU; `before` is what `pristine` gave."""
    module = trainer.lightning_module
    state = {
        "random": random_state(module.device),
        "metrics": {
            name: metric_state(metric, before.get(name, {}).get("", {}))
            for name, metric in _metrics(module)
        },
        "logged": lightning.logged_state(trainer),
    }
    if isinstance(module, TrainLabModule):
        state["module"] = module.exact_state()
    if lightning.accumulating(trainer) or not module.automatic_optimization:
        state["gradients"] = {
            name: parameter.grad.detach().cpu().clone()
            for name, parameter in module.named_parameters()
            if parameter.grad is not None
        }
    return state


def restore(trainer: pl.Trainer, state: Mapping[str, Any]) -> None:
    """The reverse of `capture`, when everything that draws random numbers at start has run."""
    module = trainer.lightning_module
    for name, metric in _metrics(module):
        if name in state["metrics"]:
            restore_metric(metric, state["metrics"][name])
    if isinstance(module, TrainLabModule) and "module" in state:
        module.load_exact_state(state["module"])
    lightning.restore_logged_state(trainer, state["logged"])
    for name, gradient in state.get("gradients", {}).items():
        parameter = module.get_parameter(name)
        parameter.grad = gradient.to(parameter.device)
    restore_random_state(state["random"], module.device)


def gathered(state: dict[str, Any]) -> list[dict[str, Any]]:
    """The states of all ranks, in their order."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [state]
    states: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(states, state)
    return states


def random_state(device: torch.device) -> dict[str, Any]:
    """Where Python's, numpy's, torch's and the device's generators stand."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = cast(tuple[Any, ...], np.random.get_state())
    state: dict[str, Any] = {
        "python": [version, list(words), gauss],
        "numpy": [name, torch.from_numpy(keys.astype("int64")), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
    }
    if device.type != "cpu":
        state["device"] = torch.get_device_module(device).get_rng_state()
    return state


def restore_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    """Put the generators back to where `random_state` found them."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype("uint32"), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if "device" in state and device.type != "cpu":
        torch.get_device_module(device).set_rng_state(state["device"])


def pristine(module: pl.LightningModule) -> Attributes:
    """What the module's metrics are like before any update; `capture` compares with it."""
    return pristine_attributes(dict(_metrics(module)))


def _metrics(module: pl.LightningModule) -> list[tuple[str, Metric]]:
    """The module's metrics, but for those that its own exact_state covers."""
    for each in module.modules():
        if isinstance(each, MetricCollection):
            each.values()  # metrics with equal states share one's until somebody looks at them
    covered = ("metrics.",) if isinstance(module, TrainLabModule) else ()
    found = [(name, each) for name, each in module.named_modules() if isinstance(each, Metric)]
    return [(name, each) for name, each in found if not name.startswith(covered)]
