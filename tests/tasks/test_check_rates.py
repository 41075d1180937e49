"""What a scheduler does to the learning rate over the planned steps."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

from torch_lab.tasks.check.rates import fresh, rates
from torch_lab.tasks.check.subject import Trial

EPOCHS, BATCHES = 10, 20


def optimizer(lr: float = 0.1, kind: Any = torch.optim.SGD, **kwargs: Any) -> Any:
    return kind([torch.nn.Parameter(torch.zeros(3))], lr=lr, **kwargs)


def told(made: Any, scheduler: Any = None, interval: str = "epoch", **init: Any) -> str:
    """What is found, in a line for each finding."""
    trial = Trial(optimizers=[made])
    trial.sources = [SimpleNamespace(stage="train", length=BATCHES)]  # type: ignore[list-item]
    if scheduler is not None:
        config = SimpleNamespace(scheduler=scheduler, interval=interval, frequency=1)
        copied = fresh(config)
        assert copied is not None
        trial.schedules = [copied]
    trainer = SimpleNamespace(init={"max_epochs": EPOCHS} | init)
    plan = SimpleNamespace(hparams=SimpleNamespace(trainer=trainer))
    subject: Any = SimpleNamespace(trial=trial, plan=plan)
    return "\n".join(f"{each.level} {each.message}" for each in rates(subject))


SOUND = [
    (lr_scheduler.StepLR, {"step_size": 3}, "epoch"),
    (lr_scheduler.MultiStepLR, {"milestones": [4, 8]}, "epoch"),
    (lr_scheduler.ExponentialLR, {"gamma": 0.9}, "epoch"),
    (lr_scheduler.CosineAnnealingLR, {"T_max": EPOCHS}, "epoch"),
    (lr_scheduler.CosineAnnealingLR, {"T_max": EPOCHS * BATCHES}, "step"),
    (lr_scheduler.CosineAnnealingWarmRestarts, {"T_0": 2}, "epoch"),
    (lr_scheduler.OneCycleLR, {"max_lr": 0.1, "total_steps": EPOCHS * BATCHES}, "step"),
    (lr_scheduler.OneCycleLR, {"max_lr": 0.1, "total_steps": EPOCHS}, "epoch"),
    (lr_scheduler.CyclicLR, {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 10}, "step"),
    (lr_scheduler.LinearLR, {"start_factor": 0.1, "total_iters": 5}, "epoch"),
    (lr_scheduler.PolynomialLR, {"total_iters": EPOCHS}, "epoch"),
    (lr_scheduler.LambdaLR, {"lr_lambda": lambda step: min(1.0, step / 30)}, "step"),
    (lr_scheduler.ReduceLROnPlateau, {}, "epoch"),
]


@pytest.mark.parametrize(("kind", "kwargs", "interval"), SOUND)
def test_nothing_is_told_of_sound_schedules(kind: Any, kwargs: Any, interval: str) -> None:
    made = optimizer(momentum=0.9)
    assert told(made, kind(made, **kwargs), interval) == ""


WRONG = [
    (lr_scheduler.StepLR, {"step_size": 300}, "epoch", "hardly changes"),
    (lr_scheduler.ExponentialLR, {"gamma": 0.8}, "step", "leaves nothing"),
    (lr_scheduler.CosineAnnealingLR, {"T_max": EPOCHS}, "step", "down and up 20 times"),
    (lr_scheduler.CosineAnnealingLR, {"T_max": EPOCHS * BATCHES}, "epoch", "hardly changes"),
    (lr_scheduler.OneCycleLR, {"max_lr": 0.1, "total_steps": 200}, "epoch", "makes 10"),
    (lr_scheduler.OneCycleLR, {"max_lr": 0.1, "total_steps": 10}, "step", "to make 200"),
    (lr_scheduler.LambdaLR, {"lr_lambda": lambda i: min(1, i / 1e4)}, "step", "at most"),
    (lr_scheduler.LambdaLR, {"lr_lambda": lambda i: 1 / (i - 7)}, "epoch", "fails: division"),
]


@pytest.mark.parametrize(("kind", "kwargs", "interval", "words"), WRONG)
def test_what_does_not_fit_the_plan_is_told(
    kind: Any, kwargs: Any, interval: str, words: str
) -> None:
    made = optimizer(momentum=0.9)
    assert words in told(made, kind(made, **kwargs), interval)


def test_looking_at_a_schedule_changes_nothing() -> None:
    made = optimizer(0.1)
    scheduler = lr_scheduler.StepLR(made, 1, 0.5)
    told(made, scheduler)
    assert made.param_groups[0]["lr"] == 0.1
    assert scheduler.last_epoch == 0


def test_steps_are_counted_as_the_trainer_is_told() -> None:
    made = optimizer()
    cycle = {"max_lr": 0.1, "total_steps": 50}
    limits = {"accumulate_grad_batches": 2, "limit_train_batches": 0.5}
    assert told(made, lr_scheduler.OneCycleLR(made, **cycle), "step", **limits) == ""
    assert told(made, lr_scheduler.OneCycleLR(made, **cycle), "step", max_steps=50) == ""
    assert "to make 200" in told(made, lr_scheduler.OneCycleLR(made, **cycle), "step")
    assert told(made, lr_scheduler.OneCycleLR(made, **cycle), "step", max_epochs=-1) == ""


@pytest.mark.parametrize(
    ("kind", "kwargs", "words"),
    [
        (torch.optim.SGD, {"lr": 0.0}, "nothing is learned"),
        (torch.optim.SGD, {"lr": 30.0}, "far more than it bears"),
        (torch.optim.AdamW, {"lr": 1.0}, "far more than it bears"),
        (torch.optim.Adam, {"lr": 1e-3, "weight_decay": 3.0}, "pulled to zero"),
        (torch.optim.Adam, {"lr": 1e-3, "betas": (0.999, 0.9)}, "larger than the second"),
        (torch.optim.SGD, {"lr": 0.1, "momentum": 1.0}, "never slows"),
    ],
)
def test_settings_that_cannot_be_meant(kind: Any, kwargs: dict[str, Any], words: str) -> None:
    assert words in told(optimizer(kind=kind, **kwargs))


def test_what_is_usual_somewhere_is_let_through() -> None:
    assert told(optimizer(30.0), gradient_clip_val=0.25) == ""  # as for recurrent networks
    assert told(optimizer(1.0, torch.optim.Adadelta)) == ""
    assert told(optimizer(1e-4, torch.optim.AdamW, weight_decay=1.0)) == ""
