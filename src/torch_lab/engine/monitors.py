"""Metrics that are waited for and never logged: said in one message, when all have been logged."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint

from torch_lab.callbacks import RunCheckpoint
from torch_lab.errors import ConfigurationError
from torch_lab.utils.paths import display
from torch_lab.utils.text import nearest

_MODEL_CHECKPOINTS_OWN = ("epoch", "step")
_VARIANTS = ("_step", "_epoch")
_SHORT = {  # words of metrics' names, and how they are written here
    **dict.fromkeys(("val", "valid", "validation"), "validate"),
    "training": "train",
    "testing": "test",
    "acc": "accuracy",
}
# What Lightning says of a name it doesn't find; the name stands in between.
_REFUSALS = (r"conditioned on metric `?{}`? which is not available", r"\(monitor={}\)` could not")


@dataclass(frozen=True)
class Monitor:
    """Somebody who waits for a metric of that name."""

    owner: str
    name: str


def missing(trainer: pl.Trainer) -> list[Monitor]:
    """Those whose metric has not been logged so far."""
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    validates = bool(trainer.enable_validation)
    found = waiting(callbacks, trainer.lr_scheduler_configs, validates=validates)
    return [each for each in found if each.name not in trainer.callback_metrics]


def waiting(
    callbacks: Sequence[pl.Callback], schedulers: Iterable[Any], *, validates: bool
) -> Iterator[Monitor]:
    """Those without whose metric training would fail sooner or later."""
    for callback in callbacks:
        name = getattr(callback, "monitor", None)
        if isinstance(name, str) and _insists(callbacks, callback, name, validates):
            kind = type(callback).__name__
            yield Monitor(f'{kind}(monitor="{name}")', name)
    for config in schedulers:
        if config.reduce_on_plateau and config.strict and config.monitor is not None:
            kind = type(config.scheduler).__name__
            yield Monitor(f'the scheduler {kind}, "monitor": "{config.monitor}"', config.monitor)


def _insists(
    callbacks: Sequence[pl.Callback], callback: pl.Callback, name: str, validates: bool
) -> bool:
    if isinstance(callback, ModelCheckpoint):
        needed = callback.save_top_k != 0 and name not in _MODEL_CHECKPOINTS_OWN
        return needed and validates  # else Lightning only warns
    if isinstance(callback, EarlyStopping):
        return callback.strict
    # The run's own policy may have its monitor from a ModelCheckpoint, which answers for it.
    theirs = [each.monitor for each in callbacks if isinstance(each, ModelCheckpoint)]
    return isinstance(callback, RunCheckpoint) and name not in theirs


def never_logged(
    monitors: Iterable[Monitor], trainer: pl.Trainer, files: Iterable[Path]
) -> ConfigurationError:
    """The error about monitors, with where their metric is named and what there is instead."""
    names, sources = sorted(trainer.callback_metrics), list(files)
    lines = []
    for each in monitors:
        where = place(each, sources)
        lines.append(f"{where}: {told(each, names)}" if where else told(each, names))
    hint = f"Logged so far: {listed(names, validates=bool(trainer.enable_validation))}."
    return ConfigurationError("\n".join(lines), hint=hint)


def told(monitor: Monitor, names: Sequence[str]) -> str:
    """That a monitor's metric isn't among the names that are logged, and which one is meant."""
    plain = [name for name in names if not name.endswith(_VARIANTS)]
    match = _meant(monitor.name, names if monitor.name.endswith(_VARIANTS) else plain)
    meant = f'; did you mean "{match}"?' if match else ""
    return f"{monitor.owner}: no metric of that name is logged{meant}"


def listed(names: Sequence[str], *, validates: bool) -> str:
    """The names of metrics in a line."""
    nowhere = "" if validates else "; nothing is validated (val_dataloaders)"
    return f"{', '.join(names) or 'nothing'}{nowhere}"


def place(monitor: Monitor, files: Iterable[Path]) -> str | None:
    """The line that spells a monitor's name out."""
    return next(_mentions(monitor.name, files), None)


def _meant(name: str, names: Sequence[str]) -> str | None:
    """The name of the same words, in any order and spelling, or the nearest."""
    words = _words(name)
    return next((each for each in names if _words(each) == words), None) or nearest(name, names)


def _words(name: str) -> list[str]:
    words = re.findall(r"[^\W_]+", name.casefold())
    return sorted(_SHORT.get(word, word) for word in words)


def refused(error: BaseException, monitors: Iterable[Monitor]) -> list[Monitor]:
    """The monitors that Lightning's `error` is about."""
    text = str(error)
    return [
        each
        for each in monitors
        if any(
            re.search(form.format(re.escape(name)), text)
            for form in _REFUSALS
            for name in (each.name, repr(each.name))
        )
    ]


def _mentions(text: str, files: Iterable[Path]) -> Iterator[str]:
    """Where a script spells the text out."""
    for file in files:
        try:
            nodes = list(ast.walk(ast.parse(file.read_bytes())))
        except (OSError, ValueError, SyntaxError):  # gone or changed since it was imported
            continue
        for node in nodes:
            if isinstance(node, ast.Constant) and node.value == text:
                yield f"{display(file)}:{node.lineno}"
