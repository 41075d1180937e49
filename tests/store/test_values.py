from __future__ import annotations

import datetime
import enum
import functools
import json
import math
import random
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from torch_lab.store.values import LONGEST_REPR, Opaque, decode, dumps, encode, loads

LEAVES: list[Callable[[random.Random], Any]] = [
    lambda rng: rng.choice([None, True, False]),
    lambda rng: rng.randint(-(10 ** rng.randint(0, 30)), 10**30),
    lambda rng: rng.choice([0.0, -0.0, 1e-300, 0.1, math.inf, -math.inf, rng.random()]),
    lambda rng: rng.choice(["", "a", "$type", "größe", "\udcff", "\0\n", "x" * 50, "日本"]),
    lambda rng: Path(rng.choice(["a", "/b/c", ".", "a b/$type"])),
    lambda rng: rng.randbytes(rng.randint(0, 9)),
    lambda rng: datetime.datetime(2026, 1, 2, 3, 4, 5, rng.randint(0, 999999), datetime.UTC),
    lambda rng: datetime.date(2026, 2, rng.randint(1, 28)),
    lambda rng: datetime.timedelta(rng.randint(-9, 9), rng.randint(0, 9), rng.randint(0, 9)),
    lambda rng: datetime.time(rng.randint(0, 23), 5),
    lambda rng: complex(rng.random(), math.inf),
    lambda rng: range(rng.randint(0, 9), 20, 3),
]


def any_value(rng: random.Random, depth: int = 4) -> Any:
    if depth == 0 or rng.random() < 0.3:
        return rng.choice(LEAVES)(rng)
    items = [any_value(rng, depth - 1) for _ in range(rng.randint(0, 4))]
    kind = rng.choice([list, tuple, set, frozenset, dict, dict])
    if kind in (list, tuple):
        return kind(items)
    hashable = [item for item in items if is_hashable(item)]
    return dict(zip(hashable, items, strict=False)) if kind is dict else kind(hashable)


def is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def exactly(value: Any) -> Any:
    """A form in which values are equal only if their types and signs are, too."""
    if isinstance(value, dict):
        return "dict", [(exactly(key), exactly(item)) for key, item in value.items()]
    if isinstance(value, (set, frozenset)):
        return type(value), sorted((exactly(item) for item in value), key=repr)
    if isinstance(value, (list, tuple)):
        return type(value), [exactly(item) for item in value]
    return type(value), repr(value)


@pytest.mark.parametrize("seed", range(20))
def test_values_survive_a_round_trip(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(100):
        value = any_value(rng)
        written = dumps(encode(value))
        strict = json.loads(written, parse_constant=lambda name: pytest.fail(name))
        assert exactly(decode(strict)) == exactly(value)
        assert exactly(loads(written)) == exactly(value)
        assert dumps(encode(loads(written))) == written


def test_nan_survives() -> None:
    assert math.isnan(loads(dumps(encode({"a": [math.nan]})))["a"][0])


def test_plain_values_stay_readable() -> None:
    plain = {"lr": 1e-3, "layers": [1, 2], "name": "größe", "on": True, "none": None}
    assert encode(plain) == plain
    assert "größe" in dumps(encode(plain)).decode()


@pytest.mark.parametrize(
    "value",
    [
        {"$type": "tuple", "value": [1]},
        {"$type": 1},
        {"a": {"$type": "dict", "value": [["$type", 2]]}},
        {1: "a", "1": "b", None: "c", False: "d", 2.5: "e", (1, 2): "f"},
    ],
)
def test_dicts_that_look_like_tags_or_have_other_keys(value: dict[Any, Any]) -> None:
    assert loads(dumps(encode(value))) == value


class Color(enum.IntEnum):
    RED = 1


Point = namedtuple("Point", "x y")


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Color.RED, "<Color.RED: 1>"),
        (is_hashable, f"{__name__}.is_hashable"),
        (Path, "pathlib.Path"),
        (math.sin, "math.sin"),
        (Broken(), "<Broken without a repr>"),
        (object, "builtins.object"),
    ],
)
def test_the_rest_is_kept_by_repr(value: object, text: str) -> None:
    kept = loads(dumps(encode(value)))
    assert kept == Opaque(text)
    assert repr(kept) == text
    assert encode(kept) == encode(value)


def test_addresses_are_left_out() -> None:
    class Plain:
        pass

    assert decode(encode(Plain())).text.endswith("<locals>.Plain object>")


def test_long_reprs_are_cut() -> None:
    kept = decode(encode(functools.partial(print, "x" * 10_000)))
    assert len(kept.text) == LONGEST_REPR + 1


def test_relatives_of_plain_types_become_plain() -> None:
    assert decode(encode(OrderedDict(a=1))) == {"a": 1}
    assert decode(encode(defaultdict(list, a=[1]))) == {"a": [1]}
    assert decode(encode(Point(1, 2))) == (1, 2)


class Scalar:
    """As numpy and torch have them; neither is needed here."""

    shape = ()
    dtype = "float32"

    def item(self) -> float:
        return math.inf


def test_scalars_of_array_libraries_become_numbers() -> None:
    assert loads(dumps(encode({"lr": Scalar()}))) == {"lr": math.inf}


def test_values_that_contain_themselves_or_are_too_deep() -> None:
    circle: list[Any] = []
    circle += [circle, circle]
    assert "contains itself" in repr(decode(encode(circle)))
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    dumps(encode(deep))
    shared = [1]
    assert decode(encode([shared, shared])) == [[1], [1]]


def test_huge_integers() -> None:
    assert loads(dumps(encode(10**5000))) == 10**5000


@pytest.mark.parametrize(
    "tagged",
    [
        {"$type": "quaternion", "value": [1, {"$type": "tuple", "value": []}], "unit": "rad"},
        {"$type": "tuple"},
        {"$type": ["x"], "value": 1},
        {"$type": "datetime", "value": "yesterday"},
    ],
)
def test_tags_of_a_newer_version_survive(tagged: dict[str, Any]) -> None:
    kept = loads(dumps(tagged))
    assert isinstance(kept, Opaque)
    assert encode(kept) == tagged
