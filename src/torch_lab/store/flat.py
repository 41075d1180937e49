"""What a record says under dotted keys, as filters ask for it, and the few words a list needs.

Many runs have the same keys: they share a `Shape`, and each has a tuple of values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from torch_lab.store.record import Record
from torch_lab.store.values import Json, decode, encode

_METRIC, _LAST = "metrics.", ".last"
_HPARAMS, _CONFIG = "hparams.", "hparams.config."
_PLAIN = ("host", "reason", "seed", "dev_run", "overrides", "command", "sync")
_PARTS = ("best", "parent", "progress")
_MAPPINGS = ("slurm", "sweep", "queued", "fetched", "estimator")
_LEDGER = ("processes", "ended", "stopped", "faults")
_SAVED = ("batch", "step", "epoch", "size", "saved")
_SCALARS = {type(None), bool, int, float, str}
_NUMBERED = "step-"  # checkpoints that only their number tells apart


class Brief(NamedTuple):
    """What is needed of every run to list runs, and to find the one that a word names."""

    name: str
    id: str
    status: str
    experiment: str = ""
    script: str = ""
    created: float = 0.0
    started: float | None = None
    ended: float | None = None
    dev_run: int | float | None = None
    fetched: bool = False
    task: str | None = None  # the ClearML task that it was fetched from
    parent: str | None = None  # its id

    @classmethod
    def of(cls, record: Record) -> Brief:
        """The brief of a record."""
        fetched = record.fetched
        return cls(
            record.name,
            record.id,
            record.status,
            record.experiment,
            record.script,
            record.created,
            record.started,
            record.ended,
            record.dev_run,
            fetched is not None,
            None if fetched is None else str(fetched.get("task_id")),
            None if record.parent is None else record.parent.id,
        )


class Shape:
    """The dotted keys of a record, in the order of its values."""

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = tuple(keys)
        self.places = {key: place for place, key in enumerate(self.keys)}
        self._meant: dict[str, int | None] = {}

    @property
    def metrics(self) -> list[str]:
        """The names of the metrics."""
        return [
            key[len(_METRIC) : -len(_LAST)]
            for key in self.keys
            if key.startswith(_METRIC) and key.endswith(_LAST)
        ]

    @property
    def hparams(self) -> list[str]:
        """The keys of the hyperparameters, as `--set` takes them."""
        return [key[len(_HPARAMS) :] for key in self.keys if key.startswith(_HPARAMS)]

    def place(self, key: str) -> int | None:
        """Where the value is that a key means: a metric's, a hyperparameter's, any other's."""
        if key not in self._meant:
            self._meant[key] = next(self._readings(key), None)
        return self._meant[key]

    def _readings(self, key: str) -> Iterator[int]:
        names = (f"{_METRIC}{key}{_LAST}", f"{_HPARAMS}{key}", f"{_CONFIG}{key}")
        yield from (self.places[name] for name in names if name in self.places)
        yield from self._ending(key, [name for name in self.keys if name.startswith(_HPARAMS)])
        yield from (self.places[name] for name in (f"{_METRIC}{key}", key) if name in self.places)
        yield from self._ending(key, self.keys)

    def _ending(self, key: str, names: Sequence[str]) -> Iterator[int]:
        """The nearest to the top first."""
        ends = [name for name in names if name.endswith(f".{key}")]
        yield from (self.places[name] for name in sorted(ends, key=lambda name: name.count(".")))


shape = lru_cache(maxsize=4096)(Shape)  # by its keys: equal ones are found out about once


class Facts(NamedTuple):
    """All that can be asked for of a run's record."""

    shape: Shape
    values: tuple[Json, ...]

    @classmethod
    def of(cls, record: Record) -> Facts:
        """The facts of a record."""
        found = dict(_facts(record))
        return cls(shape(tuple(found)), tuple(found.values()))

    def of_key(self, key: str) -> tuple[Any, ...]:
        """The value that a key means; none where the record has nothing of that name."""
        place = self.shape.place(key)
        return () if place is None else (_value(self.values[place]),)

    def exactly(self, key: str) -> Any:
        """The value under the full key, None where there is none."""
        place = self.shape.places.get(key)
        return None if place is None else _value(self.values[place])

    def metric(self, name: str, which: str = "last") -> float | None:
        """A metric's last, least ("min") or greatest ("max") value."""
        found = self.exactly(f"{_METRIC}{name}.{which}")
        return found if isinstance(found, (int, float)) else None


def flatten(values: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """A nested dict under dotted keys, as `--set` takes them."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if type(value) not in _SCALARS and isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{name}."))
        else:
            flat[name] = value
    return flat


def _facts(record: Record) -> Iterator[tuple[str, Json]]:
    for key, value in flatten(record.hparams, _HPARAMS).items():
        yield key, _leaf(value)
    for name, summary in record.metrics.items():
        for which in ("last", "min", "max"):
            yield f"{_METRIC}{name}.{which}", getattr(summary, which)
    for key, value in flatten(_others(record)).items():
        yield key, _leaf(value)


def _others(record: Record) -> dict[str, Any]:
    """What the record says beside hyperparameters and metrics, but for long lists and hashes."""
    parts = {key: getattr(record, key) for key in _PARTS}
    ledger = record.ledger or {}
    return {
        **dict(record.extra),
        **{key: getattr(record, key) for key in _PLAIN},
        **{key: vars(part) for key, part in parts.items() if part is not None},
        **{key: found for key in _MAPPINGS if (found := getattr(record, key)) is not None},
        "checkpoints": {
            entry.name: {key: getattr(entry, key) for key in _SAVED} | dict(entry.metrics)
            for entry in record.checkpoints
            if not entry.name.startswith(_NUMBERED)
        },
        "ledger": {key: ledger[key] for key in _LEDGER if ledger.get(key) is not None},
        "resumes": len(record.resumes),
    }


def _leaf(value: Any) -> Json:
    """A value as JSON has it: most are."""
    return value if type(value) in _SCALARS else encode(value)


def _value(value: Json) -> Any:
    return decode(value) if isinstance(value, (list, dict)) else value
