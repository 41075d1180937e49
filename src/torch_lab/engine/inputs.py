"""A configuration's data as the Trainer's methods take it, made exact where that can be."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pytorch_lightning.utilities import CombinedLoader
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch.utils.data import DataLoader as TorchDataLoader

from torch_lab.data import DataLoader, NotExact, address_seed, make_exact, seeded
from torch_lab.experiment import Configuration

_LOADERS = -2  # stands in the address where a batch number would: the draws of a loader's hook
_HOOKS = {"train": "train_dataloader", "val": "val_dataloader", "test": "test_dataloader"}


class Inputs:
    """Loaders given outright, or hooks of a datamodule or of the module itself."""

    def __init__(self, configuration: Configuration, seed: int, say: Callable[[str], None]) -> None:
        self._seed = seed
        self._say = say
        self._said: set[str] = set()
        self._settle: Callable[[Any], None] = lambda _: None
        self.shares_itself_out = False
        # torch.compile wraps a module, and Lightning takes it out again.
        self._module = getattr(configuration.module, "_orig_mod", configuration.module)
        if self._module is not configuration.module:
            _log_uncompiled(self._module)
        if configuration.datamodule is not None:
            self._from_hooks(configuration.datamodule, {"datamodule": configuration.datamodule})
        elif configuration.train_dataloaders is None:
            self._from_hooks(self._module, {})
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
        self._has(val=val is not None, test=test is not None)

    def _from_hooks(self, owner: Any, arguments: dict[str, Any]) -> None:
        self.training = self.validation = self.testing = arguments
        given = {name: is_overridden(hook, owner) for name, hook in _HOOKS.items()}
        self._has(val=given["val"], test=given["test"])
        for name, hook in _HOOKS.items():
            if given[name]:
                setattr(owner, hook, self._exact_hook(getattr(owner, hook), name == "train"))

    def _has(self, *, val: bool, test: bool) -> None:
        """What there is data for; without the module's own step Lightning passes over it."""
        self.validates = val and is_overridden("validation_step", self._module)
        self.tests = test and is_overridden("test_step", self._module)

    def _exact_hook(self, hook: Callable[[], Any], training: bool) -> Callable[[], Any]:
        @functools.wraps(hook)
        def exact() -> Any:
            # A run that goes on calls the hook at another time than the one that was never cut.
            with seeded(address_seed(self._seed, _reloaded(hook), _LOADERS, training)):
                loaders = hook()
            made = self._exact(loaders, training=training)[0]
            self._settle(made)
            return made

        return exact

    @contextmanager
    def validated_again(self) -> Iterator[None]:
        """Within, a validation leaves persistent workers for those of the training."""
        given = self.validation.get("dataloaders")
        loaders = [] if given is None else CombinedLoader(given, "sequential").flattened
        found = [each for each in loaders if isinstance(each, DataLoader)]
        for each in found:
            each.goes_on = True
        try:
            yield
        finally:
            for each in found:
                each.goes_on = False

    def settle(self, settle: Callable[[Any], None]) -> None:
        """Let the loaders be told what they leave open; those of hooks when they are there."""
        self._settle = settle
        for each in (self.training, self.testing):
            for name, loaders in each.items():
                if name.endswith("dataloaders"):
                    settle(loaders)

    def _exact(self, loaders: Any, *, training: bool = False) -> tuple[Any, bool]:
        """The loaders with plain ones made exact, and whether all are; says which can't be."""
        if loaders is None:
            return None, True
        if isinstance(loaders, CombinedLoader):
            made, left = loaders, self._open(loaders, training)
        else:
            made, left = make_exact(loaders, self._seed, pad=training, none_idle=not training)
        for each in left if training else []:
            if str(each) not in self._said:
                self._said.add(str(each))
                self._say(str(each))
        return made, not left

    def _open(self, combined: CombinedLoader, training: bool) -> list[NotExact]:
        """Make the loaders exact that a combined one reads from."""
        combined.flattened, left = make_exact(
            combined.flattened, self._seed, pad=training, none_idle=not training
        )
        return left


def predictable(owner: Any) -> None:
    """Have Lightning predict on what `owner.predict_dataloader` gives, however it is written.

    Lightning makes each loader anew, with the arguments that it noted in the hook and a batch size
    of its own: `DataLoader(dataset, 8)` has two then, and fails.
    """
    hook = owner.predict_dataloader

    @functools.wraps(hook)
    def named() -> Any:
        loaders = hook()
        for each in loaders if isinstance(loaders, (list, tuple)) else [loaders]:
            _name_arguments(each)
        return loaders

    owner.predict_dataloader = named


def _name_arguments(loader: Any) -> None:
    noted = vars(loader) if type(loader) in (TorchDataLoader, DataLoader) else {}
    values, names = noted.get("__pl_saved_args", ()), noted.get("__pl_saved_arg_names", ())
    if values and len(values) == len(names):
        noted["__pl_saved_kwargs"].update(zip(names, values, strict=True))
        noted["__pl_saved_args"] = noted["__pl_saved_arg_names"] = ()


def _reloaded(hook: Any) -> int:
    """The epoch in which the loaders that are in use now were asked for."""
    try:
        trainer = getattr(getattr(hook, "__self__", None), "trainer", None)
    except RuntimeError:  # a module's hook called by hand, without a Trainer
        return 0
    if trainer is None or not trainer.reload_dataloaders_every_n_epochs:
        return 0
    every: int = trainer.reload_dataloaders_every_n_epochs
    return int(trainer.current_epoch) // every * every


def _log_uncompiled(module: Any) -> None:
    """What self.log looks up can't be compiled: without this a compiled LightningModule fails."""
    disable: Any = torch.compiler.disable
    for name in ("log", "log_dict"):
        setattr(module, name, disable(getattr(module, name)))
