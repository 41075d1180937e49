"""Layers that behave otherwise than training expects: in eval mode, or fed a single sample."""

from __future__ import annotations

import ast
from collections.abc import Container, Iterator, Mapping
from pathlib import Path

from torch import nn

from torch_lab.tasks.check.cutting import batch_size
from torch_lab.tasks.check.findings import Finding, error, warning
from torch_lab.tasks.check.layers import Layer
from torch_lab.tasks.check.samples import has_indices, indices
from torch_lab.tasks.check.seeing import DROPPING
from torch_lab.tasks.check.spoken import listed
from torch_lab.tasks.check.subject import Call, Source, Subject


def modes(subject: Subject) -> Iterator[Finding]:
    """What layers do in training."""
    yield from _eval(subject)
    single = [name for name, each in subject.trial.layers.items() if _needs_several(each)]
    limit = subject.plan.hparams.trainer.init.get("limit_train_batches", 1.0)
    whole = isinstance(limit, float) and limit == 1.0
    for source in subject.trial.of("train") if whole else ():
        if single and _ends_in_one(source):
            yield error(
                "one-sample-batch",
                f"{source.name}: the last batch has a single sample, which {single[0]}"
                " (batch normalization) refuses in training",
                None,
                "Give the DataLoader drop_last=True, or another batch_size.",
            )
    yield from _dropout(subject)
    yield from _always(subject)
    yield from _short(subject)


def _eval(subject: Subject) -> Iterator[Finding]:
    modules = dict(subject.module.named_modules())
    still = [
        name
        for name, each in subject.trial.layers.items()
        if not each.training
        and _matters(name, modules, subject.trial.gradients)
        and not modules[name].training
    ]
    if still:
        yield warning(
            "eval-mode",
            f"in eval mode while training: {listed(still)}",
            None,
            "Something called .eval() before training, and Lightning leaves that as it is. Call"
            " .train(), or freeze the layer if it is meant.",
        )


def _matters(name: str, modules: Mapping[str, nn.Module], reached: Container[str]) -> bool:
    """Whether it is dropout or normalization amid what is trained; what is frozen may stay so."""
    layer = modules.get(name)
    if layer is None:
        return False
    if any(True for _ in layer.parameters()):
        return _is_trained(name, layer, reached)
    above = name.rpartition(".")[0]
    return _is_random(layer) and _is_trained(above, modules.get(above, layer), reached)


def _is_trained(name: str, layer: nn.Module, reached: Container[str]) -> bool:
    """Whether any of its parameters got a gradient."""
    return any(each in reached for each, _ in layer.named_parameters(prefix=name))


def _is_random(layer: nn.Module) -> bool:
    return float(getattr(layer, "p", 0) or 0) > 0


def _needs_several(layer: Layer) -> bool:
    """Whether batch normalization has one value to a channel from each sample."""
    return "BatchNorm" in layer.kind and layer.training and layer.values == 1


def _ends_in_one(source: Source) -> bool:
    return batch_size(source.loader) != 1 and _last(source) == 1


def _last(source: Source) -> int:
    """How many samples the last batch has; 0 where it is as long as the others, or unknown."""
    loader = source.loader
    size = batch_size(loader)
    if not size or getattr(loader, "drop_last", False) or not has_indices(loader):
        return 0
    if getattr(getattr(loader, "batch_sampler", None), "drop_last", False):
        return 0
    return len(indices(loader)) % size


def _short(subject: Subject) -> Iterator[Finding]:
    """Steps that want a whole batch, and get a shorter one at the end."""
    for source in subject.trial.sources:
        last = _last(source)
        if source.refused and source.stage in subject.trial.done and last:
            yield warning(
                "short-batch",
                f"{source.name}: the last batch has {last} of {batch_size(source.loader)} samples,"
                f" and with two samples it fails: {source.refused.splitlines()[0]}",
                None,
                "Take the number from the data, x.shape[0]; or give the loader drop_last=True.",
            )


def _dropout(subject: Subject) -> Iterator[Finding]:
    modules = dict(subject.module.named_modules())
    full = [
        name
        for name in subject.trial.layers
        if "Dropout" in subject.trial.layers[name].kind and getattr(modules.get(name), "p", 0) >= 1
    ]
    if full:
        yield warning(
            "dropout",
            f"dropout of everything (p=1): {listed(full)}",
            None,
            "p is the share that is dropped, not what is kept.",
        )


def _always(subject: Subject) -> Iterator[Finding]:
    """Dropout that goes on where nothing is trained: F.dropout doesn't know of eval mode."""
    for call in subject.trial.calls:
        if call.name in DROPPING and call.stage != "train" and _drops(call):
            yield warning(
                "dropout",
                f"{call.name} drops values in {call.stage}, too",
                call.place,
                "Say F.dropout(x, p, training=self.training), or use nn.Dropout.",
            )
            return


def _drops(call: Call) -> bool:
    share = call.kwargs.get("p", call.args[1] if len(call.args) > 1 else 0.5)
    training = call.kwargs.get("training", call.args[2] if len(call.args) > 2 else True)
    return bool(training) and float(share) > 0 and _by_default(call)


def _by_default(call: Call) -> bool:
    """Whether a line leaves it to F.dropout: who says training=True, or .train(), means it."""
    file, _, line = (call.place or "").rpartition(":")
    try:
        tree = ast.parse(Path(file).read_bytes())
    except (OSError, ValueError, SyntaxError):
        return False
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.lineno <= int(line) <= (node.end_lineno or 0):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else None
            name = node.func.id if isinstance(node.func, ast.Name) else name
            named = any(each.arg == "training" for each in node.keywords)
            if name in DROPPING and not named and len(node.args) < 3:
                return True
    return False
