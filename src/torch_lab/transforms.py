"""Base classes of transforms: what happens to a sample `(x, md)` on its way out of a dataset.

A transform maps `(x, md)` to `(x, md)`; so does every plain callable that stands in for one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self, overload

import numpy as np
import torch
from torch import nn

from torch_lab.errors import ConfigurationError
from torch_lab.utils._separate import default_separate
from torch_lab.utils.text import shown

Transform = Callable[[Any, Any], tuple[Any, Any]]


class BaseTransform(nn.Module):
    """Maps `(x, md)` to `(x, md)`: override `compute(x, md)`."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:  # noqa: ARG004
        """Prepare the module, so that a subclass that never calls `super().__init__()` works."""
        self = super().__new__(cls)
        nn.Module.__init__(self)
        return self

    def __init__(self) -> None:
        # Not nn.Module's, which would forget transforms that were assigned before this call.
        """Nothing is left to do: `__new__` has done it."""

    def compute(self, x: Any, md: Any) -> tuple[Any, Any]:
        """Return the transformed `(x, md)`."""
        return x, md

    def forward(self, x: Any, md: Any = None) -> tuple[Any, Any]:
        """Apply the transform to a sample."""
        return self.compute(x, md)

    def __add__(self, other: Transform) -> TransformCompose:
        return _chain(self, other)

    def __radd__(self, other: Transform) -> TransformCompose:
        return _chain(other, self)

    def __repr__(self) -> str:
        settings = {**vars(self), **dict(self.named_children())}
        shown = (f"{k}={v!r}" for k, v in settings.items() if k not in _INTERNAL and k[0] != "_")
        return f"{type(self).__name__}({', '.join(shown)})"


_INTERNAL = frozenset(vars(nn.Module()))


class BaseDataTransform(BaseTransform):
    """Changes the data alone: override `compute(x)`."""

    def compute(self, x: Any) -> Any:  # type: ignore[override]
        """Return the transformed data."""
        return x

    def forward(self, x: Any, md: Any = None) -> tuple[Any, Any]:
        """Apply the transform to a sample's data."""
        return self.compute(x), md


class BaseMetadataTransform(BaseTransform):
    """Changes the metadata alone, "y" included: override `compute(md)`."""

    def compute(self, md: Any) -> Any:  # type: ignore[override]
        """Return the transformed metadata."""
        return md

    def forward(self, x: Any, md: Any = None) -> tuple[Any, Any]:
        """Apply the transform to a sample's metadata."""
        return x, self.compute(md)


class TransformCompose(BaseTransform):
    """Applies transforms, or plain callables, one after the other; made by `a + b` too.

    It has a length, and can be indexed and sliced: `transform[:2]` are the first two steps.
    """

    def __init__(self, *transforms: Transform) -> None:
        super().__init__()
        for each in transforms:
            _require_callable(each, "TransformCompose(first, second, …)")
        self.transforms = transforms
        for position, each in enumerate(transforms):
            if isinstance(each, nn.Module):  # so that its buffers go to the device with this one
                self.add_module(str(position), each)

    def compute(self, x: Any, md: Any) -> tuple[Any, Any]:
        """Apply the transforms in their order."""
        for position, transform in enumerate(self.transforms):
            try:
                x, md = _pair(transform(x, md), f"step {position}")
            except Exception as error:  # any: it is raised again, and now says where it happened
                error.add_note(f"in step {position} of TransformCompose: {transform!r}")
                raise
        return x, md

    def __len__(self) -> int:
        return len(self.transforms)

    def __iter__(self) -> Iterator[Transform]:
        return iter(self.transforms)

    @overload
    def __getitem__(self, index: int) -> Transform: ...
    @overload
    def __getitem__(self, index: slice) -> TransformCompose: ...
    def __getitem__(self, index: int | slice) -> Transform | TransformCompose:
        if isinstance(index, slice):
            return TransformCompose(*self.transforms[index])
        return self.transforms[index]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TransformCompose):
            return NotImplemented
        return self.transforms == other.transforms

    def __hash__(self) -> int:  # nn.Module walks its children through sets
        return hash((TransformCompose, len(self.transforms)))

    def __repr__(self) -> str:
        lines = "".join(f"  {line}\n" for each in self for line in f"{each!r},".splitlines())
        return f"TransformCompose(\n{lines})" if lines else "TransformCompose()"


class TransformIterable(BaseTransform):
    """Applies a transform to parts of the data: the keys or positions in `apply_to`, or all.

    The data is a dict, list, tuple, array or tensor; the one given is left as it was. `md` goes
    through every application.
    """

    def __init__(self, transform: Transform, apply_to: Iterable[Any] | None = None) -> None:
        super().__init__()
        _require_callable(transform, "TransformIterable(transform, apply_to)")
        if isinstance(apply_to, (str, bytes)):
            raise ConfigurationError(f"apply_to is a list of keys: [{apply_to!r}]")
        self.transform = transform
        self.apply_to = None if apply_to is None else list(apply_to)

    def compute(self, x: Any, md: Any) -> tuple[Any, Any]:
        """Apply the transform to each chosen part."""
        parts = _editable(x)
        for key in _keys(x) if self.apply_to is None else self.apply_to:
            try:
                parts[key], md = _pair(self.transform(parts[key], md), self.transform)
            except Exception as error:  # any: it is raised again, and now says where it happened
                error.add_note(f"in TransformIterable, at {key!r}: {self.transform!r}")
                raise
        return _restored(x, parts), md


class TransformSeparate(BaseTransform):
    """Applies a transform to each sample of a collated batch; returns the lists of all x and md.

    Made for `output_transform`. `separate_fn((x, md))` returns the list of all x and that of all
    md, as `torch_lab.utils.default_separate` does.
    """

    def __init__(
        self, transform: Transform, separate_fn: Callable[[Any], Any] | None = None
    ) -> None:
        super().__init__()
        _require_callable(transform, "TransformSeparate(transform)")
        self.transform = transform
        self.separate_fn = separate_fn or default_separate

    def compute(self, x: Any, md: Any) -> tuple[list[Any], list[Any]]:
        """Apply the transform sample by sample."""
        xs, mds = self.separate_fn((x, md))
        samples = zip(xs, mds, strict=True)
        pairs = [_pair(self.transform(*each), self.transform) for each in samples]
        return [x for x, _ in pairs], [md for _, md in pairs]


TransformSeperate = TransformSeparate  # as 1.x spelt it


def _chain(first: Transform, second: Transform) -> TransformCompose:
    if not (callable(first) and callable(second)):
        return NotImplemented
    return TransformCompose(*_steps(first), *_steps(second))


def _steps(transform: Transform) -> tuple[Transform, ...]:
    # A subclass may do more than its steps, so it stays one step.
    return transform.transforms if type(transform) is TransformCompose else (transform,)


def _require_callable(transform: object, usage: str) -> None:
    if isinstance(transform, type) and not issubclass(transform, tuple):  # a named pair makes one
        raise ConfigurationError(
            f"not a transform: the class {transform.__name__}",
            hint=f"Make an instance of it: {transform.__name__}(…).",
        )
    if not callable(transform):
        raise ConfigurationError(
            f"not a transform: {transform!r} ({type(transform).__name__})",
            hint=f"{usage} takes transforms or functions of (x, md).",
        )


def _pair(result: object, who: object) -> tuple[Any, Any]:
    """What a transform returned; a tensor of length 2 would unpack as well."""
    if isinstance(result, (tuple, list)) and len(result) == 2:
        return result[0], result[1]
    told = shown(result)
    if isinstance(result, (torch.Tensor, np.ndarray)):
        kind = "a tensor" if isinstance(result, torch.Tensor) else "an array"
        told = f"{kind} of shape {tuple(result.shape)}"
    raise TypeError(f"a transform returns (x, md); {who} returned {told}")


def _keys(x: Any) -> Iterable[Any]:
    return list(x) if isinstance(x, Mapping) else range(len(x))


def _editable(x: Any) -> Any:
    if isinstance(x, torch.Tensor):
        return x.clone()
    if isinstance(x, tuple):
        return list(x)
    if isinstance(x, (Mapping, Sequence, np.ndarray)) and not isinstance(x, (str, bytes)):
        return copy.copy(x)
    raise TypeError(f"TransformIterable needs a dict, list, tuple, array or tensor, not {type(x)}")


def _restored(x: Any, parts: Any) -> Any:
    if not isinstance(x, tuple):
        return parts
    return type(x)(*parts) if hasattr(x, "_fields") else type(x)(parts)
