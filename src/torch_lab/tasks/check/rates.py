"""Learning rates: as they begin, and as the scheduler changes them over the planned steps."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
)

from torch_lab.tasks.check.findings import Finding, error, warning
from torch_lab.tasks.check.spoken import number
from torch_lab.tasks.check.subject import Schedule, Subject
from torch_lab.tasks.check.trainer import planned_batches

_ADAPTIVE = ("Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "SparseAdam")
_MOST = {"SGD": 10.0, **dict.fromkeys(_ADAPTIVE, 0.5)}
_LEAST = 1e-9
_STEPS = 5_000  # of a scheduler that are looked at
_NOTHING = 1e-6  # of where it began
_ALMOST = 0.2


def rates(subject: Subject) -> Iterator[Finding]:
    """All that optimizers and schedulers tell."""
    for optimizer in subject.trial.optimizers:
        yield from _optimizer(optimizer, subject)
    for each in subject.trial.schedules:
        steps = planned_steps(subject, each.interval)
        if isinstance(each.scheduler, LRScheduler) and steps:
            yield from _schedule(each.scheduler, each.interval, steps // each.frequency)


def _optimizer(optimizer: Optimizer, subject: Subject) -> Iterator[Finding]:
    kind = type(optimizer).__name__
    groups = optimizer.param_groups
    if not groups:  # Lightning's stand-in where there is no optimizer
        return
    if not all(isinstance(each.get("lr"), (int, float, Tensor)) for each in groups):
        return  # one of the user's, which finds its own
    largest = max(float(each.get("initial_lr", each["lr"])) for each in groups)
    if subject.trial.schedules and largest > 0:
        largest = min(largest, max(_largest(each.scheduler) for each in subject.trial.schedules))
    clipped = subject.plan.hparams.trainer.init.get("gradient_clip_val")
    if largest < _LEAST:
        yield warning(
            "learning-rate", f"{kind} has the learning rate {number(largest)}: nothing is learned"
        )
    elif largest >= _MOST.get(kind, math.inf) and not clipped:
        yield warning(
            "learning-rate",
            f"{kind} has the learning rate {number(largest)}: that is far more than it bears",
            None,
            "Adam and its kin begin around 1e-3." if kind in _ADAPTIVE else None,
        )
    for group in groups:
        yield from _settings(kind, group)


def _largest(scheduler: Any) -> float:
    """The largest rate that a scheduler comes to: a factor may make something of any lr."""
    if not isinstance(scheduler, LambdaLR):
        return math.inf
    try:
        pairs = list(zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True))
        return max(float(rate * f(n)) for rate, f in pairs for n in range(_STEPS))
    except Exception:  # noqa: BLE001  any: a function of the user's, asked beyond its plan
        return math.inf


def _settings(kind: str, group: dict[str, Any]) -> Iterator[Finding]:
    decay, rate = float(group.get("weight_decay") or 0), float(group["lr"])
    if decay >= 1 and (kind != "AdamW" or decay * rate > 0.05):
        yield warning(
            "weight-decay",
            f"{kind} has the weight_decay {number(decay)}: the weights are pulled to zero",
            None,
            "Usual are 1e-5 to 1e-1.",
        )
    betas = tuple(group.get("betas") or ())
    if len(betas) == 2 and betas[0] > betas[1]:
        yield warning(
            "betas",
            f"{kind} has betas {betas}: the first is larger than the second",
            None,
            "Usual are (0.9, 0.999).",
        )
    if float(group.get("momentum") or 0) >= 1:
        yield warning("momentum", f"{kind} has the momentum {group['momentum']}: it never slows")


def planned_steps(subject: Subject, interval: str) -> int | None:
    """How often a scheduler steps in the whole training; None where nobody can tell."""
    init = subject.plan.hparams.trainer.init
    lengths = [each.length for each in subject.trial.of("train")]
    batches = planned_batches(init, lengths)
    accumulated = init.get("accumulate_grad_batches", 1)
    if batches in (math.inf, 0) or not isinstance(accumulated, int):
        return None
    by_epoch = math.ceil(batches / accumulated)
    epochs, steps = init.get("max_epochs", -1), init.get("max_steps", -1)
    counts: list[int] = [epochs * by_epoch] if _is_count(epochs) else []
    counts += [steps] if _is_count(steps) else []
    if not counts:
        return None
    return min(counts) if interval == "step" else max(min(counts) // by_epoch, 1)


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0


# -- the way of the rates ------------------------------------------------------------------------


@dataclass(frozen=True)
class _Way:
    """The largest learning rate at each step, and what raised an exception, if anything did."""

    rates: list[float]
    raised: Exception | None = None


def _schedule(scheduler: LRScheduler, interval: str, planned: int) -> Iterator[Finding]:
    kind, unit = type(scheduler).__name__, "step" if interval == "step" else "epoch"
    total = getattr(scheduler, "total_steps", None)
    if isinstance(scheduler, ReduceLROnPlateau):
        return
    if isinstance(scheduler, OneCycleLR) and isinstance(total, int):
        yield from _cycle(kind, unit, total, planned)
        return
    way = _followed(scheduler, min(planned, _STEPS))
    if way.raised is not None:
        yield error(
            "schedule",
            f"{kind}: {unit} {len(way.rates)} of {planned} fails: {way.raised}",
            None,
            f"Plan it for {planned} {unit}s.",
        )
    elif planned > 2 and len(way.rates) > 2:
        yield from _shape(scheduler, kind, unit, planned, way.rates)


def _cycle(kind: str, unit: str, total: int, planned: int) -> Iterator[Finding]:
    if total < planned:
        yield error(
            "schedule",
            f"{kind} is made for {total} steps, and is to make {planned}: it fails after the last",
            None,
            f"total_steps={planned}, for it steps once in each {unit}.",
        )
    elif planned < 0.5 * total:
        yield warning(
            "schedule",
            f"{kind} is made for {total} steps, and makes {planned}: it steps once in each {unit}",
            None,
            'Let it step with each batch: "interval": "step".' if unit == "epoch" else None,
        )


def _shape(
    scheduler: LRScheduler, kind: str, unit: str, planned: int, rates: list[float]
) -> Iterator[Finding]:
    most, least = max(rates), min(rates)
    first = max(float(each["initial_lr"]) for each in scheduler.optimizer.param_groups)
    begun = rates[: max(len(rates) // 2, 1)]
    if _is_constant(scheduler):
        return
    if most > 0 and most - least < 0.01 * most:
        what = f"hardly changes the learning rate in the {planned} planned {unit}s"
        yield _told(kind, unit, what)
    elif _warms_up(scheduler) and most < _ALMOST * first and rates[-1] == most:
        what = f"comes to {number(most)} at most in the {planned} planned {unit}s, of {first:g}"
        yield _told(kind, unit, what)
    elif begun[-1] < _NOTHING * most and most == max(begun):
        when = next(place for place, rate in enumerate(rates) if rate < _NOTHING * most)
        what = f"leaves nothing of the learning rate after {when} of {planned} {unit}s"
        yield _told(kind, unit, what)
    elif isinstance(scheduler, CosineAnnealingLR):
        yield from _cosine(scheduler, kind, unit, planned)


def _warms_up(scheduler: LRScheduler) -> bool:
    return isinstance(scheduler, (LambdaLR, LinearLR))


def _is_constant(scheduler: LRScheduler) -> bool:
    """Whether it is to leave the learning rate as it is, for ever."""
    if not isinstance(scheduler, LambdaLR):
        return False
    try:
        return all(f(n) == 1 for f in scheduler.lr_lambdas for n in (0, 1, 10**3, 10**6))
    except Exception:  # noqa: BLE001  any: a function of the user's, asked beyond its plan
        return False


def _cosine(scheduler: CosineAnnealingLR, kind: str, unit: str, planned: int) -> Iterator[Finding]:
    if planned >= 2 * scheduler.T_max:
        times = planned / scheduler.T_max
        what = f"T_max={scheduler.T_max}: the rate goes down and up {times:.0f} times in {planned}"
        yield _told(kind, unit, f"has {what} {unit}s")
    elif planned <= _ALMOST * scheduler.T_max:
        what = f"has T_max={scheduler.T_max}, and makes {planned} steps: it hardly falls"
        yield _told(kind, unit, what)


def _told(kind: str, unit: str, what: str) -> Finding:
    return warning("schedule", f"{kind} {what}", None, f"It steps once in each {unit} as it is.")


def fresh(config: Any) -> Schedule | None:
    """A copy of one of Lightning's lr_scheduler_configs as training begins with it.

    What it counts belongs to it alone; the parameters do not.
    """
    optimizer = config.scheduler.optimizer
    shared = [p for group in optimizer.param_groups for p in group["params"]]
    functions = getattr(config.scheduler, "lr_lambdas", ())
    shared += [each.__self__ for each in functions if hasattr(each, "__self__")]
    try:
        copy = deepcopy(config.scheduler, {id(each): each for each in shared})
    except Exception:  # noqa: BLE001  any: what it holds of the user's may refuse to be copied
        return None
    return Schedule(copy, str(config.interval), int(config.frequency))


def _followed(scheduler: Any, steps: int) -> _Way:
    """The rates over so many steps."""
    found: list[float] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for _ in range(steps):
                found.append(max(float(each["lr"]) for each in scheduler.optimizer.param_groups))
                scheduler.step()
        except Exception as wrong:  # noqa: BLE001  any, as it would end the training
            return _Way(found, wrong)
    return _Way(found)
