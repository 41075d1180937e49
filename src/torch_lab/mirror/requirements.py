"""What pip is to install where a queued run is trained: the packages that are installed here."""

from __future__ import annotations

import json
import re
from importlib.metadata import Distribution, distributions
from typing import Any

from torch_lab.store.environment import installed_packages
from torch_lab.store.secrets import mask_text

_OWN = "torch-lab"
# An agent brings these along, or has no use for them.
_LEFT_OUT = {"clearml-agent", "pip", "setuptools", "wheel"}


def requirements() -> str:
    """Lines for pip; a package that lies in a folder of this machine is left out: its code is
    sent with the run, or is nobody else's."""
    origins = _origins()
    lines = (
        _line(name, version, origins.get(name))
        for name, version in installed_packages().items()
        if name not in _LEFT_OUT
    )
    return "".join(f"{line}\n" for line in lines if line)


def _line(name: str, version: str, origin: dict[str, Any] | None) -> str | None:
    url = mask_text(str((origin or {}).get("url", "")))
    vcs = (origin or {}).get("vcs_info")
    if isinstance(vcs, dict):
        return f"{name} @ {vcs.get('vcs')}+{url}@{vcs.get('commit_id')}"
    if url.startswith("http"):
        return f"{name} @ {url}"
    if url and name != _OWN:
        return None
    # "2.9.0+cu126" says which index it came from; the agent chooses torch for its own CUDA.
    return f"{name}=={version.partition('+')[0]}"


def _origins() -> dict[str, dict[str, Any]]:
    """By package: what pip notes (PEP 610) of those that came from no index."""
    found = {}
    for distribution in distributions():
        origin = _origin(distribution)
        if origin is not None:
            name = str(distribution.metadata["Name"])
            found[re.sub(r"[-_.]+", "-", name).lower()] = origin
    return found


def _origin(distribution: Distribution) -> dict[str, Any] | None:
    try:
        content = json.loads(distribution.read_text("direct_url.json") or "null")
    except ValueError:
        return None
    return content if isinstance(content, dict) else None
