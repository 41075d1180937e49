"""What a configuration function returned: every mistake in it, reported together."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch_lab.errors import ConfigurationError
from torch_lab.experiment import estimating
from torch_lab.experiment.finding import Experiment
from torch_lab.experiment.foreign import foreign_problems
from torch_lab.experiment.signatures import where
from torch_lab.utils.text import shown, suggestion

_LOADERS = ("train_dataloaders", "val_dataloaders", "test_dataloaders", "predict_dataloaders")
_KEYS = {
    "train_config": ("module", *_LOADERS[:3], "datamodule", "callbacks"),
    "infer_config": ("module", "predict_dataloaders", "datamodule", "callbacks"),
}
_NEEDED_LOADERS = {"train_config": "train_dataloaders", "infer_config": "predict_dataloaders"}


@dataclass(frozen=True)
class Configuration:
    """What a configuration function returned, checked; `config` is what it was given."""

    module: Any
    train_dataloaders: Any = None
    val_dataloaders: Any = None
    test_dataloaders: Any = None
    predict_dataloaders: Any = None
    datamodule: Any = None
    callbacks: tuple[Any, ...] = ()
    config: Any = None


def checked(
    experiment: Experiment, name: str, function: Callable[..., Any], result: object
) -> Configuration:
    """The configuration in what `function` returned, or an error with all that is wrong."""
    problems = _problems(experiment, name, result)
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise ConfigurationError(f"{name}, {where(function)}, can't be used\n{lines}")
    assert isinstance(result, dict)
    if "estimator" in result:
        result = estimating.translated(name, result)
    return Configuration(**{**result, "callbacks": tuple(result.get("callbacks") or ())})


def _problems(experiment: Experiment, name: str, result: object) -> list[str]:
    if not isinstance(result, dict):
        return [f"it has to return a dict with {', '.join(_KEYS[name])}; got {shown(result)}"]
    foreign = foreign_problems(experiment, result)
    if foreign:
        return foreign  # everything else would follow from that
    found = [*_key_problems(name, result), *_value_problems(result), *_data_problems(name, result)]
    return [*found, *estimating.problems(result)] if "estimator" in result else found


def _key_problems(name: str, result: dict[Any, Any]) -> Iterable[str]:
    keys = _KEYS[name]
    if "estimator" in result:
        keys = (*estimating.KEYS[name], *keys)
    elif "module" not in result:
        yield "module: missing; expected a LightningModule"
    for key in result:
        if key not in keys:
            yield f"{key}: unknown key; {suggestion(str(key), keys)}"


def _value_problems(result: dict[Any, Any]) -> Iterable[str]:
    from pytorch_lightning import LightningDataModule

    if "module" in result and (problem := _module_problem(result["module"])):
        yield problem
    datamodule = result.get("datamodule")
    if datamodule is not None and not isinstance(datamodule, LightningDataModule):
        yield f"datamodule: expected a LightningDataModule, got {_shown_object(datamodule)}"
    for key in _LOADERS:
        if result.get(key) is not None and (problem := _loader_problem(result[key])):
            yield f"{key}: {problem}"
    yield from _callback_problems(result.get("callbacks"))


def _module_problem(module: object) -> str | None:
    from pytorch_lightning import LightningModule
    from torch import nn

    # torch.compile wraps a module, and Lightning's Trainer takes it out again.
    inner = getattr(module, "_orig_mod", module)
    if isinstance(inner, LightningModule):
        return None
    problem = f"module: expected a LightningModule, got {_shown_object(module)}"
    if isinstance(inner, nn.Module):
        problem += "; put the model into a torch_lab.modules.TrainLabModule or LabModule"
    return problem


def _loader_problem(loaders: object) -> str | None:
    from pytorch_lightning import LightningDataModule

    if isinstance(loaders, LightningDataModule):
        return "a LightningDataModule is returned as datamodule="
    if isinstance(loaders, (list, tuple, dict)) and _holds_arrays(loaders):
        kind = type(loaders).__name__
        problem = f"expected a DataLoader or a collection of them, got a {kind} of samples"
        return f"{problem}; put the dataset into a DataLoader"
    if isinstance(loaders, (str, bytes)) or not isinstance(loaders, Iterable):
        problem = f"expected a DataLoader or a collection of them, got {_shown_object(loaders)}"
        wrap = hasattr(loaders, "__getitem__") and not isinstance(loaders, (str, bytes, type))
        return f"{problem}; put the dataset into a DataLoader" if wrap else problem
    return None


def _holds_arrays(loaders: object) -> bool:
    """Whether something in a collection, however deep, is data and no iterable of batches."""
    import numpy as np
    from torch import Tensor

    if isinstance(loaders, dict):
        return any(map(_holds_arrays, loaders.values()))
    if isinstance(loaders, (list, tuple)):
        return any(map(_holds_arrays, loaders))
    return isinstance(loaders, (Tensor, np.ndarray))


def _callback_problems(callbacks: object) -> Iterable[str]:
    from pytorch_lightning import Callback

    if callbacks is None:
        return
    if not isinstance(callbacks, (list, tuple)):
        yield f"callbacks: expected a list of callbacks, got {_shown_object(callbacks)}"
        return
    for index, callback in enumerate(callbacks):
        if not isinstance(callback, Callback):
            yield f"callbacks[{index}]: expected a Callback, got {_shown_object(callback)}"


def _data_problems(name: str, result: dict[Any, Any]) -> Iterable[str]:
    needed = _NEEDED_LOADERS[name]
    tables = estimating.TABLES if "estimator" in result else {}
    given = [key for key in (*_LOADERS, *tables) if result.get(key) is not None]
    if result.get("datamodule") is not None:
        if given:
            yield f"datamodule: it stands in for the dataloaders; remove it, or {', '.join(given)}"
    elif tables:
        table = needed.replace("loaders", "")
        if needed not in given and table not in given:
            yield f"{needed}: missing; expected a DataLoader, or {table} in its place"
    elif needed not in given and not _loads_itself(result.get("module"), needed):
        yield f"{needed}: missing; expected a DataLoader, or a datamodule in its place"


def _loads_itself(module: object, needed: str) -> bool:
    """Whether the module has Lightning's own hook for its data."""
    from pytorch_lightning import LightningModule

    hook = needed.removesuffix("s")
    return getattr(type(module), hook, None) not in (None, getattr(LightningModule, hook))


def _shown_object(value: object) -> str:
    """A value as an error shows it; modules and the like have long reprs that say nothing."""
    if isinstance(value, type):
        return f"the class {value.__name__}: make an instance of it"
    if value is None or isinstance(value, (str, bytes, int, float, list, tuple, dict, set)):
        return shown(value)
    if inspect.isroutine(value):
        return f"the function {value.__name__}: call it"
    return f"a {type(value).__module__}.{type(value).__qualname__}"
