"""What only the arguments of a module need, in checkpoints that nobody has to trust."""

from __future__ import annotations

import functools
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from torch_lab.checkpoints import files
from torch_lab.errors import CheckpointUnsafe


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.function = double


def double(x: Any) -> Any:
    return 2 * x


def touch(path: str) -> None:
    Path(path).touch()


class Calls:
    """Its pickle calls a function with a path."""

    def __init__(self, function: Any, path: Path) -> None:
        self.reduced = (function, (str(path),))

    def __reduce__(self) -> Any:
        return self.reduced


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.ckpt"


HERE = Own.__module__


@pytest.mark.parametrize("key", ["hyper_parameters", "datamodule_hyper_parameters"])
def test_arguments_are_opened_as_names(path: Path, key: str) -> None:
    arguments = {
        "model": Own(),
        "function": double,
        "partial": functools.partial(double, 3),
        "places": [Path("data"), {"kind": Own}],
        "number": np.float32(3),
        "rate": 0.1,
        "optimizer": torch.optim.Adam,
    }
    torch.save({"state_dict": {"w": torch.ones(2)}, key: arguments}, path)
    contents = files.load(path)
    assert torch.equal(contents["state_dict"]["w"], torch.ones(2))
    opened = contents[key]
    assert opened["model"] == f"{HERE}.Own"
    assert opened["function"] == f"{HERE}.double"
    assert opened["partial"] == "functools.partial"
    assert opened["places"][1] == {"kind": f"{HERE}.Own"}
    assert opened["number"].endswith("multiarray.scalar")
    assert (opened["rate"], opened["optimizer"]) == (0.1, torch.optim.Adam)


def test_nothing_is_called(path: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    torch.save({"hyper_parameters": {"x": Calls(touch, made)}}, path)
    assert files.load(path)["hyper_parameters"] == {"x": f"{HERE}.touch"}
    torch.save({"hyper_parameters": {"x": Calls(os.mkdir, made)}}, path)  # a module torch blocks
    with pytest.raises(CheckpointUnsafe, match="mkdir"):
        files.load(path)
    assert not made.exists()


def with_attribute() -> OrderedDict[str, Any]:
    state = OrderedDict(w=torch.ones(1))
    state.extra = Own()  # type: ignore[attr-defined]
    return state


@pytest.mark.parametrize(
    "contents",
    [
        {"state_dict": {"w": Own()}},
        {"callbacks": {"Mine": [(1, {Own})]}},
        {"state_dict": with_attribute()},
        {"loops": {double: 1}},
    ],
    ids=["weights", "deep", "attribute", "key"],
)
def test_elsewhere_they_are_refused(path: Path, contents: dict[str, Any]) -> None:
    torch.save({**contents, "hyper_parameters": {"x": functools.partial(double)}}, path)
    with pytest.raises(CheckpointUnsafe, match=rf"could run code \({HERE}\.(Own|double)\)"):
        files.load(path)
    assert files.load(path, trust=True).keys() >= contents.keys()
