"""Which runs are plotted: those that are named, and those that meet conditions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch_lab.errors import RunNotFound, UsageError
from torch_lab.settings import Settings
from torch_lab.store import find
from torch_lab.store.find import DAMAGED, StoredRun
from torch_lab.tasks import runs as listing
from torch_lab.utils.text import plural

_EXAMPLE = "`lab plot experiment=00_digits --out curves.html` takes all that meet a filter"


def chosen(
    words: Sequence[str],
    settings: Settings,
    *,
    cwd: Path,
    sort: str | None = None,
    limit: int | None = None,
) -> list[StoredRun]:
    """The runs that words name, then those that meet all conditions among the words, once each."""
    if not words:
        raise UsageError("lab plot takes runs", hint=f"`lab runs` lists them; {_EXAMPLE}")
    known = find.runs(settings.artifacts, lost_after=settings.lost_after)
    conditions = [word for word in words if listing.is_filter(word, cwd)]
    found = [
        run
        for word in words
        if word not in conditions
        for run in _named(word, known, settings, cwd)
    ]
    if conditions:
        found += _meeting(conditions, known, settings)
    once = list({str(run.directory.path): run for run in found}.values())
    return listing.select(once, sort=sort, limit=limit)


def _meeting(
    conditions: Sequence[str], known: Sequence[StoredRun], settings: Settings
) -> list[StoredRun]:
    filters = [listing.parse_filter(word) for word in conditions]
    found = [run for run in listing.select(known, filters) if run.status != DAMAGED]
    if not found:
        count = plural(len(known), "run")
        unmet = f"none of {count} in {settings.artifacts} meets {' and '.join(conditions)}"
        raise listing.none_found(unmet, known, settings.artifacts)
    return found


def _named(word: str, known: Sequence[StoredRun], settings: Settings, cwd: Path) -> list[StoredRun]:
    if listing.is_pattern(word, cwd):
        sound = [run for run in known if run.status != DAMAGED]
        return listing.like(word, sound, settings.artifacts)
    try:
        run, checkpoint = find.resolve(
            word, settings.artifacts, cwd=cwd, lost_after=settings.lost_after
        )
    except RunNotFound as error:
        listing.offer_all(error, word, f"lab plot '{word}*' …")
        raise
    if checkpoint is not None:
        raise UsageError(
            f"curves are of a whole run, not of its checkpoint {checkpoint!r}",
            hint=f"leave it away: `lab plot {run.record.name} …`",
        )
    return [run]
