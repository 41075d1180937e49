"""A search from its first line to its last."""

from __future__ import annotations

from collections.abc import Callable

from torch_lab.errors import Stopped
from torch_lab.store.secrets import mask_text
from torch_lab.tasks.pool import slots
from torch_lab.tasks.sweep import ledger, report
from torch_lab.tasks.sweep.search import Order, Search
from torch_lab.utils.paths import display
from torch_lab.utils.text import plural


def search(
    order: Order, gpus: tuple[int, ...] | None, jobs: int | None, say: Callable[[str], None]
) -> int:
    """Search until nothing is left to do here; 1 where no trial at all is completed."""
    room = slots(gpus, jobs)
    if gpus is not None:
        from torch_lab.engine.trainer import check_gpus

        check_gpus(gpus)
    trials = ledger.begun(order.design, order.storage, order.settings.lost_after)
    part = Search(order, trials, room, say)
    over = sum(t.state.is_finished() for t in trials.all())
    before = f", {over} over before" if over else ""
    say(
        f"sweep {order.design.name}: {plural(part.limit, 'trial')}{before},"
        f" {len(room)} at a time, in {_shown(order.storage)}"
    )
    try:
        part.run()
    except Stopped:
        say(f"stopped: `lab sweep {display(order.experiment.script)}` goes on")
        raise
    finally:
        say(report.summary(order, trials, part.in_other_hands()))
    return 0 if trials.best() is not None or part.in_other_hands() else 1


def _shown(storage: str) -> str:
    return mask_text(storage) if "://" in storage else display(storage)
