"""Metrics that are waited for and never logged: said in one message, when all have been logged."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

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
    metrics = trainer.callback_metrics
    return [each for each in _monitors(trainer) if each.name not in metrics]


def _monitors(trainer: pl.Trainer) -> Iterator[Monitor]:
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        name = getattr(callback, "monitor", None)
        if isinstance(name, str) and _insists(trainer, callback, name):
            kind = type(callback).__name__
            yield Monitor(f'{kind}(monitor="{name}")', name)
    for config in trainer.lr_scheduler_configs:
        if config.reduce_on_plateau and config.strict and config.monitor is not None:
            kind = type(config.scheduler).__name__
            yield Monitor(f'the scheduler {kind}, "monitor": "{config.monitor}"', config.monitor)


def _insists(trainer: pl.Trainer, callback: pl.Callback, name: str) -> bool:
    """Whether training would fail sooner or later for want of the metric."""
    if isinstance(callback, ModelCheckpoint):
        needed = callback.save_top_k != 0 and name not in _MODEL_CHECKPOINTS_OWN
        return needed and bool(trainer.enable_validation)  # else Lightning only warns
    if isinstance(callback, EarlyStopping):
        return callback.strict
    # The run's own policy may have its monitor from a ModelCheckpoint, which answers for it.
    checkpoints = trainer.checkpoint_callbacks
    theirs = [each.monitor for each in checkpoints if isinstance(each, ModelCheckpoint)]
    return isinstance(callback, RunCheckpoint) and name not in theirs


def never_logged(
    monitors: Iterable[Monitor], trainer: pl.Trainer, files: Iterable[Path]
) -> ConfigurationError:
    """The error about monitors, with where their metric is named and what there is instead."""
    names, sources = sorted(trainer.callback_metrics), list(files)
    plain = [name for name in names if not name.endswith(_VARIANTS)]
    lines = []
    for each in monitors:
        match = _meant(each.name, names if each.name.endswith(_VARIANTS) else plain)
        where = next(_mentions(each.name, sources), None)
        told = f"{where}: {each.owner}" if where else each.owner
        meant = f'; did you mean "{match}"?' if match else ""
        lines.append(f"{told}: no metric of that name is logged{meant}")
    nowhere = "" if trainer.enable_validation else "; nothing is validated (val_dataloaders)"
    hint = f"Logged so far: {', '.join(names) or 'nothing'}{nowhere}."
    return ConfigurationError("\n".join(lines), hint=hint)


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
