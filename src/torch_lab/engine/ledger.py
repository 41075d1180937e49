"""The ledger of a run: which batches and samples of each epoch were planned, and trained on.

What Lightning's loop, this ledger and each loader count by themselves has to agree, at every cut
and at every epoch's end. What doesn't is a fault, and a run with a fault isn't completed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch_lab.engine.lightning import Stop, Tally
from torch_lab.errors import RunIncomplete
from torch_lab.utils.text import plural

_SHOWN = 4  # faults in a message


@dataclass(frozen=True)
class Epochs:
    """An epoch that is over, or several in a row that are alike; None is what can't be known."""

    first: int
    last: int
    planned: int | None
    batches: int
    planned_samples: int | None
    samples: int | None
    ended_by: str | None = None  # where that was before the planned end


@dataclass(frozen=True)
class Fault:
    """What went otherwise than planned in an epoch, or in several in a row."""

    first: int
    last: int
    text: str

    def __str__(self) -> str:
        return f"{span(self.first, self.last)}: {self.text}"


@dataclass(frozen=True)
class Open:
    """The epoch under way. `batches` were trained on, `taken` fetched, when it was last counted."""

    epoch: int
    planned: int | None
    batches: int = 0
    taken: int = 0
    samples: int | None = None


class Ledger:
    """One process's ledger; those of all processes together are the run's.

    Where a run `goes_on`, it goes on as well; in a new run that starts from another's state, only
    the epoch that this one had begun does.
    """

    def __init__(self, *, goes_on: bool = False, say: Callable[[str], None] = print) -> None:
        self._goes_on = goes_on
        self._say = say
        self._said: set[str] = set()
        self.epochs: list[Epochs] = []
        self.faults: list[Fault] = []
        self.ended: str | None = None  # the limit that was reached
        self.stopped: Stop | None = None  # who asked for the end
        self._open: Open | None = None
        self._next: int | None = 0  # the epoch that is to come; None: not known
        self._taken = 0  # batches of the run, when an epoch was last over
        self._before: Tally | None = None  # of the open epoch, where this process began with it
        self._given_up: Stop | None = None

    # -- an epoch ----------------------------------------------------------------------------

    def begin(self, epoch: int, planned: int | None, tally: Tally) -> None:
        """An epoch begins, or goes on where it was cut."""
        if self._open is None:
            self._expect(epoch)
            self._open = Open(epoch, planned, tally.taken, tally.taken)
            self._taken -= tally.taken  # of an epoch that is gone on with, but not from a ledger
        else:
            self._check_place(self._open, epoch, tally)
            self._open = replace(self._open, planned=planned)
        self._given_up, self._before = None, tally

    def _expect(self, epoch: int) -> None:
        due = epoch if self._next is None else self._next
        if epoch > due:
            self._fault("it was left out", due, epoch - 1)
        elif epoch < due:
            self._fault("it was trained once more", epoch)

    def _check_place(self, cut: Open, epoch: int, tally: Tally) -> None:
        """Whether loop and loaders stand where the epoch was cut."""
        if epoch != cut.epoch:
            text = f"it was cut after {_batches(cut.batches)}, and not gone on with"
            self._fault(text, cut.epoch)
            self._open = Open(epoch, cut.planned, tally.taken, tally.taken)
            return
        places = {tally.taken, *(tally.taken + has - due for due, has in tally.given)}
        if places != {cut.taken}:
            there = max(places - {cut.taken}, key=lambda place: abs(place - cut.taken))
            text = f"it went on at batch {there} where {cut.taken} was due"
            self._fault(f"{text}: {_skipped(there - cut.taken)}", epoch)

    def give_up(self, stop: Stop | None) -> None:
        """An epoch, or training, is ended by an exception; by `stop`, or by the data's own end."""
        self._given_up = stop

    def count(self, advanced: int, tally: Tally) -> Open | None:
        """The epoch under way, after so many batches since this process began with it."""
        if self._open is None or self._before is None:
            return self._open
        batches = self._open.batches + advanced
        return replace(self._open, batches=batches, taken=tally.taken, samples=tally.samples)

    def close(self, advanced: int, tally: Tally, stop: str | None) -> None:
        """The epoch is over; `stop` says what would have ended it early."""
        done = self.count(advanced, tally)
        assert done is not None
        given_up, self._given_up = self._given_up, None
        ended_by = str(given_up) if given_up is not None else stop
        if done.batches == done.planned or (done.planned is None and given_up is None):
            ended_by = None
        self._judge(done, tally, ended_by)
        own = (done.planned, done.batches, tally.planned_samples, tally.samples, ended_by)
        self.epochs = folded([*self.epochs, Epochs(done.epoch, done.epoch, *own)])
        self._taken += done.taken
        self._next, self._open, self._before = done.epoch + 1, None, None

    def _judge(self, done: Open, tally: Tally, ended_by: str | None) -> None:
        epoch, planned = done.epoch, done.planned
        for text in tally.faults:
            self._fault(text, epoch)
        if not tally.faults:
            self._compare(done, tally)
        if planned is None or ended_by is not None:
            return
        if done.batches < planned:
            said = f"its loader ended after {_batches(done.batches)} of the {planned} that it said"
            self._fault(said, epoch)
        elif done.batches > planned:
            self._fault(f"it had {done.batches} batches where {planned} were planned", epoch)
        elif tally.drawn is not None and tally.drawn > planned:
            said = f"its loader has {tally.drawn} batches where it said {planned}"
            self._fault(f"{said}: {_skipped(tally.drawn - planned)}", epoch)

    def _compare(self, done: Open, tally: Tally) -> None:
        """Whether loop, loaders and ledger have counted alike since this process began with it."""
        before = self._before
        assert before is not None
        interrupted = done.taken - done.batches
        if tally.completed != done.batches or interrupted not in (0, 1):
            text = f"{_batches(done.batches)} were trained, and Lightning counts {tally.completed}"
            self._fault(text, done.epoch)
        for (due, has), (due_then, had) in zip(tally.given, before.given, strict=False):
            more = (has - had) - (due - due_then)
            if not 0 <= more <= tally.slack:
                self._fault(_skipped(more), done.epoch)
                return

    def _fault(self, text: str, first: int, last: int | None = None) -> None:
        last = first if last is None else last
        fault = Fault(first, last, text)
        self.faults = _joined([*self.faults, fault])
        if text not in self._said:
            self._said.add(text)
            self._say(f"{fault}. This run can't be completed as planned")

    # -- training ----------------------------------------------------------------------------

    def end(self, *, epochs: int, most: int | None, steps: str | None, stop: Stop | None) -> None:
        """Training is over: `epochs` are done of `most`, and what else may have ended it."""
        if most is not None and most >= 0 and epochs >= most:
            self.ended = f"max_epochs={most}"
        self.ended = steps or self.ended
        stop = stop or self._given_up
        cut_short = bool(self.epochs) and stop is not None and self.epochs[-1].ended_by == str(stop)
        self.stopped = stop if cut_short or not self.ended else None
        due = epochs if self._next is None else self._next
        if due < epochs:
            self._fault("it was left out", due, epochs - 1)
        elif self.ended is None and self.stopped is None:
            planned = "" if most is None or most < 0 else f" of {most}"
            text = f"training ended before it, after {due}{planned} epochs, and nobody asked for it"
            self._fault(text, due, max(due, (most or 0) - 1))

    @property
    def is_settled(self) -> bool:
        """Whether it is known what has ended training."""
        return self.ended is not None or self.stopped is not None

    # -- its state ---------------------------------------------------------------------------

    def state(self, advanced: int, tally: Tally | None, stop: Stop | None) -> dict[str, Any]:
        """Plain data for a checkpoint, and for the record."""
        now = self._open if tally is None else self.count(advanced, tally)
        return {
            "epochs": [asdict(each) for each in self.epochs],
            "open": None if now is None else asdict(now),
            "next": self._next,
            "batch": self._taken + (0 if now is None else now.taken),
            "faults": [asdict(each) for each in self.faults],
            "ended": self.ended,
            "stopped": _plain(self.stopped if self.is_settled else stop),
        }

    def load(self, state: Mapping[str, Any] | None, *, batch: int, boundary: bool) -> Stop | None:
        """Go on from a checkpoint of `batch`; returns who had asked for the end by then.

        One that wasn't made at a `boundary` has counts of a batch under way.
        """
        self._open, self._before, self._taken = None, None, batch
        self.epochs, self.faults, self._next = [], [], None
        self.ended = self.stopped = None
        if state is None:  # of Lightning's own, or of an older version
            return None
        if boundary:
            self._next = state["next"]
            self._open = Open(**state["open"]) if state["open"] else None
            self._taken = batch - (self._open.taken if self._open else 0)
        if not self._goes_on:
            return None
        self.epochs = [Epochs(**each) for each in state["epochs"]]
        self.faults = [Fault(**each) for each in state["faults"]]
        if boundary and state["batch"] != batch:
            text = f"the checkpoint is of batch {batch}, and its ledger of batch {state['batch']}"
            self._fault(text, self._next or 0)
        return None if state["stopped"] is None else Stop(**state["stopped"])

    def went_on_elsewhere(self, before: int, now: int) -> None:
        """The run goes on with another number of processes, each with another share."""
        if self._open is not None:
            text = f"it was begun by {before} processes and ended by {now}"
            self._fault(f"{text}: samples were left out and repeated", self._open.epoch)


def proof(states: Sequence[Mapping[str, Any]]) -> RunIncomplete | None:
    """The verdict on the ledgers of all processes; None if all that was planned was done once."""
    texts = _faults(states)
    if not texts:
        return None
    more = len(texts) - _SHOWN
    shown = "; ".join(texts[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
    return RunIncomplete(
        f"not all that was planned was trained, or not once: {shown}",
        hint="`lab show` has the ledger. The checkpoints are sound; a resumed run can't make up"
        " for what is past.",
    )


def _faults(states: Sequence[Mapping[str, Any]]) -> list[str]:
    """The faults of all processes; those that rank 0 has too are said once."""
    faults = [[str(Fault(**each)) for each in state["faults"]] for state in states]
    texts = list(faults[0])
    for rank, own in enumerate(faults[1:], start=1):
        texts += [f"process {rank}, {text}" for text in own if text not in faults[0]]
    return texts


def recorded(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The ledger of the run for its record: batches of each process, samples of all together."""
    own = states[0]
    epochs = [[Epochs(**each) for each in state["epochs"]] for state in states]
    several = [_together(each) for each in zip(*map(_single, epochs), strict=False)]
    under_way = own["open"] and {key: own["open"][key] for key in ("epoch", "planned", "batches")}
    return {
        "processes": len(states),
        "epochs": [asdict(each) for each in (folded(several) if states[1:] else epochs[0])],
        "open": under_way,
        "ended": own["ended"],
        "stopped": own["stopped"],
        "faults": _faults(states),
    }


def _together(shares: Sequence[Epochs]) -> Epochs:
    """One epoch of all processes."""
    return replace(
        shares[0],
        planned_samples=_sum(each.planned_samples for each in shares),
        samples=_sum(each.samples for each in shares),
    )


def _sum(values: Iterable[int | None]) -> int | None:
    known = list(values)
    return None if None in known else sum(each for each in known if each is not None)


def _single(epochs: Sequence[Epochs]) -> list[Epochs]:
    return [
        replace(each, first=number, last=number)
        for each in epochs
        for number in range(each.first, each.last + 1)
    ]


def folded(epochs: Sequence[Epochs]) -> list[Epochs]:
    """Equal epochs in a row as one entry."""
    found: list[Epochs] = []
    for each in epochs:
        last = found[-1] if found else None
        alike = last is not None and replace(last, first=each.first, last=each.last) == each
        if last is not None and alike and last.last + 1 == each.first:
            found[-1] = replace(last, last=each.last)
        else:
            found.append(each)
    return found


def _joined(faults: Sequence[Fault]) -> list[Fault]:
    """Equal faults of epochs in a row as one."""
    found: list[Fault] = []
    for each in faults:
        before = next((f for f in found if f.text == each.text and f.last + 1 == each.first), None)
        if before is None:
            found.append(each)
        else:
            found[found.index(before)] = replace(before, last=each.last)
    return found


def span(first: int, last: int) -> str:
    """Epochs in words."""
    return f"epoch {first}" if first == last else f"epochs {first} to {last}"


def _batches(count: int) -> str:
    return plural(count, "batch", "batches")


def _skipped(more: int) -> str:
    was = "was" if abs(more) == 1 else "were"
    return f"{_batches(abs(more))} {was} {'left out' if more > 0 else 'repeated'}"


def _plain(stop: Stop | None) -> dict[str, Any] | None:
    return None if stop is None else asdict(stop)
