"""Where several trainings are shown: a table that is redrawn on a terminal, lines anywhere else."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Sequence

from torch_lab.tasks.many.rows import NEVER, WAITING, Row
from torch_lab.tasks.pool import Slot
from torch_lab.tasks.report import shown
from torch_lab.tasks.table import colored_status, layout, rough
from torch_lab.utils.streams import PipeProof, colorful, terminal_width

_HEADER = ["state", "epoch", "metric", "left", "for", "on", "run"]
_STATE = 1
_BESIDE = 4  # lines: header, counts, what a signal has led to, the cursor's


def is_live(stream: PipeProof) -> bool:
    """Whether what a stream shows can be redrawn."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


class Screen:
    """Shows rows on a stream."""

    what = "script"  # what a row is of

    def __init__(self, stream: PipeProof, rows: Sequence[Row]) -> None:
        self._stream = stream
        self._rows = rows
        self._live = is_live(stream)
        self._drawn = 0  # lines
        self._begun: set[str] = set()
        self._signum: int | None = None

    def stopping(self, signum: int) -> None:
        """Say, once, that all are to end."""
        if self._signum is None:
            self._signum = signum
            for row in self._rows:
                row.over = True
            if not self._live:
                self._say(_stopping(signum))

    def update(self) -> None:
        """Show how things are."""
        for row in self._rows:
            if row.under_way:
                row.look()
        if self._live:
            self._draw(self._table())
            return
        for row in self._rows:
            if row.running is not None and row.under_way:
                self._say_begun(row, row.running.slot)

    def _say_begun(self, row: Row, slot: Slot) -> None:
        if row.run is not None and row.label not in self._begun:
            self._begun.add(row.label)
            self._say(f"{row.label}: begun as {row.name} ({slot})")

    def ended(self, row: Row) -> None:
        """Say that one has ended."""
        row.look()
        if not self._live and row.ended is not None:
            self._say_begun(row, row.ended.slot)  # it took less than a tick
            over = sum(each.ended is not None for each in self._rows)
            self._say(f"[{over}/{len(self._rows)}] {row.label}: {row.outcome()}")

    def close(self) -> None:
        """Take the live table away: the summary takes its place."""
        if self._live:
            self._draw([])

    def summary(self) -> None:
        """Say what became of each, and where it is."""
        for row in self._rows:
            if row.under_way:
                row.look()
        header = ["script", "state", "metric", "for", "directory"]
        rows = [
            [row.label, row.state, row.metric, rough(row.seconds), _place(row)]
            for row in self._rows
        ]
        self._say("\n".join(self._laid_out([header, *rows], None)))
        for row in self._rows:
            if remarks := row.remarks():
                self._say("\n".join(["", *remarks]))
        for row in self._rows:
            if row.ended is not None and row.run is None and row.state != NEVER:
                said = [f"{row.label}: {row.without_run()}", row.ended.said.strip()]
                self._say("\n".join(["", *filter(None, said)]))

    def _table(self) -> list[str]:
        rows = self._chosen()
        width = terminal_width(self._stream)
        header = [self.what, *_HEADER]
        lines = self._laid_out([header, *(row.cells() for row in rows)], width)
        lines += self.counts()
        if self._signum is not None:
            lines.append(_stopping(self._signum))
        return [line if width is None else line[: _cut(line, width)] for line in lines]

    def counts(self) -> list[str]:
        """What there is to say below the table: how many are in which state."""
        states = Counter(row.state for row in self._rows)
        counted = ", ".join(f"{count} {state}" for state, count in states.items())
        return [counted] if len(self._rows) > 1 else []

    def _chosen(self) -> list[Row]:
        """Those that a terminal has room for: what runs, what ended last, what comes next."""
        room = max(_height(self._stream) - _BESIDE, 1)
        if len(self._rows) <= room:
            return list(self._rows)
        ended = [row for row in self._rows if row.ended is not None]
        running = [row for row in self._rows if row.under_way]
        waiting = [row for row in self._rows if row.state == WAITING]
        spare = max(room - len(running), 0)
        before = ended[len(ended) - min(len(ended), max(spare // 2, spare - len(waiting))) :]
        kept = [*before, *running, *waiting][:room]
        return [row for row in self._rows if row in kept]

    def _laid_out(self, rows: list[list[str]], width: int | None) -> list[str]:
        lines = layout(rows, width=width)
        if colorful(self._stream):
            for line in lines[1:]:
                line[_STATE : _STATE + 1] = [colored_status(cell) for cell in line[_STATE:][:1]]
        return ["  ".join(line).rstrip() for line in lines]

    def _draw(self, lines: list[str]) -> None:
        up = f"\x1b[{self._drawn}F" if self._drawn else ""
        text = "".join(f"\x1b[2K{line}\n" for line in lines)
        self._stream.write(f"{up}{text}\x1b[J")
        self._stream.flush()
        self._drawn = len(lines)

    def _say(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()


def _stopping(signum: int) -> str:
    name = signal.Signals(signum).name
    return f"{name}: each finishes its batch, then saves (once more ends all at once)"


def _place(row: Row) -> str:
    return "-" if row.run is None else shown(row.run.directory.path)


def _cut(line: str, width: int) -> int | None:
    """Lines with colors were laid out to fit."""
    return None if "\x1b" in line else width


def _height(stream: PipeProof) -> int:
    try:
        return int(os.environ["LINES"])
    except (KeyError, ValueError):
        pass
    try:
        return os.get_terminal_size(stream.fileno()).lines or 24
    except (OSError, ValueError):
        return 24
