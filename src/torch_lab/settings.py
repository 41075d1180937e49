"""Settings: [tool.torch-lab] of a project's pyproject.toml, TORCH_LAB_* variables over it."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from torch_lab.errors import SettingsError
from torch_lab.utils import sbatch
from torch_lab.utils.paths import project_root as project_root
from torch_lab.utils.text import nearest, plural, shown, suggestion

_VARIABLE = "TORCH_LAB_"
_SLURM = "slurm"


@dataclass(frozen=True)
class Settings:
    """What holds for every run of a project."""

    root: Path
    artifacts: Path
    default_project: str | None = None
    keep_checkpoints: int = 2
    every_minutes: float = 5.0
    every_n_steps: int | None = None
    grace_period: float = 30.0
    lost_after: float = 60.0
    tensorboard: bool = True
    machine_use_seconds: float = 10.0
    offline: bool = False
    sync_wait: float = 30.0
    sync_patience: float = 300.0
    require_server: bool = False
    join_timeout: float = 300.0
    slurm: Mapping[str, Any] = field(default_factory=dict)  # for `lab submit`


@dataclass(frozen=True)
class _Kind:
    expected: str
    type: type
    accepts: Callable[[Any], bool] = lambda _: True

    def accept(self, value: object) -> Any:
        """The value in its type, or ValueError."""
        number = self.type is float and type(value) is int
        if not (type(value) is self.type or number) or not self.accepts(value):
            raise ValueError
        return self.type(value)

    def read(self, text: str) -> Any:
        """The value an environment variable spells, or ValueError."""
        if self.type is bool:
            return self.accept(_SWITCH.get(text.strip().lower()))
        return self.accept(self.type(text))


_SWITCH = {"true": True, "1": True, "on": True, "false": False, "0": False, "off": False}
_TEXT = _Kind("a string", str, lambda text: bool(text.strip()))
_COUNT = _Kind("a positive int", int, lambda number: number > 0)
_AMOUNT = _Kind("a positive number", float, lambda number: 0 < number < float("inf"))
_PAUSE = _Kind("a number of seconds, or 0 for never", float, lambda n: 0 <= n < float("inf"))
_YES_OR_NO = _Kind("true or false", bool)
_KINDS = {
    "artifacts": _TEXT,
    "default-project": _TEXT,
    "keep-checkpoints": _COUNT,
    "every-minutes": _AMOUNT,
    "every-n-steps": _COUNT,
    "grace-period": _AMOUNT,
    "lost-after": _AMOUNT,
    "tensorboard": _YES_OR_NO,
    "machine-use-seconds": _PAUSE,
    "offline": _YES_OR_NO,
    "sync-wait": _PAUSE,
    "sync-patience": _PAUSE,
    "require-server": _YES_OR_NO,
    "join-timeout": _AMOUNT,
}


def load(path: Path) -> Settings:
    """The settings of the project that a script or folder belongs to."""
    root = project_root(path)
    problems: list[str] = []
    values = _from_file(root / "pyproject.toml", problems)
    values |= _from_environment(os.environ, problems)
    if problems:
        count = plural(len(problems), "problem")
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise SettingsError(f"{count} in the settings of {root}\n{lines}")
    # Relative to the project, so that a run's place does not depend on where one stands.
    artifacts = root / Path(values.pop("artifacts", "data/artifacts")).expanduser()
    return Settings(root, artifacts, **{key.replace("-", "_"): v for key, v in values.items()})


def _from_file(file: Path, problems: list[str]) -> dict[str, Any]:
    table = _table(file)
    if not isinstance(table, dict):
        problems.append(f"{file}: tool.torch-lab: expected a table, got {shown(table)}")
        return {}
    values = {}
    for key, value in table.items():
        if key == _SLURM:
            values[key] = _slurm(file, value, problems)
            continue
        if key not in _KINDS:
            known = (*_KINDS, _SLURM)
            problems.append(f'{file}: unknown key "{key}"; {suggestion(key, known)}')
            continue
        try:
            values[key] = _KINDS[key].accept(value)
        except ValueError:
            problems.append(f"{file}: {key}: expected {_KINDS[key].expected}, got {shown(value)}")
    return values


def _slurm(file: Path, table: object, problems: list[str]) -> dict[str, Any]:
    if not isinstance(table, dict):
        problems.append(f"{file}: {_SLURM}: expected a table, got {shown(table)}")
        return {}
    found = {key: sbatch.problem(key, value) for key, value in table.items()}
    problems += [f"{file}: {_SLURM}.{key}: {said}" for key, said in found.items() if said]
    return table


def _table(file: Path) -> object:
    try:
        tool = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {})
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:  # broken TOML and broken UTF-8 are both ValueErrors
        raise SettingsError(f"{file} can't be read: {error}") from error
    return tool.get("torch-lab", {}) if isinstance(tool, dict) else {}


def _from_environment(environment: Mapping[str, str], problems: list[str]) -> dict[str, Any]:
    variables = {_VARIABLE + key.replace("-", "_").upper(): key for key in _KINDS}
    values = {}
    for name, text in sorted(environment.items()):
        if name not in variables:
            problems.extend(_misspelt(name, variables))
        elif text.strip():  # an empty variable is as good as none
            kind = _KINDS[variables[name]]
            try:
                values[variables[name]] = kind.read(text)
            except ValueError:
                problems.append(f"{name}: expected {kind.expected}, got {shown(text)}")
    return values


def _misspelt(name: str, variables: Mapping[str, str]) -> list[str]:
    """A problem if `name` is nearly that of a setting; other TORCH_LAB_* names are not ours."""
    if not name.startswith(_VARIABLE):
        return []
    match = nearest(name, variables)
    word = name.removeprefix(_VARIABLE)
    if match is None or _likeness(word, match.removeprefix(_VARIABLE)) < 0.8:
        return []
    return [f"{name}: unknown variable; did you mean {match}?"]


def _likeness(first: str, second: str) -> float:
    return SequenceMatcher(None, first, second).ratio()
