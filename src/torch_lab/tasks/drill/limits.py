"""A short copy of an experiment: the same data, a few batches of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch_lab.tasks.plan import Plan, say

_EPOCHS = 2
_BATCHES = 4
_MOST = 24
_VALIDATED = 2


def overrides(plan: Plan) -> tuple[str, ...]:
    """What is set for the copy, as `--set` would; what is left out is said."""
    init = plan.hparams.trainer.init
    pairs = dict(_trainer(init))
    texts = [f"trainer.init.{key}={value}" for key, value in pairs.items()]
    texts += [f"{key}={value}" for key, value in _start(plan)]
    if plan.hparams.task.get("sdk"):
        texts.append("task.sdk=False")
    return (*plan.options.overrides, *texts)


def are_named(init: Mapping[str, Any]) -> bool:
    """Whether hparams say how long training is: an estimator may be trained otherwise then."""
    return any(init.get(key) not in (None, -1) for key in ("max_epochs", "max_steps", "max_time"))


def epochs(init: Mapping[str, Any]) -> int:
    """How many epochs the copy is trained for."""
    changed = dict(_at_most(init, "max_epochs", _EPOCHS))
    return int({**init, **changed}["max_epochs"])


def batches(init: Mapping[str, Any]) -> int:
    """How many batches an epoch of the copy has: more than one optimizer step."""
    accumulated = init.get("accumulate_grad_batches", 1)
    wanted = accumulated + 2 if isinstance(accumulated, int) else _BATCHES
    return min(max(_BATCHES, wanted), _MOST)


def _trainer(init: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The arguments of the Trainer that are changed; what is smaller already stays."""
    most = batches(init)
    yield from _at_most(init, "max_epochs", _EPOCHS)
    yield from _at_most(init, "limit_train_batches", most)
    yield from _at_most(init, "limit_val_batches", _VALIDATED)
    yield from _at_most(init, "log_every_n_steps", 2)
    yield "limit_test_batches", 0
    for key in ("check_val_every_n_epoch", "reload_dataloaders_every_n_epochs"):
        if _is_count(init.get(key)) and init[key] > 1:
            yield key, 1
    if init.get("overfit_batches"):
        yield from _at_most(init, "overfit_batches", most)
    if init.get("fast_dev_run"):
        yield "fast_dev_run", False
    if _is_count(init.get("min_epochs")) and init["min_epochs"] > _EPOCHS:
        yield "min_epochs", None
    interval = init.get("val_check_interval", 1.0)
    if interval is not None and not isinstance(interval, float):
        fits = _is_count(interval) and interval <= most
        if not fits:  # in other units, or later than the copy ends
            yield "val_check_interval", most // 2


def _at_most(init: Mapping[str, Any], key: str, most: int) -> Iterator[tuple[str, int]]:
    value: Any = init.get(key)
    if not (_is_count(value) and 0 <= value <= most):
        if key.startswith("limit_") and value == 0:
            return
        yield key, most


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _start(plan: Plan) -> Iterator[tuple[str, Any]]:
    """Weights to start from are kept; a whole training state would be at another epoch."""
    hparams = plan.hparams
    if hparams.checkpoint.checkpoint_task_id is not None:
        if hparams.checkpoint.weights_only:
            yield "checkpoint.checkpoint_task_id", _resolved(plan)
        else:
            say("the drill trains from the beginning, not from hparams' checkpoint")
            yield "checkpoint.checkpoint_task_id", None
    for section in ("fit", "validate"):
        kwargs = getattr(hparams.trainer, section)
        if kwargs is not None and kwargs.get("ckpt_path") is not None:
            say(f"the drill leaves out trainer.{section}.ckpt_path")
            yield f"trainer.{section}.ckpt_path", None


def _resolved(plan: Plan) -> Path:
    """The file itself: the copy's runs are elsewhere."""
    from torch_lab.checkpoints import resolve

    section = plan.hparams.checkpoint
    assert section.checkpoint_task_id is not None
    found = resolve.resolve(
        section.checkpoint_task_id,
        section.checkpoint_name,
        plan.settings.artifacts,
        cwd=Path.cwd(),
        say=say,
    )
    return found.path
