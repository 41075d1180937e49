"""`build`: hyperparameters and configuration as `train` or `infer` would have them."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch_lab import experiment as experiments
from torch_lab import hparams as hyperparameters
from torch_lab.errors import UsageError
from torch_lab.experiment import Configuration
from torch_lab.utils.copying import plain_copy
from torch_lab.utils.text import shown, suggestion

FUNCTIONS = ("train_config", "infer_config")


@dataclass(frozen=True)
class Built:
    """What a script's hyperparameters and configuration function make; nothing was run."""

    script: Path
    hparams: dict[str, Any]
    seed: int
    configuration: Configuration

    @property
    def config(self) -> Any:
        """`hparams["config"]`."""
        return self.hparams["config"]

    @property
    def module(self) -> Any:
        """The LightningModule."""
        return self.configuration.module

    @property
    def train_dataloaders(self) -> Any:
        """What is trained on; None where a datamodule, or the module itself, has it."""
        return self.configuration.train_dataloaders

    @property
    def val_dataloaders(self) -> Any:
        """What is validated on, or None."""
        return self.configuration.val_dataloaders

    @property
    def test_dataloaders(self) -> Any:
        """What is tested on, or None."""
        return self.configuration.test_dataloaders

    @property
    def predict_dataloaders(self) -> Any:
        """What `infer_config` predicts on, or None."""
        return self.configuration.predict_dataloaders

    @property
    def datamodule(self) -> Any:
        """The LightningDataModule, or None."""
        return self.configuration.datamodule

    @property
    def callbacks(self) -> tuple[Any, ...]:
        """The configuration's own callbacks."""
        return self.configuration.callbacks


def build(
    script: str | os.PathLike[str],
    set: Mapping[str, Any] | None = None,  # noqa: A002  as the option is called
    *,
    function: str = "train_config",
    args: Sequence[str] = (),
) -> Built:
    """The hyperparameters of `script` and the configuration they make; nothing is run or recorded.

    `set` changes values as `--set` does, by dotted keys, but with Python values. Seeded as `train`
    is, so that the module has the weights that a run begins with. `function="infer_config"` builds
    what `infer` would, with `args`, the words of its command line.
    """
    if function not in FUNCTIONS:
        raise UsageError(f"build: function {shown(function)}", hint=suggestion(function, FUNCTIONS))
    if args and function == "train_config":
        raise UsageError(f"build: args {list(args)}", hint="train_config takes none but config")
    if not isinstance(set, Mapping | None):
        raise UsageError(f"build: set {shown(set)}", hint='expected a dict such as {"lr": 0.01}')
    experiment = experiments.find(Path(script))
    config_type = experiments.config_type(experiment, function)
    hparams = hyperparameters.load(experiment.script, values=set or {}, config_type=config_type)
    seed = hparams.seed
    if seed is None:
        seed = random.SystemRandom().randrange(2**32) if function == "train_config" else 0
    import pytorch_lightning as pl

    pl.seed_everything(seed, verbose=False)
    if function == "train_config":
        configuration = experiments.train_configuration(experiment, hparams.config)
    else:
        configuration = experiments.infer_configuration(experiment, hparams.config, args)
    return Built(experiment.script, plain_copy(hparams.as_dict()), seed, configuration)
