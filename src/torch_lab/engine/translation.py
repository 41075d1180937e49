"""What Lightning and torch say of the user's mistakes, in torch-lab's words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException

from torch_lab.checkpoints import files, weights
from torch_lab.engine import monitors, plugins
from torch_lab.errors import (
    CheckpointDamaged,
    CheckpointMismatch,
    CheckpointUnsafe,
    ConfigurationError,
)
from torch_lab.modules.weights import compare
from torch_lab.utils.tracebacks import is_user_file

_MISFITS = (
    "contains only the model",  # Lightning, of a file with weights alone
    "loaded state dict contains a parameter group",
    "loaded state dict has a different number of parameter groups",
)


@contextmanager
def misconfiguration() -> Iterator[None]:
    """What Lightning refuses to work with, as the mistake in the configuration that it is."""
    try:
        yield
    except MisconfigurationException as error:
        raise _unworkable(error) from error
    except (RuntimeError, TypeError, ValueError) as error:
        if not _is_lightnings_own(error):
            raise
        raise _unworkable(error) from error


def _unworkable(error: Exception) -> ConfigurationError:
    return ConfigurationError(f"Lightning can't work with this: {str(error).strip()}")


def _is_lightnings_own(error: Exception) -> bool:
    """Whether Lightning raised it of itself, not something that it called."""
    files = [frame.f_code.co_filename for frame, _ in walk_tb(error.__traceback__)]
    packages = {"pytorch_lightning", "lightning_fabric"}
    if isinstance(error, RuntimeError) and type(error) is not RuntimeError:
        return False
    return not (any(map(is_user_file, files)) or packages.isdisjoint(Path(files[-1]).parts))


@contextmanager
def misfits(module: pl.LightningModule, state: str | None) -> Iterator[None]:
    """A checkpoint's training state that the module or its optimizers can't take over."""
    try:
        yield
    except (CheckpointDamaged, CheckpointUnsafe):  # told by an estimator, which has no path
        with weights.naming(Path(state or "")):
            raise
    except (CheckpointMismatch, KeyError, RuntimeError, ValueError) as error:
        mismatch = _mismatch(error, module, state)
        if mismatch is None:
            raise
        with weights.naming(Path(state or "")):
            raise mismatch from error


def _mismatch(
    error: Exception, module: pl.LightningModule, checkpoint: str | None
) -> CheckpointMismatch | None:
    if checkpoint is None:
        return None
    if isinstance(error, CheckpointMismatch):
        return error
    if "Error(s) in loading state_dict" in str(error):
        given = files.load_verified(Path(checkpoint))["state_dict"]
        comparison = compare(module.state_dict(), given)
        return comparison.error(module) if comparison.lines() else None
    if any(text in str(error) for text in _MISFITS):
        return CheckpointMismatch(str(error.args[0]), hint=plugins.WEIGHTS_ALONE)
    return None


@contextmanager
def unlogged(trainer: pl.Trainer, scripts: Sequence[Path]) -> Iterator[None]:
    """A monitor's metric that Lightning misses, with where it is named and what there is."""
    try:
        yield
    except (RuntimeError, MisconfigurationException) as error:
        found = monitors.refused(error, monitors.missing(trainer))
        if not found:
            raise
        raise monitors.never_logged(found, trainer, scripts) from error
