"""`runs()`: the recorded runs as Python objects."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from torch_lab import settings as settings_
from torch_lab.errors import UsageError
from torch_lab.recording.items import Item, items
from torch_lab.store import find, journal
from torch_lab.store.find import DAMAGED, StoredRun
from torch_lab.store.record import MetricSummary, Parent
from torch_lab.tasks import runs as listing
from torch_lab.utils.copying import plain_copy
from torch_lab.utils.text import suggestion

if TYPE_CHECKING:
    import pytorch_lightning as pl


def runs(path: str | os.PathLike[str] | None = None, *, dev: bool = False) -> Runs:
    """The runs of a project, newest first; they are read when they are first looked at.

    `path` is in the project, or is a folder of runs; the working directory's project if not given.
    Dev runs are left out unless `dev` is true.
    """
    place = Path.cwd() if path is None else Path(path).expanduser().absolute()
    return Runs(lambda: _stored(place, dev))


def _stored(place: Path, dev: bool) -> list[StoredRun]:
    if not place.exists():
        raise UsageError(f"runs: there is no {place}")
    holds_runs = place.is_dir() and find.holds_runs(place)
    settings = settings_.load(place)
    artifacts = place if holds_runs else settings.artifacts
    found = find.runs(artifacts, lost_after=settings.lost_after)
    for each in found:
        if each.status == DAMAGED:
            warnings.warn(f"{each.record.reason}; the run is passed over", stacklevel=5)
    sound = (each for each in found if each.status != DAMAGED)
    return [each for each in sound if dev or each.brief.dev_run is None]


class Runs(Sequence["Run"]):
    """Runs, newest first."""

    def __init__(self, read: Callable[[], list[StoredRun]]) -> None:
        self._read = read
        self._found: list[StoredRun] | None = None

    @property
    def _stored(self) -> list[StoredRun]:
        if self._found is None:
            self._found = self._read()
        return self._found

    def __len__(self) -> int:
        return len(self._stored)

    @overload
    def __getitem__(self, index: int) -> Run: ...

    @overload
    def __getitem__(self, index: slice) -> Runs: ...

    def __getitem__(self, index: int | slice) -> Run | Runs:
        if not isinstance(index, slice):
            return Run(self._stored[index])
        chosen = index
        return Runs(lambda: self._stored[chosen])

    def __iter__(self) -> Iterator[Run]:
        return map(Run, self._stored)

    def __repr__(self) -> str:
        """The table that `lab runs` shows."""
        return listing.table(self._stored).rstrip() if self._stored else "no runs"

    def where(self, *conditions: str | Callable[[Run], bool], **values: Any) -> Runs:
        """The runs that meet all conditions.

        A condition is a text as `lab runs` takes it ("lr<1e-3"), a function of a run, or a value,
        or a function of the value, for a name: `where(status="completed", lr=lambda lr: lr < 1)`.
        Names are those of `lab runs`; one that is no Python name goes by
        `**{"config.lr": 1e-3, "loss/validate": lambda loss: loss < 0.1}`.
        """

        def read() -> list[StoredRun]:
            texts = [listing.parse_filter(each) for each in conditions if isinstance(each, str)]
            named = [_Value(key, value) for key, value in values.items()]
            found = listing.select(self._stored, [*texts, *named])
            functions = [each for each in conditions if not isinstance(each, str)]
            return [run for run in found if all(function(Run(run)) for function in functions)]

        return Runs(read)

    def best(self, metric: str, mode: str = "min") -> Run:
        """The run in which the metric got least, or with mode="max" greatest."""
        if mode not in listing.MODES:
            raise UsageError(f"best: mode {mode!r}", hint=suggestion(mode, listing.MODES))
        return Run(listing.ranked(self._stored, metric, mode)[0])


@dataclass(frozen=True)
class _Value:
    """The condition that a value is this one, or that a function says yes to it."""

    key: str
    value: Any

    def accepts(self, run: StoredRun) -> bool:
        values = listing.values_of(run, self.key) or (None,)
        if callable(self.value):
            return any(each is not None and bool(self.value(each)) for each in values)
        return any(type(each == self.value) is bool and each == self.value for each in values)


@dataclass(frozen=True)
class Run:
    """A recorded run, as it was when it was read."""

    stored: StoredRun

    def __repr__(self) -> str:
        return f"<Run {self.name} ({self.id[:8]}) {self.status}>"

    @property
    def name(self) -> str:
        """Its name: EXPERIMENT-SCRIPT_vN."""
        return self.stored.brief.name

    @property
    def id(self) -> str:
        """Its id: 32 hex digits."""
        return self.stored.brief.id

    @property
    def status(self) -> str:
        """How it is: completed, failed, aborted, running …; lost where nobody works on it."""
        return self.stored.status

    @property
    def reason(self) -> str | None:
        """Why it failed or was aborted."""
        return self.stored.record.reason

    @property
    def experiment(self) -> str:
        """The experiment's name."""
        return self.stored.brief.experiment

    @property
    def script(self) -> str:
        """The hyperparameter script, relative to the project."""
        return self.stored.brief.script

    @property
    def directory(self) -> Path:
        """Where its files are."""
        return self.stored.directory.path

    @property
    def hparams(self) -> dict[str, Any]:
        """The hyperparameters as they were resolved, a copy."""
        copied: dict[str, Any] = plain_copy(dict(self.stored.record.hparams))
        return copied

    @property
    def seed(self) -> int | None:
        """The seed it was begun with."""
        return self.stored.record.seed

    @property
    def parent(self) -> Parent | None:
        """The run, and its checkpoint, that it started from."""
        return self.stored.record.parent

    @property
    def created(self) -> float:
        """When it was begun, in seconds since 1970."""
        return self.stored.brief.created

    @property
    def summary(self) -> Mapping[str, MetricSummary]:
        """Each metric's last, least and greatest value."""
        return dict(self.stored.record.metrics)

    @property
    def checkpoints(self) -> list[str]:
        """The names of its checkpoints."""
        return [entry.name for entry in self.stored.record.checkpoints]

    @overload
    def metrics(self) -> list[dict[str, Any]]: ...

    @overload
    def metrics(self, name: str) -> list[tuple[int, float]]: ...

    def metrics(self, name: str | None = None) -> list[Any]:
        """What was logged: a dict a row, or of one metric the pairs (step, value).

        A row has "time", "batch", "step", "epoch" and the values that were logged together:
        `pandas.DataFrame(run.metrics())` makes a table of them.
        """
        rows = journal.rows(self.stored.directory)
        if name is None:
            return [
                {"time": row.t, "batch": row.batch, "step": row.step, "epoch": row.epoch}
                | row.values
                for row in rows
            ]
        logged = list(rows)
        found = [(row.step, row.values[name]) for row in logged if name in row.values]
        if not found:
            names = sorted({name for row in logged for name in row.values})
            raise UsageError(f'run {self.name} has no "{name}"', hint=suggestion(name, names))
        return found

    def media(self) -> list[Item]:
        """The images, figures, tables, texts and artifacts; `file` is relative to `directory`."""
        return list(items(self.stored.directory))

    def checkpoint(self, name: str = "last") -> Path:
        """The file of a checkpoint, verified; in place of a damaged one the sound one before it.

        One that isn't here, of a run that is on the ClearML server, is fetched from there.
        """
        from torch_lab.checkpoints.resolve import of_run
        from torch_lab.mirror import launch

        server = launch.wanted(settings_.load(self.directory), offline=False)
        return of_run(self.stored, name, say=_warn, server=server).path

    def load_module(
        self,
        checkpoint: str | None = None,
        *,
        trust: bool = False,
        set: Mapping[str, Any] | None = None,  # noqa: A002  as for `build`
    ) -> pl.LightningModule:
        """The trained module, rebuilt from the record alone and ready to infer.

        With the weights of the best checkpoint, of the last one where none was best, or of the one
        named.

        The code is that of source.tar.gz, whatever has become of the project's since; it is
        imported under names of its own, beside the project's. The module is the one of
        `train_config`, or where that fails, as without its data, of `infer_config`. `set` gives
        values that the record lacks. Relative paths begin at the project's root, wherever this
        process stands. Code runs only of runs that lie in a project's own artifacts folder and
        were made there, unless you say `trust=True`; then a checkpoint may run code as well.
        Of a run that trained an estimator it is the LabModule around it.
        """
        return self._rebuilt("load_module", checkpoint, trust, set)

    def load_estimator(
        self,
        checkpoint: str | None = None,
        *,
        trust: bool = False,
        set: Mapping[str, Any] | None = None,  # noqa: A002  as for `build`
    ) -> Any:
        """The fitted estimator itself, of a run that trained one; else as `load_module`."""
        from torch_lab.estimators import EstimatorModel

        module = self._rebuilt("load_estimator", checkpoint, trust, set)
        model = getattr(module, "model", None)
        if not isinstance(model, EstimatorModel):
            raise UsageError(
                f"run {self.name} trained {type(module).__name__}, which is no estimator",
                hint="load_module() rebuilds it.",
            )
        return model.estimator

    def _rebuilt(
        self,
        caller: str,
        checkpoint: str | None,
        trust: bool,
        values: Mapping[str, Any] | None,
    ) -> pl.LightningModule:
        from torch_lab.hparams import overriding
        from torch_lab.tasks.rebuilding import in_python, rebuild

        name = checkpoint or ("best" if "best" in self.checkpoints else "last")
        module: pl.LightningModule = rebuild(
            self.stored,
            self.checkpoint(name),
            trust=trust,
            change=lambda hparams: overriding.put(hparams, values or {}),
            wording=in_python(caller),
            say=lambda text: warnings.warn(text, stacklevel=6),
        ).module
        return module


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=4)
