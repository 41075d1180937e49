"""The two parts of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from torch_lab.errors import ConfigurationError
from torch_lab.modules.notes import described

_SHOWN = 3


def to_train_on(batch: Any) -> tuple[Any, Any]:
    """The `x` and `md` of a batch; `md` can be asked for a "y"."""
    pair = _pair(batch)
    if pair is None or not _has_keys(pair[1]):
        raise ConfigurationError(
            f'a batch must be (x, md) with the target in md["y"]; got {_told(batch)}',
            hint='Let the dataset return (x, {"y": y}), or return a LightningModule of your own.',
        )
    return pair


def to_predict(batch: Any) -> tuple[Any, Any]:
    """The `x` and `md` of a batch, whatever `md` is: no target is looked for."""
    pair = _pair(batch)
    if pair is None:
        raise ConfigurationError(
            f"a batch to predict must be (x, md); got {_told(batch)}",
            hint="Let the dataset return (x, {}), or return a LightningModule of your own.",
        )
    return pair


def _pair(batch: Any) -> tuple[Any, Any] | None:
    if isinstance(batch, (Tensor, Mapping, str)):
        return None  # two samples or two keys are no pair
    try:
        x, md = batch
    except (TypeError, ValueError):
        return None
    return x, md


def _has_keys(md: Any) -> bool:
    if isinstance(md, Mapping):
        return True
    if isinstance(md, (Tensor, list, tuple, str)):
        return False
    try:
        md["y"]
    except KeyError:
        return True
    except Exception:  # noqa: BLE001 - any: arrays, numbers and None each raise another
        return False
    return True


def _told(batch: Any) -> str:
    if isinstance(batch, Tensor):
        return f"a tensor: {described(batch)}"
    if not isinstance(batch, (tuple, list)):
        return f"a {type(batch).__name__}: {described(batch)}"
    parts = ", ".join(map(described, batch[:_SHOWN]))
    kind = f"{type(batch).__name__} of {len(batch)}"
    return f"a {kind}{parts and ': '}{parts}{', …' * (len(batch) > _SHOWN)}"
