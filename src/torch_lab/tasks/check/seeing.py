"""Losses and metrics seen while a step calls them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torchmetrics import Metric

from torch_lab.modules import TrainLabModule
from torch_lab.tasks.check.provenance import makers
from torch_lab.tasks.check.subject import Call, Stage, Trial
from torch_lab.utils.paths import display
from torch_lab.utils.tracebacks import is_user_file

LOSSES = frozenset(
    {
        "binary_cross_entropy",
        "binary_cross_entropy_with_logits",
        "cosine_embedding_loss",
        "cross_entropy",
        "ctc_loss",
        "gaussian_nll_loss",
        "hinge_embedding_loss",
        "huber_loss",
        "kl_div",
        "l1_loss",
        "margin_ranking_loss",
        "mse_loss",
        "multi_margin_loss",
        "multilabel_margin_loss",
        "multilabel_soft_margin_loss",
        "nll_loss",
        "poisson_nll_loss",
        "smooth_l1_loss",
        "soft_margin_loss",
        "triplet_margin_loss",
    }
)
ACTIVATIONS = frozenset({"embedding", "log_softmax", "sigmoid", "softmax"})
# Those whose first two arguments are never of one shape.
_UNLIKE = frozenset({"cross_entropy", "ctc_loss", "multi_margin_loss", "nll_loss"})
DROPPING = frozenset({"alpha_dropout", "dropout", "dropout1d", "dropout2d", "dropout3d"})
_TRIAL = Path(__file__).with_name("trial.py")
DIFFERENCES = frozenset(  # of shapes
    {"__eq__", "__mul__", "__rmul__", "__rsub__", "__sub__", "eq", "mul", "rsub", "sub"}
)


class Seen(Protocol):
    """Who takes the calls."""

    trial: Trial
    stage: Stage


class Calls(TorchFunctionMode):
    """Notes the calls of losses, of activations that end in probabilities, and of differences."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self._seen = seen

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, result = getattr(func, "__name__", ""), None
        try:
            result = func(*args, **(kwargs or {}))
        finally:  # what fails is looked at, too
            differs = name in DIFFERENCES and _shapes_differ(args)
            drops = name in DROPPING and self._seen.stage != "train"
            if name in LOSSES or name in ACTIVATIONS or differs or drops:
                note(self._seen, name, args, kwargs or {}, result)
        return result


def _shapes_differ(args: tuple[Any, ...]) -> bool:
    shapes = {each.shape for each in args[:2] if isinstance(each, Tensor) and each.dim()}
    return len(shapes) > 1


def coincide(calls: Iterable[Call]) -> bool:
    """Whether shapes that differ went together in a loss, perhaps for the number of samples."""
    compared = (LOSSES | DIFFERENCES) - _UNLIKE
    return any(each.name in compared and _by_chance(each.args) for each in calls)


def _by_chance(args: tuple[Any, ...]) -> bool:
    given = [each for each in args[:2] if isinstance(each, Tensor) and each.dim()]
    if not _shapes_differ(args):
        return False
    most = max(each.dim() for each in given)
    sizes = [size for each in given for size in each.shape[each.dim() == most :]]
    return any(len(each) in sizes for each in given if each.dim() == most)


def note(
    seen: Seen, name: str, args: Any, kwargs: Any, result: Any = None, owner: Any = None
) -> None:
    """Add a call, tensors without their graph."""
    made_by = makers(args, kwargs)
    given, named, came = apply_to_collection(
        (tuple(args), dict(kwargs), result), Tensor, Tensor.detach
    )
    seen.trial.calls.append(Call(seen.stage, name, given, named, _place(), owner, came, made_by))


def _place() -> str | None:
    """The user's line that is being executed, if the Trainer's call led to one."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and Path(frame.f_code.co_filename) != _TRIAL:
        if is_user_file(frame.f_code.co_filename):
            return f"{display(frame.f_code.co_filename)}:{frame.f_lineno}"
        frame = frame.f_back
    return None


@contextmanager
def seeing(module: Any, seen: Seen) -> Iterator[None]:
    """Inside, the loss_function of a TrainLabModule and all metrics tell what they are given."""
    undo = [_metric(each, seen) for each in module.modules() if isinstance(each, Metric)]
    if isinstance(module, TrainLabModule):
        undo.append(_loss_function(module, seen))
    try:
        yield
    finally:
        for each in undo:
            each()


def _metric(metric: Any, seen: Seen) -> Callable[[], None]:
    before = metric.update

    @wraps(before)
    def update(*args: Any, **kwargs: Any) -> Any:
        note(seen, "update", args, kwargs, owner=metric)
        return before(*args, **kwargs)

    metric.update = update

    def put_back() -> None:
        metric.update = before

    return put_back


def _loss_function(module: Any, seen: Seen) -> Callable[[], None]:
    before = module.loss_function
    if isinstance(before, nn.Module):

        def tell(_: Any, args: Any, kwargs: Any, result: Any) -> None:
            note(seen, "loss_function", args, kwargs, result, before)

        handle = before.register_forward_hook(tell, with_kwargs=True)
        return handle.remove

    @wraps(before)
    def called(*args: Any, **kwargs: Any) -> Any:
        result = before(*args, **kwargs)
        note(seen, "loss_function", args, kwargs, result, before)
        return result

    module.loss_function = called

    def put_back() -> None:
        module.loss_function = before

    return put_back


def first_tensor(value: Any) -> Tensor | None:
    """The loss in what a step returned."""
    if isinstance(value, Mapping):
        value = value.get("loss")
    return value.detach() if isinstance(value, torch.Tensor) else None
