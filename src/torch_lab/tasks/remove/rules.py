"""What `--keep` says: which of the chosen runs stay, and which of their checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch_lab.errors import UsageError
from torch_lab.store.find import StoredRun
from torch_lab.tasks import runs as listing
from torch_lab.utils.text import suggestion

_KINDS = ("newest", "best", "checkpoints")
_EXAMPLES = "`--keep newest=5`, `--keep best=3:loss/validate` or `--keep checkpoints=best`"


@dataclass(frozen=True)
class Newest:
    """The newest runs stay."""

    count: int

    def kept(self, runs: Sequence[StoredRun]) -> list[StoredRun]:
        """Those of the runs, which are the newest first, that stay."""
        return listing.contenders(runs)[: self.count]


@dataclass(frozen=True)
class Best:
    """The runs stay in which a metric got least, or greatest."""

    count: int
    metric: str
    mode: str | None = None

    def kept(self, runs: Sequence[StoredRun]) -> list[StoredRun]:
        """Those of the runs that stay; of equals the newer."""
        runs = listing.contenders(runs)
        if self.metric not in listing.metrics_of(runs):
            return []
        mode = self.mode or self._mode(runs)
        return listing.ranked(runs, self.metric, mode)[: self.count]

    def _mode(self, runs: Sequence[StoredRun]) -> str:
        try:
            return listing.mode_of(runs, self.metric)
        except UsageError as error:
            either = f"`--keep best=N:{self.metric}:min` or `--keep best=N:{self.metric}:max`"
            raise UsageError(error.message, hint=f"write {either}") from None


@dataclass(frozen=True)
class Rules:
    """All that was said; `checkpoints` None: what doesn't stay goes as a whole."""

    runs: tuple[Newest | Best, ...] = ()
    checkpoints: frozenset[str] | None = None


def parse_rules(texts: Sequence[str]) -> Rules:
    """The rules as they were typed."""
    runs: list[Newest | Best] = []
    checkpoints: frozenset[str] | None = None
    for text in texts:
        kind, equals, value = text.partition("=")
        if kind == "newest" and equals:
            runs.append(Newest(_count(text, value)))
        elif kind == "best" and equals:
            runs.append(_best(text, value))
        elif kind == "checkpoints" and equals:
            checkpoints = (checkpoints or frozenset()) | _names(text, value)
        else:
            raise UsageError(f"{text!r} is no rule for --keep", hint=_hint(kind, equals))
    return Rules(tuple(runs), checkpoints)


def _hint(kind: str, equals: str) -> str:
    if equals and kind not in _KINDS:
        return f"{suggestion(kind, _KINDS)} Write {_EXAMPLES}."
    return f"Write {_EXAMPLES}."


def _best(text: str, value: str) -> Best:
    count, colon, metric = value.partition(":")
    name, _, mode = metric.rpartition(":")
    if not colon or not metric:
        raise UsageError(
            f"--keep {text}: best of which metric?", hint="Write `--keep best=3:loss/validate`."
        )
    if name and mode in ("min", "max"):
        return Best(_count(text, count), name, mode)
    return Best(_count(text, count), metric)


def _count(text: str, value: str) -> int:
    if not (value.isascii() and value.isdigit()):
        raise UsageError(
            f"--keep {text}: {value!r} is no number of runs", hint=f"Write {_EXAMPLES}."
        )
    return int(value)


def _names(text: str, value: str) -> frozenset[str]:
    names = {name.strip() for name in value.split(",")} - {""}
    if not names:
        raise UsageError(
            f"--keep {text}: which checkpoints?",
            hint="Write `--keep checkpoints=best,last`, or `--keep checkpoints=none`.",
        )
    return frozenset(names - {"none"})
