"""`separate`, the reverse of torch's collate, and `default_separate`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

_SAMPLES = (str, bytes, int, float, complex, type(None))

SeparateFunctions = Mapping[type | tuple[type, ...], Callable[..., Any]]


def separate(batch: Any, *, separate_fn_map: SeparateFunctions | None = None) -> Any:
    """The samples that a collated batch was made of, as a list.

    Tensors and arrays are split along their first dimension, mappings of batches become a list of
    mappings. A list or tuple of several batches becomes one of the lists of their samples:
    `xs, mds = separate((x, md))`. Strings and numbers in a list are samples already.
    `separate_fn_map` says how to split other types (or these in another way): type, or tuple of
    types, → `function(batch, separate_fn_map=…)` that returns a list.
    """
    separator = _Separator(separate_fn_map or {})
    return separator.parts(batch) if separator.is_several(batch) else separator.samples(batch)


def default_separate(batch: Any) -> Any:
    """`separate` for what torch's default_collate makes."""
    return separate(batch)


def samples(batch: Any) -> list[Any]:
    """The reverse of torch's default_collate, lists and tuples included: the samples it got."""
    return _Separator({}).samples(batch)


class _Separator:
    def __init__(self, functions: SeparateFunctions) -> None:
        self.functions = functions

    def samples(self, batch: Any) -> list[Any]:
        size = self._size(batch)
        if size is None:
            raise _nothing_in(batch)
        return self._split(batch, size)

    def is_several(self, batch: Any) -> bool:
        """Whether it is a list or tuple of batches, such as (x, md)."""
        if self._custom(batch) is not None or hasattr(batch, "_fields"):
            return False
        return _is_sequence(batch) and len(batch) > 0 and not _is_samples(batch)

    def parts(self, batch: Any) -> Any:
        """The samples of each of several batches."""
        size = self._size(batch)
        if size is None:
            raise _nothing_in(batch)
        separated = [self._split(each, size) for each in batch]
        return separated if isinstance(batch, list) else tuple(separated)

    def _custom(self, batch: Any) -> Callable[..., Any] | None:
        for kind, function in self.functions.items():
            if isinstance(batch, kind):
                return function
        return None

    def _size(self, batch: Any) -> int | None:
        """How many samples are in `batch`; None where empty containers leave it open."""
        if (function := self._custom(batch)) is not None:
            return len(function(batch, separate_fn_map=self.functions))
        if isinstance(batch, Mapping):
            return self._size_of_any(batch.values())
        if _is_sequence(batch):
            return len(batch) if _is_samples(batch) else self._size_of_any(batch)
        return _length(batch)

    def _size_of_any(self, batches: Any) -> int | None:
        return next((size for each in batches if (size := self._size(each)) is not None), None)

    def _split(self, batch: Any, size: int) -> list[Any]:
        if (function := self._custom(batch)) is not None:
            samples = list(function(batch, separate_fn_map=self.functions))
        elif isinstance(batch, Mapping):
            samples = self._split_mapping(batch, size)
        elif not _is_sequence(batch):
            _length(batch)  # refuses what can't be split
            samples = list(batch)
        else:
            samples = list(batch) if _is_samples(batch) else self._split_sequence(batch, size)
        if len(samples) != size:
            kind = type(batch).__name__
            raise ValueError(f"a {kind} in a batch of {size} samples holds {len(samples)}")
        return samples

    def _split_mapping(self, batch: Mapping[Any, Any], size: int) -> list[Any]:
        columns = {key: self._split(values, size) for key, values in batch.items()}
        return [_like(batch, {key: columns[key][i] for key in columns}) for i in range(size)]

    def _split_sequence(self, batch: Sequence[Any], size: int) -> list[Any]:
        columns = [self._split(values, size) for values in batch]
        rows = ([column[i] for column in columns] for i in range(size))
        if hasattr(batch, "_fields"):  # a namedtuple
            return [type(batch)(*row) for row in rows]
        return [row if isinstance(batch, list) else tuple(row) for row in rows]


def _is_sequence(batch: Any) -> bool:
    return isinstance(batch, Sequence) and not isinstance(batch, (str, bytes))


def _is_samples(batch: Sequence[Any]) -> bool:
    """Whether it is a list of samples: collate leaves strings so, other collations numbers too."""
    return len(batch) > 0 and all(isinstance(each, _SAMPLES) for each in batch)


def _nothing_in(batch: Any) -> TypeError:
    return TypeError(f"there are no samples in {batch!r}: it holds no tensor, array or list")


def _length(batch: Any) -> int:
    shape = getattr(batch, "shape", None)
    if not shape or isinstance(batch, (str, bytes)):
        raise TypeError(f"can't split {batch!r} ({type(batch).__name__}) into samples")
    return int(shape[0])


def _like(batch: Mapping[Any, Any], sample: dict[Any, Any]) -> Any:
    if type(batch) is dict or not isinstance(batch, MutableMapping):
        return sample
    clone = copy.copy(batch)  # keeps what a subclass has beside its items
    clone.update(sample)
    return clone
