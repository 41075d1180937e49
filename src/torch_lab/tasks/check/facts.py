"""What a trial has seen, in a few plain values."""

from __future__ import annotations

from typing import Any

from torch import nn

from torch_lab.tasks.check.subject import Subject

_STAGES = ("train", "validate", "test")


def facts(subject: Subject) -> dict[str, Any]:
    """Sizes, losses and what was tried."""
    trial = subject.trial
    parameters = [each for each in subject.module.parameters() if not nn.parameter.is_lazy(each)]
    losses = {stage: trial.losses[stage] for stage in _STAGES if stage in trial.losses}
    return {
        "device": trial.device,
        "stages": [stage for stage in _STAGES if stage in trial.done],
        "losses": {s: float(each) for s, each in losses.items() if each.numel() == 1},
        "parameters": sum(each.numel() for each in parameters),
        "trained": sum(each.numel() for each in parameters if each.requires_grad),
        "memory_bytes": trial.memory.total,
        "checkpoint_bytes": trial.checkpoint,
        "logged": sorted(trial.logged),
        "estimator": _estimator(subject),
    }


def _estimator(subject: Subject) -> str | None:
    """The class of what is trained in place of a network, and how."""
    if subject.fitted is None:
        return None
    from torch_lab.estimators.naming import full_name_of

    return ", ".join(filter(None, (full_name_of(subject.fitted), subject.way)))
