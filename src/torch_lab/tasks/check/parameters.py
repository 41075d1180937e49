"""Parameters that training does not reach: no gradient, no optimizer, not even known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pytorch_lightning.callbacks import BaseFinetuning
from torch import Tensor, nn

from torch_lab.tasks.check import mentions
from torch_lab.tasks.check.findings import Finding, error, note, warning
from torch_lab.tasks.check.spoken import listed
from torch_lab.tasks.check.subject import Subject
from torch_lab.utils.text import plural

_HOLDERS = (nn.ModuleList, nn.ModuleDict)  # never called themselves


def parameters(subject: Subject) -> Iterator[Finding]:
    """All that parameters and their gradients tell."""
    yield from _unregistered(subject)
    trial = subject.trial
    if "train" not in trial.done or any(each.length == 0 for each in trial.of("train")):
        return
    trained = {n: p for n, p in subject.parameters().items() if p.requires_grad}
    if not trained:
        yield error(
            "nothing-trained",
            "no parameter of the module is trained: all have requires_grad=False, or there is none",
            None,
            "Leave some unfrozen, and give the module its network.",
        )
        return
    if "train" not in trial.losses and trial.optimizers and subject.module.automatic_optimization:
        yield error(
            "no-loss",
            "training_step returned no loss for the first batch: Lightning skips such a batch",
            None,
            'Return the loss, or a dict with "loss".',
        )
        return
    yield from _left_out(subject, trained)
    yield from _unmoved(subject, trained)
    yield from _zero(subject, trained)


def _left_out(subject: Subject, trained: Mapping[str, nn.Parameter]) -> Iterator[Finding]:
    trial = subject.trial
    optimized = {id(p) for each in trial.optimizers for g in each.param_groups for p in g["params"]}
    reached = set(trial.gradients)
    both = {name for name, each in trained.items() if id(each) in optimized}
    # A module may go its own way: steps of its own now and then, or none at all.
    make = error if subject.module.automatic_optimization and trial.optimizers else warning
    if not trial.optimizers and not reached:
        yield make(
            "not-optimized",
            "no optimizer and no gradient: nothing is trained",
            None,
            "Return an optimizer from configure_optimizers, and the loss from training_step.",
        )
        return
    if not reached and len(trained) > 1:
        yield make(
            "no-gradient",
            "no parameter of the module gets a gradient: the loss doesn't depend on them",
            None,
            "Look for .detach(), .item(), argmax or no_grad between the network and the loss.",
        )
        return
    loose = [n for n in trained if n in reached and n not in both]
    yield from _unoptimized(loose, note if _comes_later(subject) else warning)
    yield from _ungraded([n for n in trained if n in both and n not in reached], subject)
    yield from _idle([n for n in trained if n not in both and n not in reached])


def _unmoved(subject: Subject, trained: Mapping[str, nn.Parameter]) -> Iterator[Finding]:
    """What has a gradient and an optimizer that stepped by hand and didn't move it, or not yet."""
    trial = subject.trial
    if subject.module.automatic_optimization:
        return
    rates = {
        id(p): g["lr"] for each in trial.optimizers for g in each.param_groups for p in g["params"]
    }
    names = [
        name
        for name, each in trained.items()
        if rates.get(id(each), 0) > 0
        and name not in trial.moved
        and name in trial.gradients
        and trial.gradients[name].largest > 0
    ]
    if names:
        yield note(
            "not-moved",
            f"no optimizer stepped in the first batch for {listed(names)}",
            None,
            "Optimization is manual: does each optimizer get its step()?",
        )


def _comes_later(subject: Subject) -> bool:
    """Whether a callback gives the optimizer more parameters after a while."""
    return any(isinstance(each, BaseFinetuning) for each in subject.configuration.callbacks)


def _unoptimized(names: list[str], told: Callable[..., Finding]) -> Iterator[Finding]:
    if names:
        yield told(
            "not-optimized",
            f"{plural(len(names), 'parameter')} in no optimizer, with a gradient: {listed(names)}",
            None,
            "Give the optimizer self.parameters(), or set requires_grad=False on purpose.",
        )


def _ungraded(names: list[str], subject: Subject) -> Iterator[Finding]:
    later = [each for each in names if _has_its_turn(each, subject)]
    if later:
        yield note(
            "no-gradient",
            f"{plural(len(later), 'parameter')} not used in the first batch: {listed(later)}",
            None,
            "Their layers wait for another batch, perhaps: for another task, epoch or draw.",
        )
    names = [each for each in names if each not in later]
    if names:
        yield warning(
            "no-gradient",
            f"{plural(len(names), 'parameter')} without a gradient: {listed(names)}",
            None,
            "Is the layer used in forward, and its output not detached? If it is to stay as it is:"
            " requires_grad=False.",
        )


def _has_its_turn(parameter: str, subject: Subject) -> bool:
    """Whether its layer was not called, and another beside it in a list was, or a line would."""
    modules, parts = dict(subject.module.named_modules()), parameter.split(".")[:-1]
    for end in range(1, len(parts) + 1):
        name, above = ".".join(parts[:end]), ".".join(parts[: end - 1])
        if name in subject.trial.called or isinstance(modules[name], _HOLDERS):
            continue
        if isinstance(modules[above], _HOLDERS):
            beside = (f"{above}.{each}" for each, _ in modules[above].named_children())
            if any(each in subject.trial.called for each in beside):
                return True
            name = above
        return name.rpartition(".")[2] in mentions.of(subject.plan.experiment).used
    return False


def _idle(names: list[str]) -> Iterator[Finding]:
    if names:
        yield note(
            "not-trained",
            f"{plural(len(names), 'parameter')} in no optimizer, without a gradient:"
            f" {listed(names)}",
            None,
            "requires_grad=False says that this is meant.",
        )


def _zero(subject: Subject, trained: Mapping[str, nn.Parameter]) -> Iterator[Finding]:
    """Dead units, zero weights: a gradient that is there and is nothing."""
    weights = {
        name: subject.trial.gradients[name].largest
        for name, each in trained.items()
        if each.dim() > 1 and name in subject.trial.gradients
    }
    silent = [name for name, each in subject.trial.layers.items() if each.silent]
    loss = subject.trial.losses.get("train")
    if loss is not None and not loss.any():
        return  # all is learned already, as it seems: a margin that is kept
    if weights and not any(weights.values()):
        yield warning(
            "zero-gradient",
            f"the gradients of all weights are zero: {listed(list(weights))}",
            None,
            "Weights that begin as zeros, dropout of everything, units that are never active?",
        )
    elif silent:
        yield warning(
            "dead-units",
            f"zeros are all that comes out of {listed(silent)}",
            None,
            "What goes in is negative throughout: look at the biases and the scale before it.",
        )


def _unregistered(subject: Subject) -> Iterator[Finding]:
    known = {id(each) for each in subject.module.parameters()}
    buffers = {id(each) for each in subject.module.buffers()}
    for name, module in subject.module.named_modules():
        for attribute, value in list(vars(module).items()):
            if attribute.startswith("_") or attribute in ("trainer", "fabric"):
                continue
            where = f"{name}.{attribute}" if name else attribute
            if any(id(each) not in known for each in _hidden(value)):
                yield warning(
                    "unregistered",
                    f"{where} holds layers in a {type(value).__name__}: the module doesn't know"
                    " their parameters, so nothing trains, saves or moves them",
                    None,
                    "nn.ModuleList or nn.ModuleDict holds layers.",
                )
            elif _is_loose(value) and id(value) not in known | buffers:
                yield warning(
                    "unregistered",
                    f"{where} is a tensor with requires_grad, and no parameter: no optimizer and no"
                    " checkpoint has it",
                    None,
                    "Make it an nn.Parameter.",
                )


def _hidden(value: Any) -> Iterator[nn.Parameter]:
    """Parameters of layers in a plain list or dict that have got a gradient."""
    items = dict.values(value) if isinstance(value, dict) else value
    if isinstance(value, (list, tuple, dict)):
        for each in items:
            if isinstance(each, nn.Module):
                yield from (p for p in each.parameters() if p.grad is not None)


def _is_loose(value: Any) -> bool:
    leaf = isinstance(value, Tensor) and not isinstance(value, nn.Parameter) and value.is_leaf
    return leaf and value.requires_grad
