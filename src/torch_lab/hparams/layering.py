"""One hyperparameter script on top of another."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch_lab.errors import HparamsError, ScriptError
from torch_lab.hparams.checking import SECTIONS, TRAINER_SECTIONS
from torch_lab.hparams.dotted import follow
from torch_lab.hparams.lines import located
from torch_lab.utils.copying import plain_copy
from torch_lab.utils.paths import display
from torch_lab.utils.scripts import existing_script, import_script_as_module
from torch_lab.utils.text import shown, suggestion

_FOLDERS = (
    ("task",),
    ("checkpoint",),
    ("trainer",),
    *(("trainer", name) for name in TRAINER_SECTIONS),
)


def extend(
    base: str | os.PathLike[str] | Mapping[str, Any], changes: Mapping[str, Any]
) -> dict[str, Any]:
    """A copy of `base`, a dict or the path of a script relative to the caller's, with changes.

    Keys of `changes` are dotted ("config.learning_rate"); a value replaces what was there. Keys
    that are new are fine in "config"; elsewhere the levels above them have to exist.
    """
    caller = sys._getframe(1).f_globals.get("__file__")
    source = display(caller) if caller else "extend"
    hparams: dict[str, Any] = plain_copy(_base_dict(base, caller))
    problems: list[str] = []
    for key, value in changes.items():
        try:
            _change(hparams, key, plain_copy(value))
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise HparamsError(source, located(Path(caller), problems) if caller else problems)
    return hparams


def script_hparams(path: Path) -> dict[Any, Any]:
    """The dict named `hparams` that a script defines, fresh and unchecked."""
    variables = vars(import_script_as_module(path))
    if isinstance(variables.get("hparams"), dict):
        return dict(variables["hparams"])
    if "hparams" in variables:
        problem = f"hparams: expected a dict, got {shown(variables['hparams'])}"
    else:
        dicts = [name for name, v in variables.items() if isinstance(v, dict) and name[0] != "_"]
        names = f"; {suggestion('hparams', dicts)}" if dicts else ""
        problem = f"hparams: missing; expected a dict of that name{names}"
    raise HparamsError(display(path), located(path, [problem]))


def _base_dict(
    base: str | os.PathLike[str] | Mapping[str, Any], caller: str | None
) -> Mapping[Any, Any]:
    if isinstance(base, Mapping):
        return dict(base)
    script = (Path(caller).parent if caller else Path()) / base
    try:
        existing_script(script)
    except ScriptError as error:
        where = f"{display(caller)} extends it" if caller else "extend was given it"
        raise ScriptError(f"{error.message} ({where})", hint=error.hint) from None
    return script_hparams(script)


def _change(hparams: dict[str, Any], key: object, value: object) -> None:
    """Set one dotted key, or raise ValueError with the problem."""
    words = str(key).split(".")
    if words[0] not in SECTIONS:
        meant = suggestion(words[0], SECTIONS)
        in_config = follow({"config": hparams.get("config")}, ["config", *words])
        if in_config is not None and not in_config.rest:
            meant = f'did you mean "config.{key}"?'
        raise ValueError(f"{key}: unknown key; {meant}")
    way = follow(hparams, words)
    if way is None:
        _create(hparams, (), words, value)
    elif not way.rest:
        way.container[way.key] = value
    else:
        if way.value is None:  # as good as not there
            way.container[way.key] = {}
        _create(way.value, way.done, way.rest, value)


def _create(target: Any, done: tuple[str, ...], rest: Any, value: object) -> None:
    """Set a key that is not there yet, with the levels above it."""
    if not isinstance(target, dict):
        raise ValueError(f"{'.'.join((*done, *rest))}: {'.'.join(done)} is {shown(target)}")
    *levels, last = rest
    for level in levels:
        done = (*done, level)
        if done[0] != "config" and done not in _FOLDERS:
            raise ValueError(_no_such_level(done))
        target = target.setdefault(level, {})
    target[last] = value


def _no_such_level(done: tuple[str, ...]) -> str:
    where = ".".join(done)
    siblings = [words[-1] for words in _FOLDERS if words[:-1] == done[:-1]]
    if not siblings or done[0] == "seed":
        return f"{where}: holds a value; there are no keys below it"
    return f"{where}: unknown key; {suggestion(done[-1], siblings)}"
