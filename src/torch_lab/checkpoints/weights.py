"""A checkpoint's weights put into a module, and what is said when they don't fit."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch import Tensor, nn

from torch_lab.checkpoints import files
from torch_lab.errors import CheckpointError, CheckpointMismatch
from torch_lab.modules import load_weights


def load_into(module: nn.Module, path: Path, *, strict: bool, trust: bool = False) -> list[str]:
    """Load the weights of a file that was verified; the lines say what did not fit."""
    complete(module)
    _give_trust(module, trust)
    contents = files.load_verified(path, trust=trust)
    weights = weights_of(contents)
    if weights is None:
        raise CheckpointMismatch(
            f"checkpoint {path} holds no weights: expected a dict of them, alone or as"
            f' "state_dict", found {", ".join(map(repr, contents)) or "nothing"}'
        )
    with naming(path):
        return load_weights(module, weights, strict=strict)


def _give_trust(module: nn.Module, trust: bool) -> None:
    """An estimator is bytes among the weights: it reads them itself, after the file was read."""
    if "torch_lab.estimators" in sys.modules:  # whoever has built one has imported it
        from torch_lab.estimators import EstimatorModel

        for each in module.modules():
            if isinstance(each, EstimatorModel):
                each.trust = trust


def complete(module: nn.Module) -> None:
    """Let a LightningModule make the layers that it makes in `configure_model`.

    A Trainer calls that later, and more than once.
    """
    inner = getattr(module, "_orig_mod", module)
    if isinstance(inner, pl.LightningModule):
        inner.configure_model()


def weights_of(contents: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """A checkpoint's weights; a file may hold them alone, as `torch.save` of a state dict does."""
    weights = contents.get("state_dict")
    if isinstance(weights, Mapping):
        return weights
    alone = all(isinstance(k, str) and isinstance(v, Tensor) for k, v in contents.items())
    return contents if contents and alone else None


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Begin what is said of a checkpoint that doesn't fit, or may not be read, with its file."""
    try:
        yield
    except CheckpointError as error:
        if str(path) not in error.message:
            error.message = f"{path}: {error.message}"
        raise
