"""What a sweep adds to its trainings, and how long its slots stay idle between two of them."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

from benchmarks.measuring import alternate
from benchmarks.report import Line, times
from benchmarks.subjects import EXPERIMENTS, elapsed, installed, silently

ROUNDS, TRIALS = 3, 8
SLOTS, LONG = 2, 1_500  # batches of the trials whose gaps are measured: some seconds
IDLE = 0.05


def run() -> list[Line]:
    return [_pace(), _idleness()]


def _pace() -> Line:
    """Trials of one batch, so that hardly anything but the sweep's own work is measured."""
    short = ["--offline", "-s", "batches=1"]
    sweep = [*installed("lab"), "sweep", str(EXPERIMENTS / "mlp" / "search.py"), "-j", "1", *short]
    train = [*installed("train"), str(EXPERIMENTS / "mlp" / "hparams.py"), *short]
    rounds = alternate(
        ROUNDS, {"sweep": partial(_swept, sweep), "hand": partial(_in_new_folder, train)}
    )
    pace = rounds.combined("hand", "sweep", lambda hand, whole: hand / (whole / TRIALS))
    return Line(
        f"`lab sweep -j 1`: trials of one batch a minute, of {TRIALS} (plain: each by `train`)",
        plain=f"{60 / rounds.median('hand'):.0f}",
        lab=f"{60 * TRIALS / rounds.median('sweep'):.0f}",
        compared=times(pace),
    )


def _swept(words: Sequence[str]) -> float:
    return _in_new_folder([*words, "--trials", str(TRIALS)])


def _in_new_folder(words: Sequence[str]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        return elapsed(words, Path(folder))


def _idleness() -> Line:
    """How much of the time between a slot's first trial and its last it had none."""
    with tempfile.TemporaryDirectory() as folder:
        spans = list(_spans(Path(folder)))
    gaps = [after - end for slot in _by_slot(spans) for (_, end), (after, _) in pairwise(slot)]
    whole = sum(slot[-1][1] - slot[0][0] for slot in _by_slot(spans))
    lengths = statistics.median(end - begin for _, begin, end in spans)
    share = sum(gaps) / whole
    return Line(
        f"… `-j {SLOTS}`: idle time of slots between trials of {lengths:.1f} s",
        lab=f"{1e3 * statistics.median(gaps):.0f} ms a trial",
        compared=f"{100 * share:.1f}%",
        target=f"{100 * IDLE:.0f}%",
        ok=share <= IDLE,
    )


def _by_slot(spans: Iterable[tuple[int, float, float]]) -> list[list[tuple[float, float]]]:
    found: dict[int, list[tuple[float, float]]] = {}
    for slot, begin, end in spans:
        found.setdefault(slot, []).append((begin, end))
    return [sorted(each) for each in found.values()]


def _spans(folder: Path) -> Iterator[tuple[int, float, float]]:
    """Each trial's slot, when its process had begun, and when it had ended."""
    from time import monotonic

    from torch_lab import experiment, settings
    from torch_lab.tasks.pool import Ended, slots
    from torch_lab.tasks.sweep import design, ledger
    from torch_lab.tasks.sweep.search import Order, Search

    class Timed(Search):
        def _settle(self, ended: Ended) -> None:
            now = monotonic()
            spans.append((ended.slot.number, now - ended.seconds, now))
            super()._settle(ended)

    spans: list[tuple[int, float, float]] = []
    with silently(folder):
        found = experiment.find(EXPERIMENTS / "mlp" / "search.py")
        wanted, sweep = design.read(found, {"trials": TRIALS})
        place, known = str(folder / "sweep.journal"), settings.load(found.script)
        trials = ledger.begun(wanted, place, known.lost_after)
        length = (f"batches={LONG}",)
        order = Order(found, known, wanted, sweep, place, length, offline=True)
        Timed(order, trials, slots(None, SLOTS), print).run()
    yield from spans
