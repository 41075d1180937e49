"""Helpers that torch-lab 1.x offered to people's own scripts."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from torch_lab.errors import ConfigurationError, HparamsError
from torch_lab.utils.copying import plain_copy
from torch_lab.utils.dev_run import set_hparams_debug_overrides
from torch_lab.utils.paths import display
from torch_lab.utils.scripts import import_script_as_module
from torch_lab.utils.text import shown


def get_hparams_and_config_path(
    hparams_path: str | os.PathLike[str], dev_run: int | float | str = ""
) -> tuple[dict[str, Any], Path]:
    """The dict that a hyperparameter script defines, unchecked, and the `__main__.py` beside it."""
    path = Path(hparams_path)
    hparams = getattr(import_script_as_module(path), "hparams", None)
    if not isinstance(hparams, dict):
        raise HparamsError(
            display(path), [f"hparams: expected a dict of that name, got {shown(hparams)}"]
        )
    # "" is how 1.x said "no dev run"; 0 is a mistake to report.
    chosen = hparams if dev_run == "" else set_hparams_debug_overrides(hparams, dev_run)
    return chosen, path.parent / "__main__.py"


def compile_config(
    config_path: str | os.PathLike[str],
    hparams: dict[str, Any],
    *config_args: Any,
    field: str = "train_config",
    pdb: bool = False,
) -> Any:
    """What the function `field` of a configuration script returns for hparams["config"].

    With `pdb`, Python's debugger opens where an exception comes up in it.
    """
    function = getattr(import_script_as_module(config_path), field, None)
    if not callable(function):
        raise ConfigurationError(f"{display(config_path)} defines no function {field}")
    try:
        return function(plain_copy(hparams.get("config", {})), *config_args)
    except Exception as error:  # any: it is raised again
        if pdb:
            _look_into(error)
        raise


def _look_into(error: Exception) -> None:
    from pdb import post_mortem

    print(f"{type(error).__name__}: {error}", file=sys.stderr)
    post_mortem(error.__traceback__)
