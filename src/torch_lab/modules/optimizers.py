"""`optimizer_config`: which optimizer and scheduler, checked when the module is made."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from torch_lab.errors import ConfigurationError
from torch_lab.utils.text import nearest, shown

_KEYS = (
    "optimizer",
    "optimizer_kwargs",
    "scheduler",
    "scheduler_kwargs",
    "monitor",
    "interval",
    "frequency",
)
_DEFAULT_MONITOR = "loss/validate"


def check(config: Mapping[str, Any]) -> None:
    """Raise ConfigurationError with everything that is wrong."""
    if not isinstance(config, Mapping):
        raise ConfigurationError(f"optimizer_config must be a dict, not {shown(config)}")
    problems = [*_unknown("optimizer_config", config, _KEYS), *_wrong(config)]
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise ConfigurationError(f"optimizer_config of TrainLabModule:{lines}")


def build(config: Mapping[str, Any], parameters: Iterable[nn.Parameter]) -> dict[str, Any]:
    """What configure_optimizers returns."""
    optimizer: Optimizer = config["optimizer"](parameters, **_kwargs(config, "optimizer"))
    if config.get("scheduler") is None:
        return {"optimizer": optimizer}
    scheduler = config["scheduler"](optimizer, **_kwargs(config, "scheduler"))
    plateau = isinstance(scheduler, ReduceLROnPlateau)
    return {
        "optimizer": optimizer,
        "lr_scheduler": {
            "scheduler": scheduler,
            "interval": config.get("interval") or "epoch",
            "frequency": config.get("frequency") or 1,
            "monitor": config.get("monitor") or (_DEFAULT_MONITOR if plateau else None),
        },
    }


def _kwargs(config: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    return config.get(f"{kind}_kwargs") or {}


def _wrong(config: Mapping[str, Any]) -> Iterable[str]:
    if config.get("optimizer") is None:
        yield 'no "optimizer": give its class, such as torch.optim.AdamW'
    for kind in ("optimizer", "scheduler"):
        yield from _wrong_factory(config, kind)
    if config.get("interval") not in (None, "epoch", "step"):
        yield f'"interval" must be "epoch" or "step", not {shown(config["interval"])}'
    frequency = config.get("frequency")
    if frequency is not None and (type(frequency) is not int or frequency < 1):
        yield f'"frequency" must be a positive int, not {shown(frequency)}'
    if not isinstance(config.get("monitor", ""), (str, type(None))):
        yield f'"monitor" must be a metric\'s name, not {shown(config["monitor"])}'


def _wrong_factory(config: Mapping[str, Any], kind: str) -> Iterable[str]:
    factory, kwargs = config.get(kind), _kwargs(config, kind)
    if not isinstance(kwargs, Mapping):
        yield f'"{kind}_kwargs" must be a dict, not {shown(kwargs)}'
    elif factory is not None and not callable(factory):
        yield f'"{kind}" must be a class, not {shown(factory)}'
    elif factory is not None:
        yield from _wrong_kwargs(kind, factory, kwargs)


def _wrong_kwargs(kind: str, factory: Callable[..., Any], kwargs: Mapping[str, Any]) -> list[str]:
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):  # some callables written in C have none
        return []
    try:
        signature.bind(None, **kwargs)
    except TypeError as error:
        names = [name for name in list(signature.parameters)[1:] if name not in ("args", "kwargs")]
        return _unknown(f"{kind}_kwargs", kwargs, names) or [f'"{kind}_kwargs": {error}']
    return []


def _unknown(section: str, given: Mapping[str, Any], known: Iterable[str]) -> list[str]:
    known = list(known)
    return [
        f"unknown key {key!r} in {section}" + _meant(str(key), known)
        for key in given
        if key not in known
    ]


def _meant(word: str, known: list[str]) -> str:
    match = nearest(word, known)
    return f': did you mean "{match}"?' if match else f"; there are {', '.join(known)}"
