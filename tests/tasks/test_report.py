from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from torch_lab.hparams.overriding import config_keys
from torch_lab.store.record import Record
from torch_lab.store.values import Opaque
from torch_lab.tasks.queued import _edited
from torch_lab.tasks.report import set_words


def words(*overrides: str, **edited: object) -> str:
    keys = {key.replace("__", "."): value for key, value in edited.items()}
    record = Record("r_v0", "1", "completed", overrides=overrides, queued={"edited": keys})
    return shlex.join(set_words(record))


def test_a_run_that_was_never_queued() -> None:
    record = Record("r_v0", "1", "completed", overrides=("lr=3", "seed=1", "api_key=***"))
    assert set_words(record) == ["--set", "lr=3"]


def test_an_edit_replaces_what_the_run_was_begun_with() -> None:
    said = words("lr=1", "config.model.width=2", "model.depth=3", config__model__width=4)
    assert said == "--set lr=1 --set model.depth=3 --set model.width=4"
    assert words("sizes=[1]", "size=2", config__sizes=[3]) == "--set size=2 --set 'sizes=[3]'"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "x=True"),
        (None, "x=None"),
        (1e-05, "x=1e-05"),
        (float("nan"), "x=nan"),
        ("a b", "x=a b"),
        (Path("/data"), "x=/data"),
        ((1, "a"), "x=(1, 'a')"),
    ],
)
def test_values_are_written_as_set_reads_them(value: object, text: str) -> None:
    assert shlex.split(words(config__x=value)) == ["--set", text]


@pytest.mark.parametrize("value", [Opaque("nn.ReLU"), [float("inf")], [Path("x")], "***"])
def test_what_can_not_be_written_is_left_out(value: object) -> None:
    assert words("x=1", config__x=value) == ""


def test_other_sections_are_left_out_and_never_confused() -> None:
    assert words(seed=3, trainer__init__max_epochs=3) == ""
    assert words(config__seed=3) == "--set config.seed=3"
    assert config_keys(["config.seed=3"]) == ["config.seed"]


def test_what_was_edited_while_the_run_was_queued() -> None:
    queued = {"config": {"lr": 0.1, "api_key": "***", "act": Opaque("nn.ReLU")}, "seed": 1}
    edited = {"config": {"lr": 0.2, "api_key": "sesame", "act": Opaque("nn.ReLU")}, "seed": 1}
    assert _edited(queued, edited) == {"config.lr": 0.2, "config.api_key": "***"}
    assert _edited(queued, queued) == {}
