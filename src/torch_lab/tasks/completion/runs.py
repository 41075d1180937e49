"""Names of runs, of their checkpoints, and what runs are filtered by."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from torch_lab import settings
from torch_lab.errors import UsageError
from torch_lab.store import find
from torch_lab.store.find import INTERRUPTED, StoredRun
from torch_lab.tasks.completion.candidates import Candidate, first_of, fitting
from torch_lab.tasks.completion.paths import files
from torch_lab.tasks.table import rough

_MANY = 50  # more runs are offered script by script
_RULES = {
    "newest": "the N newest runs",
    "best": "the N best by a metric: best=3:loss/validate",
    "checkpoints": "of all other runs these checkpoints",
}
_LISTED = 200  # values of a key


def stored() -> list[StoredRun]:
    """All runs of the project that one stands in, newest first."""
    ours = settings.load(Path.cwd())
    return find.runs(ours.artifacts, lost_after=ours.lost_after)


def runs(word: str, *, checkpoints: bool = False) -> list[Candidate]:
    """Names, newest first; ids where the word is none's beginning; `EXPERIMENT/SCRIPT`; folders;
    behind a colon the checkpoints of the run."""
    known = stored()
    if checkpoints and (found := fitting(word, _checkpoints(word, known))):
        return found
    return first_of(
        _grouped(word, fitting(word, map(_candidate, known))),
        fitting(word, _scripts(known)) if "/" in word else [],
        fitting(word.lower(), (Candidate(run.brief.id, run.brief.name) for run in known)),
        files(word) if "/" in word else [],
    )


def interrupted(word: str) -> list[Candidate]:
    """Runs that can be gone on with."""
    known = [run for run in stored() if run.status in INTERRUPTED and not run.brief.fetched]
    auto = Candidate("auto", "the script's newest interrupted run, else a new one")
    return fitting(word, [auto, *map(_candidate, known)])


def metrics(word: str) -> list[Candidate]:
    """The metrics that runs have."""
    from torch_lab.tasks.runs import metrics_of

    return fitting(word, map(Candidate, metrics_of(stored())))


def keys(word: str) -> list[Candidate]:
    """What runs are sorted and grouped by: behind a `-` and behind commas, too."""
    from torch_lab.tasks.runs import known_keys

    before = word[: max(word.rfind(","), 0 if word.startswith("-") else -1) + 1]
    return fitting(word, (Candidate(f"{before}{key}") for key in known_keys(stored())))


def filters(word: str) -> list[Candidate]:
    """Keys that runs are filtered by, and the values of one that is named."""
    from torch_lab.tasks.runs import known_keys, parse_filter

    try:
        found = parse_filter(word)
    except UsageError:  # no sign yet
        return fitting(word, (Candidate(f"{key}=", more=True) for key in known_keys(stored())))
    return fitting(word, _values(found.key, found.sign))


def rules(word: str) -> list[Candidate]:
    """What `lab rm` keeps: the newest, the best by a metric, some checkpoints."""
    rule, equals, rest = word.partition("=")
    if not equals:
        named = ((f"{each}=", about) for each, about in _RULES.items())
        return fitting(word, (Candidate(text, about, more=True) for text, about in named))
    if rule == "checkpoints":
        return fitting(word, (Candidate(f"{rule}={name}") for name in ("best", "last", "none")))
    number, colon, _ = rest.partition(":")
    return [
        Candidate(f"{rule}={number}:{each.text}")
        for each in metrics(rest[len(number) + 1 :])
        if colon and rule == "best"
    ]


def _values(key: str, sign: str) -> Iterator[Candidate]:
    from torch_lab.tasks.runs import values_of

    found = dict.fromkeys(str(value) for run in stored() for value in values_of(run, key))
    for value in list(found)[:_LISTED]:
        yield Candidate(f"{key}{sign}{value}")


def _candidate(run: StoredRun) -> Candidate:
    age = rough(max(time.time() - run.brief.created, 0.0))
    return Candidate(run.brief.name, f"{run.status}, {age} ago")


def _grouped(word: str, found: Sequence[Candidate]) -> list[Candidate]:
    """One candidate for all runs of a script, where there are many of several."""
    stems = dict.fromkeys(_stem(each.text) for each in found)
    if len(found) <= _MANY or len(stems) == 1 or word in stems:
        return list(found)
    return [Candidate(stem, more=True) for stem in stems]


def _stem(name: str) -> str:
    stem, v, number = name.rpartition("_v")
    return f"{stem}{v}" if number.isdecimal() else name


def _scripts(known: Iterable[StoredRun]) -> Iterator[Candidate]:
    for run in known:
        if (name := _script(run)) is not None:
            yield Candidate(name, "its newest run")


def _checkpoints(word: str, known: Sequence[StoredRun]) -> Iterator[Candidate]:
    name, colon, _ = word.rpartition(":")
    if not colon:
        return
    for run in known:
        if name in (run.brief.name, run.brief.id) or name == _script(run):
            entries = run.record.checkpoints
            yield from (Candidate(f"{name}:{each.name}", f"batch {each.batch}") for each in entries)
            return


def _script(run: StoredRun) -> str | None:
    """EXPERIMENT/SCRIPT, which is never a dev run."""
    if run.brief.dev_run is not None or not run.brief.experiment:
        return None
    return f"{run.brief.experiment}/{PurePosixPath(run.brief.script).stem}"
