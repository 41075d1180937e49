"""Runs that are under way: where they are by now, and when they will be done."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from torch_lab.store import find
from torch_lab.store.journal import Journal
from torch_lab.store.lock import Lock
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import MetricSummary, Progress, Record, RecordWriter
from torch_lab.tasks import runs as task
from torch_lab.tasks.runs.live import Live

LEDGER = {"open": {"epoch": 2, "planned": 100, "batches": 50}, "epochs": [], "processes": 1}


class Alive:
    """A run that this process works on."""

    def __init__(self, artifacts: Path, number: int = 0, **fields: Any) -> None:
        self.directory = RunDirectory(artifacts / f"00_net-hparams_v{number}")
        self.directory.path.mkdir(parents=True)
        known: dict[str, Any] = {
            "name": self.directory.name,
            "id": f"{number:032x}",
            "status": "running",
            "created": time.time() - 90,
            "started": time.time() - 80,
            "hparams": {"trainer": {"init": {"max_epochs": 10, "max_steps": -1}}},
            "progress": Progress(150, 150, 1),
            "ledger": LEDGER,
            "metrics": {"loss/validate": MetricSummary(0.5, 0.25, 3.0)},
        }
        self.lock = Lock.acquire(self.directory, lost_after=60)
        self.writer = RecordWriter(self.directory, self.lock, Record(**(known | fields)))
        self.writer.update()

    def log(self, *rows: tuple[float, int, int], after: int = 0) -> None:
        """Rows (time, batch, epoch) of one start; a step is two batches."""
        journal = Journal(self.directory, after)
        journal.close()
        lines = [
            json.dumps(
                {"t": t, "batch": b, "step": b // 2, "epoch": e, "values": {"loss/train": 1}}
            )
            for t, b, e in rows
        ]
        with journal.path.open("a") as file:
            file.write("\n".join(lines) + "\n")


@pytest.fixture
def alive(tmp_path: Path) -> Iterator[Alive]:
    run = Alive(tmp_path)
    yield run
    run.lock.release()


def live(run: Alive) -> Live | None:
    (found,) = find.runs(run.directory.path.parent)
    return task.live(found)


def test_epoch_rate_and_time_left(alive: Alive) -> None:
    alive.log((1000, 50, 0), (1010, 150, 1), (1020, 250, 2))
    at = live(alive)
    assert at == Live(epoch=2, batch=250, step=125, epochs=10, rate=10, left=75)
    assert at.where == "3/10"
    assert str(at) == "epoch 3/10, step 125, batch 250, 10 batches/s, 1 min 15 s left"


def test_each_look_is_a_new_one(alive: Alive) -> None:
    """Though the record, which is written now and then, is the same."""
    alive.log((1000, 50, 0))
    first = find.runs(alive.directory.path.parent)[0]
    assert task.values_of(first, "batch") == (50,)
    alive.log((1010, 70, 0), after=50)
    second = find.runs(alive.directory.path.parent)[0]
    assert first == second
    assert task.values_of(second, "batch") == (70,)
    assert task.values_of(first, "batch") == (50,)


def test_a_run_that_went_on_counts_from_there(alive: Alive) -> None:
    alive.log((1000, 50, 0), (1001, 900, 9))
    alive.log((2000, 110, 1), (2010, 210, 2), after=100)
    at = live(alive)
    assert at is not None
    assert (at.batch, at.rate, at.left) == (210, 10, 79)


def test_limits_in_steps(alive: Alive) -> None:
    hparams = {"trainer": {"init": {"max_epochs": 10, "max_steps": 200}}}
    alive.writer.update(hparams=hparams)
    alive.log((1000, 100, 1), (1010, 200, 2))
    at = live(alive)
    assert at is not None
    assert at.left == 20  # 100 more steps of two batches; ten epochs would be longer


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"ledger": None}, Live(2, 250, 125, 10, 10, None)),
        ({"ledger": LEDGER | {"open": None}}, Live(2, 250, 125, 10, 10, None)),
        ({"ledger": {"open": None, "epochs": [{"planned": 50}]}}, Live(2, 250, 125, 10, 10, 25)),
        ({"ledger": {"open": {"planned": 20}}}, Live(2, 250, 125, 10, 10, 0)),
        ({"hparams": {}}, Live(2, 250, 125, None, 10, None)),
        ({"hparams": {"trainer": {"init": {"max_epochs": -1}}}}, Live(2, 250, 125, None, 10, None)),
    ],
)
def test_what_is_not_known_is_not_said(
    alive: Alive, fields: dict[str, Any], expected: Live
) -> None:
    alive.writer.update(**fields)
    alive.log((1000, 50, 0), (1020, 250, 2))
    assert live(alive) == expected
    if expected.epochs is None:
        assert expected.where == "3"


def test_one_row_has_no_rate(alive: Alive) -> None:
    alive.log((1000, 50, 0))
    assert live(alive) == Live(0, 50, 25, 10)
    assert str(live(alive)) == "epoch 1/10, step 25, batch 50"


def test_before_the_first_row(alive: Alive) -> None:
    assert live(alive) is None
    alive.log()
    assert live(alive) is None
    (run,) = find.runs(alive.directory.path.parent)
    assert task.values_of(run, "epoch") == (1,)
    assert task.values_of(run, "left") == ()


def test_a_torn_row_and_strange_lines_are_passed_over(alive: Alive) -> None:
    alive.log((1000, 50, 0), (1010, 150, 1))
    with (alive.directory.metrics / "0000.jsonl").open("a") as file:
        file.write('[1]\nnonsense\n{"t": 1}\n{"t": 1010, "batch": 25')
    at = live(alive)
    assert at is not None
    assert (at.batch, at.rate) == (150, 10)


def test_a_loop_that_begins_anew(alive: Alive) -> None:
    alive.log((1000, 50, 0), (1010, 900, 9), (1020, 10, 0), (1030, 110, 1))
    at = live(alive)
    assert at is not None
    assert (at.batch, at.rate) == (110, 10)


def test_only_the_end_of_a_long_journal_is_read(alive: Alive) -> None:
    early = [(float(n), n, 0) for n in range(3000)]
    late = [(3000 + n / 10, 3000 + n, 1) for n in range(3000)]
    alive.log(*early, *late)
    at = live(alive)
    assert at is not None
    assert at.rate == pytest.approx(10)


def test_the_table(alive: Alive) -> None:
    alive.log((1000, 50, 0), (1010, 150, 1), (1020, 250, 2))
    other = Alive(alive.directory.path.parent, 1, status="completed", created=5, started=5, ended=9)
    other.lock.release()
    runs = find.runs(alive.directory.path.parent)
    text = task.table(runs, ["epoch"])
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0] == "name id status loss/validate best epoch left rate duration age"
    assert lines[1] == "00_net-hparams_v0 00000000 running 0.5 0.25 3/10 1 min 10/s 1 min 1 min"
    assert lines[2].startswith("00_net-hparams_v1 00000000 completed 0.5 0.25 1 - - 4 s ")
    for width in (100, 80, 60, 40):
        assert max(map(len, task.table(runs, width=width).splitlines())) <= width
    assert " 3/10 " in task.table(runs, width=80)


def test_filters_and_data(alive: Alive) -> None:
    alive.log((1000, 50, 0), (1010, 150, 1), (1020, 250, 2))
    runs = find.runs(alive.directory.path.parent)
    for text in ("epoch=2", "batch=250", "step=125", "rate>9", "left<80", "status=running"):
        assert task.select(runs, [task.parse_filter(text)]), text
    assert not task.select(runs, [task.parse_filter("left>80")])
    (data,) = task.as_data(runs)
    assert data["live"] == {
        "epoch": 2,
        "batch": 250,
        "step": 125,
        "epochs": 10,
        "rate": 10,
        "left": 75,
    }


@pytest.mark.parametrize("status", ["completed", "aborted"])
def test_what_has_ended_is_not_under_way(alive: Alive, status: str) -> None:
    alive.log((1000, 50, 0), (1010, 150, 1))
    alive.writer.update(status=status)
    assert live(alive) is None


def test_a_lost_run_is_not_under_way(alive: Alive) -> None:
    alive.log((1000, 50, 0), (1010, 150, 1))
    alive.lock.release()
    (run,) = find.runs(alive.directory.path.parent)
    assert run.status == "lost"
    assert task.live(run) is None
    assert "lost" in task.table([run])
    assert "rate" not in task.table([run])


def test_a_fetched_run_is_not_under_way_here(alive: Alive) -> None:
    alive.log((1000, 50, 0), (1010, 150, 1))
    alive.writer.update(fetched={"server": "http://server", "task_id": "5b" * 16})
    (run,) = find.runs(alive.directory.path.parent)
    assert run.status == "running"
    assert task.live(run) is None
