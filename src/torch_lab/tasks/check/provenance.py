"""Which operation a tensor came from, read from its graph before that is dropped."""

from __future__ import annotations

from typing import Any

from torch import Tensor

# Operations that only give values another shape, place or type.
_SHAPES = frozenset(
    {
        "Alias",
        "AsStrided",
        "Clone",
        "Contiguous",
        "Expand",
        "Movedim",
        "Permute",
        "ReshapeAlias",
        "Select",
        "Slice",
        "Squeeze",
        "T",
        "ToCopy",
        "Transpose",
        "UnsafeView",
        "Unsqueeze",
        "View",
    }
)
_NAMES = {
    "Addmm": "linear",
    "Convolution": "linear",
    "LogSigmoid": "logsigmoid",
    "LogSoftmax": "log_softmax",
    "Mm": "linear",
    "Relu": "relu",
    "Sigmoid": "sigmoid",
    "Softmax": "softmax",
    "Tanh": "tanh",
}
_FAR = 12


def maker(value: Any) -> str | None:
    """The operation that made a tensor, "" where no gradient leads back; None of anything else."""
    if not isinstance(value, Tensor):
        return None
    node: Any = value.grad_fn
    if node is None:
        return "leaf" if value.requires_grad else ""
    for _ in range(_FAR):
        name = str(node.name()).partition("Backward")[0]
        if name.rstrip("0123456789") not in _SHAPES or not node.next_functions:
            break
        node = node.next_functions[0][0]
        if node is None:
            return "other"
    return _NAMES.get(name, "other")


def makers(args: Any, kwargs: Any) -> tuple[str | None, ...]:
    """Those of a call's first two arguments."""
    given = [*args[:2], *(kwargs.get(name) for name in ("input", "target")[len(args[:2]) :])]
    return tuple(map(maker, given))
