"""Which part of a LightningModule is exported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
from torch import Tensor, nn

from torch_lab.errors import ExportError
from torch_lab.experiment.estimating import holds_estimator
from torch_lab.modules import LabModule


@dataclass(frozen=True)
class Subject:
    """The model, whose `forward` is exported, and the LightningModule that calls it."""

    model: nn.Module
    module: pl.LightningModule

    @property
    def name(self) -> str:
        """The model's class."""
        return type(self.model).__name__


def subject_of(module: pl.LightningModule, run: str) -> Subject:
    """What of a run's module is to be exported."""
    owner = owner_of(module)
    if owner is not module or _has_forward(module):
        return Subject(owner, module)
    return Subject(_only_model(module, run), module)


def owner_of(module: pl.LightningModule) -> nn.Module:
    """The module whose weights are, under the names that checkpoints have for them."""
    if isinstance(module, LabModule) and not _has_forward(module):
        model: nn.Module = module.model
        return model
    return module


def estimator_of(module: Any) -> Any:
    """What was fitted in place of a network; None where there is a network."""
    return module.model.estimator if holds_estimator(module) else None


def _has_forward(module: pl.LightningModule) -> bool:
    return type(module).forward not in (pl.LightningModule.forward, LabModule.forward)


def uncompiled(module: Any) -> Any:
    """The module that torch.compile has wrapped, and in it all such parts."""
    module = getattr(module, "_orig_mod", module)
    if getattr(module, "_compiled_call_impl", None) is not None:  # by module.compile()
        module._compiled_call_impl = None
    for name, child in module.named_children():
        plain = uncompiled(child)
        if plain is not child:
            setattr(module, name, plain)
    return module


def _only_model(module: pl.LightningModule, run: str) -> nn.Module:
    """The one part with parameters, of a LightningModule that has no forward of its own."""
    parts = [(name, part) for name, part in module.named_children() if _has_weights(part)]
    if len(parts) == 1 and not any(True for _ in module.parameters(recurse=False)):
        return parts[0][1]
    named = ", ".join(name for name, _ in parts) or "none"
    raise ExportError(
        f"run {run} can't be exported: {type(module).__name__} has no forward, and not just one"
        f" part with weights ({named})",
        hint="--out FILE.safetensors keeps its weights. A .pt2 file needs a forward(self, x) that"
        " returns the predictions.",
    )


def _has_weights(part: nn.Module) -> bool:
    return any(isinstance(each, Tensor) for each in part.parameters())
