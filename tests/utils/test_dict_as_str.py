"""dict_as_str."""

from __future__ import annotations

from pathlib import Path

from torch_lab.utils import dict_as_str


def test_nested() -> None:
    text = dict_as_str({"a": {"b": 1.5, "c": [1, "x"]}, "d": None})
    assert text == (
        '{\n  "a": {\n    "b": 1.5,\n    "c": [\n      1,\n      "x"\n    ]\n  },\n  "d": null\n}'
    )


def test_what_json_does_not_know() -> None:
    text = dict_as_str({"path": Path("a/b"), (1, 2): {3}, 4: "ü"}, indent=0)
    assert text == '{\n"path": "a/b",\n"(1, 2)": "{3}",\n"4": "ü"\n}'
