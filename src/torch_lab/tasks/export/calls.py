"""What a model is called with, for any number of samples, and how it is compared."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from torch_lab.data import seeded

# How far the largest value of an output may be from the module's, by the output's type.
_TOLERANCES = {torch.float16: 1e-2, torch.bfloat16: 3e-2, torch.float64: 1e-8}
_TOLERANCE = 1e-4
BATCH = "batch"


@dataclass(frozen=True)
class Call:
    """The arguments of a model, and where they come from."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    source: str = ""

    @property
    def samples(self) -> int:
        """How many there are: the first tensor tells; 0 where there is none."""
        shapes = [each.shape for _, each in leaves((self.args, self.kwargs)) if has_rows(each)]
        return shapes[0][0] if shapes else 0

    def resized(self, count: int) -> Call:
        """The call with so many samples: the first ones, or all of them over and over."""
        own = self.samples
        rows = torch.arange(count) % max(own, 1)

        def cut(value: Tensor) -> Tensor:
            return value[rows.to(value.device)] if is_batch(value, own) else value

        return self.mapped(cut)

    def mapped(self, change: Callable[[Tensor], Any]) -> Call:
        """The call with something else in the place of each tensor."""
        return Call(mapped(self.args, change), mapped(dict(self.kwargs), change), self.source)

    def named(self, model: nn.Module) -> dict[str, Any]:
        """The arguments by the names that the model's forward has for them."""
        bound = inspect.signature(model.forward).bind(*self.args, **self.kwargs)
        return dict(bound.arguments)


def has_rows(value: Any) -> bool:
    """Whether it is a tensor that may hold one sample beside the other."""
    return isinstance(value, Tensor) and value.dim() > 0


def is_batch(value: Any, samples: int) -> bool:
    """Whether it is a tensor with one row for each sample."""
    return has_rows(value) and value.shape[0] == samples


def mapped(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """Nested containers with each tensor changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {key: mapped(each, change) for key, each in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(mapped(each, change) for each in value))
    if isinstance(value, (list, tuple)):
        return type(value)(mapped(each, change) for each in value)
    return value


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """What nested containers hold, with the way to it."""
    if isinstance(value, Mapping):
        parts = list(value.items())
    elif isinstance(value, (list, tuple)):
        parts = list(enumerate(value))
    elif is_dataclass(value):
        parts = [(each.name, getattr(value, each.name)) for each in fields(value)]
    else:
        yield path, value
        return
    for key, each in parts:
        yield from leaves(each, f"{path}.{key}" if path else str(key))


def answered(model: Callable[..., Any], call: Call) -> dict[str, Any]:
    """What the model makes of a call; what it draws at random is always the same."""
    with torch.no_grad(), seeded(0):
        return dict(leaves(model(*call.args, **call.kwargs)))


class Differs(Exception):
    """An output is not what it should be."""


def difference(expected: Mapping[str, Any], found: Mapping[str, Any]) -> float:
    """The largest difference of two answers; Differs where it is more than rounding."""
    if list(expected) != list(found):
        raise Differs(f"{_outputs(found)} in place of {_outputs(expected)}")
    return max((_apart(name, expected[name], found[name]) for name in expected), default=0.0)


def _outputs(answer: Mapping[str, Any]) -> str:
    return f"outputs {', '.join(answer)}" if any(answer) else "one output"


def _apart(name: str, expected: Any, found: Any) -> float:
    where = f"output {name}: " if name else ""
    if not (isinstance(expected, Tensor) and isinstance(found, Tensor)):
        if type(expected) is not type(found) or expected != found:
            raise Differs(f"{where}{found!r} in place of {expected!r}")
        return 0.0
    if (expected.shape, expected.dtype) != (found.shape, found.dtype):
        raise Differs(f"{where}{kind(found)} in place of {kind(expected)}")
    return _largest(where, expected, found)


def _largest(where: str, expected: Tensor, found: Tensor) -> float:
    if expected.is_floating_point() or expected.is_complex():
        odd = ~torch.isfinite(expected)  # NaN and inf have to stand where they stood
        alike = torch.allclose(expected[odd], found[odd], equal_nan=True)
        expected, found = expected[~odd], found[~odd]
        allowed = _TOLERANCES.get(expected.dtype, _TOLERANCE)
    else:
        alike, allowed = True, 0.0
        expected, found = expected.double(), found.double()
    apart = float((expected - found).abs().max()) if expected.numel() else 0.0
    scale = max(1.0, float(expected.abs().max())) if expected.numel() else 1.0
    if not alike or not apart <= allowed * scale:
        raise Differs(f"{where}values that are up to {apart:.3g} apart")
    return apart


def kind(value: Any, samples: int | None = None) -> str:
    """Type and shape of a tensor: `float32 (batch, 3)`; of anything else its repr."""
    if not isinstance(value, Tensor):
        return repr(value)
    sizes = [str(size) for size in value.shape]
    if samples is not None and is_batch(value, samples):
        sizes[0] = BATCH
    inner = ", ".join(sizes) + ("," if len(sizes) == 1 else "")
    return f"{str(value.dtype).removeprefix('torch.')} ({inner})"
