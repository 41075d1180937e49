"""What was tried on the CPU, and would fail where a model and its data are moved to a GPU."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import torch
from lightning_fabric.utilities import move_data_to_device
from pytorch_lightning.utilities.model_helpers import is_overridden

from torch_lab.tasks.check.failures import place
from torch_lab.tasks.check.findings import Finding, warning
from torch_lab.tasks.check.subject import Subject

# A device that computes shapes only, and is as far from the CPU as a GPU.
_AWAY = torch.device("meta")
_APART = re.compile(r"same device|expected device|two devices|different devices")
_MOVING = ("transfer_batch_to_device", "on_before_batch_transfer", "on_after_batch_transfer")


def elsewhere(subject: Subject) -> Iterator[Finding]:
    """Tensors that are made on the CPU whatever the device."""
    if not _goes_away(subject):
        return
    sources = list(subject.trial.of("train"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = deepcopy(subject.module).to(_AWAY)
            batch = move_data_to_device(sources[0].batch, _AWAY)
            module.training_step(*_arguments(module, batch))
    except Exception as error:  # noqa: BLE001  any: values can't be read there, for instance
        text = str(error)
        where = place(error)
        if _APART.search(text) and "meta" in text and "cpu" in text and where is not None:
            yield warning(
                "device",
                "on a GPU this fails: something is on the CPU where the model and its batch are"
                " not",
                where,
                "Make it on the device of what it meets (device=x.device), or register it:"
                " register_buffer(…), nn.Parameter, a module of its own.",
            )


def _goes_away(subject: Subject) -> bool:
    """Whether it was tried on the CPU, but may well be trained elsewhere."""
    trial, module = subject.trial, subject.module
    owner = subject.configuration.datamodule
    moves = any(is_overridden(hook, module) for hook in _MOVING)
    moves |= owner is not None and any(is_overridden(hook, owner) for hook in _MOVING)
    asked = subject.plan.hparams.trainer.init.get("accelerator", "auto")
    sources = list(trial.of("train"))
    return (
        "train" in trial.done
        and trial.device == "cpu"
        and asked != "cpu"
        and not moves
        and len(sources) == 1
        and sources[0].batch is not None
    )


def _arguments(module: Any, batch: Any) -> list[Any]:
    """Those of training_step, which may leave the number of the batch out."""
    code = type(module).training_step.__code__
    return [batch, 0][: code.co_argcount - 1]
