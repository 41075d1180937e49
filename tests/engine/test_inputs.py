"""Where data comes from, loaders or hooks, plain ones become exact."""

from __future__ import annotations

import multiprocessing
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import CombinedLoader
from torch.utils.data import DataLoader as TorchDataLoader
from torch.utils.data import IterableDataset, TensorDataset

from torch_lab.data import DataLoader
from torch_lab.engine.inputs import Inputs, predictable
from torch_lab.experiment import Configuration

SEED = 4


def plain(**kwargs: Any) -> TorchDataLoader[Any]:
    return TorchDataLoader(TensorDataset(torch.arange(10.0)), batch_size=2, **kwargs)


class Stream(IterableDataset[int]):
    def __iter__(self) -> Any:
        return iter(range(10))


class Module(pl.LightningModule):
    def validation_step(self, batch: Any) -> None: ...


class OwnData(pl.LightningModule):
    def train_dataloader(self) -> Any:
        return plain(shuffle=True)


class Data(pl.LightningDataModule):
    def train_dataloader(self) -> Any:
        return plain(shuffle=True)

    def val_dataloader(self) -> Any:
        return [plain(), plain()]


def inputs(said: list[str] | None = None, **kwargs: Any) -> Inputs:
    return Inputs(Configuration(**{"module": Module()} | kwargs), SEED, (said or []).append)


def test_loaders() -> None:
    data = inputs(train_dataloaders=plain(shuffle=True), val_dataloaders={"a": plain()})
    assert isinstance(data.training["train_dataloaders"], DataLoader)
    assert data.training["train_dataloaders"].seed == SEED
    assert data.training["train_dataloaders"].pad
    assert not data.training["train_dataloaders"].none_idle
    assert not data.training["val_dataloaders"]["a"].pad
    assert data.training["val_dataloaders"]["a"].none_idle
    assert (data.validates, data.tests, data.shares_itself_out) == (True, False, True)


def test_loaders_behind_a_combined_one() -> None:
    combined = CombinedLoader([plain(shuffle=True), plain()], "min_size")
    data = inputs(train_dataloaders=combined)
    assert data.training["train_dataloaders"] is combined
    assert [type(each) for each in combined.flattened] == [DataLoader, DataLoader]
    assert data.shares_itself_out


def test_without_the_step_nothing_is_validated() -> None:
    assert not inputs(
        module=OwnData(), train_dataloaders=plain(), val_dataloaders=plain()
    ).validates


def test_a_datamodule_made_from_datasets() -> None:
    dataset = TensorDataset(torch.arange(10.0))
    made = pl.LightningDataModule.from_datasets(dataset, dataset, batch_size=2)
    assert inputs(datamodule=made).validates
    assert made.train_dataloader().seed == SEED


def test_a_datamodules_hooks() -> None:
    module = Data()
    data = inputs(datamodule=module)
    assert data.training == data.validation == {"datamodule": module}
    assert (data.validates, data.tests, data.shares_itself_out) == (True, False, False)
    assert module.train_dataloader().seed == SEED
    assert [type(each) for each in module.val_dataloader()] == [DataLoader, DataLoader]
    assert [each.pad for each in module.val_dataloader()] == [False, False]


class Positional(pl.LightningDataModule):
    def predict_dataloader(self) -> Any:
        return [TorchDataLoader(TensorDataset(torch.arange(10.0)), 4), plain()]


class Predicting(pl.LightningModule):
    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int) -> Any:
        return batch[0]


def test_lightning_predicts_on_loaders_however_they_are_written(tmp_path: Path) -> None:
    data = Positional()
    predictable(data)
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=tmp_path
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's own, of workers and of torch
        first, second = trainer.predict(Predicting(), datamodule=data)
    assert [each.tolist() for each in first] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len(second) == 5


def test_a_modules_own_hooks() -> None:
    module = OwnData()
    data = inputs(module=module)
    assert data.training == {}
    assert not data.validates
    assert isinstance(module.train_dataloader(), DataLoader)


def test_lightning_still_sees_the_hooks() -> None:
    from pytorch_lightning.utilities.model_helpers import is_overridden

    module = Data()
    inputs(datamodule=module)
    assert is_overridden("train_dataloader", module)
    assert not is_overridden("test_dataloader", module)


def test_what_cannot_go_on_is_said_once() -> None:
    said: list[str] = []
    stream = TorchDataLoader(Stream())
    data = Inputs(
        Configuration(module=Module(), train_dataloaders=[stream, stream]), SEED, said.append
    )
    assert not data.shares_itself_out
    assert len(said) == 1
    assert "can't go on exactly in mid-epoch: its dataset is iterable" in said[0]


def test_persistent_workers_of_the_baseline_are_those_of_the_training() -> None:
    def working() -> set[Any]:
        return set(multiprocessing.active_children()) - before

    class Several(pl.LightningModule):
        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int) -> None: ...

    before = set(multiprocessing.active_children())
    workers: dict[str, Any] = {"num_workers": 1, "persistent_workers": True}
    given = {"a": plain(**workers), "b": [DataLoader(range(10), 2, seed=1, **workers)]}
    data = inputs(module=Several(), train_dataloaders=plain(), val_dataloaders=given)
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    with data.validated_again():
        trainer.validate(Several(), **data.validation, verbose=False)
    first = working()
    assert len(first) == 2
    trainer.validate(Several(), **data.validation, verbose=False)
    assert not working()
