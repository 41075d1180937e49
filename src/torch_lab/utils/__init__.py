"""Small helpers, and the names of torch-lab 1.x; each is imported when it is first used.

May import errors, nothing else of torch_lab, and no torch at module level.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch_lab.utils._dict_as_str import dict_as_str as dict_as_str
    from torch_lab.utils._separate import default_separate as default_separate
    from torch_lab.utils._separate import separate as separate
    from torch_lab.utils.compatibility import compile_config as compile_config
    from torch_lab.utils.compatibility import (
        get_hparams_and_config_path as get_hparams_and_config_path,
    )
    from torch_lab.utils.dev_run import set_hparams_debug_overrides as set_hparams_debug_overrides
    from torch_lab.utils.scripts import import_script_as_module as import_script_as_module

_HOMES = {
    "compile_config": "compatibility",
    "default_separate": "_separate",
    "dict_as_str": "_dict_as_str",
    "get_hparams_and_config_path": "compatibility",
    "import_script_as_module": "scripts",
    "separate": "_separate",
    "set_hparams_debug_overrides": "dev_run",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
