"""load_module() where the project isn't: from other folders, after it is gone, bit for bit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import torch_lab
from helpers import Project
from torch_lab.errors import UsageError
from zygote import Zygote

EXPERIMENT = "src/away_lab/experiments/00_net"
HPARAMS = f"{EXPERIMENT}/hparams.py"
KINDS = ("lab", "plain", "compiled", "late", "named", "double")
MODELS = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, 1))
        self.scale = scale

    def forward(self, x):
        return self.scale * self.layers(x)
"""
MAIN = """\
import importlib
import importlib as other
from importlib import import_module
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import nn

import away_lab.scales
from torch_lab.data import DataLoader
from torch_lab.modules import LabModule, TrainLabModule

X = torch.linspace(-1, 1, 8).reshape(4, 2)


class Plain(pl.LightningModule):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, i):
        return self(batch[0]).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Late(Plain):
    def __init__(self, make):
        super().__init__(None)
        self.make = make

    def configure_model(self):
        self.net = self.net or self.make()


class Outputs(pl.Callback):
    def __init__(self, path):
        self.path = path

    def on_train_end(self, trainer, module):
        x = X.to(next(module.parameters()).dtype)
        with torch.no_grad():
            torch.save(module.eval()(x), self.path)


def net(config):
    scale = away_lab.scales.scale()
    assert scale == float(Path("data/raw/scale.txt").read_text())  # from the project's root
    names = {"named": [import_module, other.import_module, __import__]}.get(config["kind"], [])
    for named in names:
        assert named("away_lab.models", *[None] * (named is __import__)) is not None
        top = __import__("away_lab.models")
        assert top.models is importlib.import_module(config["where"])
    return importlib.import_module(config["where"]).Net(scale)


def module(config):
    kind = config["kind"]
    if kind == "plain":
        return Plain(net(config))
    if kind == "compiled":
        return torch.compile(Plain(torch.compile(net(config), backend="eager")), backend="eager")
    if kind == "late":
        return Late(lambda: net(config))
    optimizer = {"optimizer": torch.optim.SGD, "optimizer_kwargs": {"lr": 0.1}}
    return TrainLabModule(net(config), nn.MSELoss(), optimizer)


def train_config(config):
    data = [(x, {"y": x.sum()[None]}) for x in torch.randn(12, 2)]
    return {
        "module": module(config),
        "train_dataloaders": DataLoader(data, batch_size=4, shuffle=True),
        "callbacks": [Outputs(config["out"])],
    }


def infer_config(config):
    return {"module": module(config), "predict_dataloaders": DataLoader(list(X))}
"""
SCRIPT = """\
hparams = {
    "trainer": {"init": {"max_epochs": 2, "accelerator": "cpu"}, "validate": None},
    "config": {"kind": "lab", "where": "away_lab.models", "out": ""},
}
"""
SCALES = """\
from pathlib import Path


def scale():
    return float((Path(__file__).parent / "data" / "scale.txt").read_text())
"""
LOOSE_SCRIPT = 'hparams = {"trainer": {"init": {"max_epochs": 1}}, "config": {}}'
LOOSE_NET = """\
from torch import nn


def Net():
    return nn.Linear(2, 1)
"""
LOOSE = """\
from .net import Net
from torch import nn
import torch

from torch_lab.data import DataLoader
from torch_lab.modules import TrainLabModule


def train_config(config):
    optimizer = {"optimizer": torch.optim.SGD, "optimizer_kwargs": {"lr": 0.1}}
    data = [(x, {"y": x.sum()[None]}) for x in torch.randn(12, 2)]
    module = TrainLabModule(Net(), nn.MSELoss(), optimizer)
    return {"module": module, "train_dataloaders": DataLoader(data, batch_size=4)}
"""
ELSEWHERE = """\
import sys

import torch

import torch_lab

place, outputs, trust = sys.argv[1:]
x = torch.linspace(-1, 1, 8).reshape(4, 2)
for run in torch_lab.runs(place):
    kind = run.hparams["config"].get("kind")
    module = run.load_module("last", trust=trust == "yes")
    if kind is None:
        weights = torch.load(run.checkpoint("last"), weights_only=True)["state_dict"]
        print("loose", torch.equal(module.model.weight, weights["weight"]), module.training)
        continue
    with torch.no_grad():
        found = module(x.to(next(module.parameters()).dtype))
    expected = torch.load(f"{outputs}/{kind}.pt", weights_only=True)
    print(kind, found.dtype == expected.dtype and torch.equal(found, expected), module.training)
print(*(name for name in sys.modules if name.partition(".")[0] in ("away_lab", "loose")))
"""
SAME = ["loose True False", *(f"{kind} True False" for kind in reversed(KINDS)), ""]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, zygote: Zygote) -> Project:
    """A project whose package lies in src/, one run of each kind; each wrote its outputs."""
    project = Project(tmp_path_factory.mktemp("away") / "the project")
    project.write("pyproject.toml", '[project]\nname = "away"\nversion = "0"\n')
    project.write("src/away_lab/__init__.py", "")
    project.write("src/away_lab/models.py", MODELS)
    project.write("src/away_lab/scales.py", SCALES)
    project.write("src/away_lab/data/scale.txt", "2.5")  # a folder that no bundle holds
    project.write("data/raw/scale.txt", "2.5")
    project.write(f"{EXPERIMENT}/__main__.py", MAIN)
    project.write(HPARAMS, SCRIPT)
    project.write("loose/01_net/__main__.py", LOOSE)
    project.write("loose/01_net/net.py", LOOSE_NET)
    project.write("loose/01_net/hparams.py", LOOSE_SCRIPT)
    log = project.root.parent / "log"
    for kind in KINDS:
        sets = ["-s", f"kind={kind}", "-s", f"out={project.root.parent / kind}.pt"]
        sets += ["-s", "trainer.init.precision=64-true"] if kind == "double" else []
        zygote.run("train", HPARAMS, *sets, cwd=project.root, log=log)
    zygote.run("train", "loose/01_net/hparams.py", cwd=project.root, log=log)
    return project


@pytest.fixture
def copied(made: Project, tmp_path: Path) -> Project:
    shutil.copytree(made.root, tmp_path / "copied")
    return Project(tmp_path / "copied")


def outputs_equal(zygote: Zygote, made: Project, place: Path, cwd: Path, trust: str) -> list[str]:
    """What a process that stands in `cwd` finds of the runs at `place`."""
    script, log = cwd / "elsewhere.py", cwd / "log"
    script.write_text(ELSEWHERE)
    env = {"TMPDIR": str(made.root.parent)}  # what a forked process leaves there is deleted, too
    words = (script, place, made.root.parent, trust)
    assert zygote.wait(zygote.start_script(*words, cwd=cwd, log=log, env=env)) == 0, log.read_text()
    return log.read_text().splitlines()


def test_from_another_folder_when_the_experiment_is_deleted(
    made: Project, copied: Project, zygote: Zygote, tmp_path: Path
) -> None:
    shutil.rmtree(copied.root / EXPERIMENT)
    copied.write("src/away_lab/models.py", "raise SystemExit('present code')\n")
    cwd = tmp_path / "notebooks"
    cwd.mkdir()
    said = outputs_equal(zygote, made, copied.root, cwd, "no")
    assert said == SAME
    assert sorted(path.name for path in cwd.iterdir()) == ["elsewhere.py", "log"]


def test_without_the_project(made: Project, zygote: Zygote, tmp_path: Path) -> None:
    """Only the runs are left, and the data that they read."""
    cwd = tmp_path / "scratch"
    shutil.copytree(made.artifacts, cwd / "runs")
    shutil.copytree(made.root / "data" / "raw", cwd / "data" / "raw")
    shutil.copytree(made.root / "src/away_lab/data", cwd / "src/away_lab/data")
    said = outputs_equal(zygote, made, cwd / "runs", cwd, "yes")
    assert said == SAME


def test_layers_that_are_made_late_are_there_for_infer(
    made: Project, zygote: Zygote, tmp_path: Path
) -> None:
    words = ("--set", "kind=late", "--checkpoint", f"00_net-hparams_v{KINDS.index('late')}")
    zygote.run("infer", HPARAMS, *words, cwd=made.root, log=tmp_path / "log")


def test_a_run_with_its_own_pyproject_is_not_its_project(
    made: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "downloads" / "00_net-hparams_v0"
    shutil.copytree(made.artifacts / run.name, run)
    (run / "pyproject.toml").write_text('[tool.torch-lab]\nartifacts = ".."\n')
    monkeypatch.chdir(made.root)
    for place in (run.parent, run):
        with pytest.raises(UsageError, match="is not of this project"):
            torch_lab.runs(place)[0].load_module()


def test_a_fetched_run_is_asked_for_trust_in_its_own_project(copied: Project) -> None:
    path = copied.artifacts / "00_net-hparams_v0" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"fetched": {"task_id": "1"}}))
    run = torch_lab.runs(copied.root).where(kind="lab")[0]
    with pytest.raises(UsageError, match=r"load_module\(trust=True\)"):
        run.load_module()
