"""The data of a split as the Trainer would get it: loaders, hooks, batches."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities import CombinedLoader
from pytorch_lightning.utilities.model_helpers import is_overridden

from torch_lab.data import make_exact
from torch_lab.engine.inputs import Inputs
from torch_lab.errors import ConfigurationError, UsageError
from torch_lab.experiment import Configuration
from torch_lab.hparams import Hparams
from torch_lab.tasks.preview.batches import samples_in

SPLITS = ("train", "val", "test", "predict")
FUNCTIONS = {"predict": "infer_config"}  # of all others: train_config
_STAGES = {
    "train": (TrainerFn.FITTING, "fit", "training"),
    "val": (TrainerFn.FITTING, "fit", "validating"),
    "test": (TrainerFn.TESTING, "test", "testing"),
    "predict": (TrainerFn.PREDICTING, "predict", "predicting"),
}
_ARGUMENTS = {"train": "train_dataloaders", "val": "dataloaders", "test": "dataloaders"}
_SET_UP_TOGETHER = {"train": ("val",), "val": ("train",)}
_HARMLESS = ("max_epochs", "max_steps", "accumulate_grad_batches", "log_every_n_steps")


@dataclass(frozen=True)
class Stream:
    """One loader of a split: `train`, `val/1`, `train/unlabeled`."""

    name: str
    loader: Any


@dataclass(frozen=True)
class Fetched:
    """The first batches of a stream."""

    stream: Stream
    batches: list[Any]


class Sources:
    """A configuration's data, under a Trainer that is set up for one split and trains nothing.

    The loaders are the exact ones of a run with this seed: its first batch is what is seen here.
    """

    def __init__(
        self,
        configuration: Configuration,
        hparams: Hparams,
        seed: int,
        split: str,
        directory: Path,
    ) -> None:
        self.split = split
        self._seed = seed
        self._configuration = configuration
        self._module = getattr(configuration.module, "_orig_mod", configuration.module)
        self._datamodule = configuration.datamodule
        self._known: dict[str, Any] = {}
        self._inputs = None if split == "predict" else Inputs(configuration, seed, _silent)
        self._attach(hparams, directory)
        self._set_up()

    def streams(self) -> list[Stream]:
        """The loaders of all splits whose data is at hand: the split's own come first."""
        # A datamodule is set up for one stage: of another one's loaders it may know nothing yet.
        beside: tuple[str, ...] = _SET_UP_TOGETHER.get(self.split, ())
        if self._given("train_dataloaders"):
            beside = tuple(split for split in _ARGUMENTS if split != self.split)
        splits = (self.split, *beside)
        return [each for split in splits for each in _streams(split, self._loaders(split))]

    def fetched(self, count: int | None) -> list[Fetched]:
        """The first batch of each of the split's loaders; more, until there are `count` samples."""
        loaders = self._loaders(self.split)
        if loaders is None:
            raise self._nothing()
        streams = _streams(self.split, loaders)
        if len(streams) > 1 and self.split == "train":
            return self._together(loaders, streams, count)
        return [
            Fetched(stream, self._first(stream.loader, count, index))
            for index, stream in enumerate(streams)
        ]

    def _attach(self, hparams: Hparams, directory: Path) -> None:
        """Hooks ask the Trainer where they are: in training, in which epoch."""
        init = {key: hparams.trainer.init[key] for key in _HARMLESS if key in hparams.trainer.init}
        self._trainer = trainer = pl.Trainer(
            **({"max_epochs": -1} | init),
            default_root_dir=directory,
            accelerator="cpu",
            devices=1,
            plugins=[LightningEnvironment()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.strategy.connect(self._module)
        self._module.trainer = trainer
        if self._datamodule is not None:
            trainer.datamodule = self._datamodule  # type: ignore[attr-defined]
            self._datamodule.trainer = trainer

    def _set_up(self) -> None:
        function, stage, flag = _STAGES[self.split]
        self._trainer.state.fn = function
        setattr(self._trainer, flag, True)
        self._module.train(self.split == "train")
        owners = [each for each in (self._datamodule, self._module) if each is not None]
        for owner in owners:
            owner.prepare_data()
        for owner in owners:
            owner.setup(stage)

    def _given(self, key: str) -> bool:
        return getattr(self._configuration, key) is not None

    def _loaders(self, split: str) -> Any:
        """The loaders of a split; hooks that make them are asked once, as in training."""
        if split not in self._known:
            self._known[split] = self._made(split)
        return self._known[split]

    def _made(self, split: str) -> Any:
        if split == "predict":
            return self._exact(self._predicted())
        if not self._given("train_dataloaders"):
            return self._of_hook(f"{split}_dataloader")
        assert self._inputs is not None
        given = {
            "train": self._inputs.training,
            "val": self._inputs.validation,
            "test": self._inputs.testing,
        }
        return given[split][_ARGUMENTS[split]]

    def _predicted(self) -> Any:
        given = self._configuration.predict_dataloaders
        return self._of_hook("predict_dataloader") if given is None else given

    def _exact(self, loaders: Any) -> Any:
        return None if loaders is None else make_exact(loaders, self._seed, pad=False)[0]

    def _of_hook(self, hook: str) -> Any:
        owner = self._module if self._datamodule is None else self._datamodule
        return getattr(owner, hook)() if is_overridden(hook, owner) else None

    def _together(
        self, loaders: Any, streams: Sequence[Stream], count: int | None
    ) -> list[Fetched]:
        """Loaders that training reads side by side: their batches come, and are moved, as one."""
        both = loaders
        if not isinstance(loaders, CombinedLoader):
            both = CombinedLoader(loaders, "max_size_cycle")
        wholes = self._first((whole for whole, *_ in both), count, 0)
        parts = [_parts(whole, both.iterables) for whole in wholes]
        if any(len(each) != len(streams) for each in parts):  # a hook made one of them
            return [Fetched(Stream(self.split, None), wholes)]
        return [
            Fetched(stream, [each[index] for each in parts]) for index, stream in enumerate(streams)
        ]

    def _first(self, loader: Any, count: int | None, index: int) -> list[Any]:
        batches: list[Any] = []
        seen = 0
        with _calm():
            for batch in loader:
                batches.append(self._moved(batch, index))
                seen += samples_in(batches[-1])
                if count is None or seen >= count:
                    break
        if not batches:
            raise ConfigurationError(
                f"{self.split}: there is no batch in its data",
                hint="The dataset is empty, or smaller than a batch where drop_last=True.",
            )
        return batches

    def _moved(self, batch: Any, index: int) -> Any:
        """The batch as a step gets it, but for the device."""
        batch = self._hook("on_before_batch_transfer")(batch, index)
        batch = self._hook("transfer_batch_to_device")(batch, torch.device("cpu"), index)
        return self._hook("on_after_batch_transfer")(batch, index)

    def _hook(self, name: str) -> Any:
        own = self._datamodule is not None and is_overridden(name, self._datamodule)
        return getattr(self._datamodule if own else self._module, name)

    def _nothing(self) -> UsageError:
        there = sorted({each.name.partition("/")[0] for each in self.streams()}, key=SPLITS.index)
        function = FUNCTIONS.get(self.split, "train_config")
        return UsageError(
            f"there is no data to {_DOING[self.split]} in what {function} returns",
            hint=f"There is some for --split {' or '.join(there)}." if there else None,
        )


_DOING = {"train": "train on", "val": "validate on", "test": "test on", "predict": "predict on"}


def _silent(_: str) -> None:
    """What is said of loaders before training is no matter here."""


def _streams(split: str, loaders: Any) -> list[Stream]:
    if loaders is None:
        return []
    if isinstance(loaders, CombinedLoader):
        loaders = loaders.iterables
    if isinstance(loaders, Mapping):
        pairs = [(str(key), each) for key, each in loaders.items()]
    elif isinstance(loaders, (list, tuple)):
        pairs = [(str(number), each) for number, each in enumerate(loaders)]
    else:
        return [Stream(split, loaders)]
    if len(pairs) == 1 and split != "train":
        return [Stream(split, pairs[0][1])]
    return [Stream(f"{split}/{name}", each) for name, each in pairs]


def _parts(whole: Any, loaders: Any) -> list[Any]:
    """The batch of each loader in one that they were put together to."""
    if isinstance(loaders, Mapping) and isinstance(whole, Mapping):
        return [whole[name] for name in loaders if name in whole]
    return list(whole) if isinstance(whole, (list, tuple)) else []


@contextmanager
def _calm() -> Iterator[None]:
    """Remarks on speed, which is nothing that one looks for in a batch."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*pin_memory")
        warnings.filterwarnings("ignore", ".*worker processes in total")
        yield
