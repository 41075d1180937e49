from __future__ import annotations

import pytest

from torch_lab.utils.text import (
    format_duration,
    format_size,
    nearest,
    plural,
    shown,
    suggestion,
)


def test_nearest():
    words = ["checkpoint", "config", "trainer"]
    assert nearest("chekpoint", words) == "checkpoint"
    assert nearest("Config", words) == "config"
    assert nearest("lr", words) is None
    assert nearest("lr", []) is None


def test_suggestion():
    assert suggestion("tranier", ["trainer", "task"]) == 'did you mean "trainer"?'
    assert suggestion("xyz", ["trainer", "task"]) == "there are trainer, task"
    assert suggestion("xyz", [1, 2]) == "there are none"
    assert suggestion("!", [f"k{i}" for i in range(20)]).endswith("k11, ...")


def test_plural():
    assert [plural(n, "run") for n in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]
    assert plural(2, "batch", "batches") == "2 batches"


def test_shown():
    assert shown("abc") == "'abc' (str)"
    assert shown(None) == "None"
    assert len(shown("x" * 1000)) < 80


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (3.14, "3.1 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.7, "1 h 00 min"),
        (7620, "2 h 07 min"),
        (90000, "1 d 01 h"),
    ],
)
def test_format_duration(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (4100, "4.1 kB"),
        (200_000_000, "200 MB"),
        (999_999, "1.0 MB"),
        (3.2e15, "3200 TB"),
    ],
)
def test_format_size(count, text):
    assert format_size(count) == text
