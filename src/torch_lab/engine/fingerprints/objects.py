"""What the user's objects, classes and modules keep, of which only some is in checkpoints."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.utilities import CombinedLoader
from torch.utils.data import Dataset

from torch_lab.engine import attributes
from torch_lab.engine.marks import GENERATORS
from torch_lab.utils.tracebacks import is_user_file

LIBRARIES = ("pytorch_lightning", "lightning_fabric", "torch_lab")
_WITH_THEIR_OWN = ("random", "numpy", "torch", *LIBRARIES)  # these are looked after
_SCORES = ("best_model_score", "kth_value")  # Lightning restores no more


def attributes_of(trainer: Any) -> Iterator[tuple[str, str, Any]]:
    """Owner, name and value."""
    spoken = names_of(trainer)
    for path, name, value in attributes.each_attribute(trainer):
        if name == "forward":  # a strategy's, while it trains
            continue
        root, slash, rest = path.partition("/")
        yield spoken.get(root, root) + (f": {rest}" if slash else ""), name, value
    for path, callback in callbacks_of(trainer):
        kind = type(callback)
        if kind.__module__.partition(".")[0] in LIBRARIES:
            kept = callback.state_dict()
            if isinstance(callback, ModelCheckpoint):  # names of files differ where one was cut
                kept = {name: kept.get(name) for name in _SCORES}
            yield spoken[path], "state_dict()", kept
        elif not attributes.is_users(callback):
            for name, value in vars(callback).items():
                yield spoken[path], name, value


def callbacks_of(trainer: Any) -> Iterator[tuple[str, pl.Callback]]:
    """All but torch-lab's own."""
    for index, each in enumerate(trainer.callbacks):
        if type(each).__module__.partition(".")[0] != "torch_lab":
            yield f"callbacks.{index}.{type(each).__name__}", each


def names_of(trainer: Any) -> dict[str, str]:
    """How the owners of attributes are spoken of, by their paths."""
    module, datamodule = trainer.lightning_module, trainer.datamodule
    kinds = [type(each).__name__ for _, each in callbacks_of(trainer)]
    names = {
        path: f"callback {type(each).__name__}"
        + f" ({path.split('.')[1]})" * (kinds.count(type(each).__name__) > 1)
        for path, each in callbacks_of(trainer)
    }
    names["module."] = f"module {type(module).__name__}"
    parts = (path for path, _ in module.named_modules() if path)
    names |= {f"module.{path}": f"{path} of the module" for path in parts}
    if datamodule is not None:
        names["datamodule"] = f"datamodule {type(datamodule).__name__}"
    return names


def global_generators() -> Iterator[tuple[str, Any]]:
    """Generators that a module, or a class in one of the user's, keeps beside the usual ones."""
    for name, module in list(sys.modules.items()):
        for key, value in _kept(name, module).items():
            if type(value) in GENERATORS:
                yield f"{name}\t{key}", value


def _kept(name: str, module: Any) -> dict[str, Any]:
    """A module's variables; of one that is not the user's, those that were once generators."""
    if of_users(name):
        variables = dict(vars(module))
        return variables | _of_classes(name, variables)
    return {key: getattr(module, key, None) for key in _generators_in(name)}


@cache
def _generators_in(name: str) -> tuple[str, ...]:
    if name.partition(".")[0] in _WITH_THEIR_OWN:
        return ()
    variables = getattr(sys.modules[name], "__dict__", {})
    return tuple(key for key, value in list(variables.items()) if type(value) in GENERATORS)


def global_variables() -> Iterator[tuple[str, Any]]:
    """Variables of the user's modules, and of classes in them."""
    for name, module in list(sys.modules.items()):
        for key, value in (_kept(name, module) if of_users(name) else {}).items():
            if _may_vary(key.rpartition(".")[2], value):
                yield f"{name}\t{key}", value


def _of_classes(module: str, variables: dict[str, Any]) -> dict[str, Any]:
    """What the classes of a module keep for all of their objects."""
    classes = {k: v for k, v in variables.items() if getattr(v, "__module__", None) == module}
    return {
        f"{key}.{inner}": value
        for key, kind in classes.items()
        if isinstance(kind, type)
        for inner, value in list(vars(kind).items())
    }


def _may_vary(name: str, value: Any) -> bool:
    """Not code, and not a generator, which is seen elsewhere."""
    code = inspect.ismodule(value) or callable(value)
    descriptor = hasattr(type(value), "__get__")
    return not (name.startswith("__") or code or descriptor or type(value) in GENERATORS)


def loaders_of(loaders: Any) -> list[Any]:
    """One, or several in lists and dicts, as a list."""
    return [] if loaders is None else CombinedLoader(loaders, "sequential").flattened


def data_of(loaders: list[Any]) -> Iterator[tuple[str, Any]]:
    """Datasets and samplers of people's own, with those that they are made of."""
    found: list[Any] = []
    for loader in loaders:
        parts = ("dataset", "sampler", "batch_sampler")
        found += [getattr(loader, part, None) for part in parts]
    for each in found:
        inner = list(getattr(each, "__dict__", {}).values())
        inner += [one for many in inner if isinstance(many, (list, tuple)) for one in many[:8]]
        found += [one for one in inner if _isdata_of(one) and not any(one is e for e in found)]
    for each in found:
        if each is not None and is_users_class(type(each)) and hasattr(each, "__dict__"):
            yield _spoken(each), each


def _isdata_of(value: Any) -> bool:
    return isinstance(value, (Dataset, torch.utils.data.Sampler)) or (
        is_users_class(type(value)) and callable(getattr(value, "__iter__", None))
    )


def _spoken(value: Any) -> str:
    role = "dataset" if hasattr(value, "__getitem__") else "sampler"
    role = "dataset" if isinstance(value, Dataset) else role
    return f"{role} {type(value).__name__}"


def dataset_of(loader: Any) -> str:
    """The loader's dataset; of those that it is made of, the user's."""
    owned = [name for name, _ in data_of([loader]) if name.startswith("dataset")]
    return owned[0] if owned else f"dataset {type(getattr(loader, 'dataset', None)).__name__}"


def is_users_class(kind: type) -> bool:
    """Whether it is defined in a file of the user's."""
    return of_users(kind.__module__)


def of_users(module: str) -> bool:
    """Whether a module is the user's."""
    return _is_file_of_users(getattr(sys.modules.get(module), "__file__", None))


@cache
def _is_file_of_users(file: str | None) -> bool:
    return file is not None and is_user_file(file)
