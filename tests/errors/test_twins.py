"""Objects of `lightning.pytorch`: one error that names each import line to change.

The package is not installed beside pytorch_lightning; a small one of its name stands in for it.
"""

from __future__ import annotations

import pytest
from said import FOLDER, HPARAMS, HYPERPARAMETERS, LINES, MAIN, Lab

TWIN = """
class Callback: pass
class LightningModule: pass
class LightningDataModule: pass
class CSVLogger: pass
class SimpleProfiler: pass
class DDPStrategy: pass
class CombinedLoader: pass
for each in list(vars().values()):
    if isinstance(each, type):
        each.__module__ = "lightning.pytorch.anything"
"""
CHANGE = "made with lightning.pytorch; torch-lab uses pytorch_lightning. Change"


@pytest.fixture
def twin(lab: Lab) -> Lab:
    lab.write("lightning/__init__.py", "")
    lab.write("lightning/pytorch/__init__.py", TWIN)
    for name in ("callbacks", "loggers", "profilers", "strategies", "utilities"):
        lab.write(f"lightning/pytorch/{name}.py", "from lightning.pytorch import *\n")
    return lab


@pytest.mark.parametrize(
    ("line", "returned", "named", "change"),
    [
        (
            "import lightning.pytorch as plt",
            '"module": plt.LightningModule(), "callbacks": [plt.Callback()]',
            "module, callbacks[0]",
            "import pytorch_lightning as plt",
        ),
        (
            "from lightning.pytorch import LightningDataModule",
            '"module": module(), "datamodule": LightningDataModule()',
            "datamodule",
            "from pytorch_lightning import LightningDataModule",
        ),
        (
            "from lightning.pytorch.callbacks import Callback as Base",
            '"module": module(), "callbacks": [pl.Callback(), Base()]',
            "callbacks[1]",
            "from pytorch_lightning.callbacks import Callback as Base",
        ),
        (
            "from lightning.pytorch.utilities import CombinedLoader",
            '"module": module(), "train_dataloaders": CombinedLoader()',
            "train_dataloaders",
            "from pytorch_lightning.utilities import CombinedLoader",
        ),
    ],
    ids=["module", "datamodule", "callback", "loader"],
)
def test_in_a_configuration(twin: Lab, line: str, returned: str, named: str, change: str) -> None:
    twin.append(f"{line}\ndef train_config(config):\n    return {{{returned}}}\n")
    assert twin.mistake("train", HPARAMS) == (
        f"train_config, {MAIN}:{LINES + 3}, can't be used\n"
        f"  {named}: {CHANGE}\n"
        f"    {MAIN}:{LINES + 2}: {line} -> {change}"
    )


def test_from_the_module_itself(twin: Lab) -> None:
    line = "from lightning.pytorch.callbacks import Callback"
    twin.append(
        f"""\
        {line}
        class Odd(Callback):
            state_key = "odd"
            on_exception = teardown = lambda self, *args, **kwargs: None
        TrainLabModule.configure_callbacks = lambda self: [Odd()]
        """
    )
    assert twin.mistake("train", HPARAMS).splitlines()[:2] == [
        f"configure_callbacks: {CHANGE}",
        f"    {MAIN}:{LINES + 2}: {line} -> from pytorch_lightning.callbacks import Callback",
    ]


@pytest.mark.parametrize(
    ("key", "room", "name", "value"),
    [
        ("logger", "loggers", "CSVLogger", "CSVLogger()"),
        ("callbacks", "callbacks", "Callback", "[Callback()]"),
        ("profiler", "profilers", "SimpleProfiler", "SimpleProfiler()"),
        ("strategy", "strategies", "DDPStrategy", "DDPStrategy()"),
    ],
)
def test_in_hyperparameters(twin: Lab, key: str, room: str, name: str, value: str) -> None:
    script = f"{FOLDER}/other.py"
    line = f"from lightning.pytorch.{room} import {name}"
    init = f'hparams["trainer"]["init"]["{key}"] = {value}'
    twin.write(script, f"{line}\n\n{HYPERPARAMETERS}\n{init}\n")
    assert twin.mistake("train", script) == (
        f"{script}: 1 problem in hparams\n"
        f"  line {HYPERPARAMETERS.count(chr(10)) + 4}: trainer.init.{key}: {CHANGE}\n"
        f"    {script}:1: {line} -> from pytorch_lightning.{room} import {name}"
    )
