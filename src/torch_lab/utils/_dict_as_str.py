"""`dict_as_str`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def dict_as_str(d: Mapping[Any, Any], indent: int = 2) -> str:
    """A nested dict as JSON to look at; what JSON has no word for is shown by its `str`."""
    return json.dumps(_presentable(d), indent=indent, default=str, ensure_ascii=False)


def _presentable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_key(key): _presentable(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_presentable(each) for each in value]
    return value


def _key(key: Any) -> Any:
    # JSON turns these into strings by its own rules and refuses every other kind of key.
    return key if key is None or isinstance(key, (str, int, float)) else str(key)
