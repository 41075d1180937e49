"""torch_lab.data: order and draws have addresses, and a cut iteration goes on."""

from __future__ import annotations

import multiprocessing
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
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    WeightedRandomSampler,
    get_worker_info,
)
from torch.utils.data import DataLoader as TorchDataLoader

from torch_lab.data import DataLoader, address_seed, make_exact, seeded
from torch_lab.data.randomness import own_generators

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
    for cut in range(0, len(whole) + 1, 3 if workers else 1):
        first = loader(shuffle=True, num_workers=workers)
        first.set_epoch(4)
        iterator = iter(first)
        seen = [next(iterator) for _ in range(cut)]
        state = first.state_dict()
        assert state == {"epoch": 4, "batch": cut, "samples": SAMPLES}
        del iterator
        second = loader(shuffle=True, num_workers=workers)
        second.load_state_dict(state)
        asked_early = iter(second)  # Lightning asks for the iterator before it sets the epoch
        second.set_epoch(4)
        assert seen + list(asked_early) == whole


def test_after_the_last_batch_the_next_epoch_begins() -> None:
    first = loader(shuffle=True)
    list(first)
    assert first.state_dict() == {"epoch": 1, "batch": 0, "samples": SAMPLES}
    second = loader(shuffle=True)
    second.load_state_dict(first.state_dict())
    assert list(second) == list(first)


@pytest.mark.parametrize("cut", [1, 3])
def test_goes_on_where_it_had_started_over_within_an_epoch(cut: int) -> None:
    """As Lightning has a short loader do beside a long one."""
    first = loader(shuffle=True)
    first.set_epoch(4)
    list(first)
    again = iter(first)
    seen = [next(again) for _ in range(cut)]
    second = loader(shuffle=True)
    second.load_state_dict(first.state_dict())
    second.set_epoch(4)
    rest = list(second)
    assert rest == list(again)
    assert seen + rest == epoch(loader(shuffle=True), 5)
    second.load_state_dict(first.state_dict())
    second.set_epoch(5)  # Lightning's next epoch begins at its first batch
    assert list(second) == epoch(loader(shuffle=True), 5)


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


def test_torchs_batch_sampler_given_by_the_user_is_kept() -> None:
    batches = BatchSampler(SubsetRandomSampler(range(5, 15)), 4, drop_last=False)
    plain = TorchDataLoader(Drawing(), batch_sampler=batches, collate_fn=noisy_collate)
    (made,), left = make_exact([plain], seed=1)
    assert left == []
    drawn = epoch(made)
    assert [len(batch) - 1 for batch in drawn] == [4, 4, 2]
    assert sorted(order(drawn)) == list(range(5, 15))


class OwnWay(TorchDataLoader[Any]):
    def __iter__(self) -> Any:
        return iter([])


class OnlyMade(TorchDataLoader[Any]):
    def __init__(self, dataset: Any, note: str) -> None:
        super().__init__(dataset, batch_size=3, shuffle=True, collate_fn=noisy_collate)
        self.note = note


class KeepsItsPlace:
    def state_dict(self) -> dict[str, int]:
        return {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        pass


@pytest.mark.parametrize(
    ("left", "reason"),
    [
        (TorchDataLoader(Stream()), "its dataset is iterable: samples have no indices"),
        (DataLoader(Stream()), "its dataset is iterable: samples have no indices"),
        (OwnWay(Drawing()), "it has a way of its own to load: __iter__"),
        ([1, 2], None),
        (KeepsItsPlace(), "it is no torch.utils.data.DataLoader"),
        (
            TorchDataLoader(Drawing(), num_workers=2, in_order=False),
            "with in_order=False batches come as workers finish them",
        ),
    ],
    ids=["stream", "ours of a stream", "own __iter__", "list", "no loader", "out of order"],
)
def test_what_cannot_be_exact_is_said(left: Any, reason: str | None) -> None:
    if reason is None:  # a list is a collection of loaders
        assert len(make_exact(left, seed=1)[1]) == 2
        return
    (made,), (found,) = make_exact([left], seed=1)
    assert made is left
    assert found.reason == reason
    assert f"can't go on exactly in mid-epoch: {reason}. A run that is cut" in str(found)
    assert ("restores the place" in str(found)) is isinstance(left, KeepsItsPlace)


def test_a_subclass_that_only_passes_arguments_on_becomes_exact() -> None:
    made, left = make_exact(OnlyMade(Drawing(), note="mine"), seed=1)
    assert left == []
    assert made.note == "mine"
    assert epoch(made) == epoch(loader(shuffle=True))


def test_a_stream_keeps_no_place() -> None:
    made = DataLoader(Stream(), batch_size=5)
    assert next(iter(made)).tolist() == [0, 1, 2, 3, 4]
    assert made.state_dict() == {}
    made.load_state_dict({})


def test_arguments_that_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="mutually exclusive"):
        loader(shuffle=True, sampler=SequentialSampler(Drawing()))


def test_it_pickles() -> None:
    made = loader(shuffle=True)
    assert epoch(pickle.loads(pickle.dumps(made)), 3) == epoch(made, 3)


# What people bring: samplers, generators and worker functions of their own. Each is trained with
# for some epochs, cut in one of them, and goes on as if it had not been.


class InPlace(Sampler[int]):
    """Shuffles a list that it keeps: each order follows from the one before."""

    def __init__(self) -> None:
        self.indices = list(range(SAMPLES))

    def __len__(self) -> int:
        return SAMPLES

    def __iter__(self) -> Iterator[int]:
        random.shuffle(self.indices)
        return iter(self.indices)


class Counting(InPlace):
    """Knows by itself how many epochs there were."""

    passes = 0

    def __iter__(self) -> Iterator[int]:
        self.passes += 1
        return iter([(i * self.passes) % SAMPLES for i in self.indices])


class OwnRandomness(InPlace):
    """Draws from generators that it was made with."""

    def __init__(self) -> None:
        super().__init__()
        self.rng = np.random.default_rng(0)
        self.legacy = np.random.RandomState(0)
        self.nested = [random.Random(0), {"torch": torch.Generator().manual_seed(0)}]

    def __iter__(self) -> Iterator[int]:
        order = self.rng.permutation(SAMPLES)
        self.legacy.shuffle(order)
        self.nested[0].shuffle(order)
        return iter(order[torch.randperm(SAMPLES, generator=self.nested[1]["torch"])].tolist())


class Buckets(InPlace):
    """Draws batches; told of the epoch, and of nothing else."""

    epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return 5

    def __iter__(self) -> Iterator[Any]:
        order = np.random.default_rng(self.epoch).permutation(SAMPLES).tolist()
        return iter([order[i : i + 4] for i in range(0, SAMPLES, 4)])


class Learning(InPlace):
    """Changes while it is used, and says what it knows."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def learn(self) -> None:
        self.seen += 1

    def __iter__(self) -> Iterator[int]:
        return iter([(i + self.seen) % SAMPLES for i in range(SAMPLES)])

    def state_dict(self) -> dict[str, int]:
        return {"seen": self.seen}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.seen = state["seen"]


class Forgetful(InPlace):
    """Changes while it is used, and keeps it to itself."""

    seen = 0

    def learn(self) -> None:
        self.seen += 1

    def __iter__(self) -> Iterator[int]:
        return iter([(i + self.seen) % SAMPLES for i in range(SAMPLES)])


def sampled(kind: str) -> DataLoader:
    """A loader with one of the samplers that people bring."""
    weights = torch.arange(1.0, SAMPLES + 1)
    samplers: dict[str, Any] = {
        "replacement": lambda: RandomSampler(range(SAMPLES), replacement=True, num_samples=9),
        "few": lambda: RandomSampler(range(SAMPLES), num_samples=9),
        "subset": lambda: SubsetRandomSampler(range(3, 13)),
        "weighted": lambda: WeightedRandomSampler(weights, 15, generator=torch.Generator()),
        "distributed": lambda: DistributedSampler(range(SAMPLES), num_replicas=2, rank=1),
        "list": lambda: [3, 1, 2],
        "in place": InPlace,
        "counting": Counting,
        "own randomness": OwnRandomness,
        "learning": Learning,
    }
    batch_samplers: dict[str, Any] = {
        "buckets": Buckets,
        "batches": lambda: BatchSampler(RandomSampler(range(SAMPLES)), 4, drop_last=False),
        "batches in place": lambda: BatchSampler(InPlace(), 4, drop_last=True),
        "batches learning": lambda: BatchSampler(Learning(), 4, drop_last=True),
    }
    if kind in samplers:
        return loader(sampler=samplers[kind]())
    return loader(batch_size=1, batch_sampler=batch_samplers[kind]())


def learn(of: DataLoader) -> None:
    """What a callback does at each batch's end."""
    inner = of.sampler if of.batch_size is not None else of.batch_sampler
    while (inner := getattr(inner, "wrapped", None) or getattr(inner, "sampler", None)) is not None:
        if hasattr(inner, "learn"):
            inner.learn()


def trained(of: DataLoader, epochs: range) -> Iterator[Any]:
    """The batches as a training loop asks for them."""
    for number in epochs:
        iterator = iter(of)
        of.set_epoch(number)
        for batch in iterator:
            learn(of)
            yield batch


SAMPLERS = [
    *("replacement", "few", "subset", "weighted", "distributed", "list"),
    *("in place", "counting", "own randomness", "learning"),
    *("buckets", "batches", "batches in place", "batches learning"),
]


@pytest.mark.parametrize("kind", SAMPLERS)
def test_goes_on_with_every_sampler(kind: str) -> None:
    whole = list(trained(sampled(kind), range(4)))
    per_epoch = len(whole) // 4
    for cut in {1, per_epoch - 1, 2 * per_epoch + 1, 3 * per_epoch + per_epoch // 2}:
        first = sampled(kind)
        batches = trained(first, range(4))
        seen = [next(batches) for _ in range(cut)]
        state = pickle.loads(pickle.dumps(first.state_dict()))
        second = sampled(kind)
        second.load_state_dict(state)
        rest = list(trained(second, range(cut // per_epoch, 4)))
        assert seen + rest == whole, cut


class Backwards(SequentialSampler):
    def __iter__(self) -> Iterator[int]:
        return reversed(range(SAMPLES))


class Evens(RandomSampler):
    def __iter__(self) -> Iterator[int]:
        return iter(range(0, SAMPLES, 2))


def test_samplers_that_derive_from_torchs_keep_their_ways() -> None:
    assert order(epoch(loader(sampler=Backwards(Drawing())))) == [*reversed(range(SAMPLES))]
    assert order(epoch(loader(sampler=Evens(Drawing())))) == [*range(0, SAMPLES, 2)]


def test_an_order_that_is_not_that_of_before_the_cut_is_said() -> None:
    first = loader(sampler=Forgetful())
    batches = trained(first, range(2))
    for _ in range(9):
        next(batches)
    second = loader(sampler=Forgetful())
    second.load_state_dict(first.state_dict())
    with pytest.warns(UserWarning, match="Forgetful draws another order than before the cut"):
        next(trained(second, range(1, 2)))


def test_data_that_has_changed_is_said() -> None:
    state = loader(shuffle=True).state_dict()
    longer = loader(Subset(Drawing(), [*range(SAMPLES), 0]), shuffle=True)
    with pytest.warns(UserWarning, match="had 20 samples when the run was cut and has 21 now"):
        longer.load_state_dict(state)


def test_a_place_saved_before_there_were_more_keys() -> None:
    made = loader(shuffle=True)
    made.load_state_dict({"epoch": 2, "batch": 3})
    assert list(made) == epoch(loader(shuffle=True), 2)[3:]


class OwnGenerator(Drawing):
    """Draws from a generator of its own, and its transform from another."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.transforms = [Noise()]

    def __getitem__(self, i: int) -> Any:
        return i, float(self.rng.random()), self.transforms[0](i)


class Noise:
    def __init__(self) -> None:
        self.random = random.Random()

    def __call__(self, i: int) -> float:
        return i + self.random.random()


def test_generators_that_a_dataset_keeps_have_the_address_too() -> None:
    whole = epoch(loader(OwnGenerator(), shuffle=True), 1)
    helped = loader(OwnGenerator(), shuffle=True, num_workers=2)
    assert epoch(helped, 1) == whole
    assert whole != epoch(loader(OwnGenerator(), shuffle=True), 2)
    second = loader(OwnGenerator(), shuffle=True)
    second.load_state_dict({"epoch": 1, "batch": 3})
    assert list(second) == whole[3:]


def test_a_search_for_generators_ends() -> None:
    class Loop:
        def __init__(self) -> None:
            self.me = [self] * 3
            self.module = random
            self.many = [random.Random() for _ in range(1000)]

    assert 0 < len(own_generators(Loop())) < 100


class Opening(Drawing):
    """Has to be opened in each worker, as files have to be."""

    file: Any = None

    def __getitem__(self, i: int) -> Any:
        return i, self.file[i]


def open_in_worker(worker: int) -> None:
    info = get_worker_info()
    assert info is not None
    info.dataset.file = {i: i**2 for i in range(SAMPLES)}  # type: ignore[attr-defined]


@pytest.mark.parametrize("persistent", [False, True])
def test_a_worker_init_fn_finds_the_users_dataset(persistent: bool) -> None:
    made = loader(
        Opening(),
        num_workers=2,
        worker_init_fn=open_in_worker,
        persistent_workers=persistent,
        prefetch_factor=3,
        multiprocessing_context="fork",
        timeout=60,
    )
    for number in range(2):
        samples = [sample for batch in epoch(made, number) for sample in batch[:-1]]
        assert samples == [(i, i**2) for i in range(SAMPLES)]


class Shares:
    """torch.distributed as one of its processes sees it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rank, self.world = 0, 1
        monkeypatch.setattr("torch_lab.data.sharing.world", lambda: (self.rank, self.world))

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


def test_no_process_is_left_without_a_sample_to_evaluate(monkeypatch: pytest.MonkeyPatch) -> None:
    made = loader(pad=False)
    made.none_idle = True
    shares = Shares(monkeypatch)
    assert shares.orders(made, SAMPLES + 1) == [list(range(SAMPLES))] * (SAMPLES + 1)
    assert [len(share) for share in shares.orders(made, SAMPLES)] == [1] * SAMPLES


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


class Workers(pl.Callback):
    """The processes that each epoch has made."""

    def __init__(self) -> None:
        self.before = set(multiprocessing.active_children())
        self.epochs: list[set[Any]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.epochs.append(self.alive())

    def alive(self) -> set[Any]:
        return set(multiprocessing.active_children()) - self.before


def test_persistent_workers_end_with_the_training() -> None:
    data = DataLoader(Drawing(), 4, seed=1, num_workers=2, persistent_workers=True)
    module, workers = Recording(), Workers()
    bare_trainer(workers, max_epochs=2).fit(module, data)
    first, second = workers.epochs
    assert len(first) == 2
    assert first == second
    assert not workers.alive()  # at exit torch would wait five seconds for each
    assert [batch[0].tolist() for batch in epoch(data, 2)] == module.seen[:5]
    assert len(workers.alive()) == 2


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
