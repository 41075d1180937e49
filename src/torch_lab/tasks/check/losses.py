"""What losses are given: shapes that broadcast, probabilities where logits belong, wrong signs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from torch_lab.tasks.check.findings import Finding, error, warning
from torch_lab.tasks.check.seeing import LOSSES
from torch_lab.tasks.check.spoken import number
from torch_lab.tasks.check.subject import Call, Subject

_ELEMENTWISE = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
_TAKES_LOGITS = {
    "cross_entropy": "takes raw scores and applies softmax itself",
    "binary_cross_entropy_with_logits": "takes raw scores and applies sigmoid itself",
}
_ENDS = ("softmax", "sigmoid", "relu")
_WORDS = {
    "eq": "comparison",
    **dict.fromkeys(("sub", "rsub"), "difference"),
    **dict.fromkeys(("mul", "rmul"), "product"),
}
_TAKES_LOGARITHMS = ("nll_loss", "kl_div", "ctc_loss")


def losses(subject: Subject) -> Iterator[Finding]:
    """All that the calls of losses tell."""
    for call in _once(subject.trial.calls):
        yield from _broadcast(call)
        if call.stage == "train" and call.name in LOSSES:
            yield from _activation(call)
            yield from _swapped(call)
            yield from _logarithms(call)
        if call.name == "softmax":
            yield from _over_samples(call, subject)
    yield from _sign(subject)
    yield from _not_finite(subject)


def _once(calls: list[Call]) -> Iterator[Call]:
    """The first call of each line; stages often share one."""
    seen = set()
    for call in calls:
        mark = (call.name, call.place, call.made_by)
        if call.place is None or mark not in seen:
            seen.add(mark)
            yield call


def operands(call: Call) -> tuple[Any, Any]:
    """The first two arguments, the input and the target, however they were given."""
    named = [call.kwargs.get("input"), call.kwargs.get("target")]
    given = [*call.args[:2], *named[len(call.args[:2]) :]]
    return given[0], given[1]


def _broadcast(call: Call) -> Iterator[Finding]:
    one, other = operands(call)
    if not (isinstance(one, Tensor) and isinstance(other, Tensor)) or one.shape == other.shape:
        return
    if not _spreads(one, other):
        return
    if call.name in _ELEMENTWISE:
        yield _told(error, call, one, other, f"{call.name} of shapes")
    elif call.name in LOSSES or call.owner is not None:
        return  # torch itself says what those take
    elif _is_comparison(call) and one.dim() != other.dim():
        what = f"a {_WORDS[call.name.strip('_')]} of shapes"
        yield _told(warning, call, one, other, what)


def _spreads(one: Tensor, other: Tensor) -> bool:
    """Whether as many values on both sides become more than there are: (N, 1) against (N,)."""
    shape = _together(one, other) if one.numel() == other.numel() else None
    return shape is not None and shape.numel() > one.numel()


def _together(one: Tensor, other: Tensor) -> torch.Size | None:
    """The shape that two broadcast to."""
    try:
        return (
            torch.empty(one.shape, device="meta") + torch.empty(other.shape, device="meta")
        ).shape
    except RuntimeError:
        return None


def _is_comparison(call: Call) -> bool:
    """Whether what was predicted meets what was given; among equals all pairs may be meant."""
    if call.name in ("eq", "__eq__"):
        addresses = {each.untyped_storage().data_ptr() for each in operands(call)}
        return len(addresses) == 2
    known = [bool(each) for each in call.made_by[:2]]
    return len(known) == 2 and known[0] != known[1]


def _told(
    make: Callable[..., Finding], call: Call, one: Tensor, other: Tensor, what: str
) -> Finding:
    shapes = f"{what} {_n(one.shape)} and {_n(other.shape)}"
    message = f"{shapes} broadcasts to {_n(_together(one, other) or ())}"
    return make(
        "broadcast",
        f"{message}: each sample meets every other",
        call.place,
        "Give both one shape: y_pred.squeeze(-1), or y.unsqueeze(-1).",
    )


def _n(shape: Any) -> str:
    return f"{tuple(shape)}"


def _activation(call: Call) -> Iterator[Finding]:
    maker = call.made_by[0] if call.made_by else None
    takes = _TAKES_LOGITS.get(call.name)
    if takes is not None and maker in _ENDS:
        yield warning(
            f"{maker}-before-loss",
            f"{call.name} is given the output of {maker}, but {takes}",
            call.place,
            f"Let the network end without {maker}; apply it where you predict.",
        )
    elif call.name == "binary_cross_entropy" and maker == "linear":
        yield warning(
            "no-sigmoid",
            "binary_cross_entropy is given raw scores, but takes probabilities",
            call.place,
            "Use BCEWithLogitsLoss, or let the network end in a sigmoid.",
        )


def _swapped(call: Call) -> Iterator[Finding]:
    """A target that is learned, and an input that is not."""
    given, aim = (*call.made_by, None, None)[:2]
    if call.name not in _ELEMENTWISE and given == "" and aim:
        yield warning(
            "swapped",
            f"{call.name} is given the target first: what was predicted comes second",
            call.place,
            "It is loss(y_pred, y).",
        )


def _logarithms(call: Call) -> Iterator[Finding]:
    given, _ = operands(call)
    if call.name not in _TAKES_LOGARITHMS or not isinstance(given, Tensor):
        return
    maker = call.made_by[0] if call.made_by else None
    if maker in ("softmax", "linear") or (given.numel() and float(given.max()) > 1e-4):
        what = f"the output of {maker}" if maker in ("softmax",) else "raw scores"
        yield warning(
            "no-log-softmax",
            f"{call.name} is given {what}, but takes log-probabilities",
            call.place,
            "Use log_softmax before it, or CrossEntropyLoss on the raw scores.",
        )


def _over_samples(call: Call, subject: Subject) -> Iterator[Finding]:
    given = call.args[0] if call.args else call.kwargs.get("input")
    dim = call.kwargs.get("dim", call.args[1] if len(call.args) > 1 else None)
    if not isinstance(given, Tensor) or given.dim() != 2 or dim not in (0, -2):
        return
    # Rows may be a graph's nodes or a bag's members; of all pairs either side may be meant.
    rows, columns = given.shape
    if rows != columns > 1 and any(each.samples == rows for each in subject.trial.of(call.stage)):
        yield warning(
            "softmax-over-samples",
            f"softmax over dim {dim} of {_n(given.shape)}: over the samples of a batch",
            call.place,
            "Over the classes it is dim=1.",
        )


def _sign(subject: Subject) -> Iterator[Finding]:
    loss = subject.trial.losses.get("train")
    if loss is None or loss.numel() != 1 or not float(loss) < 0:
        return
    for call in subject.trial.calls:
        value = call.result
        if call.stage != "train" or call.name not in LOSSES or not isinstance(value, Tensor):
            continue
        if value.numel() == 1 and torch.allclose(value, -loss.to(value.dtype)):
            yield warning(
                "loss-sign",
                f"the loss is the negative of {call.name}: training would make that larger",
                call.place,
                "Losses are minimized; remove the minus.",
            )
            return


def _not_finite(subject: Subject) -> Iterator[Finding]:
    for stage, loss in subject.trial.losses.items():
        if not bool(torch.isfinite(loss).all()):
            yield error(
                "loss-not-finite",
                f"{stage}: the loss of the first batch is {number(float(loss.sum()))}",
                None,
                "Look at the data and the first layers; a run would stop here.",
            )
