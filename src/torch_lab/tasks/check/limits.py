"""The Trainer's limits against the data that there is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from pytorch_lightning.callbacks import EarlyStopping, Timer

from torch_lab.engine.trainer import listed
from torch_lab.tasks.check.findings import Finding, error, note, warning
from torch_lab.tasks.check.places import of_key
from torch_lab.tasks.check.subject import Source, Stage, Subject
from torch_lab.tasks.check.trainer import planned_batches
from torch_lab.utils.text import plural

_LIMITS: dict[Stage, str] = {
    "train": "limit_train_batches",
    "validate": "limit_val_batches",
    "test": "limit_test_batches",
}


def limits(subject: Subject) -> Iterator[Finding]:
    """Limits that leave nothing, that can't be, or that never come."""
    init = subject.plan.hparams.trainer.init
    for stage, key in _LIMITS.items():
        yield from _empty_fractions(subject, key, list(subject.trial.of(stage)))
    yield from _nothing_trained(subject, init)
    yield from _validation(subject, init)
    yield from _accumulation(subject, init)
    yield from _endless(subject, init)


def batches(subject: Subject) -> int | float:
    """How many an epoch has; inf where nobody knows."""
    lengths = [each.length for each in subject.trial.of("train")]
    return planned_batches(subject.plan.hparams.trainer.init, lengths)


def _place(subject: Subject, key: str) -> str:
    return of_key(subject.plan, f"trainer.init.{key}")


def _empty_fractions(subject: Subject, key: str, sources: list[Source]) -> Iterator[Finding]:
    for name in (key, "overfit_batches"):
        limit = subject.plan.hparams.trainer.init.get(name)
        if name == "overfit_batches" and key != _LIMITS["train"]:
            continue
        if not isinstance(limit, float) or limit <= 0:
            continue
        for source in sources:
            if source.length and int(source.length * limit) == 0:
                count = plural(source.length, "batch", "batches")
                yield error(
                    "limit",
                    f"trainer.init.{name}: {limit} of the {count} of {source.name} is not one",
                    _place(subject, name),
                    "Say a number of batches, such as 1, or a larger fraction.",
                )


def _nothing_trained(subject: Subject, init: dict[str, Any]) -> Iterator[Finding]:
    for key in ("max_epochs", "max_steps", "limit_train_batches"):
        if key in init and init[key] == 0:
            told = f"trainer.init.{key} is 0: nothing is trained"
            yield warning("limit", told, _place(subject, key))
    if init.get("fast_dev_run"):
        told = "trainer.init.fast_dev_run: nothing but a few batches is trained"
        yield warning("limit", told, _place(subject, "fast_dev_run"))


def _validation(subject: Subject, init: dict[str, Any]) -> Iterator[Finding]:
    if not list(subject.trial.of("validate")) or init.get("limit_val_batches") == 0:
        return
    interval, every = init.get("val_check_interval", 1.0), init.get("check_val_every_n_epoch", 1)
    count = batches(subject)
    if type(interval) is int and every is not None and interval > count:
        yield error(
            "limit",
            f"trainer.init.val_check_interval: after {interval} batches, but an epoch has {count}",
            _place(subject, "val_check_interval"),
            'At most as many; or "check_val_every_n_epoch": None, to count over all epochs.',
        )
    elif isinstance(interval, float) and interval != 1.0 and count == math.inf:
        yield error(
            "limit",
            f"trainer.init.val_check_interval: {interval} of an epoch, whose length nobody knows",
            _place(subject, "val_check_interval"),
            "Of an iterable dataset, say after how many batches.",
        )
    epochs = init.get("max_epochs", -1)
    if every is not None and type(epochs) is int and 0 < epochs < every:
        yield warning(
            "limit",
            f"trainer.init.check_val_every_n_epoch: every {every} epochs, but there are {epochs}:"
            " nothing is validated while it trains",
            _place(subject, "check_val_every_n_epoch"),
        )


def _accumulation(subject: Subject, init: dict[str, Any]) -> Iterator[Finding]:
    accumulated = init.get("accumulate_grad_batches", 1)
    if type(accumulated) is not int or accumulated == 1:
        return
    place = _place(subject, "accumulate_grad_batches")
    if not subject.module.automatic_optimization:
        yield error(
            "limit",
            "trainer.init.accumulate_grad_batches: a module that steps its optimizers by hand"
            " accumulates by hand, too",
            place,
            "Leave it out.",
        )
    elif accumulated > batches(subject):
        yield warning(
            "limit",
            f"trainer.init.accumulate_grad_batches: {accumulated} batches a step, but an epoch has"
            f" {batches(subject)}: one step an epoch, of fewer",
            place,
        )


def _endless(subject: Subject, init: dict[str, Any]) -> Iterator[Finding]:
    """By default training goes on until somebody stops it."""
    limited = any(init.get(key, -1) not in (-1, None) for key in ("max_epochs", "max_steps"))
    every = [*listed(init.get("callbacks")), *subject.configuration.callbacks]
    stops = init.get("max_time") or any(isinstance(e, (EarlyStopping, Timer)) for e in every)
    if not (limited or stops):
        yield note(
            "limit",
            "nothing ends the training: no max_epochs, max_steps or max_time, no EarlyStopping",
            "trainer.init",
        )
