"""Plain attributes of the user's own objects, as far as training has changed them.

Modules and callbacks count batches, gather outputs and keep averages in attributes that neither
torch nor Lightning saves. A run that goes on in mid-epoch would find them as they were before
training, or not at all where an epoch's first hook makes them.
"""

from __future__ import annotations

import datetime
import dis
import enum
import random
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import PurePath
from types import CodeType, FunctionType
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchmetrics import Metric, MetricCollection

from torch_lab.checkpoints import plain
from torch_lab.errors import SaveFailed
from torch_lab.metric_states import metric_state, parts_of, restore_metric
from torch_lab.utils.tracebacks import is_user_file

Before = dict[tuple[str, str], Any]  # by owner's path and attribute: its mark, and the value

_METRICS = (Metric, MetricCollection)
_LIMIT = 20_000  # elements of a collection; longer ones are data, not state
_SMALL = 4_096  # elements of a tensor that is compared value by value
_DEPTH = 4
_NUMBERS = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.Size)
_MAPPINGS = (dict, OrderedDict, defaultdict, Counter)
_SEQUENCES = (list, tuple, set, frozenset, deque)
_ACCESS = tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]
_GENERATORS: dict[type, _ACCESS] = {
    torch.Generator: (torch.Generator.get_state, torch.Generator.set_state),
    random.Random: (random.Random.getstate, lambda made, state: made.setstate(_tuples(state))),
    np.random.Generator: (
        lambda made: made.bit_generator.state,
        lambda made, state: setattr(made.bit_generator, "state", state),
    ),
    np.random.RandomState: (
        lambda made: list(made.get_state()),
        lambda made, state: made.set_state(tuple(state)),
    ),
}


class _NotPlain(Exception):
    """The value is none that could be saved, or too long to look through."""


def look(trainer: pl.Trainer) -> Before:
    """What the attributes are before training, for `changed` to compare with."""
    return {(path, name): _mark(value) for path, name, value in each_attribute(trainer)}


def changed(trainer: pl.Trainer, before: Before) -> dict[str, dict[str, Any]]:
    """The attributes that differ from what `look` saw, by owner and name, as plain data."""
    found: dict[str, dict[str, Any]] = {}
    for path, name, value in each_attribute(trainer):
        mark = _mark(value)
        if mark is None or mark == before.get((path, name)):
            continue
        with suppress(SaveFailed):  # what has no plain form is left out
            found.setdefault(path, {})[name] = plain.encode(_saved(value))
    return found


def restore(trainer: pl.Trainer, saved: Mapping[str, Mapping[str, Any]]) -> None:
    """Give the objects of this process the attributes that `changed` found."""
    owners = dict(_owners(trainer))
    for path, attributes in saved.items():
        for name, value in attributes.items():
            if path in owners:
                kept = plain.decode(value)
                _put(vars(owners[path]), name, kept, trainer.lightning_module.device)


# -- whose attributes --------------------------------------------------------------------------


def each_attribute(trainer: Any) -> Iterator[tuple[str, str, Any]]:
    """Owner's path, name and value of each attribute that could be kept."""
    trained = _ids(trainer)
    for path, owner in _owners(trainer):
        kind: Any = type(owner)
        library = _of_the_library(kind)
        for name, value in list(vars(owner).items()):
            if not (name in library or id(value) in trained or _is_computed(owner, value)):
                yield path, name, value


def _is_computed(owner: Any, value: Any) -> bool:
    """Whether torch makes it from parameters in each step, as weights that are pruned."""
    of_torch = type(owner).__module__.partition(".")[0] == "torch"
    return of_torch and isinstance(value, Tensor) and not value.is_leaf


def _ids(trainer: pl.Trainer) -> set[int]:
    """What has its place in the checkpoint already: the module, its parts and its optimizers."""
    schedulers = [each.scheduler for each in trainer.lr_scheduler_configs]
    found = [*trainer.lightning_module.modules(), *trainer.optimizers, *schedulers, trainer]
    return {id(each) for each in found}


def _owners(trainer: Any) -> Iterator[tuple[str, Any]]:
    """The module and its parts, the datamodule, the user's callbacks, and what they hold."""
    roots: dict[str, Any] = {f"module.{n}": m for n, m in _parts(trainer.lightning_module)}
    if trainer.datamodule is not None:
        roots["datamodule"] = trainer.datamodule
    for index, callback in enumerate(trainer.callbacks):
        if is_users(callback):
            roots[f"callbacks.{index}.{type(callback).__name__}"] = callback
    yield from roots.items()
    seen = _ids(trainer) | {id(each) for each in roots.values()}
    for path, root in roots.items():
        yield from _held(path, root, seen, _DEPTH)


def _parts(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Its submodules; metrics have a state of their own."""
    metrics = [f"{name}." for name, each in module.named_modules() if isinstance(each, Metric)]
    for name, part in module.named_modules():
        if not isinstance(part, Metric) and not name.startswith(tuple(metrics)):
            yield name, part


def _held(path: str, owner: Any, seen: set[int], depth: int) -> Iterator[tuple[str, Any]]:
    """Objects of the user's own classes, such as meters, in attributes, lists and dicts."""
    for name, value in list(vars(owner).items()) if depth else ():
        items: Any = {"": value}
        if type(value) in (list, tuple) and len(value) < _LIMIT:
            items = dict(enumerate(value))
        elif type(value) in _MAPPINGS and len(value) < _LIMIT:
            items = value
        for key, each in items.items():
            if is_users(each) and not _is_data(each) and id(each) not in seen:
                seen.add(id(each))
                inner = f"{path}/{name}[{key}]"
                yield inner, each
                yield from _held(inner, each, seen, depth - 1)


def _is_data(value: Any) -> bool:
    """Datasets, whose caches are no state, and modules, which are kept as a whole."""
    indexed = hasattr(value, "__getitem__") and hasattr(value, "__len__")
    return indexed or isinstance(value, (Dataset, nn.Module))


def is_users(value: Any) -> bool:
    """Whether it is an object of a class of the user's own, with attributes."""
    kind: Any = type(value)
    return _in_users_file(kind) and hasattr(value, "__dict__") and not isinstance(value, type)


@cache
def _in_users_file(kind: Any) -> bool:
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return file is not None and is_user_file(file)


_LIBRARIES = ("pytorch_lightning", "lightning_fabric", "torch_lab")


@cache
def _of_the_library(kind: Any) -> frozenset[str]:
    """The attributes that belong to Lightning, torch-lab or nn.Module itself."""
    names = {*vars(nn.Module()), *vars(pl.LightningModule())}
    for base in kind.__mro__:
        if base.__module__.partition(".")[0] in _LIBRARIES:
            functions = (each for each in vars(base).values() if isinstance(each, FunctionType))
            names.update(name for each in functions for name in _assigned(each.__code__))
    return frozenset(names)


def _assigned(code: CodeType) -> Iterator[str]:
    return (each.argval for each in dis.get_instructions(code) if each.opname == "STORE_ATTR")


# -- their values ------------------------------------------------------------------------------


def _mark(value: Any) -> Any:
    """Something small that differs when the value does; None for what can't be kept."""
    try:
        if isinstance(value, nn.Module) and not isinstance(value, _METRICS):
            return [_of_tensor(each) for each in value.state_dict().values()]
        return object() if _access(value) else _marked(value, [_LIMIT])
    except _NotPlain:
        return None


def _marked(value: Any, left: list[int]) -> Any:
    kind = type(value)
    left[0] -= 1
    if kind in (*_MAPPINGS, *_SEQUENCES) and len(value) > left[0]:
        raise _NotPlain
    if kind in _NUMBERS:
        return kind, value
    if isinstance(value, (enum.Enum, PurePath, datetime.date, datetime.timedelta)):
        return kind, repr(value)
    if kind is Tensor:
        return kind, _of_tensor(value)
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biufc":
        return kind, value.shape, value.tobytes() if value.size <= _SMALL else float(value.sum())
    if kind in _MAPPINGS:
        return kind, [(_marked(key, left), _marked(each, left)) for key, each in value.items()]
    if kind in _SEQUENCES:
        return kind, [_marked(each, left) for each in value]
    raise _NotPlain


def _of_tensor(tensor: Any) -> Any:
    if not isinstance(tensor, Tensor) or tensor.layout is not torch.strided or tensor.is_meta:
        raise _NotPlain
    values = tensor.detach().reshape(-1)
    kind = tuple(tensor.shape), str(tensor.dtype)
    if values.numel() <= _SMALL:
        return kind, values.tolist()
    if values.is_complex():
        values = torch.view_as_real(values)
    return kind, float(values.sum(dtype=torch.float64))


def _access(value: Any) -> _ACCESS | None:
    """How to read and set the state of an object that stays the same object."""
    if type(value) in _GENERATORS:
        return _GENERATORS[type(value)]
    if isinstance(value, _METRICS):
        return _metric_states, _restore_metrics
    stateful = callable(getattr(value, "state_dict", None)) and not isinstance(value, type)
    library = type(value).__module__.partition(".")[0] in (*_LIBRARIES, "torchdata")
    if isinstance(value, nn.Module) or (stateful and not library and not is_users(value)):
        return lambda made: dict(made.state_dict()), lambda made, state: made.load_state_dict(state)
    return None


def _metric_states(metric: nn.Module) -> dict[str, Any]:
    return {path: metric_state(part, {}) for path, part in parts_of(metric)}


def _restore_metrics(metric: nn.Module, states: Mapping[str, Any]) -> None:
    for path, part in parts_of(metric):
        if path in states:
            restore_metric(part, states[path])


_STATE = "state"


def _saved(value: Any) -> dict[str, Any]:
    """The value as the checkpoint holds it: itself, or the state of an object that stays."""
    access = _access(value)
    if access is not None:
        return {_STATE: _on_cpu(access[0](value))}
    return {"value": _on_cpu(value), "on": _on_device(value)}


def _on_cpu(value: Any) -> Any:
    return _mapped(value, lambda tensor: tensor.detach().to("cpu", copy=True))


def _on_device(value: Any) -> bool:
    """Whether its tensors are where the module is, rather than on the CPU."""
    found: list[torch.device] = []
    _mapped(value, lambda tensor: found.append(tensor.device))
    return any(device.type != "cpu" for device in found)


def _put(attributes: dict[str, Any], name: str, saved: Mapping[str, Any], device: Any) -> None:
    current: Any = attributes.get(name)
    if _STATE in saved:
        access = _access(current)
        if access is not None:
            access[1](current, saved[_STATE])
        return
    value = saved["value"]
    if saved["on"]:
        value = _mapped(value, lambda each: each.to(device))
    if isinstance(current, Tensor) and current.requires_grad and current.is_leaf:
        with torch.no_grad():
            current.copy_(value)  # an optimizer may hold it
    elif type(current) is type(value) and type(value) in (list, dict, set, deque):
        current.clear()  # others may hold it
        (current.extend if isinstance(current, (list, deque)) else current.update)(value)
    else:
        attributes[name] = value


def _mapped(value: Any, function: Callable[[Tensor], Any]) -> Any:
    """A copy with `function` of each tensor."""
    kind: Any = type(value)
    if isinstance(value, Tensor):
        return function(value)
    if kind is deque:
        return deque((_mapped(each, function) for each in value), value.maxlen)
    if kind is defaultdict:
        made: dict[Any, Any] = defaultdict(value.default_factory)
        made.update((key, _mapped(each, function)) for key, each in value.items())
        return made
    if kind in _MAPPINGS:
        return kind({key: _mapped(each, function) for key, each in value.items()})
    if kind in _SEQUENCES:
        return kind(_mapped(each, function) for each in value)
    return value


def _tuples(state: Any) -> Any:
    return tuple(map(_tuples, state)) if isinstance(state, (list, tuple)) else state
