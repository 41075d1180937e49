"""How far an epoch is, as Lightning's loop and each of the loaders count it by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.utilities.data import sized_len
from pytorch_lightning.loops.fetchers import _DataFetcher, _DataLoaderIterDataFetcher

from torch_lab.data import DataLoader


@dataclass(frozen=True)
class Tally:
    """Batches of an epoch. What isn't known is None.

    `taken` were fetched by the loop; `given` is what each loader should have handed out for that,
    and what it has; `slack` how many more it may have, which are thrown away where another one
    ends first.
    """

    taken: int
    completed: int
    given: tuple[tuple[int, int], ...] = ()
    slack: int = 0
    samples: int | None = None
    planned_samples: int | None = None
    drawn: int | None = None  # what there is of the epoch, if no limit leaves a part out
    faults: tuple[str, ...] = ()


def follow_loaders(fetcher: _DataFetcher | None) -> None:
    """Tell the loaders which of their iterations is the training's."""
    combined: Any = fetcher.combined_loader if fetcher is not None else None
    if combined is None or combined._iterator is None:
        return
    for loader, iterator in zip(combined.flattened, combined._iterator.iterators, strict=False):
        if isinstance(loader, DataLoader):
            loader.follow(iterator)


def put_back_what_is_ahead(fetcher: _DataFetcher | None, places: list[dict[str, Any]]) -> None:
    """Let a checkpoint's places in the data be those of the batches that were trained on.

    Beside data without a length a batch is fetched ahead, and would be left out after a resume.
    """
    if fetcher is None or not (ahead := len(vars(fetcher).get("batches", ()))):
        return
    stateful = [e for e in fetcher.combined_loader.flattened if hasattr(e, "state_dict")]
    for loader, place in zip(stateful, places, strict=False):
        if isinstance(loader, DataLoader) and place.get("batch", 0) >= ahead:
            place["batch"] -= ahead


def takes_by_itself(trainer: pl.Trainer) -> bool:
    """Whether training_step fetches as many batches as it likes: `dataloader_iter`."""
    return isinstance(trainer.fit_loop._data_fetcher, _DataLoaderIterDataFetcher)


def planned_batches(trainer: pl.Trainer) -> int | None:
    """How many batches the loaders say that the epoch has, within the limits of the Trainer."""
    fetcher = trainer.fit_loop._data_fetcher
    if fetcher is None or takes_by_itself(trainer) or not _sized(fetcher):
        return None
    said = [trainer.num_training_batches, fetcher.length]
    return min((int(each) for each in said if each not in (None, float("inf"))), default=None)


def _sized(fetcher: _DataFetcher) -> bool:
    """Whether all loaders say a length; Lightning goes by the others' where one doesn't."""
    return all(sized_len(each) is not None for each in fetcher.combined_loader.flattened)


def tally(trainer: pl.Trainer, planned: int | None) -> Tally:
    """Where the epoch stands."""
    progress = trainer.fit_loop.epoch_loop.batch_progress.current
    fetcher = trainer.fit_loop._data_fetcher
    if fetcher is None or takes_by_itself(trainer):
        return Tally(progress.ready, progress.completed)
    loaders = fetcher.combined_loader.flattened
    exact = [each for each in loaders if isinstance(each, DataLoader) and each.exact]
    samples = _samples(exact) if len(exact) == len(loaders) else None
    return Tally(
        taken=progress.ready,
        completed=progress.completed,
        given=tuple(_given(fetcher, exact, progress.ready)),
        slack=0 if _sized(fetcher) else 1,
        samples=samples,
        planned_samples=_planned_samples(exact, planned) if len(loaders) == 1 else None,
        drawn=_drawn(trainer, exact) if len(exact) == len(loaders) else None,
        faults=tuple(fault for each in exact for fault in each.account().faults),
    )


def _given(fetcher: _DataFetcher, exact: list[DataLoader], taken: int) -> list[tuple[int, int]]:
    ahead = len(vars(fetcher).get("batches", ()))  # fetched, and not taken yet
    pairs = [(taken, fetcher.fetched - ahead)]
    padded = fetcher.combined_loader._mode == "max_size"  # shorter loaders give None
    for each in exact:
        due = taken + ahead
        if padded and each.handed_out():
            due = min(due, len(each.epoch_batches()))
        pairs.append((due, each.handed_out()))
    return pairs


def _samples(exact: list[DataLoader]) -> int:
    return sum(each.samples_handed_out() for each in exact)


def _planned_samples(exact: list[DataLoader], planned: int | None) -> int | None:
    if planned is None or not exact or not exact[0].handed_out():
        return None
    return exact[0].samples_of(planned)


def _drawn(trainer: pl.Trainer, exact: list[DataLoader]) -> int | None:
    """The batches of an epoch without limits; not known before the first was handed out."""
    limited = isinstance(trainer.limit_train_batches, int) or trainer.limit_train_batches != 1.0
    if limited or not exact or not all(each.handed_out() for each in exact):
        return None
    combined: Any = trainer.fit_loop._combined_loader
    choose = min if combined._mode == "min_size" else max
    return choose(len(each.epoch_batches()) for each in exact)
