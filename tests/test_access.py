"""runs(), Run, load_module() and build(), on runs that `train` made."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import torch_lab
from helpers import Project, environment
from torch_lab.access import Run
from torch_lab.errors import (
    CheckpointNotFound,
    ConfigurationError,
    HparamsError,
    RunNotFound,
    StoreError,
    TorchLabError,
    UsageError,
)
from zygote import Zygote

HPARAMS = "access_project/experiments/00_net/hparams.py"
MODELS = """\
from torch import nn

WIDTH = 3


def net(scale: float) -> nn.Module:
    return Net(scale)


class Net(nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 1))
        self.scale = scale

    def forward(self, x):
        from access_project.constants import SIGN

        return SIGN * self.scale * self.layers(x)
"""
MAIN = """\
from pathlib import Path

import torch

import access_project.constants
import access_project.models as models
from access_project.constants import SIGN
from torch_lab.data import DataLoader
from torch_lab.modules import LabModule, TrainLabModule

from ...models import net

ROOT = Path(__file__).parents[3]


def train_config(config):
    assert models.net is net
    assert access_project.constants.SIGN == SIGN
    scale = float((ROOT / config["file"]).read_text())
    optimizer = {"optimizer": torch.optim.SGD, "optimizer_kwargs": {"lr": config["lr"]}}
    x = torch.randn(12, 2)
    data = [(each, {"y": each.sum().reshape(1)}) for each in x]
    return {
        "module": TrainLabModule(net(scale), torch.nn.MSELoss(), optimizer),
        "train_dataloaders": DataLoader(data, batch_size=4, shuffle=True),
        "val_dataloaders": DataLoader(data, batch_size=4),
    }


def infer_config(config, scale: float = 2.0):
    loader = DataLoader([(each, {}) for each in torch.zeros(2, 2)])
    return {"module": LabModule(net(scale)), "predict_dataloaders": loader}
"""
SCRIPT = """\
hparams = {
    "trainer": {"init": {"max_epochs": 2, "accelerator": "cpu", "log_every_n_steps": 1}},
    "seed": 3,
    "config": {"lr": 0.1, "file": "data/scale.txt", "shape": (1, 2)},
}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, zygote: Zygote) -> Project:
    """A project with three runs and a dev run; tests copy it before they change it."""
    project = Project(tmp_path_factory.mktemp("access") / "project")
    project.write("pyproject.toml", '[project]\nname = "access-project"\nversion = "0"\n')
    project.write("access_project/__init__.py", "")
    project.write("access_project/constants.py", "SIGN = 1.0\n")
    project.write("access_project/models.py", MODELS)
    project.write("access_project/experiments/00_net/__main__.py", MAIN)
    project.write(HPARAMS, SCRIPT)
    project.write("data/scale.txt", "2.0")
    log = project.root.parent / "log"
    for words in ([], ["-s", "lr=0.01"], ["-s", "lr=0.0"], ["-d", "1"]):
        zygote.run("train", HPARAMS, *words, cwd=project.root, log=log)
    return project


@pytest.fixture
def copy(made: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    root = tmp_path / "copy"
    shutil.copytree(made.root, root)
    for path in root.glob("data/artifacts/*/run.json"):  # a copy's runs have ids of their own
        content = json.loads(path.read_text())
        content["id"] = os.urandom(16).hex()
        path.write_text(json.dumps(content))
    monkeypatch.chdir(root)
    return Project(root)


@pytest.fixture(autouse=True)
def _forgotten() -> Any:
    """The present code is imported anew in each test."""
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "access_project"]:
        del sys.modules[name]


def run_of(copy: Project, lr: float = 0.1) -> Run:
    return torch_lab.runs(copy.root).where(lr=lr)[0]


# -- runs --------------------------------------------------------------------------------------


def test_runs_are_listed_newest_first_without_importing_torch(made: Project) -> None:
    code = (
        "import sys, torch_lab\n"
        "runs = torch_lab.runs()\n"
        "best = runs.where('lr<1', status='completed').best('loss/validate')\n"
        "names = [run.name for run in runs]\n"
        "print(names, best.hparams['config']['lr'], best.metrics()[0]['step'])\n"
        "print('torch' in sys.modules, 'pytorch_lightning' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=made.root / "access_project" / "experiments",
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    names = [f"00_net-hparams_v{n}" for n in (2, 1, 0)]
    assert done.stdout.splitlines() == [f"{names} 0.1 0", "False False"]


def test_a_sequence(made: Project) -> None:
    runs = torch_lab.runs(made.root / HPARAMS)
    assert len(runs) == 3
    assert [run.name for run in runs[1:]] == ["00_net-hparams_v1", "00_net-hparams_v0"]
    assert runs[-1].name == "00_net-hparams_v0"
    assert repr(runs[0]) == f"<Run 00_net-hparams_v2 ({runs[0].id[:8]}) completed>"
    assert repr(runs[:1]).splitlines()[0].split() == [
        *("name", "id", "status", "loss/validate", "best", "duration", "age")
    ]
    assert repr(runs[:0]) == "no runs"
    everything = torch_lab.runs(made.root, dev=True)
    assert next(run.name for run in everything) == "dev_00_net-hparams_v0"


def test_runs_are_read_when_they_are_looked_at(copy: Project) -> None:
    runs = torch_lab.runs()
    chosen = runs.where(status="completed")
    shutil.rmtree(copy.artifacts / "00_net-hparams_v2")
    assert len(chosen) == 2


def test_a_folder_of_runs_will_do(made: Project, tmp_path: Path) -> None:
    shutil.copytree(made.artifacts, tmp_path / "elsewhere")
    assert len(torch_lab.runs(tmp_path / "elsewhere")) == 3
    with pytest.raises(UsageError, match=r"there is no .*nowhere"):
        len(torch_lab.runs(tmp_path / "nowhere"))


def test_damaged_runs_are_passed_over_and_named(copy: Project) -> None:
    (copy.artifacts / "00_net-hparams_v1" / "run.json").write_text("{")
    with pytest.warns(UserWarning, match=r"hparams_v1/run.json is damaged.*passed over"):
        assert len(torch_lab.runs()) == 2


def test_what_a_run_tells(made: Project) -> None:
    run = run_of(made)
    assert (run.experiment, run.script, run.seed) == ("00_net", HPARAMS, 3)
    assert run.directory == made.artifacts / "00_net-hparams_v0"
    assert run.hparams["config"] == {"lr": 0.1, "file": "data/scale.txt", "shape": (1, 2)}
    run.hparams["config"]["lr"] = 7
    assert run.hparams["config"]["lr"] == 0.1
    assert {"last", "best"} <= set(run.checkpoints)
    assert run.parent is None
    assert run.reason is None
    assert run.media() == []
    assert run.checkpoint() == run.directory / "checkpoints" / "step-6.ckpt"
    with pytest.raises(CheckpointNotFound, match=r"it has .*last, best"):
        run.checkpoint("bst")


def test_metrics_are_the_rows_of_the_journal(made: Project) -> None:
    run = run_of(made)
    rows = run.metrics()
    assert [(row["batch"], row["step"]) for row in rows if "loss/train" in row]
    assert set(rows[0]) == {"time", "batch", "step", "epoch", "loss/validate"}
    losses = run.metrics("loss/validate")
    assert losses == [(r["step"], r["loss/validate"]) for r in rows if "loss/validate" in r]
    assert losses[-1][1] == run.summary["loss/validate"].last
    with pytest.raises(UsageError, match=r'has no "loss/val"\ndid you mean "loss/validate"\?'):
        run.metrics("loss/val")


def test_where(made: Project) -> None:
    runs = torch_lab.runs(made.root)

    def rates(found: torch_lab.access.Runs) -> list[float]:
        return [run.hparams["config"]["lr"] for run in found]

    assert rates(runs.where(lr=0.01)) == [0.01]
    assert rates(runs.where("lr>0", **{"config.lr": lambda lr: lr < 0.05})) == [0.01]
    assert rates(runs.where(lambda run: run.metrics("loss/validate"), shape=(1, 2))) == [
        0,
        0.01,
        0.1,
    ]
    assert rates(runs.where(status="failed")) == []
    assert rates(runs.where(reason=None, script="hparams.py")) == [0, 0.01, 0.1]
    with pytest.raises(UsageError, match="no run has a 'lrr'\ndid you mean \"lr\""):
        len(runs.where(lrr=1))


def test_best(made: Project) -> None:
    runs = torch_lab.runs(made.root)
    lowest = min(runs, key=lambda run: run.summary["loss/validate"].min)
    highest = max(runs, key=lambda run: run.summary["loss/validate"].max)
    assert runs.best("loss/validate").name == lowest.name
    assert runs.best("loss/validate", mode="max").name == highest.name
    with pytest.raises(RunNotFound, match=r'none of 3 runs has a value of "loss/test"\n.*mean'):
        runs.best("loss/test")
    with pytest.raises(RunNotFound, match="there are no runs to choose from"):
        runs.where(status="failed").best("loss/validate")
    with pytest.raises(UsageError, match='did you mean "min"'):
        runs.best("loss/validate", mode="mni")


# -- load_module -------------------------------------------------------------------------------


def expected(run: Run, scale: float = 2.0) -> torch.Tensor:
    """What the trained net makes of X, by hand."""
    state = torch.load(run.checkpoint("best"), weights_only=True)["state_dict"]
    hidden = torch.tanh(X @ state["layers.0.weight"].T + state["layers.0.bias"])
    made: torch.Tensor = scale * (hidden @ state["layers.2.weight"].T + state["layers.2.bias"])
    return made


X = torch.tensor([[1.0, -2.0], [0.5, 0.25]])


def test_a_module_of_code_that_is_different_by_now(copy: Project) -> None:
    run = run_of(copy)
    before = expected(run)
    copy.write("access_project/models.py", "WIDTH = 99\nnet = None\n")
    copy.write("access_project/constants.py", "SIGN = -1.0\n")
    (copy.root / "access_project/experiments/00_net/__main__.py").unlink()
    sys.path.append(str(copy.root))
    import access_project.models as present  # type: ignore[import-not-found]

    state = torch.get_rng_state()
    module = run.load_module()
    assert torch.equal(torch.get_rng_state(), state)
    assert not module.training
    assert torch.allclose(module(X), before)
    assert present.WIDTH == 99
    assert present is sys.modules["access_project.models"]
    name = type(module.model).__module__
    assert name == f"torch_lab.utils.recorded.r{run.id}.access_project.models"
    assert not list(run.directory.rglob("*.pyc"))


def test_a_deleted_experiment_and_two_runs_of_other_code(
    copy: Project, zygote: Zygote, tmp_path: Path
) -> None:
    first = run_of(copy)
    text = (copy.root / "access_project/models.py").read_text()
    copy.write("access_project/models.py", text.replace("WIDTH = 3", "WIDTH = 5"))
    zygote.run("train", HPARAMS, cwd=copy.root, log=tmp_path / "log")
    second = torch_lab.runs()[0]
    shutil.rmtree(copy.root / "access_project")
    modules = [first.load_module(), second.load_module("last")]
    assert [module.model.layers[0].out_features for module in modules] == [3, 5]
    assert torch.allclose(modules[0](X), expected(first))


def test_without_the_data_the_module_is_that_of_infer_config(copy: Project) -> None:
    run = run_of(copy)
    (copy.root / "data" / "scale.txt").unlink()
    with pytest.warns(UserWarning, match=r"train_config .* failed \(FileNotFoundError.*infer_conf"):
        module = run.load_module()
    assert type(module).__name__ == "LabModule"
    assert torch.allclose(module(X), expected(run))


def test_the_last_checkpoint_stands_in_for_one_that_is_best(copy: Project) -> None:
    path = copy.artifacts / "00_net-hparams_v0" / "run.json"
    content = json.loads(path.read_text())
    kept = [each for each in content["checkpoints"] if each["name"] != "best"]
    path.write_text(json.dumps(content | {"checkpoints": kept}))
    run = run_of(copy)
    last = torch.load(run.checkpoint("last"), weights_only=True)["state_dict"]
    assert torch.equal(run.load_module().model.layers[0].weight, last["layers.0.weight"])


def test_code_that_can_not_be_built(copy: Project) -> None:
    copy.write("access_project/models.py", MODELS.replace("self.scale = scale", "1 / 0"))
    run = run_of(copy)
    rebundle(copy, run)
    with pytest.raises(ConfigurationError) as caught:
        run.load_module()
    assert str(caught.value) == (
        f"the module of run {run.name} can't be rebuilt from its code\n"
        "  train_config: ZeroDivisionError: division by zero\n"
        "  infer_config: ZeroDivisionError: division by zero"
    )


def rebundle(copy: Project, run: Run) -> None:
    """Give the run the project's present code."""
    from torch_lab.store import source

    target = run.directory / "source.tar.gz"
    source.bundle((copy.root / HPARAMS).parent, copy.root, target)


def test_code_from_elsewhere_runs_only_when_it_is_trusted(copy: Project, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    copy.artifacts.rename(elsewhere)
    run = torch_lab.runs(elsewhere).where(lr=0.1)[0]
    with pytest.raises(UsageError, match=r"(?s)is not of this project .*trust=True") as caught:
        run.load_module()
    assert "data/artifacts" in str(caught.value)
    assert not [name for name in sys.modules if f"r{run.id}" in name]
    assert torch.allclose(run.load_module(trust=True)(X), expected(run))


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("***", r"config.file \(a secret, which was masked\)"),
        ({"$type": "repr", "value": "<x>"}, r"config.file \(only its repr was kept: <x>\)"),
    ],
    ids=["masked", "repr"],
)
def test_values_that_the_record_lacks_are_named_and_can_be_given(
    copy: Project, written: Any, why: str
) -> None:
    path = copy.artifacts / "00_net-hparams_v0" / "run.json"
    content = json.loads(path.read_text())
    content["hparams"]["config"]["file"] = written
    path.write_text(json.dumps(content))
    run = run_of(copy)
    with pytest.raises(UsageError, match=why) as caught:
        run.load_module()
    assert caught.value.hint == 'Give what it lacks: load_module(set={"config.file": …}).'
    module = run.load_module(set={"file": "data/scale.txt"})
    assert torch.allclose(module(X), expected(run))


@pytest.mark.parametrize("damage", ["missing", "torn"])
def test_a_bundle_that_is_no_good(copy: Project, damage: str) -> None:
    run = run_of(copy)
    bundle = run.directory / "source.tar.gz"
    content = bundle.read_bytes()
    bundle.unlink()
    if damage == "torn":
        bundle.write_bytes(content[:200])
    expected = "has no code: .* is missing" if damage == "missing" else "is damaged"
    with pytest.raises(StoreError, match=expected):
        run.load_module()


# -- build -------------------------------------------------------------------------------------


def test_what_is_built_begins_with_the_weights_of_a_run(copy: Project) -> None:
    run = run_of(copy, lr=0.0)  # its weights never changed
    before = copy.runs()
    built = torch_lab.build(HPARAMS, set={"lr": 0.0})
    trained = torch.load(run.checkpoint(), weights_only=True)["state_dict"]
    for name, weight in built.module.model.state_dict().items():
        assert torch.equal(weight, trained[name]), name
    assert built.hparams == run.hparams
    assert built.config["lr"] == 0.0
    assert built.seed == 3
    assert len(built.train_dataloaders) == 3
    assert built.val_dataloaders is not None
    assert built.callbacks == ()
    assert built.datamodule is built.test_dataloaders is built.predict_dataloaders is None
    assert copy.runs() == before


def test_infer_config_is_built_with_its_arguments(copy: Project) -> None:
    built = torch_lab.build(HPARAMS, function="infer_config", args=["0.5"])
    assert built.module.model.scale == 0.5
    assert len(built.predict_dataloaders) == 2


def test_values_may_be_any(copy: Project) -> None:
    path = copy.root / "data" / "scale.txt"
    built = torch_lab.build(copy.root / HPARAMS, {"file": path, "trainer.init.max_epochs": 5})
    assert built.config["file"] == path
    assert built.hparams["trainer"]["init"]["max_epochs"] == 5


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"set": {"lrr": 1}}, UsageError, 'lrr: config has no lrr; did you mean "lr"?'),
        ({"set": {"trainer.int.x": 1}}, UsageError, 'trainer has no int; did you mean "init"?'),
        ({"set": {"seed": "a"}}, HparamsError, "seed: expected an int from 0 to"),
        ({"function": "trian_config"}, UsageError, 'did you mean "train_config"?'),
        ({"args": ["1"]}, UsageError, "train_config takes none but config"),
    ],
    ids=["key", "section", "type", "function", "args"],
)
def test_mistakes(
    copy: Project, kwargs: dict[str, Any], error: type[TorchLabError], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        torch_lab.build(HPARAMS, **kwargs)


def test_a_typed_config(copy: Project) -> None:
    main = """\
        from dataclasses import dataclass, field

        import torch

        from torch_lab.data import DataLoader
        from torch_lab.modules import LabModule


        @dataclass
        class Optimizer:
            lr: float = 0.1


        @dataclass
        class Config:
            width: int
            optimizer: Optimizer = field(default_factory=Optimizer)


        def infer_config(config: Config):
            assert isinstance(config, Config)
            module = LabModule(torch.nn.Linear(1, config.width))
            return {"module": module, "predict_dataloaders": DataLoader([0])}
        """
    copy.write("access_project/experiments/01_typed/__main__.py", main)
    script = copy.write(
        "access_project/experiments/01_typed/hparams.py", 'hparams = {"config": {}}'
    )

    def config(**values: Any) -> Any:
        return torch_lab.build(script, values, function="infer_config").config

    assert config(width=3) == {"width": 3, "optimizer": {"lr": 0.1}}
    assert config(width=3, **{"optimizer.lr": 1.0})["optimizer"] == {"lr": 1.0}
    with pytest.raises(HparamsError, match=r"config\.width: missing"):
        config()
    with pytest.raises(HparamsError, match=r"config\.width: expected an int"):
        config(width="wide")
    with pytest.raises(TorchLabError, match='did you mean "width"'):
        config(width=3, widht=4)
