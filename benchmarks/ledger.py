"""What the ledger of batches costs a step: its part in the loader, the loop and the Trainer."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytorch_lightning as pl
from pytorch_lightning.loops.training_epoch_loop import _TrainingEpochLoop
from torch.utils.data import DataLoader as TorchDataLoader
from torch.utils.data import Dataset

from benchmarks import steps
from benchmarks.measuring import alternate
from benchmarks.report import Line, micros

ROUNDS, BATCHES = 25, 2000
READS = 3  # of should_stop in a step of Lightning's
SHARE = 0.01


class Constant(Dataset[int]):
    """Batches that cost nothing."""

    def __len__(self) -> int:
        return BATCHES

    def __getitem__(self, index: int) -> int:
        return index


def run() -> list[Line]:
    """Each part with the ledger and without, and the sum beside a step of bare Lightning."""
    with tempfile.TemporaryDirectory() as folder, steps._settled():
        step = steps._lightning(steps.Bare(), Path(folder))
    rounds = alternate(
        ROUNDS,
        {
            "loader": _numbered(),
            "loader without": _unnumbered(),
            "loop": _advance(with_ledger=True),
            "loop without": _advance(with_ledger=False),
            "flag": _reads(_trainer()),
            "flag without": _reads(SimpleNamespace(should_stop=False)),
        },
    )
    parts = ("loader", "loop", "flag")
    cost = sum(rounds.difference(each, to=f"{each} without").middle for each in parts)
    return [
        Line(
            "the ledger of batches, in a step",
            lightning=micros(step),
            lab=micros(cost),
            compared=f"{100 * cost / step:.2f}%",
            target=f"{100 * SHARE:.0f}%",
            ok=cost < SHARE * step,
        )
    ]


def _numbered() -> Callable[[], float]:
    from torch_lab.data import DataLoader

    loader = DataLoader(Constant(), batch_size=None, seed=1)
    return lambda: _timed(lambda: iter(loader))


def _unnumbered() -> Callable[[], float]:
    """The same batches at the same addresses, counted, but neither numbered nor accounted for."""
    from torch_lab.data.fetching import AddressedDataset, Key, as_it_is
    from torch_lab.data.randomness import address_seed

    collate = TorchDataLoader(Constant(), None).collate_fn
    place = (0, 0)

    class Keys:
        def __iter__(self) -> Iterator[Key]:
            return (Key(address_seed(1, 0, 0, i), i) for i in range(BATCHES))

        def __len__(self) -> int:
            return BATCHES

    sampler: Any = Keys()

    def batches() -> Iterator[Any]:
        nonlocal place
        dataset = AddressedDataset(Constant(), collate, batched=False)  # anew, as each epoch
        loader = TorchDataLoader(dataset, None, sampler=sampler, collate_fn=as_it_is)
        for number, batch in enumerate(loader, start=1):
            place = (0, number)
            yield batch

    return lambda: _timed(batches)


def _timed(begin: Callable[[], Iterator[Any]]) -> float:
    start = time.process_time()
    for _ in begin():
        pass
    return (time.process_time() - start) / BATCHES


def _advance(*, with_ledger: bool) -> Callable[[], float]:
    """The loop's own count around a step that does nothing."""
    from torch_lab.engine.lightning.loops import _Epoch

    loop, fetcher = _Epoch.__new__(_Epoch), object()
    loop.advanced = 0

    def measured() -> float:
        with patch.object(_TrainingEpochLoop, "advance", _nothing):
            call: Any = loop.advance if with_ledger else _TrainingEpochLoop.advance.__get__(loop)
            begin = time.process_time()
            for _ in range(BATCHES):
                call(fetcher)
            return (time.process_time() - begin) / BATCHES

    return measured


def _nothing(*_: object) -> None:
    """Stands in for a step."""


def _trainer() -> pl.Trainer:
    from torch_lab.engine.lightning import Trainer

    return Trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False)


def _reads(owner: Any) -> Callable[[], float]:
    def measured() -> float:
        begin = time.process_time()
        for _ in range(READS * BATCHES):
            owner.should_stop  # noqa: B018 - as the loops do
        return (time.process_time() - begin) / BATCHES

    return measured
