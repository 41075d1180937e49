"""From a hyperparameter script to checked, frozen hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch_lab.hparams import typed
from torch_lab.hparams.checking import check
from torch_lab.hparams.layering import script_hparams
from torch_lab.hparams.overriding import config_keys, override, put
from torch_lab.hparams.sections import Hparams
from torch_lab.utils.copying import plain_copy
from torch_lab.utils.dev_run import set_hparams_debug_overrides
from torch_lab.utils.paths import display


def load(
    path: Path,
    *,
    overrides: Sequence[str] = (),
    dev_run: int | float | None = None,
    config_type: Any = None,
    values: Mapping[str, Any] | None = None,
) -> Hparams:
    """The script's hyperparameters, checked, with `--set` overrides and `--dev-run` over them.

    `values` are overrides as Python has them. `config_type` is what the configuration function
    takes the config as, if that is no dict.
    """
    values = values or {}
    awaited = config_keys([*overrides, *(f"{key}=" for key in values)])
    hparams = check(script_hparams(path), path, config_type=config_type, awaited=awaited)
    if not overrides and not values and dev_run is None:
        return hparams
    changed = hparams.as_dict() | {"config": plain_copy(hparams.config)}
    override(changed, overrides, config_type)
    put(changed, values, config_type)
    if dev_run is not None:
        changed = set_hparams_debug_overrides(changed, dev_run)
        if config_type is not None and typed.has_field(config_type, "num_workers"):
            changed["config"]["num_workers"] = 0
    options = [f"--set {text}" for text in overrides]
    options += [f"with {', '.join(values)} set"] if values else []
    source = " ".join([display(path), *options])
    return replace(check(changed, source, config_type=config_type), path=path)
