"""The ledger of batches and samples: sound trainings are complete, lost batches are missed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import (
    BatchSizeFinder,
    EarlyStopping,
    GradientAccumulationScheduler,
    LearningRateFinder,
    StochasticWeightAveraging,
)
from pytorch_lightning.loops.fetchers import _PrefetchDataFetcher
from pytorch_lightning.utilities import CombinedLoader
from torch.utils.data import BatchSampler, Dataset, IterableDataset, Sampler, SequentialSampler
from torch.utils.data import DataLoader as TorchDataLoader

from torch_lab.callbacks import RunCheckpoint
from torch_lab.checkpoints.keeper import SavePoint
from torch_lab.data import DataLoader
from torch_lab.data.loader import _Addresses
from torch_lab.engine import trainer as trainers
from torch_lab.engine.accounts import Accounts
from torch_lab.engine.ledger import Epochs, Fault, Ledger, folded, proof, recorded
from torch_lab.engine.savepoints import SavePoints
from torch_lab.engine.stop import StopRequest

pytestmark = [
    pytest.mark.filterwarnings("ignore:Your `IterableDataset` has `__len__` defined:UserWarning"),
    pytest.mark.filterwarnings("ignore:`training_step` returned `None`:UserWarning"),
]
SAMPLES, BATCH = 18, 4  # five batches, the last of two samples
STEPS, EPOCHS = 5, 3


class Numbers(Dataset[Any]):
    def __init__(self, samples: int = SAMPLES) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, i: int) -> torch.Tensor:
        return torch.full((2,), float(i))


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[torch.Tensor]:
        return (torch.full((2,), float(i)) for i in range(SAMPLES))


class SizedStream(Stream):
    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length


class Listed:
    """A loader of one's own."""

    def __len__(self) -> int:
        return 7

    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter([torch.zeros(BATCH, 2)] * 7)


class Module(pl.LightningModule):
    batch_size = BATCH
    lr = 0.001

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        while not isinstance(batch, torch.Tensor):  # of several loaders; None where one has ended
            parts = batch.values() if isinstance(batch, dict) else batch
            batch = next(each for each in parts if each is not None)
        loss = 0.001 * self.layer(batch).mean()
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val", 1.0)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.lr)


class Folder:
    """Keeps every checkpoint."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.points: list[SavePoint] = []

    def path(self, batch: int) -> Path:
        return self.folder / f"step-{batch}.ckpt"

    def finish(self, draft: Path, point: SavePoint) -> None:
        draft.replace(self.path(point.batch))
        self.points.append(point)

    def keep_crash(self, contents: dict[str, Any], point: SavePoint) -> None: ...

    def raise_if_failed(self) -> None: ...

    def wait(self) -> None: ...


@dataclass
class Outcome:
    ledger: dict[str, Any]
    problem: str | None
    said: list[str] = field(default_factory=list)

    @property
    def counts(self) -> list[tuple[int, int, int, int | None]]:
        """First and last epoch, batches, samples."""
        return [(e["first"], e["last"], e["batches"], e["samples"]) for e in self.ledger["epochs"]]


def loader(samples: int = SAMPLES, **kwargs: Any) -> DataLoader:
    if "batch_sampler" not in kwargs:
        kwargs = {"batch_size": BATCH, "shuffle": "sampler" not in kwargs} | kwargs
    return DataLoader(Numbers(samples), seed=1, **kwargs)


def train(
    folder: Path,
    loaders: Any = None,
    *callbacks: pl.Callback,
    module: pl.LightningModule | None = None,
    checkpoint: Path | None = None,
    every: int | None = None,
    goes_on: bool = True,
    **init: Any,
) -> Outcome:
    said: list[str] = []
    policy, saver = RunCheckpoint(every_n_steps=every), Folder(folder)
    accounts = Accounts(Ledger(goes_on=goes_on and checkpoint is not None, say=said.append))
    stop = StopRequest()
    points = SavePoints(policy, None, stop, saver, say=said.append, accounts=accounts)
    init = {"max_epochs": EPOCHS, "accelerator": "cpu", "enable_progress_bar": False} | init
    trainer = trainers.build(
        {"num_sanity_val_steps": 0} | init,
        [*callbacks, policy],
        directory=folder,
        logger=None,
        savepoints=points,
    )
    module = module or Module()
    if loaders is None and not isinstance(module, SizedByModule):
        loaders = loader()
    with trainers.quiet():
        trainer.fit(module, loaders, DataLoader(Numbers(2)), ckpt_path=checkpoint)
    verdict = accounts.verdict()
    return Outcome(accounts.recorded() or {}, verdict and verdict.message, said)


# -- plans -----------------------------------------------------------------------------------


def test_equal_epochs_are_one_entry(tmp_path: Path) -> None:
    done = train(tmp_path)
    assert done.problem is None
    assert done.ledger == {
        "processes": 1,
        "epochs": [
            {
                "first": 0,
                "last": 2,
                "planned": 5,
                "batches": 5,
                "ended_by": None,
                "planned_samples": 18,
                "samples": 18,
            }
        ],
        "open": None,
        "ended": "max_epochs=3",
        "stopped": None,
        "faults": [],
    }
    assert done.said == []


WHOLE = [(0, 2, 5, 18)]


@pytest.mark.parametrize(
    ("init", "counts", "ended"),
    [
        ({"max_steps": 7}, [(0, 0, 5, 18), (1, 1, 2, 8)], "max_steps=7"),
        ({"max_steps": 10, "max_epochs": -1}, [(0, 1, 5, 18)], "max_steps=10"),
        (
            {"max_steps": 4, "accumulate_grad_batches": 2},
            [(0, 0, 5, 18), (1, 1, 2, 8)],
            "max_steps=4",
        ),
        ({"limit_train_batches": 2}, [(0, 2, 2, 8)], "max_epochs=3"),
        ({"limit_train_batches": 0.5}, [(0, 2, 2, 8)], "max_epochs=3"),
        ({"overfit_batches": 1}, [(0, 2, 1, 4)], "max_epochs=3"),
        ({"fast_dev_run": 3}, [(0, 0, 3, 12)], "max_steps=3"),
        ({"val_check_interval": 2, "reload_dataloaders_every_n_epochs": 1}, WHOLE, "max_epochs=3"),
        ({"limit_train_batches": 0}, [], None),
        ({"max_epochs": 0}, [], "max_epochs=0"),
    ],
    ids=lambda value: ",".join(f"{k}={v}" for k, v in value.items()) if type(value) is dict else "",
)
def test_limits_are_plans(
    tmp_path: Path, init: dict[str, Any], counts: list[Any], ended: str | None
) -> None:
    done = train(tmp_path, **init)
    assert done.problem is None
    assert done.ledger.get("epochs", []) == [] if not counts else done.counts == counts
    assert done.ledger.get("ended") == ended
    assert done.ledger.get("stopped") is None


def _stop(trainer: pl.Trainer) -> None:
    trainer.should_stop = True


class StopsIn(pl.Callback):
    """Stops in one of its hooks, at the n-th call, in one of several ways."""

    def __init__(self, hook: str, how: Callable[[pl.Trainer], Any], at: int = 2) -> None:
        self.calls, self.at, self.how = 0, at, how
        self.hook = hook
        super().__init__()

    def _called(self, hook: str, trainer: pl.Trainer) -> None:
        if hook == self.hook and trainer.state.fn == "fit":
            self.calls += 1
            if self.calls == self.at:
                self.how(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._called("on_train_epoch_start", trainer)

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        self._called("on_train_batch_start", trainer)

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        self._called("on_train_batch_end", trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._called("on_train_epoch_end", trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._called("on_validation_end", trainer)


def _end_iteration(trainer: pl.Trainer) -> None:
    raise StopIteration


@pytest.mark.parametrize(
    ("hook", "flag", "iteration"),
    [
        ("on_train_epoch_start", [(0, 0, 5), (1, 1, 0)], [(0, 0, 5)]),
        ("on_train_batch_start", [(0, 0, 2)], [(0, 0, 1), (1, 2, 5)]),
        ("on_train_batch_end", [(0, 0, 2)], [(0, 0, 1), (1, 2, 5)]),
        ("on_validation_end", [(0, 1, 5)], None),
        ("on_train_epoch_end", [(0, 1, 5)], [(0, 1, 5)]),
    ],
)
def test_callbacks_that_stop_are_plans_and_named(
    tmp_path: Path, hook: str, flag: list[Any], iteration: list[Any] | None
) -> None:
    done = train(tmp_path, None, StopsIn(hook, _stop))
    assert done.problem is None
    assert [counts[:3] for counts in done.counts] == flag
    assert done.ledger["stopped"] == {"by": f"StopsIn.{hook}", "why": None}
    if iteration is None:
        return
    done = train(tmp_path / "iteration", None, StopsIn(hook, _end_iteration))
    assert done.problem is None
    assert [counts[:3] for counts in done.counts] == iteration
    entries = [e["ended_by"] for e in done.ledger["epochs"]] + [str(done.ledger["stopped"])]
    assert any("StopIteration" in (each or "") for each in entries)
    assert any(f"StopsIn.{hook} in test_ledger.py" in (each or "") for each in entries)


def test_a_stop_before_the_minimum_waits_and_keeps_its_name(tmp_path: Path) -> None:
    done = train(tmp_path, None, StopsIn("on_train_batch_end", _stop), min_epochs=2)
    assert done.problem is None
    assert done.counts == [(0, 1, 5, 18)]
    assert done.ledger["stopped"]["by"] == "StopsIn.on_train_batch_end"


def test_early_stopping_says_why(tmp_path: Path) -> None:
    done = train(tmp_path, None, EarlyStopping("val", patience=1, check_on_train_epoch_end=False))
    assert done.problem is None
    assert done.ledger["ended"] is None
    assert done.ledger["stopped"]["by"] == "EarlyStopping"
    assert "val did not improve in the last 1 records" in done.ledger["stopped"]["why"]


def test_early_stopping_in_the_last_epoch_stopped_it_only_if_it_cut_it(tmp_path: Path) -> None:
    early = EarlyStopping("val", patience=1, check_on_train_epoch_end=False)
    done = train(tmp_path, None, early, max_epochs=2)
    assert (done.ledger["ended"], done.ledger["stopped"]) == ("max_epochs=2", None)
    done = train(tmp_path, None, StopsIn("on_train_batch_end", _stop, at=8), max_epochs=2)
    assert done.counts[-1] == (1, 1, 3, 12)
    assert done.ledger["stopped"]["by"] == "StopsIn.on_train_batch_end"


def test_time_that_is_up_is_a_plan(tmp_path: Path) -> None:
    done = train(tmp_path, max_time={"seconds": 0})
    assert done.problem is None
    assert done.ledger["stopped"] == {"by": "Timer", "why": "max_time is up"}


class Returning(Module):
    def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
        return -1 if batch_idx == 3 else None


class Raising(Module):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return next(iter([])) if batch_idx == 3 else super().training_step(batch, batch_idx)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Returning, "Returning.on_train_batch_start: it returned -1"),
        (Raising, "Raising.training_step in test_ledger.py: it raised StopIteration"),
    ],
)
def test_modules_that_end_epochs_are_plans(tmp_path: Path, kind: type[Module], said: str) -> None:
    done = train(tmp_path, module=kind())
    assert done.problem is None
    assert [counts[:3] for counts in done.counts] == [(0, 2, 3)]
    assert done.ledger["epochs"][0]["ended_by"] == said


class TwoOptimizers(Module):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        for optimizer in self.optimizers():
            optimizer.zero_grad()
            self.manual_backward(self.layer(batch).mean())
            optimizer.step()

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(self.parameters(), lr=0.001) for _ in range(2)]


def test_manual_optimization_with_two_optimizers(tmp_path: Path) -> None:
    assert train(tmp_path, module=TwoOptimizers()).counts == WHOLE
    done = train(tmp_path, module=TwoOptimizers(), max_steps=14)
    assert done.problem is None
    assert done.counts == [(0, 0, 5, 18), (1, 1, 2, 8)]


class Passing(Module):
    """Passes over batches: Lightning takes no step for them."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return None if batch_idx == 1 else super().training_step(batch, batch_idx)


class ByItself(Module):
    def training_step(self, dataloader_iter: Any) -> Any:
        first, _, _ = next(dataloader_iter)
        next(dataloader_iter)
        return 0.001 * self.layer(first).mean()


@pytest.mark.filterwarnings("ignore:.*dataloader_iter:UserWarning")
@pytest.mark.filterwarnings("ignore:.*Trying to infer the `batch_size`:UserWarning")
def test_steps_that_take_batches_their_own_way(tmp_path: Path) -> None:
    assert train(tmp_path, module=Passing()).counts == WHOLE
    done = train(tmp_path, module=ByItself())
    assert done.problem is None


@pytest.mark.parametrize("mode", ["max_size_cycle", "max_size", "min_size"])
@pytest.mark.parametrize("second", ["exact", "stream", "sized stream", "own"])
def test_loaders_of_different_lengths(tmp_path: Path, mode: str, second: str) -> None:
    others = {
        "exact": lambda: loader(SAMPLES // 2),
        "stream": lambda: TorchDataLoader(Stream(), batch_size=2 * BATCH),
        "sized stream": lambda: TorchDataLoader(SizedStream(SAMPLES), batch_size=2 * BATCH),
        "own": lambda: Listed(),
    }
    for pair in ((loader(), others[second]()), (others[second](), loader())):
        done = train(tmp_path, CombinedLoader(pair, mode), max_epochs=2, every=1)
        assert done.problem is None
        batches = {"exact": 3, "stream": 3, "sized stream": 3, "own": 7}[second]
        expected = min(batches, STEPS) if mode == "min_size" else max(batches, STEPS)
        assert [counts[:3] for counts in done.counts] == [(0, 1, expected)]


def test_samples_of_all_loaders_count(tmp_path: Path) -> None:
    done = train(tmp_path, {"a": loader(), "b": loader(9)})
    assert done.problem is None
    assert done.counts == [(0, 2, 5, 18 + 9 + 8)]  # the shorter one starts over


class Growing(Sampler[list[int]]):
    """Another number of batches each epoch, and says so."""

    def __init__(self, first: int, change: int) -> None:
        self.now, self.change = first, change

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.now + self.change * getattr(self, "epoch", 0)

    def __iter__(self) -> Iterator[list[int]]:
        return iter([[i] for i in range(len(self))])


def test_data_without_a_length_and_with_another_each_epoch(tmp_path: Path) -> None:
    done = train(tmp_path, TorchDataLoader(Stream(), batch_size=BATCH))
    assert done.problem is None
    assert done.counts == [(0, 2, 5, None)]
    assert done.ledger["epochs"][0]["planned"] is None
    done = train(tmp_path, DataLoader(Numbers(), batch_sampler=Growing(6, -1), seed=1))
    assert done.problem is None
    assert [counts[2] for counts in done.counts] == [6, 5, 4]


class Peeking(pl.Callback):
    """Looks at the training data from everywhere."""

    def __init__(self, whole: bool) -> None:
        self.whole = whole

    def _look(self, trainer: Any, *args: Any) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            for _ in trainer.train_dataloader:
                if not self.whole:
                    break

    on_train_start = on_train_epoch_start = on_train_batch_start = _look
    on_train_batch_end = on_validation_end = on_train_epoch_end = on_train_end = _look


@pytest.mark.parametrize("whole", [True, False])
def test_hooks_that_look_at_the_data_are_no_part_of_it(tmp_path: Path, whole: bool) -> None:
    done = train(tmp_path, None, Peeking(whole), every=1, val_check_interval=2)
    assert done.problem is None
    assert done.counts == WHOLE
    for batch in (2, 4, 5, 7):
        path = tmp_path / f"step-{batch}.ckpt"
        again = train(tmp_path / "cut", None, Peeking(whole), checkpoint=path)
        assert again.problem is None, batch
        assert again.counts == WHOLE


@pytest.mark.filterwarnings("ignore:The number of training batches:UserWarning")
def test_searches_are_no_part_of_it(tmp_path: Path) -> None:
    done = train(tmp_path, None, LearningRateFinder(num_training_steps=9))
    assert (done.problem, done.counts) == (None, WHOLE)
    done = train(tmp_path, None, BatchSizeFinder(max_trials=1), module=SizedByModule())
    assert done.problem is None
    assert [counts[3] for counts in done.counts] == [SAMPLES]


class SizedByModule(Module):
    def train_dataloader(self) -> Any:
        return loader(batch_size=self.batch_size)


def test_averaging_and_changing_windows(tmp_path: Path) -> None:
    swa = StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=1)
    assert train(tmp_path, None, swa, max_epochs=4).problem is None
    windows = GradientAccumulationScheduler({0: 1, 1: 3})
    assert train(tmp_path, None, windows).counts == WHOLE


# -- cuts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "init",
    [
        {},
        {"max_steps": 12, "max_epochs": -1},
        {"limit_train_batches": 3, "val_check_interval": 2},
        {"accumulate_grad_batches": 2},
    ],
    ids=lambda init: ",".join(init) or "plain",
)
def test_sums_add_up_over_cuts(tmp_path: Path, init: dict[str, Any]) -> None:
    whole = train(tmp_path, every=1, **init)
    batches = sum(e["batches"] * (1 + e["last"] - e["first"]) for e in whole.ledger["epochs"])
    for batch in (1, 5, 7, batches):
        cut = train(tmp_path / "cut", checkpoint=tmp_path / f"step-{batch}.ckpt", **init)
        assert (cut.problem, cut.ledger["epochs"]) == (None, whole.ledger["epochs"]), batch
        assert cut.said == []


@pytest.mark.parametrize("mode", ["max_size_cycle", "max_size", "min_size"])
def test_sums_add_up_over_cuts_with_several_loaders(tmp_path: Path, mode: str) -> None:
    def both() -> CombinedLoader:
        return CombinedLoader({"a": loader(), "b": loader(7, batch_size=3)}, mode)

    whole = train(tmp_path, both(), every=1, max_epochs=2)
    for batch in range(1, 2 * whole.ledger["epochs"][0]["batches"] + 1):
        cut = train(
            tmp_path / "cut", both(), checkpoint=tmp_path / f"step-{batch}.ckpt", max_epochs=2
        )
        assert (cut.problem, cut.ledger["epochs"]) == (None, whole.ledger["epochs"]), batch


def test_what_is_fetched_ahead_is_fetched_again(tmp_path: Path) -> None:
    """Beside data without a length Lightning fetches a batch ahead of the one that it trains on."""

    class Seen(Module):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            seen.append(batch["a"][:, 0].tolist())
            return super().training_step(batch, batch_idx)

    def both() -> dict[str, Any]:
        return {"a": loader(), "b": TorchDataLoader(Stream(), 5 * BATCH)}

    seen: list[Any] = []
    train(tmp_path, both(), module=Seen(), every=1)
    whole, batches = list(seen), range(1, len(seen))
    for batch in batches:
        seen = []
        checkpoint = tmp_path / f"step-{batch}.ckpt"
        done = train(tmp_path / "cut", both(), module=Seen(), checkpoint=checkpoint)
        assert (done.problem, seen) == (None, whole[batch:]), batch


def test_a_new_run_from_anothers_state_accounts_for_its_own_part(tmp_path: Path) -> None:
    train(tmp_path, every=1)
    child = train(tmp_path / "child", checkpoint=tmp_path / "step-7.ckpt", goes_on=False)
    assert child.problem is None
    assert child.counts == [(1, 2, 5, 18)]
    child = train(tmp_path / "child", checkpoint=tmp_path / "step-5.ckpt", goes_on=False)
    assert (child.problem, child.counts) == (None, [(1, 2, 5, 18)])


def test_who_stopped_it_is_known_after_a_cut(tmp_path: Path) -> None:
    early = EarlyStopping("val", patience=1, check_on_train_epoch_end=False)
    whole = train(tmp_path, None, early, every=1)
    early = EarlyStopping("val", patience=1, check_on_train_epoch_end=False)
    cut = train(tmp_path / "cut", None, early, checkpoint=tmp_path / "step-10.ckpt")
    assert cut.problem is None
    assert cut.ledger == whole.ledger
    stop = StopsIn("on_train_batch_end", _stop)
    whole = train(tmp_path / "min", None, stop, every=1, min_epochs=2)
    cut = train(tmp_path / "cut", checkpoint=tmp_path / "min" / "step-7.ckpt", min_epochs=2)
    assert cut.ledger == whole.ledger


# -- faults ----------------------------------------------------------------------------------


class Said(BatchSampler):
    """Says another number of batches than it has."""

    def __init__(self, said: int) -> None:
        super().__init__(SequentialSampler(range(SAMPLES)), BATCH, drop_last=False)
        self.said = said

    def __len__(self) -> int:
        return self.said


def test_a_loader_that_has_other_batches_than_it_said(tmp_path: Path) -> None:
    short = train(tmp_path, DataLoader(Numbers(), batch_sampler=Said(7), seed=1))
    expected = "epochs 0 to 2: its loader ended after 5 batches of the 7 that it said"
    assert short.problem == f"not all that was planned was trained, or not once: {expected}"
    assert short.said == [
        "epoch 0: its loader ended after 5 batches of the 7 that it said."
        " This run can't be completed as planned"
    ]
    long = train(tmp_path, DataLoader(Numbers(), batch_sampler=Said(4), seed=1))
    assert "its loader has 5 batches where it said 4: 1 batch was left out" in long.problem
    done = train(tmp_path, DataLoader(Numbers(), batch_sampler=Growing(4, 1), seed=1))
    assert done.problem.count("was left out") == 1
    assert done.problem.count("were left out") == 1
    limited = DataLoader(Numbers(), batch_sampler=Said(4), seed=1)
    assert train(tmp_path, limited, limit_train_batches=3).problem is None
    stream = TorchDataLoader(SizedStream(40), batch_size=BATCH)
    assert "ended after 5 batches of the 10 that it said" in train(tmp_path, stream).problem


class Stealing(pl.Callback):
    """Takes a batch away from training."""

    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        if trainer.current_epoch == 1 and args[-1] == 1:
            next(trainer.fit_loop._data_fetcher)


@pytest.mark.parametrize("loaders", [loader, lambda: TorchDataLoader(Numbers(), BATCH)])
def test_a_batch_that_is_taken_away(tmp_path: Path, loaders: Callable[[], Any]) -> None:
    done = train(tmp_path, loaders(), Stealing())
    assert "epoch 1: 1 batch was left out" in done.problem


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ([0, 1, 3, 4], "batch 3 came where batch 2 was due"),
        ([0, 1, 1, 2, 3, 4], "batch 1 came where batch 2 was due"),
        ([0, 2, 1, 3, 4], "batch 2 came where batch 1 was due"),
        ([0, 1, 2, 3], "its loader ended after 4 batches of the 5 that it said"),
    ],
    ids=["skipped", "repeated", "exchanged", "missing"],
)
def test_batches_that_come_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, numbers: list[int], said: str
) -> None:
    keys = _Addresses._keys

    def otherwise(self: Any, epoch: int, first: int) -> Iterator[Any]:
        found = list(keys(self, epoch, first))
        return iter([found[i] for i in numbers] if epoch == 1 and len(found) == STEPS else found)

    monkeypatch.setattr(_Addresses, "_keys", otherwise)
    for workers in (0, *([1] if len(numbers) == STEPS else [])):
        done = train(tmp_path, loader(num_workers=workers), max_epochs=2)
        assert done.problem is not None
        assert f"epoch 1: {said}" in done.problem


class Tampering(pl.Callback):
    """Does once what a bug might."""

    def __init__(self, act: Callable[[Any], None], hook: str = "on_train_epoch_end") -> None:
        setattr(self, hook, self._once)
        self.act = act
        self.calls = 0

    def _once(self, trainer: Any, *args: Any) -> None:
        self.calls += 1
        if self.calls == 2:
            self.act(trainer)


def _lose_an_epoch(trainer: Any) -> None:
    trainer.fit_loop.epoch_progress.current.processed += 1


def _repeat_an_epoch(trainer: Any) -> None:
    trainer.fit_loop.epoch_progress.current.processed -= 1


def _end_the_epoch(trainer: Any) -> None:
    trainer.fit_loop.epoch_loop.batch_progress.is_last_batch = True


def _count_one_more(trainer: Any) -> None:
    trainer.fit_loop.epoch_loop.batch_progress.current.ready += 1
    trainer.fit_loop.epoch_loop.batch_progress.current.completed += 1


@pytest.mark.parametrize(
    ("act", "hook", "said"),
    [
        (_lose_an_epoch, "on_train_epoch_end", "epoch 2: it was left out"),
        (_repeat_an_epoch, "on_train_epoch_end", "epoch 1: it was trained once more"),
        (_end_the_epoch, "on_train_batch_end", "epoch 0: its loader ended after 2 batches"),
        (_count_one_more, "on_train_batch_end", "epoch 0: 4 batches were trained, and Lightning"),
    ],
)
def test_counters_that_go_wrong(
    tmp_path: Path, act: Callable[[Any], None], hook: str, said: str
) -> None:
    done = train(tmp_path, None, Tampering(act, hook))
    assert done.problem is not None
    assert said in done.problem


def test_an_end_that_nobody_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch_lab.engine.lightning.loops import _Fit

    done = _Fit.done.fget
    ends = property(lambda self: done(self) or self.trainer.current_epoch == 2)
    monkeypatch.setattr(_Fit, "done", ends)
    text = "epoch 2: training ended before it, after 2 of 3 epochs, and nobody asked for it"
    assert text in train(tmp_path).problem


def _edit(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    contents = torch.load(path, weights_only=True)
    change(contents)
    torch.save(contents, path)
    return path


def _place(by: int) -> Callable[[dict[str, Any]], None]:
    def change(contents: dict[str, Any]) -> None:
        contents["loops"]["fit_loop"]["state_dict"]["combined_loader"][0]["batch"] += by

    return change


def _counters(by: int) -> Callable[[dict[str, Any]], None]:
    def change(contents: dict[str, Any]) -> None:
        progress = contents["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        for each in progress["current"], progress["total"]:
            for name in each:
                each[name] += by

    return change


def _forget(contents: dict[str, Any]) -> None:
    contents["loops"]["fit_loop"]["state_dict"].pop("combined_loader")


def _epoch(by: int) -> Callable[[dict[str, Any]], None]:
    def change(contents: dict[str, Any]) -> None:
        progress = contents["loops"]["fit_loop"]["epoch_progress"]
        for each in progress["current"], progress["total"]:
            for name in each:
                each[name] += by

    return change


def _batch(contents: dict[str, Any]) -> None:
    contents["torch_lab"]["batch"] += 1


@pytest.mark.parametrize(
    ("change", "batch", "said"),
    [
        (_place(1), 7, "epoch 1: it went on at batch 3 where 2 was due: 1 batch was left out"),
        (_place(-2), 7, "epoch 1: it went on at batch 0 where 2 was due: 2 batches were repeated"),
        (_forget, 7, "epoch 1: it went on at batch 0 where 2 was due: 2 batches were repeated"),
        (_counters(1), 7, "epoch 1: it went on at batch 3 where 2 was due: 1 batch was left out"),
        (_epoch(1), 5, "epoch 1: it was left out"),
        (_epoch(2), 5, "epochs 1 to 2: it was left out"),
        (_epoch(-1), 5, "epoch 0: it was trained once more"),
        (_epoch(1), 7, "epoch 1: it was cut after 2 batches, and not gone on with"),
        (_batch, 7, "epoch 1: the checkpoint is of batch 8, and its ledger of batch 7"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended:UserWarning")
def test_a_cut_that_is_gone_on_with_wrongly(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], batch: int, said: str
) -> None:
    train(tmp_path, every=1)
    path = _edit(tmp_path / f"step-{batch}.ckpt", change)
    cut = train(tmp_path / "cut", checkpoint=path)
    assert cut.problem is not None
    assert said in cut.problem
    assert any(said in each for each in cut.said), "it is said when it happens"


class Unsteady(Sampler[int]):
    """Draws another order each time it is made."""

    drawn = 0

    def __len__(self) -> int:
        return SAMPLES

    def __iter__(self) -> Iterator[int]:
        Unsteady.drawn += 1
        return iter([(i + Unsteady.drawn) % SAMPLES for i in range(SAMPLES)])


@pytest.mark.filterwarnings("ignore:epoch 1 can't go on exactly:UserWarning")
@pytest.mark.filterwarnings("ignore:the data had 18 samples:UserWarning")
def test_data_that_differ_after_the_cut(tmp_path: Path) -> None:
    train(tmp_path, loader(sampler=Unsteady()), every=1)
    cut = train(tmp_path / "cut", loader(sampler=Unsteady()), checkpoint=tmp_path / "step-7.ckpt")
    assert "epoch 1: its data came in another order after the cut" in cut.problem
    train(tmp_path, every=1)
    cut = train(tmp_path / "cut", loader(20), checkpoint=tmp_path / "step-7.ckpt")
    assert "epoch 1: its data had 18 samples before the cut, 20 after" in cut.problem
    cut = train(tmp_path / "cut", loader(20), checkpoint=tmp_path / "step-5.ckpt")
    assert cut.problem is None  # between two epochs nothing is lost by it


def test_lightnings_parts_that_are_counted_by() -> None:
    """Fails by name when a new Lightning moves them."""
    combined = CombinedLoader([loader(), TorchDataLoader(Stream())], "max_size_cycle")
    fetcher = _PrefetchDataFetcher()
    fetcher.setup(combined)
    iter(fetcher)
    assert len(combined._iterator.iterators) == 2
    assert combined._mode == "max_size_cycle"
    assert (len(fetcher.batches), fetcher.fetched, fetcher.length) == (1, 1, None)
    fit = pl.Trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False).fit_loop
    assert fit._can_stop_early
    assert fit.epoch_progress.current.processed == 0
    assert fit.epoch_loop.batch_progress.current.ready == 0
    assert fit.epoch_loop.batch_progress.current.completed == 0


# -- the ledger itself -----------------------------------------------------------------------


def _entry(epoch: int, **changes: Any) -> Epochs:
    return Epochs(**{"first": epoch, "last": epoch, "planned": 5, "batches": 5} | _S | changes)


_S = {"planned_samples": 18, "samples": 18}


def test_only_equal_neighbors_are_folded() -> None:
    entries = [_entry(0), _entry(1), _entry(2, batches=4), _entry(3), _entry(5)]
    spans = [(each.first, each.last) for each in folded(entries)]
    assert spans == [(0, 1), (2, 2), (3, 3), (5, 5)]


def _state(**changes: Any) -> dict[str, Any]:
    state = {"epochs": [vars(_entry(0))], "open": None, "ended": "max_epochs=1", "stopped": None}
    return state | {"faults": []} | changes


def test_processes_are_judged_and_recorded_together() -> None:
    fault = vars(Fault(0, 0, "1 batch was left out"))
    assert proof([_state(), _state()]) is None
    error = proof([_state(), _state(faults=[fault])])
    assert error is not None
    assert "process 1, epoch 0: 1 batch was left out" in error.message
    assert recorded([_state(faults=[fault])] * 2)["faults"] == ["epoch 0: 1 batch was left out"]
    together = recorded([_state(), _state()])
    assert together["processes"] == 2
    assert together["epochs"][0] | {"batches": 5, "samples": 36} == together["epochs"][0]


def test_a_long_list_of_faults_is_cut() -> None:
    faults = [vars(Fault(i, i, f"fault {i}")) for i in range(9)]
    error = proof([_state(faults=faults)])
    assert error is not None
    assert error.message.endswith("epoch 3: fault 3; and 5 more")
    assert error.hint == (
        "`lab show` has the ledger. The checkpoints are sound; a resumed run can't make up for"
        " what is past."
    )


def test_another_number_of_processes_in_mid_epoch() -> None:
    said: list[str] = []
    ledger = Ledger(goes_on=True, say=said.append)
    under_way = {"epoch": 1, "planned": 5, "batches": 2, "taken": 2, "samples": None}
    state = _state(open=under_way, next=1, batch=7)
    ledger.load(state, batch=7, boundary=True)
    ledger.went_on_elsewhere(2, 4)
    assert said[0].startswith("epoch 1: it was begun by 2 processes and ended by 4")
