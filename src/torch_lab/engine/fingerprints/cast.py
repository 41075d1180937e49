"""Who takes part in a training: where the user's classes stand, and what they override."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from torch import nn
from torchmetrics import Metric

from torch_lab.data import make_exact
from torch_lab.engine.fingerprints.objects import (
    LIBRARIES,
    callbacks_of,
    data_of,
    dataset_of,
    global_generators,
    is_users_class,
    loaders_of,
    names_of,
    of_users,
)

# Where weights and states can be changed behind a checkpoint's back.
_LOADING = ("on_load_checkpoint", "load_state_dict", "on_save_checkpoint", "state_dict")
_HOOKS = (*_LOADING, "configure_model", "setup", "on_fit_start", "on_train_start")
_PLAIN = (object, nn.Module)


def cast_of(trainer: Any) -> dict[str, Any]:
    """Where the user's classes stand, what they override, and what is known of the data."""
    module = trainer.lightning_module
    names = names_of(trainer)
    people = {names["module."]: module}
    people |= {names[path]: each for path, each in callbacks_of(trainer)}
    if trainer.datamodule is not None:
        people[names["datamodule"]] = trainer.datamodule
    loaders = loaders_of(trainer.train_dataloader)
    others = {f"optimizer {type(each).__name__}": each for each in trainer.optimizers}
    schedulers = [each.scheduler for each in trainer.lr_scheduler_configs]
    others |= {f"scheduler {type(each).__name__}": each for each in schedulers}
    others |= {f"metric {n}": m for n, m in module.named_modules() if isinstance(m, Metric)}
    others |= dict(data_of(loaders))
    everyone = {**people, **others, **{f"loader {type(e).__name__}": e for e in loaders}}
    return {
        "where": {name: place for name, each in everyone.items() if (place := _place(type(each)))},
        "hooks": {name: _overridden(type(each)) for name, each in people.items()},
        "loaders": [_loader(each) for each in loaders],
        "passing": [*_passing(module)],
        "generators": [
            name for name, _ in global_generators() if of_users(name.partition("\t")[0])
        ],
    }


def _loader(loader: Any) -> dict[str, Any]:
    _, left = make_exact(loader, 0)
    owned = [name for name, _ in data_of([loader])]
    return {
        "name": f"loader {type(loader).__name__}",
        "reason": left[0].reason if left else None,
        "dataset": dataset_of(loader),
        "owned": owned,
        "workers": getattr(loader, "num_workers", 0),
    }


def _place(kind: type) -> str | None:
    """File and line of a class of the user's."""
    if not is_users_class(kind):
        return None
    try:
        return f"{inspect.getsourcefile(kind)}:{inspect.getsourcelines(kind)[1]}"
    except (OSError, TypeError):  # made by a function, or its file is gone
        return None


def _overridden(kind: type) -> list[str]:
    """The hooks that can change what is saved or loaded, where code of the user's has them."""
    own = [base for base in kind.__mro__ if base.__module__.partition(".")[0] not in LIBRARIES]
    names = {name for base in own if base not in _PLAIN for name in vars(base)}
    return [name for name in _HOOKS if name in names]


def _passing(module: nn.Module) -> Iterator[str]:
    """The buffers that no state dict has."""
    for path, part in module.named_modules():
        for name in part._non_persistent_buffers_set:
            yield f"{path}.{name}" if path else name
