"""The way of a drill: a whole run, one that is killed again and again, and what they differ in."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch_lab.engine.drill import Cut
from torch_lab.errors import Stopped
from torch_lab.tasks.drill import limits
from torch_lab.tasks.drill.attempts import Attempt, Copy, Failure, Starter, environment_differs
from torch_lab.tasks.drill.traces import Event, Trace, noise
from torch_lab.tasks.drill.verdict import (
    Difference,
    Finding,
    changed,
    explained,
    first_difference,
    spoken,
    uneven,
)
from torch_lab.tasks.options import TrainOptions
from torch_lab.tasks.plan import Plan, plan
from torch_lab.utils.text import format_duration, plural
from torch_lab.utils.threads import ENDING

_SLOWEST = 20  # times the whole run's time, and
_PATIENCE = 300.0  # seconds, after which a resumed run is taken to hang
_ALSO = 4


def drill(scripts: Sequence[Path], overrides: tuple[str, ...] = ()) -> int:
    """Drill each script; returns the worst exit status: 0 where all go on exactly."""
    plans = [plan(script, TrainOptions(script, overrides=overrides)) for script in scripts]
    with _interruptible() as deaf, _folder() as folder, ExitStack() as stack:
        # Two, since Python's hashes differ from process to process, and so would a resumed run's.
        here, elsewhere = (
            stack.enter_context(closing(Starter(folder / f"starter{number}.log")))
            for number in range(2)
        )
        stack.callback(deaf)
        statuses = [
            _Drill(each, folder / str(number), here, elsewhere).status()
            for number, each in enumerate(plans)
        ]
    return max(statuses)


@contextmanager
def _interruptible() -> Iterator[Callable[[], None]]:
    """Signals end it with all that it started, but for those that come while that ends."""

    def stop(signum: int, _: object) -> None:
        raise Stopped(signum)

    def deaf() -> None:
        for each in heard:
            signal.signal(each, signal.SIG_IGN)

    heard = [each for each in ENDING if signal.getsignal(each) is not signal.SIG_IGN]
    before = {each: signal.signal(each, stop) for each in heard}
    try:
        yield deaf
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(
        prefix="torch-lab-drill-", ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder).resolve()


@dataclass
class _Drill:
    """The drill of one script."""

    plan: Plan
    folder: Path
    here: Starter
    elsewhere: Starter
    again: Trace | None = None  # of a second run that nobody cut
    noise: frozenset[str] = frozenset()  # what differs in it, and decides nothing

    def status(self) -> int:
        """Do it and say what came out."""
        self.folder.mkdir()
        script, overrides = self.plan.experiment.script, limits.overrides(self.plan)
        limited = limits.are_named(self.plan.hparams.trainer.init)
        self.copies = {
            name: Copy(script, overrides, self.folder / name, limited)
            for name in ("whole", "cut", "again", "same")
        }
        init = self.plan.hparams.trainer.init
        _say(
            f"drill of {self.plan.experiment.name}/{self.plan.experiment.script_name}:"
            f" {plural(limits.epochs(init), 'epoch')} of at most {limits.batches(init)} batches"
        )
        whole = self.here.attempt(self.copies["whole"], "run")
        if whole.failure is not None:
            return _failed("does not train", whole.failure)
        _say(f"  uninterrupted: {_batches(whole.trace)}, {format_duration(whole.seconds)}")
        return self._cut_again_and_again(whole)

    def _cut_again_and_again(self, whole: Attempt) -> int:
        """The same run, killed at several moments and resumed each time, to the first fault."""
        limit = _PATIENCE + _SLOWEST * whole.seconds
        before: Attempt | None = None
        kills = 0
        for number, cut in enumerate([*cuts(whole.trace), None]):
            attempt = self.elsewhere.attempt(self.copies["cut"], f"{number}", cut, limit=limit)
            status = self._compared(whole, before, attempt)
            if status is not None:
                return status
            if not attempt.was_cut:
                break
            _say(f"  {_told(cut)}")
            before, kills = attempt, kills + 1
        if whole.trace.changing:
            return _changing(changed(whole.trace))
        return _exact(kills)

    def _compared(self, whole: Attempt, before: Attempt | None, attempt: Attempt) -> int | None:
        """The exit status where an attempt was not as it should be."""
        found = first_difference(whole.trace, attempt, self.noise)
        if found is None and attempt.failure is None:
            return None
        if self.again is None:
            self.again = self.elsewhere.attempt(self.copies["again"], "run").trace
            if keys := uneven(whole.trace, self.again):
                return self._uneven(whole, keys)
            self.noise = noise(whole.trace, self.again)
            found = first_difference(whole.trace, attempt, self.noise)
        if found is not None:
            return _differs(found, explained(found, whole.trace.cast))
        if attempt.failure is not None:
            how = (
                "does not resume" if before is None else f"{_told(before.cut)}, it does not resume"
            )
            return _failed(how, attempt.failure)
        return None

    def _uneven(self, whole: Attempt, keys: list[str]) -> int:
        """Two runs that nobody cut differ: that is no fault of resuming."""
        by_hash = False
        if environment_differs():
            same = self.here.attempt(self.copies["same"], "run")
            by_hash = not uneven(whole.trace, same.trace)
        _say(f"not reproducible: two uninterrupted runs differ, first in {spoken(keys[0])}")
        _say_pairs([("also", _also(keys[1:])), ("what to do", _BY_HASH if by_hash else _BY_CHANCE)])
        return 1


_BY_HASH = (
    "Sets of texts come in another order in each process: sort them before use, or set"
    " PYTHONHASHSEED."
)
_BY_CHANCE = (
    "Something draws from time, the system's randomness or an operation that is not deterministic"
    " (trainer.init.deterministic); until then nobody can tell what a cut changes."
)


def cuts(trace: Trace) -> list[Cut]:
    """Where to kill: in mid-epoch, in a validation, at an epoch's end, in the next, at the end."""
    boundaries = [trace.boundaries[batch] for batch in sorted(trace.boundaries)]
    ends = [event.batch for event in boundaries if not event.mid_epoch]
    begin = boundaries[0].batch - 1 if boundaries else 0
    wanted: list[Cut] = []
    if ends and ends[0] - begin > 2:
        wanted.append(Cut(begin + (ends[0] - begin) // 2, "step"))
    validated = [event.batch - 1 for event in boundaries if "validation: " in event.states]
    wanted += [Cut(batch, "validation") for batch in validated]
    wanted += [Cut(end, "boundary") for end in ends]
    wanted += [Cut(end + 1, "step") for end in ends[:-1] if end + 2 in trace.boundaries]
    return _rising(wanted, {event.batch for event in boundaries})


def _rising(wanted: list[Cut], there: set[int]) -> list[Cut]:
    """One cut at a boundary, and only at boundaries that there are."""
    by_batch: dict[int, Cut] = {}
    for cut in wanted:
        if cut.batch in there:
            by_batch.setdefault(cut.batch, cut)
    return [by_batch[batch] for batch in sorted(by_batch)]


# -- what is said --------------------------------------------------------------------------------


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _batches(trace: Trace) -> str:
    return plural(len(trace.boundaries), "batch", "batches")


def _told(cut: Cut | None) -> str:
    if cut is None:
        return ""
    if cut.moment == "step":
        return f"killed in batch {cut.batch + 1}"
    if cut.moment == "validation":
        return f"killed in the validation after batch {cut.batch + 1}"
    return f"killed after batch {cut.batch}"


def _exact(kills: int) -> int:
    _say(f"exact: killed {_times(kills)}, it went on with the same batches, losses and weights")
    return 0


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _changing(finding: Finding) -> int:
    _say("not exact: batches are as before only as long as no sample is loaded again")
    return _say_finding(finding)


def _differs(difference: Difference, finding: Finding) -> int:
    where = _where(difference.event)
    _say(f"not exact: resumed after batch {difference.attempt.after}, it differs {where}")
    rest = [key for key in difference.keys if spoken(key) not in finding.what]
    return _say_finding(finding, rest)


def _say_finding(finding: Finding, rest: Sequence[str] = ()) -> int:
    _say_pairs(
        [
            ("first", finding.what),
            ("likely owner", finding.owner),
            ("what to do", finding.advice),
            ("then also", _also(rest)),
        ]
    )
    return 1


def _where(event: Event) -> str:
    return "at its end" if event.at == "end" else f"from batch {event.batch} on"


def _also(keys: Sequence[str]) -> str:
    told = [spoken(key) for key in keys if not key.startswith("data")]
    more = f" and {len(told) - _ALSO} more" if len(told) > _ALSO else ""
    return f"{', '.join(told[:_ALSO])}{more}"


def _say_pairs(pairs: Sequence[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in pairs) + 2
    for name, text in pairs:
        if text:
            _say(f"  {name:<{width}}{text}")


def _failed(how: str, failure: Failure) -> int:
    _say(f"{how}: {failure.summary}".splitlines()[0])
    _say("\n".join(f"  {line}" for line in failure.text.rstrip().splitlines()))
    return 2 if failure.mistake and how == "does not train" else 1
