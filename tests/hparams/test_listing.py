"""The fields of a typed config as they are listed."""

from __future__ import annotations

from typed_configs import SGD, Block, Config, Paths, Whole

from torch_lab.hparams.docs import field_docs
from torch_lab.hparams.listing import fields
from torch_lab.hparams.structures import MISSING


def listed(kind, config) -> dict:
    return {field.key: field for field in fields(kind, config)}


def test_keys_are_those_that_set_takes():
    found = listed(Config, {"model": {"width": 3}, "optimizer": SGD(lr=2.0)})
    assert [key for key in found if key.startswith(("model", "optimizer", "paths"))] == [
        "model",
        "model.width",
        "model.dropout",
        "optimizer",
        "paths",
    ]
    assert "steps" not in found
    assert (found["model.width"].value, found["model.dropout"].value) == (3, MISSING)
    assert (found["model.width"].required, found["model.dropout"].default) == (True, 0.0)
    assert found["model"].required
    assert found["optimizer"].type == "Adam | SGD"
    assert found["optimizer"].value == {"lr": 2.0, "momentum": 0.9}
    assert found["optimizer"].default == {"lr": 0.1, "momentum": 0.5}
    assert found["augment.n_crops"].default == 1
    given = listed(Config, {"paths": {"train": "a"}})
    assert [key for key in given if key.startswith("paths")] == [
        "paths",
        "paths.train",
        "paths.test",
        "paths.more",
    ]


def test_descriptions_come_from_where_they_are():
    found = listed(Config, {})
    assert {key: field.doc for key, field in found.items() if field.doc} == {
        "model.width": "units",
        "model.dropout": "the share of units left out",
        "optimizer": "which steps to take, and how large they are",
        "schedule": '"cosine", "STEP" or None',
        "epochs": "how often",
        "augment.flip": "mirror half of the images",
        "augment.angle": "degrees",
    }
    assert listed(Paths, {})["test"].doc == "may be missing"
    assert list(listed(Whole, {})) == [
        "width",
        "schedules",
        "augment",
        "augment.flip",
        "augment.angle",
        "augment.n_crops",
        "several",
        "named",
    ]


def test_a_class_without_source_has_no_descriptions():
    names: dict = {}
    exec("class Made:\n    a: int  # lost\n", names)
    assert field_docs(names["Made"]) == {}
    assert field_docs(Block)["width"] == "units"
