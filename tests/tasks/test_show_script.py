"""`lab show HPARAMS`."""

from __future__ import annotations

import json

import pytest

from helpers import Project
from torch_lab.errors import ConfigurationError
from torch_lab.experiment.origin import Origin, OriginRun, content
from torch_lab.tasks.show_script import ScriptView, as_data, describe

EXPERIMENT = "lab_project/experiments/00_net"
TYPED = """
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Optimizer:
    lr: float = 0.1  # the step size


@dataclass
class Config:
    width: int
    optimizer: Optimizer = field(default_factory=Optimizer)


def train_config(config: Config): ...


def infer_config(config, folder: Path, *, threshold: float = 0.5): ...
"""


@pytest.fixture
def net(project, monkeypatch):
    project.write(f"{EXPERIMENT}/__main__.py", TYPED)
    monkeypatch.chdir(project.root)
    return project


def view(project: Project, hparams: str) -> ScriptView:
    path = project.write(f"{EXPERIMENT}/hparams.py", f"hparams = {hparams}\n")
    return ScriptView.of(path)


def test_a_typed_config_is_listed_field_by_field(net):
    text = describe(view(net, "{'seed': 3, 'config': {'width': 7, 'optimizer': {'lr': 1}}}"))
    first, hparams, config, functions, runs = text.split("\n\n")
    assert first == f"{EXPERIMENT}/hparams.py"
    assert "  seed                               3" in hparams.splitlines()
    assert "config." not in hparams
    assert config.splitlines() == [
        f"config: Config, {EXPERIMENT}/__main__.py:11",
        "                       type       default   script",
        "  config.width         int        required  7",
        "  config.optimizer     Optimizer",
        "  config.optimizer.lr  float      0.1       1       the step size",
    ]
    assert functions.splitlines() == [
        "functions",
        f"  {EXPERIMENT}/__main__.py:17  train_config(config: Config)",
        f"  {EXPERIMENT}/__main__.py:20  infer_config(config, folder: Path, *,"
        " threshold: float = 0.5)",
    ]
    assert runs == "no runs yet\n"


def test_an_untyped_config_is_listed_by_its_values(net):
    net.write(f"{EXPERIMENT}/__main__.py", "def train_config(config): ...\n")
    text = describe(view(net, "{'config': {'model': {'width': 7}, 'lr': 0.1}}"))
    lines = [line.split() for line in text.splitlines()]
    assert ["config.model.width", "7"] in lines
    assert ["config.lr", "0.1"] in lines
    assert "infer_config" not in text


def test_an_annotation_that_no_config_fits_is_said(net):
    net.write(f"{EXPERIMENT}/__main__.py", "def train_config(config: int): ...\n")
    with pytest.raises(ConfigurationError, match="a config can't be given as int"):
        view(net, "{}")


def test_data_is_json(net):
    data = json.loads(json.dumps(as_data(view(net, "{'config': {'width': 7}}"))))
    assert data["fields"] == [
        {"key": "config.width", "type": "int", "required": True, "value": 7, "doc": ""},
        {"key": "config.optimizer", "type": "Optimizer", "required": False, "doc": ""},
        {
            "key": "config.optimizer.lr",
            "type": "float",
            "required": False,
            "default": 0.1,
            "doc": "the step size",
        },
    ]
    assert data["hparams"]["config"] == {"width": 7, "optimizer": {"lr": 0.1}}
    assert [each["name"] for each in data["functions"]] == ["train_config", "infer_config"]
    assert (data["runs"], data["problems"]) == ([], [])


def test_what_is_wrong_does_not_hide_the_fields(net):
    shown = view(net, "{'config': {'widht': 7}}")
    assert shown.problem is not None
    assert len(shown.problem.problems) == 2
    assert "  config.width         int        required\n" in describe(shown)
    assert len(as_data(shown)["problems"]) == 2


def test_a_clone_says_what_it_is_one_of(net):
    shown = view(net, "{'config': {'width': 7}}")
    assert "cloned" not in describe(shown)
    assert as_data(shown)["cloned_from"] is None
    run = OriginRun("ab" * 16, "00_first-hparams_v3")
    origin = Origin("00_first", "lab_project/experiments/00_first", 1.79e9, run, "c" * 40)
    net.write(f"{EXPERIMENT}/origin.json", content(origin).decode())
    shown = view(net, "{'config': {'width': 7}}")
    lines = describe(shown).splitlines()
    where = "lab_project/experiments/00_first, the code of run 00_first-hparams_v3 (abababab)"
    assert lines[1] == f"  cloned from  {where}"
    assert lines[2].startswith("  cloned       20")
    assert lines[3] == f"  commit       {'c' * 40}"
    data = as_data(shown)["cloned_from"]
    assert data["experiment"] == "00_first"
    assert data["run"] == {"id": "ab" * 16, "name": "00_first-hparams_v3"}
