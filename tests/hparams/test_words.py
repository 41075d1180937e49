"""Words of a command line as annotations ask for them."""
# ruff: noqa: UP007, UP045 - the older spellings are tested too

from __future__ import annotations

import datetime
from enum import Enum, IntEnum
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NewType, Optional, Union

import pytest

from torch_lab.hparams.annotations import expected, spelled
from torch_lab.hparams.converting import Unfit
from torch_lab.hparams.words import from_text


class Color(Enum):
    RED = "red"
    BLUE = "RED"  # its value is another's name


class Level(IntEnum):
    LOW = 1
    HIGH = 2


Seed = NewType("Seed", int)


@pytest.mark.parametrize(
    ("annotation", "word", "value"),
    [
        (int, "-3", -3),
        (int, "1e3", 1000),
        (Seed, "3", 3),
        (float, "1e-3", 0.001),
        (float, "3", 3.0),
        (bool, "Yes", True),
        (bool, "0", False),
        (str, "3", "3"),
        (str, "", ""),
        (Path, "a/b", Path("a/b")),
        (PurePosixPath, "a", PurePosixPath("a")),
        (Color, "BLUE", Color.BLUE),
        (Color, "RED", Color.RED),
        (Color, "red", Color.RED),
        (Level, "2", Level.HIGH),
        (Literal["a", 1, True], "1", 1),
        (Literal["a", 1, True], "True", True),
        (Literal[Color.RED], "RED", Color.RED),
        (Optional[int], "none", None),
        (Optional[str], "none", None),
        (Optional[str], "3", "3"),
        (Union[str, int], "3", 3),
        (int | Path, "x", Path("x")),
        (int | float, "3", 3),
        (list, "1,b", ["1", "b"]),
        (list[Path], "a,b", [Path("a"), Path("b")]),
        (tuple[int, str], "1,b", (1, "b")),
        (tuple[int, ...], "(1, 2)", (1, 2)),
        (set[str], "['a', 'a']", {"a"}),
        (dict[str, int], "{'a': 1}", {"a": 1}),
        (complex, "1+2j", 1 + 2j),
        (Any, "1", "1"),
        ("Missing", "1", "1"),
    ],
)  # fmt: skip
def test_words_that_fit(annotation, word, value):
    found = from_text(annotation, word, "x")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("annotation", "word", "problem"),
    [
        (int, "3.5", "expected an int, got '3.5'"),
        (int, "inf", "expected an int, got 'inf'"),
        (float, "fast", "expected a number, got 'fast'"),
        (bool, "maybe", "expected true or false, got 'maybe'"),
        (Level, "MID", 'expected "LOW" or "HIGH", got \'MID\''),
        (Optional[int], "x", "expected an int, got 'x'"),
        (int | bool, "x", "expected an int or true or false, got 'x'"),
        (tuple[int, int], "1", "expected a tuple of 2, got [1] (list)"),
        (dict[str, int], "a", "expected a dict, got 'a'"),
        (datetime.date, "2020-01-01", "expected a date, got '2020-01-01'"),
    ],
)
def test_words_that_do_not_fit(annotation, word, problem):
    with pytest.raises(Unfit) as caught:
        from_text(annotation, word, "x")
    assert str(caught.value) == f"x: {problem}"


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int | None, "int | None"),
        (Optional[Path], "Path | None"),
        (Literal["a", 1], "Literal['a', 1]"),
        (dict[str, list[int | Color]], "dict[str, list[int | Color]]"),
        (tuple[float, ...], "tuple[float, ...]"),
        (Seed, "int"),
        (Any, "Any"),
        ("Missing", "Missing"),
    ],
)
def test_annotations_are_spelled_as_in_source(annotation, text):
    assert spelled(annotation) == text


def test_what_is_expected_in_words():
    assert expected(int | list[str] | None) == "an int, a list or None"
    assert expected(Literal["a"]) == '"a"'
    assert expected(Color) == '"red" or "BLUE"'
