"""What a process must hold, beside what Lightning saves, to go on bit for bit.

Random generators, metrics that have seen part of an epoch, running sums of self.log, gradients
that wait for more batches, attributes of the user's own objects: each rank has its own.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
import torch.distributed
from pytorch_lightning.callbacks import StochasticWeightAveraging
from torchmetrics import Metric, MetricCollection

from torch_lab.engine import attributes, lightning
from torch_lab.metric_states import Attributes, metric_state, pristine_attributes, restore_metric
from torch_lab.modules import TrainLabModule


@dataclass
class Pristine:
    """What the user's objects are like before training; `capture` tells what has changed."""

    metrics: Attributes | None = None
    attributes: attributes.Before | None = None

    def see_metrics(self, module: pl.LightningModule) -> None:
        """To be called before anything updates the metrics."""
        if self.metrics is None:
            self.metrics = pristine_attributes(dict(_metrics(module)))

    def see_attributes(self, trainer: pl.Trainer) -> None:
        """To be called when everything is set up, and before the first batch."""
        if self.attributes is None:
            self.attributes = attributes.look(trainer)


def capture(trainer: pl.Trainer, before: Pristine) -> dict[str, Any]:
    """This rank's state, as plain data on the CPU."""
    module = trainer.lightning_module
    metrics = before.metrics or {}
    state = {
        "random": random_state(module.device),
        "metrics": {
            name: metric_state(metric, metrics.get(name, {}).get("", {}))
            for name, metric in _metrics(module)
        },
        "logged": lightning.logged_state(trainer),
        "attributes": attributes.changed(trainer, before.attributes or {}),
        "evaluating": [name for name, each in module.named_modules() if not each.training],
        "frozen": [name for name, each in module.named_parameters() if not each.requires_grad],
        "accumulate": trainer.accumulate_grad_batches,
        "groups": _groups(trainer),
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
    if lightning.in_mid_epoch(trainer):
        _set_up_averaging(trainer)
    _restore_training(trainer, state)
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


def _restore_training(trainer: pl.Trainer, state: Mapping[str, Any]) -> None:
    """What hooks set at an epoch's start: modes, who is trained, by how many batches a step."""
    attributes.restore(trainer, state.get("attributes", {}))
    if "frozen" in state:
        module = trainer.lightning_module
        for name, part in module.named_modules():
            part.training = name not in state["evaluating"]
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(name not in state["frozen"])
        trainer.accumulate_grad_batches = state["accumulate"]


def _set_up_averaging(trainer: Any) -> None:
    """StochasticWeightAveraging makes its scheduler in an epoch's first hook, which has passed.

    The hook averages nothing twice, but begins the statistics of batch norm anew.
    """
    for each in trainer.callbacks:
        if isinstance(each, StochasticWeightAveraging):
            module = trainer.lightning_module
            weights = {name: value.clone() for name, value in module.state_dict().items()}
            each.on_train_epoch_start(trainer, module)
            module.load_state_dict(weights)


def _groups(trainer: pl.Trainer) -> list[list[list[str]]]:
    """The names of the parameters in each optimizer's groups."""
    names = {id(each): name for name, each in trainer.lightning_module.named_parameters()}
    return [
        [[names.get(id(each), "") for each in group["params"]] for group in optimizer.param_groups]
        for optimizer in trainer.optimizers
    ]


def restore_groups(trainer: pl.Trainer, state: Mapping[str, Any]) -> None:
    """Give optimizers the groups that callbacks had added, so that their state fits."""
    parameters = dict(trainer.lightning_module.named_parameters())
    saved = state.get("groups", [])
    for optimizer, before, now in zip(trainer.optimizers, saved, _groups(trainer), strict=False):
        known = all(name in parameters for group in before for name in group)
        if before == now or not known:
            continue
        rest = {k: v for k, v in optimizer.param_groups[0].items() if k != "params"}
        optimizer.param_groups.clear()
        for group in before:
            optimizer.add_param_group({"params": [parameters[name] for name in group]} | rest)


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


def _metrics(module: pl.LightningModule) -> list[tuple[str, Metric]]:
    """The module's metrics, but for those that its own exact_state covers."""
    for each in module.modules():
        if isinstance(each, MetricCollection):
            each.values()  # metrics with equal states share one's until somebody looks at them
    covered = ("metrics.",) if isinstance(module, TrainLabModule) else ()
    found = [(name, each) for name, each in module.named_modules() if isinstance(each, Metric)]
    return [(name, each) for name, each in found if not name.startswith(covered)]
