"""PredictionWriter: the predictions in a file, which is complete or not there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from torch_lab.callbacks.predictions import folder as folders
from torch_lab.callbacks.predictions import order
from torch_lab.callbacks.predictions.columns import (
    Layout,
    OtherColumns,
    RowFunction,
    Table,
)
from torch_lab.callbacks.predictions.formats import FORMATS, Sink, format_of
from torch_lab.callbacks.predictions.spill import Key, Spill, Spilled, merged
from torch_lab.errors import ConfigurationError, RunError
from torch_lab.utils.batches import batch_size
from torch_lab.utils.files import fsync_directory
from torch_lab.utils.text import plural, shown

_AT_ONCE = 1_000  # rows that are merged and written together
_ROWS, _RANK = "rows", "rank-"  # files of the unfinished
_SAME = "Every row needs the same columns: give None where there is no value."
_SPREAD = (
    "A CSV spreads a vector over columns, so that all need one length; .jsonl and .parquet keep"
    " vectors whole."
)
_NUMBERED = re.compile(r"_\d+$")  # a column that a vector was spread over


class PredictionWriter(pl.Callback):
    """Writes what `predict_step` returns to a file, a row for each sample, in the dataset's order.

    The format goes by the file's ending: `.csv`, `.jsonl` (or `.ndjson`), each also with `.gz`,
    and `.parquet`. The file gets its name when all is written: whoever finds it finds it complete.
    Each sample has one row, whatever the number of devices; memory doesn't grow with the rows.

    A row holds what is known of the sample (`index`, the numbers and texts in `md`) and what
    predict_step made of it: `out` where there is an output_transform, else `y_pred`; of a
    LightningModule that returns something else, all of that. With several loaders the column
    `dataloader` says which one. `columns` chooses: names in their order, or a dict of
    column → name. `row` computes: a function from a sample's prediction, a dict as predict_step
    returns it for a batch, to a dict of columns.

    In a CSV a vector becomes columns `y_pred_0`, `y_pred_1` …, and other nested values are JSON.

    Several outputs in a tuple are columns `y_pred_0`, `y_pred_1` … too; those in a dict go by its
    names, and `n.c` is a dict's in a dict. A list as long as the batch holds its samples: what
    TransformSeparate returns makes the same columns as the batch would. So return heads in a tuple
    or a dict: two tensors in a list are two samples to a batch of two.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        row: RowFunction | None = None,
        columns: Sequence[str] | Mapping[str, str] | None = None,
    ) -> None:
        self.path = Path(path)
        self.rows = 0  # how many were written
        self._format = format_of(self.path)
        self._layout = _layout(self._format, row, columns)
        self._folder: Path | None = None
        self._owns = self._finished = False
        self._types: dict[str, str | None] = {}
        self._loaders: list[Any] = []
        self._sink: Sink | None = None
        self._spill: Spill | None = None
        self._counts: list[int] = []

    # -- Lightning's hooks -------------------------------------------------------------------

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Make sure that the file can be written, before time is spent on predictions."""
        if stage != "predict":
            return
        made: Path | str | None = None
        if trainer.is_global_zero:
            made = self._made()
        made = trainer.strategy.broadcast(made)
        if not isinstance(made, Path):
            if trainer.is_global_zero:
                raise ConfigurationError(made or "", hint="Choose another place, or mend this one.")
            raise SystemExit(2)  # without a word: the first process has it
        self._folder, self._owns = made, trainer.is_global_zero
        self.rows, self._types, self._finished = 0, {}, False

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin the file; Lightning's loaders are known now."""
        assert self._folder is not None
        self._loaders = order.loaders_of(trainer)
        self._counts = [0] * len(self._loaders)
        if trainer.world_size > 1 or not all(map(order.comes_in_order, self._loaders)):
            with self._writing():
                self._spill = Spill(self._folder / f"{_RANK}{trainer.global_rank}")

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write the rows of a batch."""
        loader = self._loaders[dataloader_idx]
        indices = order.indices_of(loader, batch_idx, trainer.global_rank, trainer.world_size)
        count = _count(outputs, batch, indices)
        table = self._table(outputs, dataloader_idx, indices, count)
        with self._writing():
            if self._spill is None:
                self._write(table.columns)
            else:
                keys = self._keys(indices, count, dataloader_idx, trainer.global_rank)
                self._spill.add(keys, zip(*table.columns.values(), strict=True))
        self._counts[dataloader_idx] += count

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Give the complete file its name, where one process has it all."""
        if trainer.world_size == 1:
            self._finish(trainer)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Merge what several processes wrote, and leave nothing else behind."""
        if stage != "predict" or self._folder is None:
            return
        # Only here: a process that got no batch at all doesn't come by on_predict_end.
        if trainer.world_size > 1:
            self._finish_together(trainer)
        elif not self._finished:
            self.report(trainer)
        self._abandon()

    def report(self, trainer: pl.Trainer) -> None:
        """Say where the predictions are; called once, in the process that wrote them."""
        if self.rows:
            print(f"{plural(self.rows, 'prediction')} written to {self.path}")
        else:
            print(f"no predictions: {self.path} was not written")

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Leave no half a file behind."""
        self._abandon()

    # -- rows --------------------------------------------------------------------------------

    def _table(self, outputs: Any, loader: int, indices: Any, count: int) -> Table:
        known: dict[str, Sequence[Any]] = {}
        if len(self._loaders) > 1:
            known["dataloader"] = [loader] * count
        if isinstance(indices, Sequence):
            known["index"] = indices
        try:
            table = self._layout.table(outputs, known, count)
        except OtherColumns as error:
            raise self._other(error.found, error.expected, indices, error.number) from None
        if not self._types:
            self._types = table.types
        elif list(self._types) != list(table.columns):
            if self._types.keys() != table.columns.keys():
                raise self._other(list(table.columns), list(self._types), indices, 0)
            table = Table({name: table.columns[name] for name in self._types}, self._types)
        return table

    def _other(
        self, found: Sequence[str], expected: Sequence[str], indices: Any, number: int
    ) -> ConfigurationError:
        index = indices[number] if isinstance(indices, Sequence) else sum(self._counts) + number
        return ConfigurationError(
            f"predictions: sample {index} has the columns {', '.join(found)};"
            f" the first row has {', '.join(expected)}",
            hint=_SPREAD if self._layout.flat and _differ_in_length(found, expected) else _SAME,
        )

    def _keys(self, indices: Any, count: int, loader: int, rank: int) -> Iterator[Key]:
        if isinstance(indices, Sequence):
            return ((loader, index, 0) for index in indices)
        if isinstance(indices, int):
            return ((loader, indices, number) for number in range(count))
        # Nobody knows what came when: the devices take turns.
        begin = self._counts[loader]
        return ((loader, number, rank) for number in range(begin, begin + count))

    # -- files -------------------------------------------------------------------------------

    def _made(self) -> Path | str:
        """The folder for what is unfinished, or why there can be none."""
        what = f"can't write predictions to {self.path}"
        if self.path.is_dir():
            return f"{what}: there is a folder of that name"
        try:
            return folders.make(self.path)
        except FileExistsError:
            return f"{what}: {self.path.parent} is no folder"
        except OSError as error:
            return f"{what}: {error.strerror or error}"

    def _write(self, columns: Mapping[str, list[Any]]) -> None:
        assert self._folder is not None
        if self._sink is None:
            self._sink = FORMATS[self._format](self._folder / _ROWS, self._types)
        self._sink.write(columns)
        self.rows += len(next(iter(columns.values()), ()))

    def _finish(self, trainer: pl.Trainer) -> None:
        assert self._folder is not None
        with self._writing():
            if self._spill is not None:
                self._spill.close(self._types)
                self._merge()
            if self._sink is not None:
                self._sink.close()
                (self._folder / _ROWS).replace(self.path)
                fsync_directory(self.path.parent)
        self._sink = self._spill = None
        self._finished = True
        self.report(trainer)

    def _finish_together(self, trainer: pl.Trainer) -> None:
        if self._spill is not None and not trainer.is_global_zero:
            with self._writing():
                self._spill.close(self._types)
            self._spill = None
        trainer.strategy.barrier("predictions written")
        if trainer.is_global_zero:
            self._finish(trainer)
        trainer.strategy.barrier("predictions merged")

    def _merge(self) -> None:
        assert self._folder is not None
        files = [Spilled(path) for path in sorted(self._folder.glob(f"{_RANK}*"))]
        try:
            self._types = _agreed([file.about for file in files if file.about])
            rows = merged(files)
            while chunk := list(islice(rows, _AT_ONCE)):
                columns = map(list, zip(*chunk, strict=True))
                self._write(dict(zip(self._types, columns, strict=True)))
        finally:
            for file in files:
                file.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RunError(
                f"can't write predictions to {self.path}: {error.strerror or error}",
                hint="What was there under that name is as it was.",
            ) from error

    def _abandon(self) -> None:
        """Close and remove what is unfinished; harmless when there is nothing."""
        for file in (self._sink, self._spill):
            if file is not None:
                file.abandon()
        self._sink = self._spill = None
        if self._folder is not None and self._owns:
            folders.remove(self._folder)
        self._folder = None


def _layout(
    ending: str, row: RowFunction | None, columns: Sequence[str] | Mapping[str, str] | None
) -> Layout:
    if row is not None and columns is not None:
        raise ConfigurationError(
            "PredictionWriter takes columns= or row=, not both",
            hint="The function given as row= says which columns there are, and in which order.",
        )
    if row is not None and not callable(row):
        raise ConfigurationError(
            f"PredictionWriter(row=…) takes a function; got {shown(row)}",
            hint="It gets a sample's prediction, a dict, and returns a dict of columns.",
        )
    if columns is not None:
        columns = _named(columns)
    text = ending != ".parquet"
    return Layout(row, columns, digits=text, flat=ending.startswith(".csv"))


def _differ_in_length(found: Sequence[str], expected: Sequence[str]) -> bool:
    """Whether the columns are those of vectors of different lengths."""
    stems = [{_NUMBERED.sub("", name) for name in names} for names in (found, expected)]
    others = set(found) ^ set(expected)
    return stems[0] == stems[1] and all(map(_NUMBERED.search, others))


def _named(columns: Any) -> Mapping[str, str]:
    """Which prediction each column holds."""
    pairs: list[tuple[Any, Any]] = []
    if isinstance(columns, Mapping):
        pairs = list(columns.items())
    elif isinstance(columns, Sequence) and not isinstance(columns, (str, bytes)):
        pairs = [(name, name) for name in columns]
    if not pairs or not all(isinstance(name, str) for pair in pairs for name in pair):
        raise ConfigurationError(
            "PredictionWriter(columns=…) takes a list of names, or a dict of column → name;"
            f" got {shown(columns)}",
            hint="Names are those of what predict_step returns and of md's keys:"
            f' columns=["{columns if isinstance(columns, str) else "y_pred"}"].',
        )
    return dict(pairs)


def _count(outputs: Any, batch: Any, indices: Any) -> int:
    """How many samples a batch has."""
    if outputs is None:
        raise ConfigurationError("predict_step returned None: there is nothing to write")
    return len(indices) if isinstance(indices, Sequence) else batch_size(batch, outputs)


def _agreed(types: Sequence[dict[str, str | None]]) -> dict[str, str | None]:
    """The columns of all processes, which have to be the same."""
    for other in types[1:]:
        if list(other) != list(types[0]):
            raise ConfigurationError(
                f"predictions: one process has the columns {', '.join(types[0])},"
                f" another one {', '.join(other)}",
                hint=_SAME,
            )
    return types[0] if types else {}
