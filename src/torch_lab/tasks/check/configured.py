"""What a LightningModule is given or returns, and Lightning passes over in silence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pytorch_lightning.utilities.model_helpers import is_overridden

from torch_lab.tasks.check.findings import Finding, warning
from torch_lab.tasks.check.subject import Subject
from torch_lab.utils.text import suggestion

_OPTIMIZER = ("optimizer", "lr_scheduler", "monitor")
_SCHEDULER = (
    "scheduler",
    "interval",
    "frequency",
    "monitor",
    "strict",
    "name",
    "reduce_on_plateau",
)
_STEPS = {"val_dataloaders": "validation_step", "test_dataloaders": "test_step"}


def configured(subject: Subject) -> Iterator[Finding]:
    """Keys that are not read, loaders that are not used."""
    returned = subject.trial.configured
    for each in returned if isinstance(returned, (list, tuple)) else [returned]:
        yield from _optimizer(each)
        for inner in each if isinstance(each, (list, tuple)) else ():
            yield from _optimizer(inner)
    yield from _unused(subject)


def _optimizer(value: Any) -> Iterator[Finding]:
    if not isinstance(value, Mapping):
        return
    if "optimizer" in value:
        yield from _unknown(value, _OPTIMIZER, "configure_optimizers returns")
        value = value.get("lr_scheduler")
    if isinstance(value, Mapping):
        yield from _unknown(value, _SCHEDULER, "the lr_scheduler of configure_optimizers has")


def _unknown(value: Mapping[Any, Any], known: tuple[str, ...], who: str) -> Iterator[Finding]:
    for key in value:
        if key not in known:
            told = f'{who} "{key}", which Lightning leaves out'
            hint = suggestion(str(key), known)
            yield warning("optimizer-keys", told, None, f"{hint[0].upper()}{hint[1:]}")


def _unused(subject: Subject) -> Iterator[Finding]:
    for name, step in _STEPS.items():
        loaders = getattr(subject.configuration, name)
        if loaders is not None and not is_overridden(step, subject.module):
            kind = type(subject.module).__name__
            yield warning(
                "no-step",
                f"{name} are given, but {kind} has no {step}: they are not used",
                None,
                f"Define {step}, or leave the loaders out.",
            )
