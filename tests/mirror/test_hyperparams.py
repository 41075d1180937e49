from __future__ import annotations

import datetime
import json
import math
from pathlib import Path

import pytest

from torch_lab.errors import HparamsError
from torch_lab.mirror.task import as_hyperparams, from_hyperparams
from torch_lab.store.values import Opaque, dumps, encode, loads

VALUES = {
    "int": 3,
    "float": 0.1,
    "nan": math.nan,
    "infinite": -math.inf,
    "bool": True,
    "none": None,
    "text": "a b",
    "number_as_text": "3",
    "empty_text": "",
    "empty_dict": {},
    "empty_list": [],
    "empty_tuple": (),
    "list": [1, 2.5, None, "a", [True]],
    "tuple": (0.9, 0.999),
    "dicts": [{"kernel": (3, 3)}, {}],
    "nested": {"deeper": {"deepest": 1, "empty": {}}, "other": 2},
    "by_number": {1: "cat", 2: "dog"},
    "by_anything": {None: 1, "a": 2},
    "with/slash": {"50%": 1},
    "path": Path("data/raw"),
    "date": datetime.date(2026, 1, 2),
    "delta": datetime.timedelta(days=1),
    "set": {1, 2},
    "bytes": b"abc",
    "range": range(1, 9, 2),
}


def hparams(**config):
    return {"task": {}, "trainer": {"init": {"max_epochs": 3}}, "seed": 0, "config": config}


def texts(section):
    return {name: (item["value"], item["type"]) for name, item in section.items()}


def edited(base, **values):
    """What comes back after these texts were typed into the web page."""
    section = as_hyperparams(base)
    for name, text in values.items():
        section[name] = {**section.get(name, {}), "value": text}
    return from_hyperparams(section, base)


def edited_config(name, old, text):
    return edited(hparams(**{name: old}), **{f"config/{name}": text})["config"][name]


@pytest.mark.parametrize("name", VALUES)
def test_values_survive_the_way_there_and_back(name):
    base = hparams(**{name: VALUES[name]})
    section = json.loads(json.dumps(as_hyperparams(base)))
    found = from_hyperparams(section, loads(dumps(encode(base))))
    assert repr(found) == repr(base)  # a NaN is no NaN's equal


def test_numbers_of_any_length_survive():
    base = hparams(huge=10**5000)
    assert from_hyperparams(as_hyperparams(base), loads(dumps(encode(base)))) == base


def test_long_values_are_cut_and_come_back_from_the_run():
    base = hparams(numbers=list(range(100_000)))
    section = as_hyperparams(base)
    assert len(section["config/numbers"]["value"]) == 100_001
    assert from_hyperparams(section, base) == base


def test_keys_are_nested_by_slashes_and_types_are_kept():
    base = hparams(lr=0.1, model={"width": 8, "names": ("a",)}, bias=False, best=None, extra={})
    assert texts(as_hyperparams(base)) == {
        "task": ("{}", "dict"),
        "trainer/init/max_epochs": ("3", "int"),
        "seed": ("0", "int"),
        "config/lr": ("0.1", "float"),
        "config/model/width": ("8", "int"),
        "config/model/names": ('["a"]', "tuple"),
        "config/bias": ("False", "bool"),
        "config/best": ("", ""),
        "config/extra": ("{}", "dict"),
    }


def test_names_are_told_apart():
    found = as_hyperparams({"config": {"a/b": 1, "a": {"b": 2}, "a%2Fb": 3}})
    assert texts(found) == {
        "config/a%2Fb": ("1", "int"),
        "config/a/b": ("2", "int"),
        "config/a%252Fb": ("3", "int"),
    }


def test_secrets_are_masked_and_come_back_from_the_run():
    base = hparams(api_key="abc123", url="https://me:pass@host/x")
    section = as_hyperparams(base)
    assert "abc123" not in str(section)
    assert "pass" not in str(section)
    assert from_hyperparams(section, base) == base


@pytest.mark.parametrize(
    ("old", "text", "new"),
    [
        (1, "2", 2),
        (1, "1e3", 1000),
        (0.1, "1", 1.0),
        (0.1, "nan", math.nan),
        (True, "false", False),
        ("adam", "3", "3"),
        (None, "0.5", 0.5),
        (None, "adam", "adam"),
        ([1], "[1, 2]", [1, 2]),
        ([1], "(1, 2)", [1, 2]),
        ([True], "[true, null]", [True, None]),
        ((0.9, 0.99), "[0.5, 0.6]", (0.5, 0.6)),
        ((0.9, 0.99), "(0.5, 0.6)", (0.5, 0.6)),
        ({}, '{"momentum": 0.9}', {"momentum": 0.9}),
        ({}, "{'momentum': 0.9}", {"momentum": 0.9}),
        ({1: "cat"}, '[[1, "dog"]]', {1: "dog"}),
        ({1: "cat"}, "{1: 'dog'}", {1: "dog"}),
        (Path("a"), "b/c", Path("b/c")),
        (datetime.date(2026, 1, 2), "2026-03-04", datetime.date(2026, 3, 4)),
        ({1}, "[2]", {2}),
        (range(3), "[0, 9, 3]", range(0, 9, 3)),
    ],
)
def test_an_edited_text_has_the_type_that_was_there(old, text, new):
    found = edited_config("value", old, text)
    assert repr(found) == repr(new)
    assert type(found) is type(new)


def test_keys_with_slashes_can_be_edited():
    base = hparams(**{"loss/train": {"50%": 1}})
    found = edited(base, **{"config/loss%2Ftrain/50%25": "2"})
    assert found["config"] == {"loss/train": {"50%": 2}}


def test_what_training_itself_reads_is_edited_as_it_expects_it():
    base = hparams() | {"trainer": {"init": {"devices": "auto"}, "validate": None}}
    found = edited(base, **{"trainer/init/devices": "2", "trainer/validate": "{}"})
    assert found["trainer"] == {"init": {"devices": 2}, "validate": {}}


def test_keys_of_sections_can_be_added():
    found = edited(hparams(), **{"trainer/init/min_epochs": "2", "trainer/fit/ckpt_path": "last"})
    assert found["trainer"]["init"] == {"max_epochs": 3, "min_epochs": 2}
    assert found["trainer"]["fit"] == {"ckpt_path": "last"}


def test_what_was_taken_away_is_as_it_was():
    base = hparams(lr=0.1)
    assert from_hyperparams({}, base) == base


def test_the_base_is_left_alone():
    base = hparams(model={"width": 8})
    edited(base, **{"config/model/width": "16"})
    assert base == hparams(model={"width": 8})


def test_all_mistakes_are_said_at_once():
    base = hparams(lr=0.1, on=True, betas=(1, 2), made=Opaque("torch.nn.ReLU"), day={1})
    with pytest.raises(HparamsError) as error:
        edited(
            base,
            **{
                "config/lr": "fast",
                "config/on": "maybe",
                "config/betas": "3",
                "config/made": "torch.nn.GELU",
                "config/day": "{",
                "config/lrr": "1",
                "config/model/width": "8",
            },
        )
    assert str(error.value) == "\n".join(
        [
            "the ClearML task: 7 problems in hparams",
            "  config/lr: expected a number, as in the script (0.1 (float)); got 'fast' (str)",
            "  config/on: expected a bool, as in the script (True (bool)); got 'maybe' (str)",
            "  config/betas: expected a tuple, as in the script; got '3' (str)",
            "  config/made: only the script can say this, it can't be written as text",
            "  config/day: expected JSON, got '{' (str)",
            '  config/lrr: config has no lrr; did you mean "lr"? (new keys go into the script)',
            "  config/model/width: there is no config.model to put width into",
        ]
    )
