"""A configuration's data as the Trainer's methods take it, made exact where that can be."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl

from torch_lab.data import make_exact
from torch_lab.experiment import Configuration

_HOOKS = {"train": "train_dataloader", "val": "val_dataloader", "test": "test_dataloader"}


class Inputs:
    """Loaders given outright, or hooks of a datamodule or of the module itself."""

    def __init__(self, configuration: Configuration, seed: int, say: Callable[[str], None]) -> None:
        self._seed = seed
        self._say = say
        self._said: set[str] = set()
        self.shares_itself_out = False
        if configuration.datamodule is not None:
            self._from_hooks(configuration.datamodule, {"datamodule": configuration.datamodule})
        elif configuration.train_dataloaders is None:
            self._from_hooks(configuration.module, {})
        else:
            self._from_loaders(configuration)

    def _from_loaders(self, configuration: Configuration) -> None:
        train, all_train = self._exact(configuration.train_dataloaders, training=True)
        val, all_val = self._exact(configuration.val_dataloaders)
        test, all_test = self._exact(configuration.test_dataloaders)
        # Exact loaders share out the samples themselves, evaluation's without repeating any.
        self.shares_itself_out = all_train and all_val and all_test
        self.training: dict[str, Any] = {"train_dataloaders": train, "val_dataloaders": val}
        self.validation: dict[str, Any] = {"dataloaders": val}
        self.testing: dict[str, Any] = {"dataloaders": test}
        self.validates = val is not None
        self.tests = test is not None

    def _from_hooks(self, owner: Any, arguments: dict[str, Any]) -> None:
        self.training = self.validation = self.testing = arguments
        base = pl.LightningDataModule if arguments else pl.LightningModule
        given = {
            name: getattr(type(owner), hook) is not getattr(base, hook)
            for name, hook in _HOOKS.items()
        }
        self.validates, self.tests = given["val"], given["test"]
        for name, hook in _HOOKS.items():
            if given[name]:
                setattr(owner, hook, self._exact_hook(getattr(owner, hook), name == "train"))

    def _exact_hook(self, hook: Callable[[], Any], training: bool) -> Callable[[], Any]:
        @functools.wraps(hook)
        def exact() -> Any:
            return self._exact(hook(), training=training)[0]

        return exact

    def _exact(self, loaders: Any, *, training: bool = False) -> tuple[Any, bool]:
        """The loaders with plain ones made exact, and whether all are; says which can't be."""
        if loaders is None:
            return None, True
        made, left = make_exact(loaders, self._seed, pad=training)
        for each in left if training else []:
            text = (
                f"{each.loader} can't go on exactly in mid-epoch: {each.reason}."
                " A run that is cut and resumed begins the epoch's data anew."
            )
            if text not in self._said:
                self._said.add(text)
                self._say(text)
        return made, not left
