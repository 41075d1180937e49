from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from recording_helpers import Training

from torch_lab.errors import ConfigurationError
from torch_lab.recording.tables import csv_of


class Frame:
    """Like those of pandas and polars."""

    columns = ("a", "b")

    def __getitem__(self, name: str) -> list[int]:
        return {"a": [1, 2], "b": [3, 4]}[name]


@pytest.mark.parametrize(
    ("rows", "columns", "text"),
    [
        ([{"a": 1, "b": 2.5}, {"a": 3, "c": "x,y"}], None, 'a,b,c\n1,2.5,\n3,,"x,y"\n'),
        ([{"a": 1, "b": 2}], ["b"], "b\n2\n"),
        ([[1, 2], (3, None)], ["a", "b"], "a,b\n1,2\n3,\n"),
        ([[1, 2]], None, "0,1\n1,2\n"),
        ({"a": [1, 2], "b": torch.tensor([3, 4])}, None, "a,b\n1,3\n2,4\n"),
        (Frame(), None, "a,b\n1,3\n2,4\n"),
        (torch.tensor([[1, 2]]), ["a", "b"], "a,b\n1,2\n"),
        ([{"a": math.nan, "b": torch.tensor(0.5)}], None, "a,b\nnan,0.5\n"),
        ([], ["a"], "a\n"),
        (iter([["x\ny"]]), ["a"], 'a\n"x\ny"\n'),
    ],
    ids=["dicts", "chosen", "rows", "unnamed", "columns", "frame", "tensor", "nan", "empty", "it"],
)
def test_tables_of_all_sorts(rows: object, columns: list[str] | None, text: str) -> None:
    assert csv_of(rows, columns) == text


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ("abc", None, "can't make a table of 'abc'"),
        (3, None, r"can't make a table of 3 \(int\)"),
        ({"a": [1], "b": [1, 2]}, None, r"columns differ in length \(a: 1, b: 2\)"),
        ({"a": [1]}, ["b"], r"no column 'b'; it has \['a'\]"),
        ([[1], [1, 2]], None, "row 1 of the table has 2 values for 1 column"),
        ([[1], {"a": 2}], None, "a row of the table is .*expected all to be dicts"),
    ],
    ids=["text", "number", "lengths", "missing", "ragged", "mixed"],
)
def test_what_is_no_table_is_said(rows: object, columns: list[str] | None, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        csv_of(rows, columns)


def test_tables_are_files(tmp_path: Path) -> None:
    training = Training(tmp_path)
    training.recorder.table("confusion/val", {"a": [1]})
    (item,) = training.items()
    assert (item.kind, item.file) == ("table", "media/confusion/val/000001.csv")
    assert training.file(item).read_text() == "a\n1\n"
