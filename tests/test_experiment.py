from __future__ import annotations

from pathlib import Path

import pytest

from script_helpers import clean_imports, make_package, output, python, write
from torch_lab import experiment
from torch_lab.errors import ConfigurationError, ScriptError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An experiment's directory; the working directory is its project's root."""
    make_package(tmp_path)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "my_project" / "experiments" / "00_a"
    write(folder / "hparams.py", "hparams = {}")
    with clean_imports(tmp_path):
        yield folder


COMMON = """
import pytorch_lightning as pl
import torch
from pytorch_lightning import Callback
from torch.utils.data import DataLoader, Dataset

class Module(pl.LightningModule):
    pass

loader = DataLoader([1, 2])
"""
LINE = COMMON.count("\n") + 1


def make(folder: Path, *lines: str) -> experiment.Experiment:
    """An experiment whose configuration script ends with these lines."""
    write(folder / "__main__.py", COMMON + "\n".join(lines))
    return experiment.find(folder / "hparams.py")


def train(folder: Path, result: str, config: dict | None = None) -> experiment.Configuration:
    found = make(folder, "def train_config(config):", f"    return {result}")
    return experiment.train_configuration(found, config or {})


def problems(folder: Path, result: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        train(folder, result)
    first, *lines = str(caught.value).splitlines()
    where = f"my_project/experiments/00_a/__main__.py:{LINE}"
    assert first == f"train_config, {where}, can't be used"
    return [line.strip() for line in lines]


# Finding it


def test_find(folder):
    write(folder / "__main__.py")
    found = experiment.find("my_project/experiments/00_a/hparams.py")
    assert found == experiment.Experiment(
        directory=folder,
        name="00_a",
        script=folder / "hparams.py",
        script_name="hparams",
        root=folder.parents[2],
    )
    assert found.run_prefix == "00_a-hparams"
    assert found.configuration == folder / "__main__.py"


def test_find_imports_nothing(folder):
    write(folder / "__main__.py", "raise RuntimeError")
    experiment.find(folder / "hparams.py")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("00_a/nothing.py", "00_a/nothing.py does not exist\nthe scripts there: "),
        ("00_a", "00_a is a folder, not a script\nits scripts: "),
        ("00_a/notes.txt", "00_a/notes.txt is not a Python script (.py)"),
        ("00_a/__main__.py", "00_a/__main__.py is not a hyperparameter script\ngive a script"),
        ("00_a/__init__.py", "00_a/__init__.py is not a hyperparameter script\ngive a script"),
        ("other/hparams.py", "other is not an experiment: it has no __main__.py"),
        ("00_a/lr-small.py", 'the script name "lr-small" has a "-" in it'),
        ("00-b/hparams.py", 'the experiment name "00-b" has a "-" in it'),
    ],
)
def test_find_mistakes(folder, monkeypatch, path, message):
    for name in ("__main__.py", "__init__.py", "notes.txt", "lr-small.py"):
        write(folder / name)
    for name in ("other/hparams.py", "00-b/hparams.py", "00-b/__main__.py"):
        write(folder.parent / name)
    monkeypatch.chdir(folder.parent)
    with pytest.raises(ScriptError) as caught:
        experiment.find(path)
    assert str(caught.value).startswith(message)


# Its functions


def test_a_missing_function(folder):
    found = make(folder, "def infer_config(config): ...", "def train_confg(config): ...")
    with pytest.raises(ConfigurationError) as caught:
        experiment.require_function(found, "train_config")
    assert str(caught.value).splitlines() == [
        "my_project/experiments/00_a/__main__.py defines no function train_config",
        'did you mean "train_confg"?',
    ]


def test_a_function_that_is_none(folder):
    with pytest.raises(ConfigurationError, match=r"train_config is no function but 3 \(int\)"):
        experiment.require_function(make(folder, "train_config = 3"), "train_config")


def test_what_the_function_raises_keeps_its_traceback(folder):
    found = make(folder, "def train_config(config):", "    return config['missing']")
    with pytest.raises(KeyError) as caught:
        experiment.train_configuration(found, {})
    assert caught.traceback[-1].path == folder / "__main__.py"


@pytest.mark.parametrize("parameters", ["", "config, other", "*, config"])
def test_train_config_takes_the_config(folder, parameters):
    found = make(folder, f"def train_config({parameters}): ...")
    with pytest.raises(ConfigurationError) as caught:
        experiment.train_configuration(found, {})
    where = f"my_project/experiments/00_a/__main__.py:{LINE}"
    assert str(caught.value).startswith(
        f"train_config({parameters}), {where}, can't be called with config alone: "
    )


def test_the_config_is_a_copy(folder):
    found = make(
        folder,
        "def train_config(config):",
        "    config['sizes'].append(3)",
        "    return dict(module=Module(), train_dataloaders=config['sizes'])",
    )
    config = {"sizes": [1]}
    assert experiment.train_configuration(found, config).train_dataloaders == [1, 3]
    assert config == {"sizes": [1]}


# What they return


def test_a_whole_configuration(folder):
    made = train(
        folder,
        "dict(module=Module(), train_dataloaders=loader, val_dataloaders=[loader, loader],"
        " test_dataloaders={'a': loader}, callbacks=[Callback()])",
    )
    assert type(made.module).__name__ == "Module"
    assert len(made.val_dataloaders) == 2
    assert len(made.callbacks) == 1
    assert made.datamodule is None


def test_silent_keys_may_be_none(folder):
    made = train(
        folder,
        "dict(module=Module(), train_dataloaders=loader, val_dataloaders=None, callbacks=None,"
        " datamodule=None)",
    )
    assert (made.val_dataloaders, made.callbacks) == (None, ())


def test_a_datamodule_stands_in(folder):
    made = train(folder, "dict(module=Module(), datamodule=pl.LightningDataModule())")
    assert made.train_dataloaders is None
    assert made.datamodule is not None


def test_a_module_with_its_own_data(folder):
    made = train(
        folder,
        "dict(module=type('M', (Module,), {'train_dataloader': lambda self: loader})())",
    )
    assert made.train_dataloaders is None


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's own, at its import
def test_a_compiled_module(folder):
    assert train(folder, "dict(module=torch.compile(Module()), train_dataloaders=loader)")


def test_all_mistakes_are_reported_together(folder):
    assert problems(
        folder,
        "dict(modul=Module(), val_dataloaders=Dataset(), test_dataloaders=lambda: loader,"
        " callbacks=[Callback, 3], predict_dataloaders=loader)",
    ) == [
        "module: missing; expected a LightningModule",
        'modul: unknown key; did you mean "module"?',
        'predict_dataloaders: unknown key; did you mean "test_dataloaders"?',
        "val_dataloaders: expected a DataLoader or a collection of them, got a "
        "torch.utils.data.dataset.Dataset; put the dataset into a DataLoader",
        "test_dataloaders: expected a DataLoader or a collection of them, got the function "
        "<lambda>: call it",
        "callbacks[0]: expected a Callback, got the class Callback: make an instance of it",
        "callbacks[1]: expected a Callback, got 3 (int)",
        "train_dataloaders: missing; expected a DataLoader, or a datamodule in its place",
    ]


@pytest.mark.parametrize(
    ("result", "problem"),
    [
        ("None", "it has to return a dict with module, train_dataloaders, val_dataloaders, "
         "test_dataloaders, datamodule, callbacks; got None"),
        ("[Module()]", "it has to return a dict with "),
        ("dict(module=Module, train_dataloaders=loader)",
         "module: expected a LightningModule, got the class Module: make an instance of it"),
        ("dict(module=None, train_dataloaders=loader)",
         "module: expected a LightningModule, got None"),
        ("dict(module=torch.nn.Linear(1, 1), train_dataloaders=loader)",
         "module: expected a LightningModule, got a torch.nn.modules.linear.Linear; put the "
         "model into a torch_lab.modules.TrainLabModule or LabModule"),
        ("dict(module=Module(), train_dataloaders=loader, callbacks=Callback())",
         "callbacks: expected a list of callbacks, got a "
         "pytorch_lightning.callbacks.callback.Callback"),
        ("dict(module=Module(), train_dataloaders=loader, datamodule=pl.LightningDataModule())",
         "datamodule: it stands in for the dataloaders; remove it, or train_dataloaders"),
        ("dict(module=Module(), train_dataloaders=pl.LightningDataModule())",
         "train_dataloaders: a LightningDataModule is returned as datamodule="),
        ("dict(module=Module(), datamodule=loader)",
         "datamodule: expected a LightningDataModule, got a torch.utils.data.dataloader."),
        ("dict(module=Module(), train_dataloaders='data')",
         "train_dataloaders: expected a DataLoader or a collection of them, got 'data' (str)"),
        ("dict(module=Module(), train_dataloaders=[(torch.ones(2), {'y': 1})])",
         "train_dataloaders: expected a DataLoader or a collection of them, got a list of samples; "
         "put the dataset into a DataLoader"),
        ("dict(module=Module(), train_dataloaders=dict(a=loader, b=[torch.ones(2)]))",
         "train_dataloaders: expected a DataLoader or a collection of them, got a dict of samples"),
    ],
)  # fmt: skip
def test_wrong_results(folder, result, problem):
    (line,) = problems(folder, result)
    assert line.startswith(problem)


def test_a_decorated_function_is_named_by_its_own_line(folder):
    found = make(
        folder,
        "import functools",
        "def traced(function):",
        "    @functools.wraps(function)",
        "    def wrapper(config): return function(config)",
        "    return wrapper",
        "@traced",
        "def train_config(config): ...",
    )
    with pytest.raises(ConfigurationError, match=f"__main__.py:{LINE + 5}, can't be used"):
        experiment.train_configuration(found, {})


def test_infer_configuration(folder):
    found = make(
        folder,
        "def infer_config(config, n: int, *names: str, scale: float = 1.0):",
        "    assert (n, names, scale) == (3, ('4', '--x=y'), 0.5)",
        "    return dict(module=Module(), predict_dataloaders=loader)",
    )
    args = ["3", "--scale=.5", "4", "--x=y"]
    assert experiment.infer_configuration(found, {}, args).predict_dataloaders is not None


def test_infer_configuration_mistakes(folder):
    found = make(
        folder,
        "def infer_config(config):",
        "    return dict(module=Module(), train_dataloaders=loader)",
    )
    with pytest.raises(ConfigurationError) as caught:
        experiment.infer_configuration(found, {}, [])
    assert [line.strip() for line in str(caught.value).splitlines()[1:]] == [
        'train_dataloaders: unknown key; did you mean "predict_dataloaders"?',
        "predict_dataloaders: missing; expected a DataLoader, or a datamodule in its place",
    ]


# lightning.pytorch


LIGHTNING = """
class LightningModule: pass
class Callback: pass
LightningModule.__module__ = "lightning.pytorch.core.module"
Callback.__module__ = "lightning.pytorch.callbacks.callback"
"""


@pytest.mark.parametrize(
    ("line", "name", "change"),
    [
        ("import lightning.pytorch as pl", "pl.", "import pytorch_lightning as pl"),
        ("import lightning as L", "L.pytorch.", "import pytorch_lightning as L"),
        ("from lightning import pytorch as pl", "pl.", "import pytorch_lightning as pl"),
        ("from lightning import pytorch", "pytorch.", "import pytorch_lightning as pytorch"),
        (
            "from lightning.pytorch import LightningModule, Callback",
            "",
            "from pytorch_lightning import LightningModule, Callback",
        ),
    ],
)
def test_lightning_pytorch_is_one_clear_error(folder, monkeypatch, line, name, change):
    site = folder.parents[3] / "site-packages"
    write(site / "lightning" / "__init__.py", "from lightning import pytorch")
    write(site / "lightning" / "pytorch" / "__init__.py", LIGHTNING)
    monkeypatch.syspath_prepend(site)
    write(
        folder.parents[1] / "models.py", f"x = 1\n{line}\nclass Net({name}LightningModule): ...\n"
    )
    found = make(
        folder,
        line,
        "from my_project.models import Net",
        "def train_config(config):",
        f"    return dict(module=Net(), train_dataloders=loader, callbacks=[{name}Callback()])",
    )
    with clean_imports(site), pytest.raises(ConfigurationError) as caught:
        experiment.train_configuration(found, {})
    assert [line.strip() for line in str(caught.value).splitlines()[1:]] == [
        "module, callbacks[0]: made with lightning.pytorch; torch-lab uses pytorch_lightning. "
        "Change",
        f"my_project/models.py:2: {line} -> {change}",
        f"my_project/experiments/00_a/__main__.py:{LINE}: {line} -> {change}",
    ]


# Speed


def test_finding_an_experiment_loads_nothing_heavy(folder):
    write(folder / "__main__.py", "raise RuntimeError")
    code = """
        import sys
        from torch_lab import experiment
        print(experiment.find(sys.argv[1]).run_prefix)
        print(sorted({"torch", "pytorch_lightning", "numpy"} & sys.modules.keys()))
    """
    assert output(python(code, str(folder / "hparams.py"))) == "00_a-hparams\n[]"
