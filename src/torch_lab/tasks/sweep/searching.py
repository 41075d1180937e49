"""A search from its first line to its last."""

from __future__ import annotations

import sys
from collections.abc import Callable

from torch_lab.errors import Stopped, StorageAway, UsageError
from torch_lab.store.secrets import mask_text
from torch_lab.tasks import slurm
from torch_lab.tasks.many.screen import is_live
from torch_lab.tasks.pool import slots
from torch_lab.tasks.sweep import ledger, report
from torch_lab.tasks.sweep.board import Board
from torch_lab.tasks.sweep.ledger import Trials
from torch_lab.tasks.sweep.search import Order, Search
from torch_lab.utils import launched
from torch_lab.utils.paths import display
from torch_lab.utils.streams import PipeProof
from torch_lab.utils.text import plural


def search(order: Order, gpus: tuple[int, ...] | None, jobs: int | None) -> int:
    """Search until nothing is left to do here; 1 where no trial at all is completed."""
    if (found := launched.launch()) is not None:
        raise UsageError(
            f"{found.by} starts the processes of one run, and a sweep has many runs",
            hint="Start `lab sweep` by itself, on each machine that is to share the work.",
        )
    room = slots(gpus, jobs)
    if gpus is not None:
        from torch_lab.engine.trainer import check_gpus

        check_gpus(gpus)
    stream = PipeProof(sys.stdout)
    board = Board(stream, order) if is_live(stream) else None
    say = _plainly if board is None else board.say
    trials = ledger.begun(order.design, order.storage, order.settings.lost_after)
    part = Search(order, trials, room, say)
    over = sum(t.state.is_finished() for t in trials.all())
    before = f", {over} over before" if over else ""
    say(
        f"sweep {order.design.name}: {plural(part.limit, 'trial')}{before},"
        f" {len(room)} at a time, in {_shown(order.storage)}"
    )
    if board is not None:
        board.watch(part)
    return _search(order, part, trials, say)


def _search(order: Order, part: Search, trials: Trials, say: Callable[[str], None]) -> int:
    try:
        part.run()
    except Stopped as stopped:
        say(f"stopped: `lab sweep {display(order.experiment.script)}` goes on")
        slurm.requeue_after(stopped.signum)
        raise
    finally:
        try:
            elsewhere = part.in_other_hands()
            say(report.summary(order, trials, elsewhere))
        except StorageAway as error:
            say(error.message)
    return 0 if trials.best() is not None or elsewhere else 1


def _plainly(line: str) -> None:
    print(line, flush=True)


def _shown(storage: str) -> str:
    return mask_text(storage) if "://" in storage else display(storage)
