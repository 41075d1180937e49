"""torch_lab.data: order and draws have addresses, and a cut iteration goes on."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import BasePredictionWriter
from torch.utils.data import (
    BatchSampler,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    WeightedRandomSampler,
)
from torch.utils.data import DataLoader as TorchDataLoader

from torch_lab.data import DataLoader, address_seed, make_exact, seeded

SAMPLES = 20
SEED_OF_1_2_3 = 12174095428247697372  # recorded runs resume only while this stays


class Drawing(Dataset[Any]):
    """Every sample draws from all three generators."""

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, i: int) -> tuple[int, float, float, float]:
        return i, random.random(), float(np.random.rand()), float(torch.rand(()))


class Batched(Drawing):
    """Fetches whole batches."""

    def __getitems__(self, indices: list[int]) -> list[Any]:
        torch.rand(3)
        return [self[i] for i in indices]


def noisy_collate(samples: list[Any]) -> list[Any]:
    return [*samples, random.random()]


class Stream(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(range(SAMPLES))


def loader(dataset: Any = None, **kwargs: Any) -> DataLoader:
    kwargs = {"batch_size": 3, "seed": 1, "collate_fn": noisy_collate} | kwargs
    return DataLoader(dataset or Drawing(), **kwargs)


def epoch(of: DataLoader, number: int = 0) -> list[Any]:
    of.set_epoch(number)
    return list(of)


def order(batches: list[Any]) -> list[int]:
    return [sample[0] for batch in batches for sample in batch[:-1]]


@pytest.mark.parametrize("dataset", [Drawing(), Batched()])
@pytest.mark.parametrize("kwargs", [{}, {"persistent_workers": True}])
def test_workers_make_no_difference(dataset: Any, kwargs: dict[str, Any]) -> None:
    alone = loader(dataset, shuffle=True)
    helped = loader(dataset, shuffle=True, num_workers=2, **kwargs)
    for number in range(2):
        assert epoch(alone, number) == epoch(helped, number)


@pytest.mark.parametrize("workers", [0, 2])
def test_goes_on_where_it_was_cut(workers: int) -> None:
    whole = epoch(loader(shuffle=True), 4)
    for cut in range(len(whole) + 1):
        first = loader(shuffle=True, num_workers=workers)
        first.set_epoch(4)
        iterator = iter(first)
        seen = [next(iterator) for _ in range(cut)]
        state = first.state_dict()
        assert state == {"epoch": 4, "batch": cut}
        del iterator
        second = loader(shuffle=True, num_workers=workers)
        second.load_state_dict(state)
        asked_early = iter(second)  # Lightning asks for the iterator before it sets the epoch
        second.set_epoch(4)
        assert seen + list(asked_early) == whole


def test_after_the_last_batch_the_next_epoch_begins() -> None:
    first = loader(shuffle=True)
    list(first)
    assert first.state_dict() == {"epoch": 1, "batch": 0}
    second = loader(shuffle=True)
    second.load_state_dict(first.state_dict())
    assert list(second) == list(first)


def test_epochs_differ_and_repeat() -> None:
    made = loader(shuffle=True)
    first, second = epoch(made, 0), epoch(made, 1)
    assert order(first) != order(second)
    assert sorted(order(first)) == list(range(SAMPLES))
    assert epoch(made, 0) == first


def test_without_set_epoch_each_pass_is_another_epoch() -> None:
    made, told = loader(shuffle=True), loader(shuffle=True)
    assert [list(made), list(made)] == [epoch(told, 0), epoch(told, 1)]


def test_a_pass_that_was_left_is_begun_again() -> None:
    made = loader(shuffle=True)
    begun = next(iter(made))
    assert next(iter(made)) == begun


def test_the_seed_decides() -> None:
    assert order(epoch(loader(shuffle=True))) != order(epoch(loader(shuffle=True, seed=2)))


def test_the_default_seed_is_torchs() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(11)
        made = loader(shuffle=True, seed=None)
    assert epoch(made) == epoch(loader(shuffle=True, seed=11))


def test_global_generators_are_left_alone() -> None:
    def state() -> tuple[Any, ...]:
        return random.getstate(), repr(np.random.get_state()), torch.get_rng_state().tolist()

    before = state()
    list(loader(shuffle=True))
    list(loader(shuffle=True, num_workers=1))
    assert state() == before


def test_seeded_nests() -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    with seeded(1):
        first = draw()
        with seeded(2):
            inner = draw()
        second = draw()
    with seeded(1):
        assert (first, second) == (draw(), draw())
    with seeded(2):
        assert inner == draw()


def test_address_seeds_are_fixed_for_ever() -> None:
    assert address_seed(1, 2, 3) == SEED_OF_1_2_3
    assert len({address_seed(a, b) for a in range(50) for b in range(-1, 50)}) == 50 * 51


def test_lengths() -> None:
    assert len(loader()) == 7
    assert len(loader(drop_last=True)) == 6
    assert len(epoch(loader(drop_last=True))) == 6
    assert len(loader(batch_size=None, collate_fn=None)) == SAMPLES


def test_without_batches() -> None:
    made = DataLoader(Drawing(), batch_size=None, seed=1)
    assert [sample[0] for sample in made] == list(range(SAMPLES))


@pytest.mark.parametrize("own_generator", [False, True])
def test_samplers_of_the_users_own(own_generator: bool) -> None:
    def made() -> DataLoader:
        generator = torch.Generator() if own_generator else None
        weights = torch.arange(1.0, SAMPLES + 1)
        sampler = WeightedRandomSampler(weights.tolist(), 15, generator=generator)
        return loader(sampler=sampler)

    first = made()
    assert epoch(first, 0) != epoch(first, 1)
    assert epoch(made(), 1) == epoch(first, 1)
    assert len(order(epoch(first))) == 15


def test_batch_samplers_of_the_users_own() -> None:
    def made() -> DataLoader:
        batches = BatchSampler(RandomSampler(range(SAMPLES)), 4, drop_last=True)
        return DataLoader(Drawing(), batch_sampler=batches, collate_fn=noisy_collate, seed=1)

    first = made()
    whole = epoch(first, 2)
    assert [len(batch) - 1 for batch in whole] == [4] * 5
    assert len(first) == 5
    second = made()
    second.load_state_dict({"epoch": 2, "batch": 3})
    assert list(second) == whole[3:]


def test_plain_loaders_become_exact() -> None:
    plain = {
        "a": TorchDataLoader(Drawing(), 3, shuffle=True, collate_fn=noisy_collate),
        "b": [TorchDataLoader(Drawing(), sampler=SequentialSampler(Drawing()), drop_last=True)],
    }
    made, left = make_exact(plain, seed=1)
    assert left == []
    assert epoch(made["a"]) == epoch(loader(shuffle=True))
    assert isinstance(made["b"][0], DataLoader)
    assert made["b"][0].drop_last
    assert type(plain["a"]) is TorchDataLoader  # the user's own is not changed


def test_what_cannot_be_exact_is_said() -> None:
    class Own(TorchDataLoader[Any]):
        pass

    stream, own = TorchDataLoader(Stream()), Own(Drawing())
    made, left = make_exact([stream, own], seed=1)
    assert made == [stream, own]
    assert [each.reason for each in left] == [
        "its dataset is iterable: samples have no indices",
        "it is no torch.utils.data.DataLoader itself",
    ]
    assert next(iter(DataLoader(Stream(), batch_size=5))).tolist() == [0, 1, 2, 3, 4]


def test_arguments_that_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="mutually exclusive"):
        loader(shuffle=True, sampler=SequentialSampler(Drawing()))


def test_it_pickles() -> None:
    made = loader(shuffle=True)
    assert epoch(pickle.loads(pickle.dumps(made)), 3) == epoch(made, 3)


class Shares:
    """torch.distributed as one of its processes sees it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rank, self.world = 0, 1
        monkeypatch.setattr("torch_lab.data._world", lambda: (self.rank, self.world))

    def orders(self, made: DataLoader, world: int) -> list[list[int]]:
        found = []
        for self.rank in range(world):
            self.world = world
            batches = epoch(made, 1)
            assert len(batches) == len(made)
            found.append(order(batches))
        return found


def test_every_process_gets_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = Shares(monkeypatch).orders(loader(shuffle=True, pad=False), 3)
    assert sorted(chain(*shares)) == list(range(SAMPLES))
    assert [len(share) for share in shares] == [7, 7, 6]


def test_training_shares_are_equally_long(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = Shares(monkeypatch).orders(loader(shuffle=True), 3)
    assert [len(share) for share in shares] == [7, 7, 7]
    assert set(chain(*shares)) == set(range(SAMPLES))


class Predicting(pl.LightningModule):
    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        return batch[0]


class Writer(BasePredictionWriter):
    def __init__(self) -> None:
        super().__init__("batch")
        self.seen: list[Any] = []

    def write_on_batch_end(self, trainer, pl_module, prediction, batch_indices, *args) -> None:
        self.seen.append((prediction.tolist(), batch_indices))


def bare_trainer(*callbacks: pl.Callback, **kwargs: Any) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        callbacks=list(callbacks),
        **kwargs,
    )


def test_lightnings_prediction_writers_learn_the_indices() -> None:
    writer = Writer()
    data = DataLoader(Drawing(), batch_size=8, seed=1)
    bare_trainer(writer).predict(Predicting(), data, return_predictions=False)
    assert writer.seen == [(list(r), list(r)) for r in (range(8), range(8, 16), range(16, 20))]


class Recording(pl.LightningModule):
    """Keeps the indices of the batches it is trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[list[int]] = []

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.seen.append(batch[0].tolist())
        return self.weight

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.mark.filterwarnings("ignore:You requested to overfit")
def test_overfitting_keeps_to_the_first_batches() -> None:
    module = Recording()
    data = DataLoader(Drawing(), batch_size=4, shuffle=True, seed=1)
    bare_trainer(max_epochs=2, overfit_batches=2).fit(module, data)
    assert module.seen == [[0, 1, 2, 3], [4, 5, 6, 7]] * 2


def test_lightning_sets_the_epoch() -> None:
    module = Recording()
    data = DataLoader(Drawing(), batch_size=20, shuffle=True, seed=1)
    bare_trainer(max_epochs=2).fit(module, data)
    told = DataLoader(Drawing(), batch_size=20, shuffle=True, seed=1)
    assert module.seen == [epoch(told, n)[0][0].tolist() for n in range(2)]
