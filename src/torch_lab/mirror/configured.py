"""Whether this user has a ClearML server, as far as that can be told without asking clearml."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

# Any of these says which server or who asks; clearml's own code then reads them all.
_TELLING = ("API_HOST", "API_ACCESS_KEY", "API_SECRET_KEY", "AUTH_TOKEN", "CONFIG_FILE")
_OFFLINE = ("CLEARML_OFFLINE_MODE", "TRAINS_OFFLINE_MODE")
_NO = frozenset({"", "0", "false", "f", "no", "n", "off"})
_FILES = ("clearml.conf", "trains.conf")


def configured(environment: Mapping[str, str] | None = None) -> bool:
    """Whether there is a clearml.conf, or a CLEARML_* variable that says where a server is."""
    variables = os.environ if environment is None else environment
    if any(variables.get(name, "").strip().lower() not in _NO for name in _OFFLINE):
        return False  # clearml's own switch: its code then only pretends to talk to a server
    for prefix in ("CLEARML_", "TRAINS_"):
        if any(variables.get(prefix + name) for name in _TELLING):
            return True
    home = Path(variables.get("HOME", "") or "~").expanduser()
    return any((home / name).is_file() for name in _FILES)
