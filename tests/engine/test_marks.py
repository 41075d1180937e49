"""Digests tell values apart that differ, and none that are the same."""

from __future__ import annotations

import functools
import itertools
import random
import threading
from collections import Counter, OrderedDict, deque

import numpy as np
import pytest
import torch

from torch_lab.engine.marks import Marker


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value


class Held:
    def __init__(self, **values):
        vars(self).update(values)


def counting(start):
    total = start

    def count():
        nonlocal total
        total += 1
        return total

    return count


def stepped(steps):
    made = (number for number in range(9))
    for _ in range(steps):
        next(made)
    return made


def advanced(made, steps=1):
    for _ in range(steps):
        next(made)
    return made


def called(function):
    function()
    return function


def drawn(generator):
    generator.random()
    return generator


def itself():
    made = [1]
    made.append(made)
    return made


SAME = [
    lambda: {"a": 1, "b": [2.5, None]},
    lambda: {"one", "two", "three"},
    lambda: torch.arange(6).reshape(2, 3),
    lambda: np.arange(6.0),
    lambda: Held(x=1, inner=Held(y=torch.ones(2))),
    lambda: Slotted(3),
    lambda: counting(0),
    lambda: stepped(2),
    lambda: advanced(itertools.cycle([1, 2, 3]), 2),
    lambda: functools.partial(int, "3"),
    lambda: torch.Generator().manual_seed(1),
    lambda: np.random.default_rng(1),
    lambda: random.Random(1),
    lambda: torch.nn.Linear(2, 2).bfloat16().weight.new_ones(2),
    lambda: deque([1, 2], maxlen=3),
    itself,
]
DIFFERENT = [
    (1, 2),
    (0.0, -0.5),
    ("a", b"a"),
    ([1, 2], [2, 1]),
    ({"a": 1}, {"a": 2}),
    (torch.zeros(2), torch.zeros(3)),
    (torch.zeros(2), torch.zeros(2, dtype=torch.float64)),
    (torch.tensor(0.1), torch.tensor(0.1).nextafter(torch.tensor(1.0))),
    (np.zeros(2), np.ones(2)),
    (Held(x=1), Held(x=2)),
    (Slotted(1), Slotted(2)),
    (counting(0), called(counting(0))),
    (stepped(1), stepped(2)),
    (itertools.cycle([1, 2, 3]), advanced(itertools.cycle([1, 2, 3]))),
    (np.random.default_rng(1), drawn(np.random.default_rng(1))),
    (random.Random(1), drawn(random.Random(1))),
    (int, float),
]


@pytest.mark.parametrize("make", SAME)
def test_what_is_the_same_has_the_same_digest(make):
    mark = Marker()
    assert mark(make()) == mark(make())


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_what_differs_has_another(one, other):
    mark = Marker()
    assert mark(one) != mark(other)


def test_what_a_restored_value_may_be_another_kind_of_is_the_same():
    mark = Marker()
    assert mark(1) == mark(1.0) == mark(np.float64(1)) == mark(np.int64(1))
    assert mark((1, 2)) == mark([1, 2])
    assert mark({"a": 1, "b": 2}) == mark(OrderedDict(b=2, a=1)) == mark(Counter(a=1, b=2))


def test_looking_changes_nothing():
    made = itertools.cycle([1, 2, 3])
    mark = Marker()
    before = mark(made)
    assert mark(made) == before
    assert [next(made) for _ in range(4)] == [1, 2, 3, 1]
    state = torch.get_rng_state()
    mark(torch.Generator())
    assert torch.equal(torch.get_rng_state(), state)


def test_folders_that_stand_for_the_same():
    assert Marker(["/a/x"])("/a/x/last.ckpt") == Marker(["/b"])("/b/last.ckpt")


def test_what_has_no_content_counts_by_its_kind_and_that_is_told():
    mark = Marker()
    assert mark(threading.Lock()) == mark(threading.Lock())
    assert mark.opaque
    mark([1])
    assert not mark.opaque
    assert mark(list(range(30_000))) == "large list"


def test_large_arrays_count_by_their_shape_where_that_is_asked():
    mark = Marker(size=100)
    assert mark(torch.zeros(100)) == mark(torch.ones(100))
    assert mark(np.zeros(100)) == mark(np.ones(100))
    assert mark(torch.zeros(2)) != mark(torch.ones(2))


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(0),
        torch.tensor(1.0),
        torch.ones(3, dtype=torch.bool),
        torch.ones(3, dtype=torch.complex64),
        torch.eye(3).to_sparse(),
        torch.empty(3, device="meta"),
        torch.ones(4, 3).t(),
    ],
)
def test_every_kind_of_tensor_has_one(tensor):
    mark = Marker()
    assert mark(tensor) == mark(tensor.clone())
