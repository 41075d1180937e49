"""What a config tells of who reads it, and what the code says of its keys."""

from __future__ import annotations

import argparse
import copy
import json
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from torch_lab.tasks.check.mentions import Mentions
from torch_lab.tasks.check.reading import Reads

CONFIG = {"a": 1, "b": {"x": 1, "y": 2}, "c": 3}


def takes_all(a: int, **rest: Any) -> Any:
    return rest


def takes_these(a: int, b: Any, c: int) -> int:
    return a


def watched() -> tuple[Reads, Any]:
    reads = Reads()
    return reads, reads.watch(copy.deepcopy(CONFIG))


def keys(paths: set[tuple[str, ...]]) -> str:
    return " ".join(sorted(".".join(path) for path in paths))


def test_what_is_asked_for_by_name() -> None:
    reads, config = watched()
    assert config["a"] + config["b"]["x"] == 2
    assert config.get("c") == 3
    assert keys(reads.named) == "a b b.x c"
    assert not reads.taken | reads.attributes
    assert not reads.absent


def test_what_is_asked_for_and_not_there() -> None:
    reads, config = watched()
    assert config.get("d", 4) == 4
    assert "e" not in config["b"]
    assert config.pop("f", None) is None
    assert config.setdefault("g", 7) == 7
    assert keys(set(reads.absent)) == "b.e d f g"
    assert all(place and "test_check_reading.py:" in place for place in reads.absent.values())


def test_a_pattern_reads_by_name() -> None:
    reads, config = watched()
    match config:
        case {"a": found}:
            assert found == 1
    assert keys(reads.named) == "a"


@pytest.mark.parametrize(
    "pour",
    [
        lambda config: argparse.Namespace(**config),
        lambda config: SimpleNamespace(
            **config,
        ),
        lambda config: takes_all(**config),
    ],
)
def test_keys_that_become_attributes(pour: Any) -> None:
    reads, config = watched()
    pour(config)
    assert keys(reads.attributes) == "a b c"
    assert not reads.named | reads.taken


@pytest.mark.parametrize(
    "pour",
    [
        lambda config: takes_these(**config),
        lambda config: dict(config),
        lambda config: {**config, "d": 1},
        lambda config: config | {"d": 1},
        lambda config: {"d": 1} | config,
        lambda config: {}.update(config),
        lambda config: [*config],
        lambda config: list(config.values()),
        lambda config: sorted(config.items(), key=str),
        lambda config: "{a}".format(**config),
    ],
)
def test_keys_that_go_somewhere_together(pour: Any) -> None:
    reads, config = watched()
    pour(config)
    assert keys(reads.taken) == "a b c"
    assert not reads.named | reads.attributes


def test_what_is_sent_away_is_read_there() -> None:
    reads, config = watched()
    assert pickle.loads(pickle.dumps(config)) == CONFIG
    assert type(pickle.loads(pickle.dumps(config))) is dict
    assert keys(reads.taken) == "a b b.x b.y c"


def test_copies_tell_too() -> None:
    reads, config = watched()
    assert copy.deepcopy(config)["b"]["y"] == 2
    assert config.copy()["c"] == copy.copy(config)["c"] == 3
    assert keys(reads.named) == "b b.y c"


def test_it_is_a_dict_and_looking_at_it_is_no_reading() -> None:
    reads, config = watched()
    assert isinstance(config, dict)
    assert config == CONFIG
    assert repr(config) == repr(CONFIG)
    assert len(config) == 3
    assert not reads.named | reads.taken | reads.attributes
    assert json.loads(json.dumps(config)) == CONFIG


def test_what_is_no_dict_is_left_as_it_is() -> None:
    config = SimpleNamespace(a=1)
    assert Reads().watch(config) is config


def test_what_code_says(tmp_path: Path) -> None:
    file = tmp_path / "code.py"
    file.write_text(
        "def build(config, width):\n"
        '    return {"lr": 0.1, "opt": config.decay, **config["net.dim"]}\n'
    )
    said = Mentions(iter([file, tmp_path / "gone.py"]))
    assert {"net.dim", "net", "dim"} <= said.texts
    assert not {"lr", "opt"} & said.texts
    assert said.attributes == {"decay"}
    assert said.somewhere("width")
    assert not said.somewhere("lr")
    assert not said.opaque


@pytest.mark.parametrize("line", ["asdict(config)", "vars(config)", "config.__dict__"])
def test_code_that_lists_fields_without_their_names(line: str, tmp_path: Path) -> None:
    file = tmp_path / "code.py"
    file.write_text(f"shown = {line}\n")
    assert Mentions(iter([file])).opaque
