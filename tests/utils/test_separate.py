"""separate and default_separate reverse torch's collate."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from torch_lab.utils import _separate, default_separate, separate

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
    batch = default_collate(samples)
    assert plain(_separate.samples(batch)) == expected
    if not isinstance(samples[0], list):
        assert plain(default_separate(batch)) == expected
        assert plain(separate(batch)) == expected


def test_a_batch_of_data_and_metadata() -> None:
    batch = default_collate([(torch.zeros(2), {"y": 0}), (torch.ones(2), {"y": 1})])
    xs, mds = [[0.0, 0.0], [1.0, 1.0]], [{"y": 0}, {"y": 1}]
    assert plain(separate(batch)) == [xs, mds]
    assert plain(default_separate(tuple(batch))) == (xs, mds)
    assert plain(default_separate((batch[0], {}))) == (xs, [{}, {}])
    assert plain(_separate.samples(batch)) == [list(pair) for pair in zip(xs, mds, strict=True)]


def test_data_of_several_parts() -> None:
    x = [torch.arange(3), {"a": torch.arange(3)}]
    md = {"name": ["a", "b", "c"], "scale": [0.5, 1.5, 2.5], "pair": [torch.arange(3)] * 2}
    xs, mds = default_separate((x, md))
    assert plain(xs) == [[i, {"a": i}] for i in range(3)]
    assert plain(mds)[1] == {"name": "b", "scale": 1.5, "pair": [1, 1]}


@pytest.mark.parametrize("batch", [["a", "b"], [0.5, 1.5], ["a", None]])
def test_samples_already(batch: list[Any]) -> None:
    assert default_separate(batch) == batch


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
    parts = separate([torch.arange(2)], separate_fn_map={(torch.Tensor,): lambda b, **_: ["x"]})
    assert parts == [["x"]]


@pytest.mark.parametrize("batch", [3, "text", torch.tensor(1), {"a": 3}, {}, [], None])
def test_what_holds_no_samples(batch: Any) -> None:
    with pytest.raises(TypeError):
        separate(batch)


def test_batches_of_different_sizes() -> None:
    for batch in ({"a": torch.arange(2), "b": torch.arange(3)}, (torch.ones(2), torch.ones(3))):
        with pytest.raises(ValueError, match="a Tensor in a batch of 2 samples holds 3"):
            separate(batch)
