"""Transforms of samples."""

from __future__ import annotations

import copy
import pickle
from collections import namedtuple
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from torch_lab.errors import ConfigurationError
from torch_lab.modules import LabModule
from torch_lab.transforms import (
    BaseDataTransform,
    BaseMetadataTransform,
    BaseTransform,
    TransformCompose,
    TransformIterable,
    TransformSeparate,
    TransformSeperate,
)

Pair = namedtuple("Pair", ["left", "right"])


class Scale(BaseDataTransform):
    def __init__(self, k: float) -> None:
        super().__init__()
        self.k = k

    def compute(self, x: Any) -> Any:
        return self.k * x


class Shift(BaseTransform):
    """Without super().__init__(), as it is easily forgotten."""

    def __init__(self, by: float) -> None:
        self.by = by

    def compute(self, x: Any, md: Any) -> Any:
        return x + self.by, {**md, "shifted": self.by}


class Late(BaseTransform):
    def __init__(self, inner: BaseTransform) -> None:
        self.inner = inner
        super().__init__()

    def compute(self, x: Any, md: Any) -> Any:
        return self.inner(x, md)


class Rename(BaseMetadataTransform):
    def compute(self, md: Any) -> Any:
        return {"target": md["y"]}


def plain(x: Any, md: Any) -> Any:
    return x - 1, md


class TestBases:
    def test_what_compute_gets(self) -> None:
        assert Scale(2)(3, {"y": 1}) == (6, {"y": 1})
        assert Rename()(3, {"y": 1}) == (3, {"target": 1})
        assert Shift(2)(3, {}) == (5, {"shifted": 2})
        assert Late(Scale(2))(3, {}) == (6, {})
        assert BaseTransform()(3, {}) == (3, {})
        assert Scale(2)(3) == (6, None)

    def test_buffers_move_with_a_module(self) -> None:
        class Mean(BaseDataTransform):
            def __init__(self) -> None:
                super().__init__()
                self.register_buffer("mean", torch.ones(2))

        for transform in (Mean(), TransformCompose(plain, Mean()), TransformIterable(Mean())):
            lab = LabModule(nn.Linear(2, 2), output_transform=transform).double()
            assert {buffer.dtype for buffer in lab.buffers()} == {torch.float64}

    def test_repr(self) -> None:
        assert repr(Scale(0.5)) == "Scale(k=0.5)"
        assert repr(TransformIterable(Scale(2), ["a"])) == (
            "TransformIterable(apply_to=['a'], transform=Scale(k=2))"
        )
        assert repr(Scale(1) + Scale(2)) == "TransformCompose(\n  Scale(k=1),\n  Scale(k=2),\n)"

    def test_copies_and_pickles(self) -> None:
        transform = TransformCompose(Shift(1), Late(Scale(3)), plain, TransformIterable(plain, [0]))
        for other in (copy.deepcopy(transform), pickle.loads(pickle.dumps(transform))):
            assert other[:3](1, {}) == (5, {"shifted": 1})
            assert repr(other[0]) == "Shift(by=1)"


class TestCompose:
    def test_order(self) -> None:
        assert TransformCompose(Scale(2), plain, Shift(10))(3, {}) == (15, {"shifted": 10})
        assert TransformCompose()(3, {}) == (3, {})

    def test_addition(self) -> None:
        a, b, c = Scale(2), Shift(1), Scale(3)
        assert a + b == TransformCompose(a, b)
        assert (a + b) + c == a + (b + c) == TransformCompose(a, b, c)
        assert a + plain == TransformCompose(a, plain)
        assert plain + a == TransformCompose(plain, a)
        assert plain + (a + b) == TransformCompose(plain, a, b)
        with pytest.raises(TypeError):
            a + 1  # type: ignore[operator]

    def test_as_a_sequence(self) -> None:
        steps = (Scale(2), plain, Shift(1))
        transform = TransformCompose(*steps)
        assert len(transform) == 3
        assert transform[1] is plain
        assert transform[-1] is steps[2]
        assert tuple(transform) == steps
        assert transform[:2] == TransformCompose(*steps[:2])
        with pytest.raises(IndexError):
            transform[3]

    def test_equality(self) -> None:
        a, b = Scale(2), Shift(1)
        assert TransformCompose(a, b) == TransformCompose(a, b)
        assert TransformCompose(a, b) != TransformCompose(b, a)
        assert TransformCompose(a) != a
        assert hash(TransformCompose(a, b)) == hash(TransformCompose(a, b))

    def test_subclasses_stay_one_step(self) -> None:
        class Twice(TransformCompose):
            def compute(self, x: Any, md: Any) -> Any:
                return super().compute(*super().compute(x, md))

        transform = Twice(Scale(2)) + plain
        assert len(transform) == 2
        assert transform(3, {}) == (11, {})

    def test_errors_say_where(self) -> None:
        def wrong(x: Any, md: Any) -> Any:
            raise KeyError("gone")

        with pytest.raises(KeyError) as caught:
            TransformCompose(Scale(2), wrong)(3, {})
        assert "in step 1 of TransformCompose" in caught.value.__notes__[0]

    def test_only_callables(self) -> None:
        with pytest.raises(ConfigurationError, match="not a transform"):
            TransformCompose([Scale(2)])  # type: ignore[arg-type]


class TestIterable:
    def test_chosen_parts(self) -> None:
        x = {"a": 1, "b": 2, "c": 3}
        out, md = TransformIterable(Shift(10), ["a", "c"])(x, {})
        assert out == {"a": 11, "b": 2, "c": 13}
        assert md == {"shifted": 10}
        assert x == {"a": 1, "b": 2, "c": 3}

    @pytest.mark.parametrize(
        ("x", "expected"),
        [
            ({"a": 1, "b": 2}, {"a": 2, "b": 4}),
            ([1, 2], [2, 4]),
            ((1, 2), (2, 4)),
            (Pair(1, 2), Pair(2, 4)),
        ],
    )
    def test_all_parts(self, x: Any, expected: Any) -> None:
        out, _ = TransformIterable(Scale(2))(x, {})
        assert out == expected
        assert type(out) is type(expected)

    def test_arrays_and_tensors(self) -> None:
        for x in (np.ones((2, 3)), torch.ones(2, 3)):
            out, _ = TransformIterable(Scale(2), [1])(x, {})
            assert out.tolist() == [[1, 1, 1], [2, 2, 2]]
            assert x.tolist() == [[1, 1, 1], [1, 1, 1]]

    def test_mistakes(self) -> None:
        with pytest.raises(TypeError, match="needs a dict"):
            TransformIterable(Scale(2))(3, {})
        with pytest.raises(ConfigurationError, match="list of keys"):
            TransformIterable(Scale(2), "ab")
        with pytest.raises(KeyError) as caught:
            TransformIterable(Scale(2), ["z"])({"a": 1}, {})
        assert "at 'z'" in caught.value.__notes__[0]


class TestNoPair:
    def test_each_says_what_came_back(self) -> None:
        def forgetful(x: Any, _: Any) -> Any:
            return x

        two, said = torch.ones(2, 3), "a tensor of shape (2, 3)"
        with pytest.raises(TypeError, match=r"\(x, md\); step 1 returned ") as caught:
            TransformCompose(plain, forgetful)(two, {})
        assert str(caught.value).endswith(said)
        assert "in step 1 of TransformCompose" in caught.value.__notes__[0]
        with pytest.raises(TypeError, match=r"forgetful.* returned an array of shape"):
            TransformIterable(forgetful)([np.ones(2)], {})
        with pytest.raises(TypeError, match=r"returned 1.0 \(float\)"):
            TransformSeparate(forgetful, lambda _: ([1.0], [{}]))(two, {})

    def test_a_list_will_do(self) -> None:
        assert TransformCompose(lambda x, md: [x, md])(1, {}) == (1, {})


class TestSeparate:
    def test_sample_by_sample(self) -> None:
        seen = []

        def note(x: torch.Tensor, md: Any) -> Any:
            seen.append(md)
            return x.sum().item(), md["name"]

        x, md = torch.arange(6.0).reshape(3, 2), {"y": torch.arange(3), "name": ["a", "b", "c"]}
        assert TransformSeparate(note)(x, md) == ([1.0, 5.0, 9.0], ["a", "b", "c"])
        assert seen[1] == {"y": torch.tensor(1), "name": "b"}
        assert TransformSeperate is TransformSeparate

    def test_own_functions(self) -> None:
        x, md = torch.arange(2), {"y": torch.arange(2)}
        separated = TransformSeparate(plain, lambda batch: (list(batch[0]), [{}, {}]))
        assert separated(x, md) == ([-1, 0], [{}, {}])
        with pytest.raises(ValueError, match="zip"):
            TransformSeparate(plain, lambda batch: [[1, 2], [{}]])(x, md)
