"""Which runs are meant, which of them stay, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch_lab.errors import RunNotFound, StoreError, UsageError
from torch_lab.settings import Settings
from torch_lab.store import find
from torch_lab.store.find import DAMAGED, StoredRun
from torch_lab.tasks import runs as listing
from torch_lab.tasks.remove import trash
from torch_lab.tasks.remove.guard import Guard, Kept, refusal
from torch_lab.tasks.remove.rules import Best, Rules
from torch_lab.tasks.remove.slimming import Slimming, slimming
from torch_lab.tasks.slurm_queue import as_slurm_says
from torch_lab.utils.paths import display
from torch_lab.utils.text import suggestion


@dataclass(frozen=True)
class Choice:
    """What is to be done: runs that go, checkpoints that go, and what was chosen but stays.

    `spared`: how many stay because `--keep` says so. `chosen`: how many were meant at first.
    """

    going: tuple[StoredRun, ...] = ()
    slimmed: tuple[Slimming, ...] = ()
    kept: tuple[Kept, ...] = ()
    spared: int = 0
    chosen: int = 0
    sizes: Mapping[str, int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many bytes go."""
        return sum(self.sizes.values()) + sum(each.size for each in self.slimmed)


def choose(
    words: Sequence[str],
    rules: Rules,
    settings: Settings,
    *,
    group_by: str | None = None,
    force: bool = False,
) -> Choice:
    """What the command line asks for. Runs that are named, but must stay, are an error."""
    known = as_slurm_says(find.runs(settings.artifacts, lost_after=settings.lost_after))
    chosen, named = _chosen(words, known, settings)
    spared = _spared(chosen, rules, group_by)
    leaving = [run for run in chosen if run.folder not in spared]
    slim = rules.checkpoints is not None
    guard = Guard(known, leaving, settings, force=force, slim=slim)
    kept = [Kept(run, why) for run in leaving if (why := guard.reason(run))]
    if named and kept:
        raise refusal(kept)
    stay = {each.run.folder for each in kept}
    going = [run for run in leaving if run.folder not in stay]
    choice = Choice(kept=tuple(kept), spared=len(spared), chosen=len(chosen))
    if rules.checkpoints is not None:
        slimmed = _slimmed(going, known, rules.checkpoints, force=force)
        return replace(choice, slimmed=tuple(slimmed))
    sizes = {run.folder: trash.size(run.directory.path) for run in going}
    return replace(choice, going=tuple(going), sizes=sizes)


def _chosen(
    words: Sequence[str], known: Sequence[StoredRun], settings: Settings
) -> tuple[list[StoredRun], bool]:
    """The runs that are meant, newest first, and whether they were named one by one."""
    filters = [word for word in words if listing.is_filter(word)]
    names = [word for word in words if word not in filters]
    if filters and names:
        raise UsageError(
            f"runs are named ({names[0]}) and filtered ({filters[0]})",
            hint="Give names of runs or filters, not both.",
        )
    if not names:
        return listing.select(known, [listing.parse_filter(word) for word in filters]), False
    patterns = [word for word in names if listing.is_pattern(word)]
    meant = {_entry(word, known, settings) for word in names if word not in patterns}
    one_by_one = bool(meant)
    for pattern in patterns:
        meant.update(run.folder for run in listing.like(pattern, known, settings.artifacts))
    return [run for run in known if run.folder in meant], one_by_one


def _entry(word: str, known: Sequence[StoredRun], settings: Settings) -> str:
    """The name, in the artifacts folder, of the run that a word names.

    A run's directory may be a link: it is the link that goes, so that what it leads to is not what
    has to be found here.
    """
    path, artifacts = Path(word), settings.artifacts.resolve()
    within = path.name not in ("", "..") and path.parent.resolve() == artifacts
    name = path.name if within else word
    if any(run.folder == name for run in known):
        return name
    run, checkpoint = _resolved(name, known, settings)
    if checkpoint is not None:
        raise UsageError(
            f"lab rm deletes whole runs, not a checkpoint: {word}",
            hint=f"To keep a run but not all of its checkpoints: `lab rm {word.rpartition(':')[0]}"
            " --keep checkpoints=best`.",
        )
    real = run.directory.path.resolve()
    return real.name if real.parent == artifacts else _link_to(real, known, settings)


def _link_to(real: Path, known: Sequence[StoredRun], settings: Settings) -> str:
    """The name of the link in the artifacts folder that leads to a run elsewhere."""
    links = (each.directory for each in known if each.directory.path.is_symlink())
    found = next((each.name for each in links if each.path.resolve() == real), None)
    if found is None:
        raise UsageError(
            f"{display(real)} is not in the artifacts folder {display(settings.artifacts)}",
            hint="`lab rm` deletes nothing outside of it: delete it as any other folder.",
        )
    return found


def _resolved(
    word: str, known: Sequence[StoredRun], settings: Settings
) -> tuple[StoredRun, str | None]:
    try:
        return find.resolve(word, settings.artifacts, lost_after=settings.lost_after)
    except StoreError as error:
        # A damaged run goes by its directory's name alone, or the beginning of it.
        damaged = [run for run in known if run.status == DAMAGED]
        matches = [run for run in damaged if word and run.folder.startswith(word)]
        if len(matches) != 1:
            if isinstance(error, RunNotFound):
                listing.offer_all(error, word, f"lab rm '{word}*'")
            raise
        return matches[0], None


def _spared(chosen: Sequence[StoredRun], rules: Rules, group_by: str | None) -> set[str]:
    """The names of those that `--keep` keeps, in each group."""
    for rule in rules.runs:
        if isinstance(rule, Best):
            _require_metric(chosen, rule.metric)
    keys = listing.group_keys(group_by or "")
    groups = [group.runs for group in listing.split(chosen, keys)] if keys else [chosen]
    return {run.folder for runs in groups for rule in rules.runs for run in rule.kept(runs)}


def _require_metric(chosen: Sequence[StoredRun], metric: str) -> None:
    if chosen and metric not in listing.metrics_of(chosen):
        listing.ranked(chosen, metric, "min")  # says what there is instead


def _slimmed(
    going: Sequence[StoredRun], known: Sequence[StoredRun], names: frozenset[str], *, force: bool
) -> list[Slimming]:
    found = {entry.name for run in going for entry in run.record.checkpoints}
    unknown = sorted(names - found)
    if unknown and found:
        raise UsageError(
            f"no run has a checkpoint {unknown[0]!r}", hint=suggestion(unknown[0], sorted(found))
        )
    starts = {} if force else _starts(known)
    made = (slimming(run, names | starts.get(run.brief.id, set()), force=force) for run in going)
    return [each for each in made if each is not None]


def _starts(known: Sequence[StoredRun]) -> dict[str, set[str]]:
    """The checkpoints, by their runs' ids, that other runs started from."""
    starts: dict[str, set[str]] = {}
    for run in known:
        parent = run.record.parent if run.brief.parent is not None else None
        if parent is not None:
            starts.setdefault(parent.id, set()).add(parent.checkpoint)
    return starts
