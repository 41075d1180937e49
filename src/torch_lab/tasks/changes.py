"""What has changed in an experiment since a run of it began."""

from __future__ import annotations

import json
import re
from typing import Any

from torch_lab.errors import UsageError
from torch_lab.experiment import Experiment
from torch_lab.hparams import Hparams
from torch_lab.store import source
from torch_lab.store.record import Record
from torch_lab.store.secrets import mask
from torch_lab.store.values import encode

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_HYPERPARAMETERS = re.compile(r"^hparams\b", re.MULTILINE)


def check(record: Record, experiment: Experiment, hparams: Hparams, *, force: bool) -> None:
    """Refuse to go on with other hyperparameters or other code, unless forced."""
    found = [*_changed_values(record, hparams), *_changed_scripts(record, experiment)]
    if not found or force:
        return
    lines = "\n".join(f"  {each}" for each in found)
    raise UsageError(
        f"{experiment.directory} has changed since run {record.name} began:\n{lines}",
        hint="Undo the changes, start a new run, or go on all the same with --force.",
    )


def _changed_values(record: Record, hparams: Hparams) -> list[str]:
    then, now = _flat(record.hparams), _flat(mask(hparams.as_dict()))
    keys = sorted(then.keys() | now.keys())
    absent = "nothing"
    return [
        f"{key}: {then.get(key, absent)} then, {now.get(key, absent)} now"
        for key in keys
        if then.get(key) != now.get(key)
    ]


def _flat(value: Any, key: str = "") -> dict[str, str]:
    """Dotted keys and comparable texts; objects are compared by their repr, less its address."""
    if isinstance(value, dict) and value:
        items = [_flat(each, f"{key}.{name}" if key else str(name)) for name, each in value.items()]
        return {name: text for part in items for name, text in part.items()}
    return {key: _ADDRESS.sub("", json.dumps(encode(value)))}


def _changed_scripts(record: Record, experiment: Experiment) -> list[str]:
    """Hyperparameter scripts don't count: their values were compared."""
    now = source.script_hashes(experiment.directory)
    changed = []
    for name, digest in record.scripts.items():
        path = experiment.directory / name
        if name not in now:
            changed.append(f"{name} is gone")
        elif now[name] != digest and not _HYPERPARAMETERS.search(path.read_text(errors="replace")):
            changed.append(f"{name} was edited")
    return changed
