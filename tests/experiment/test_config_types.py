"""What a configuration function takes its config as."""

from __future__ import annotations

import pytest

from script_helpers import clean_imports, make_package, write
from torch_lab import experiment
from torch_lab.errors import ConfigurationError, HparamsError

COMMON = """
from __future__ import annotations
import argparse
import functools
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

import pytorch_lightning as pl
from pydantic import BaseModel

if TYPE_CHECKING:
    from nowhere import Unknown

@dataclass
class Config:
    width: int
    sizes: list[int] = field(default_factory=list)

class Model(BaseModel):
    width: int = 1

class Keys(TypedDict):
    width: int

class Has(Protocol):
    width: int
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    make_package(tmp_path)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "my_project" / "experiments" / "00_a"
    write(folder / "hparams.py", "hparams = {}")
    with clean_imports(tmp_path):
        yield folder


def make(folder, *lines: str) -> experiment.Experiment:
    write(folder / "__main__.py", COMMON + "\n".join(lines))
    return experiment.find(folder / "hparams.py")


def config_type(folder, *lines: str):
    return experiment.config_type(make(folder, *lines), "train_config")


@pytest.mark.parametrize("name", ["Config", "Model", "Keys"])
def test_structures_are_honored(folder, name):
    found = config_type(folder, f"def train_config(config: {name}): ...")
    assert found.__name__ == name


def test_an_optional_one(folder):
    found = config_type(folder, "def train_config(config: Config | None = None): ...")
    assert found.__args__[0].__name__ == "Config"


@pytest.mark.parametrize(
    "annotation",
    ["dict", "dict[str, Any]", "Mapping", "Mapping[str, int]", "Any", "object", "Unknown",
     "OrderedDict", "Has", "dict | None", "'dict'"],
)  # fmt: skip
def test_a_dict_stays_a_dict(folder, annotation):
    assert config_type(folder, f"def train_config(config: {annotation}): ...") is None


def test_what_a_config_cannot_be_made_to(folder):
    line = COMMON.count("\n") + 1
    with pytest.raises(ConfigurationError) as caught:
        config_type(folder, "def train_config(config: argparse.Namespace): ...")
    assert str(caught.value) == (
        "train_config(config: Namespace), my_project/experiments/00_a/__main__.py:"
        f"{line}: a config can't be given as Namespace\n"
        "annotate it as a dataclass, a TypedDict, a pydantic model, or a dict"
    )


def test_without_an_annotation_nothing_is_imported(folder):
    lines = ["def train_config(config): ...", "raise SystemExit('imported')"]
    assert config_type(folder, *lines) is None


@pytest.mark.parametrize(
    "lines",
    [
        ["def typed(config: Config): ...", "train_config = typed"],
        ["def typed(config: Config): ...", "def train_config(config): ...", "train_config = typed"],
        ["@functools.wraps", "def train_config(config): ...",
         "def train_config(config: Config): ..."],
        ["if True:", "    def train_config(config: Config): ..."],
        ["def other(config: Config): ...", "from dataclasses import *", "train_config = other"],
    ],
)  # fmt: skip
def test_where_the_source_does_not_tell_it_is_imported(folder, lines):
    assert config_type(folder, *lines).__name__ == "Config"


def test_a_function_from_another_module(folder):
    write(folder / "common.py", f"{COMMON}def train_config(config: Model): ...\n")
    assert config_type(folder, "from .common import train_config").__name__ == "Model"


BUILD = [
    "def train_config(config: Config):",
    "    config.sizes.append(9)",
    "    module = pl.LightningModule()",
    "    module.given = config",
    "    return dict(module=module, train_dataloaders=[1])",
]


def test_train_config_gets_an_instance_of_its_own(folder):
    config = {"width": 3, "sizes": [1]}
    made = experiment.train_configuration(make(folder, *BUILD), config)
    assert type(made.module.given).__name__ == "Config"
    assert (made.module.given.width, made.module.given.sizes) == (3, [1, 9])
    assert made.config is made.module.given
    assert config == {"width": 3, "sizes": [1]}


def test_mistakes_name_the_hyperparameter_script(folder):
    with pytest.raises(HparamsError) as caught:
        experiment.train_configuration(make(folder, *BUILD), {"widht": 3})
    assert str(caught.value).splitlines()[:2] == [
        "my_project/experiments/00_a/hparams.py: 2 problems in hparams",
        '  config.widht: unknown key; did you mean "width"?',
    ]


def test_infer_config_may_have_another(folder):
    found = make(
        folder,
        "def infer_config(config: Model, n: int):",
        "    return dict(module=pl.LightningModule(), predict_dataloaders=[config.width * n])",
    )
    made = experiment.infer_configuration(found, {"width": 2}, ["4"])
    assert made.predict_dataloaders == [8]
    with pytest.raises(HparamsError, match=r"config\.wdth: unknown key"):
        experiment.infer_configuration(found, {"wdth": 2}, ["4"])
