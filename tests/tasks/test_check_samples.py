"""The samples that checks look at beyond those that were tried."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    IterableDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
)
from torch.utils.data import DataLoader as TorchDataLoader

from torch_lab.data import DataLoader
from torch_lab.tasks.check.data import data
from torch_lab.tasks.check.provenance import maker
from torch_lab.tasks.check.samples import (
    MOST,
    in_order,
    indices,
    origin,
    place_of_equal,
    same_place,
    survey,
)
from torch_lab.tasks.check.subject import Source, Trial

DATA = TensorDataset(torch.randn(1000, 3), torch.arange(1000))


def source(loader: Any) -> Source:
    return Source("train", "train_dataloaders", loader, batch=next(iter(loader)))


@pytest.mark.parametrize("kind", [DataLoader, TorchDataLoader])
def test_they_are_spread_over_the_data_and_collated(kind: Any) -> None:
    found = survey(source(kind(DATA, batch_size=10, shuffle=True)))
    assert found.indices[0] == 999  # a wrong length shows there
    assert found.indices[1:] == sorted(found.indices[1:])
    assert len(found.samples) == MOST
    labels = found.column((1,))
    assert labels is not None
    assert labels.tolist() == found.indices


def test_the_same_ones_each_time() -> None:
    tried = source(DataLoader(DATA, batch_size=10))
    assert survey(tried) is survey(tried)


def test_only_what_the_sampler_draws() -> None:
    part = [3, 5, 8]
    drawn = TorchDataLoader(DATA, batch_size=2, sampler=SubsetRandomSampler(part))
    assert sorted(indices(drawn)) == part
    batches = BatchSampler(SubsetRandomSampler(part), 2, drop_last=False)
    for kind in (DataLoader, TorchDataLoader):
        assert sorted(indices(kind(DATA, batch_sampler=batches))) == part
        assert not in_order(kind(DATA, batch_sampler=batches))
    own = TorchDataLoader(DATA, batch_sampler=[[1, 2], [3]])
    assert indices(own) == [1, 2, 3]


def test_a_sample_that_fails_is_told_and_the_others_are_there() -> None:
    class Holed(TensorDataset):
        def __getitem__(self, i: int) -> Any:
            if i == 9:
                raise KeyError(i)
            return super().__getitem__(i)

    found = survey(source(DataLoader(Holed(torch.randn(10, 2)), batch_size=2)))
    assert found.failed is not None
    assert found.failed[0] == 9
    assert len(found.samples) == 9


def test_a_stream_is_left_alone() -> None:
    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Any:
            yield torch.zeros(2)

    found = survey(source(DataLoader(Stream(), batch_size=1)))
    assert not found.samples
    assert found.column(()) is None


def test_where_a_sample_was_taken_from() -> None:
    both = ConcatDataset([Subset(DATA, [7, 8]), TensorDataset(torch.zeros(3))])
    assert origin(both, 1) == (DATA, 8)
    assert origin(both, 3) == (both.datasets[1], 1)


def test_a_tensor_is_found_again_in_its_batch() -> None:
    x, y = torch.randn(2, 3), torch.arange(2)
    batch = {"x": x, "md": {"y": y, "name": ["a", "b"]}}
    assert same_place(batch, y) == ("md", "y")
    assert same_place(batch, y.clone()) is None  # equal by chance, perhaps
    assert place_of_equal(batch, x.clone()) == ("x",)  # as after a move to a device
    assert place_of_equal(batch, y + 1) is None
    assert place_of_equal([x, x.clone()], x.clone()) is None  # who can tell


def test_which_operation_a_tensor_came_from() -> None:
    x = torch.randn(2, 3, requires_grad=True)
    assert maker(torch.softmax(x, 1).squeeze(-1).t()) == "softmax"
    assert maker(torch.nn.functional.linear(x, torch.randn(4, 3)).view(8)) in ("linear", "other")
    assert maker(torch.nn.functional.linear(x, torch.randn(4, 3), torch.randn(4))) == "linear"
    assert maker(x.relu().reshape(6)) == "relu"
    assert maker(x * 2) == "other"
    assert maker(x) == "leaf"
    assert maker(x.detach()) == ""
    assert maker("x") is None


def test_data_that_only_a_worker_can_load_is_no_fault() -> None:
    class Opened(TensorDataset):
        def __getitem__(self, i: int) -> Any:
            raise RuntimeError("the file is opened by worker_init_fn")

    tried = Source("train", "train_dataloaders", DataLoader(Opened(torch.zeros(4)), batch_size=2))
    tried.batch = torch.zeros(2)
    subject: Any = SimpleNamespace(trial=Trial(sources=[tried]), is_estimator=False)
    assert survey(tried).failed is not None
    assert not [each for each in data(subject) if each.level != "note"]


@pytest.mark.parametrize(("loss", "told"), [(float("nan"), True), (0.5, False)])
def test_missing_values_that_the_loss_copes_with_are_expected(loss: float, told: bool) -> None:
    targets = torch.tensor([[torch.nan], [1.0], [torch.nan], [0.0]])
    tried = source(DataLoader(TensorDataset(torch.randn(4, 3), targets), batch_size=2))
    nowhere = SimpleNamespace(configuration=Path("nowhere.py"), root=Path("nowhere"))
    subject: Any = SimpleNamespace(
        trial=Trial(sources=[tried], losses={"train": torch.tensor(loss)}),
        plan=SimpleNamespace(experiment=nowhere),
        is_estimator=False,
    )
    assert any(each.code == "nan-data" for each in data(subject)) is told
