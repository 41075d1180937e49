"""separate and default_separate reverse torch's collate."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from torch_lab.utils import default_separate, separate

Pair = namedtuple("Pair", ["left", "right"])


def plain(value: Any) -> Any:
    """Tensors as numbers and lists, to compare."""
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if hasattr(value, "_fields"):
        return type(value)(*map(plain, value))
    return type(value)(map(plain, value)) if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize(
    "samples",
    [
        [torch.tensor([1, 2]), torch.tensor([3, 4])],
        [1.5, 2.5],
        ["a", "b", "c"],
        [{"x": 1, "name": "a"}, {"x": 2, "name": "b"}],
        [{"x": {"deep": [1, 2]}}, {"x": {"deep": [3, 4]}}],
        [[1, "a"], [2, "b"], [3, "c"]],
        [Pair(1, "a"), Pair(2, "b")],
        [{"x": 1, "more": {}}, {"x": 2, "more": {}}],
    ],
)
def test_the_reverse_of_default_collate(samples: list[Any]) -> None:
    expected = plain(samples)
    assert plain(default_separate(default_collate(samples))) == expected
    assert plain(separate(default_collate(samples))) == expected


def test_a_batch_of_data_and_metadata() -> None:
    batch = default_collate([(torch.zeros(2), {"y": 0}), (torch.ones(2), {"y": 1})])
    assert plain(separate(batch)) == [[[0.0, 0.0], {"y": 0}], [[1.0, 1.0], {"y": 1}]]
    assert plain(separate(tuple(batch)))[1] == ([1.0, 1.0], {"y": 1})


def test_arrays_and_other_mappings() -> None:
    batch = OrderedDict(a=np.arange(2), b=torch.arange(2))
    samples = separate(batch)
    assert [type(sample) for sample in samples] == [OrderedDict, OrderedDict]
    assert samples[1] == {"a": 1, "b": 1}
    assert batch["a"].tolist() == [0, 1]


def test_own_types() -> None:
    class Text:
        def __init__(self, text: str) -> None:
            self.text = text

    def by_character(batch: Text, *, separate_fn_map: Any) -> list[str]:
        return list(batch.text)

    batch = {"x": torch.arange(3), "text": Text("abc")}
    samples = separate(batch, separate_fn_map={Text: by_character})
    assert [sample["text"] for sample in samples] == ["a", "b", "c"]
    samples = separate([torch.arange(2)], separate_fn_map={(torch.Tensor,): lambda b, **_: ["x"]})
    assert samples == [["x"]]


@pytest.mark.parametrize("batch", [3, "text", torch.tensor(1), {"a": 3}, {}, [], None])
def test_what_holds_no_samples(batch: Any) -> None:
    with pytest.raises(TypeError):
        separate(batch)


def test_batches_of_different_sizes() -> None:
    with pytest.raises(ValueError, match="a Tensor in a batch of 2 samples holds 3"):
        separate({"a": torch.arange(2), "b": torch.arange(3)})
