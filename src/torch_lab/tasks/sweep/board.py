"""A search on a terminal: what has happened, and below it a table of what is under way."""

from __future__ import annotations

from dataclasses import dataclass

from torch_lab.tasks.many.rows import Row
from torch_lab.tasks.many.screen import Screen
from torch_lab.tasks.pool import Running
from torch_lab.tasks.sweep.search import Order, Search
from torch_lab.tasks.table import MISSING, number
from torch_lab.utils.streams import PipeProof


@dataclass
class TrialRow(Row):
    """A trial under way, with the metric that the sweep is for."""

    sought: str = ""

    @property
    def metric(self) -> str:
        """The newest value of the sweep's metric."""
        summary = None if self.run is None else self.run.record.metrics.get(self.sought)
        return MISSING if summary is None else f"{self.sought} {number(summary.last)}"


class Board(Screen):
    """Shows the trials that are under way; lines that are said scroll by above them."""

    what = "trial"

    def __init__(self, stream: PipeProof, order: Order) -> None:
        self._under_way: list[Row] = []
        super().__init__(stream, self._under_way)
        self._order = order
        self._search: Search | None = None

    def watch(self, search: Search) -> None:
        """Show this search from now on."""
        self._search = search
        search.pool.on_tick = self.update

    def say(self, line: str) -> None:
        """Show a line for good, where the table was; that comes again below it."""
        self._draw([])
        self._say(line)

    def update(self) -> None:
        """Show how things are."""
        assert self._search is not None
        known = {row.job.log: row for row in self._under_way}
        running = self._search.pool.running
        self._under_way[:] = [known.get(each.job.log) or self._row(each) for each in running]
        if self._search.pool.signum is not None:
            self.stopping(self._search.pool.signum)
        super().update()

    def counts(self) -> list[str]:
        """How far the search is, and the best so far."""
        return [] if self._search is None else [self._search.progress]

    def _row(self, running: Running) -> Row:
        order = self._order
        return TrialRow(
            script=order.experiment.script,
            label=running.job.label,
            job=running.job,
            lost_after=order.settings.lost_after,
            running=running,
            sought=order.design.metric,
        )
