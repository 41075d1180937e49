from __future__ import annotations

import errno
import json
import logging
import math
import os
import time
from pathlib import Path

import pytest
from store_helpers import files_no_larger_than, new_run

from torch_lab.errors import LockLost, StoreError
from torch_lab.store.journal import Journal, rows
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import MetricSummary


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return new_run(tmp_path)


def log(run: RunDirectory, after: int, batches: range) -> Journal:
    """A start of the run that logs its batch's number, and dies."""
    journal = Journal(run, after)
    for batch in batches:
        journal.append(batch, batch, 0, {"loss": batch + 0.1 * after})
    return journal


def batches(run: RunDirectory) -> list[int]:
    return [row.batch for row in rows(run)]


def test_rows_come_back_as_they_were_logged(run: RunDirectory) -> None:
    before = time.time()
    journal = Journal(run, 0)
    journal.append(1, 2, 3, {"loss/train": 0.1, "größe": 1e-300})
    journal.close()
    journal.close()
    (row,) = rows(run)
    assert row[1:] == (1, 2, 3, {"loss/train": 0.1, "größe": 1e-300})
    assert before - 0.01 <= row.t <= time.time() + 0.01


def test_file_is_json_lines_with_a_header(run: RunDirectory) -> None:
    log(run, 0, range(1, 3)).close()
    header, *lines = map(json.loads, (run.metrics / "0000.jsonl").read_text().splitlines())
    assert (header["format"], header["after"]) == (1, 0)
    assert [set(line) for line in lines] == [{"t", "batch", "step", "epoch", "values"}] * 2


def test_rows_are_visible_before_the_journal_is_closed(run: RunDirectory) -> None:
    journal = log(run, 0, range(1, 3))
    assert batches(run) == [1, 2]
    journal.sync()
    journal.close()


def test_values_that_json_has_no_word_for(run: RunDirectory) -> None:
    journal = Journal(run, 0)
    journal.append(1, 1, 0, {"a": math.nan, "b": math.inf, "c": -math.inf, "d": 1})
    text = journal.path.read_text()
    json.loads(text.splitlines()[1], parse_constant=lambda name: pytest.fail(name))
    (row,) = rows(run)
    assert math.isnan(row.values.pop("a"))
    assert row.values == {"b": math.inf, "c": -math.inf, "d": 1.0}


class Scalar:
    def __float__(self) -> float:
        return 2.5


def test_scalars_of_array_libraries(run: RunDirectory) -> None:
    journal = Journal(run, 0)
    journal.append(1, 1, 0, {"a": Scalar()})  # type: ignore[dict-item]
    assert journal.summary["a"] == MetricSummary(2.5, 2.5, 2.5)


def test_a_segment_counts_up_to_where_a_later_one_begins(run: RunDirectory) -> None:
    log(run, 0, range(1, 10))
    log(run, 6, range(7, 9))
    assert batches(run) == [1, 2, 3, 4, 5, 6, 7, 8]
    log(run, 4, range(5, 7))  # the newest checkpoint was damaged
    assert batches(run) == [1, 2, 3, 4, 5, 6]
    assert [row.values["loss"] for row in rows(run)] == [1, 2, 3, 4, 5.4, 6.4]
    log(run, -1, range(1))
    assert batches(run) == [0]


def test_segments_are_numbered_and_others_files_ignored(run: RunDirectory) -> None:
    run.metrics.mkdir()
    (run.metrics / "notes.txt").write_text("mine")
    (run.metrics / "9998.jsonl").write_text('{"format":1,"after":0}\n')
    names = [Journal(run, 0).path.name for _ in range(3)]
    assert names == ["9999.jsonl", "10000.jsonl", "10001.jsonl"]


def test_torn_last_line_is_no_harm(run: RunDirectory, caplog: pytest.LogCaptureFixture) -> None:
    path = log(run, 0, range(1, 4)).path
    content = path.read_bytes()
    last = content.rstrip(b"\n").rfind(b"\n") + 1
    for length in range(last, len(content)):
        path.write_bytes(content[:length])
        assert batches(run) == [1, 2]
    path.write_bytes(content + b"\0" * 50)
    assert batches(run) == [1, 2, 3]
    assert not caplog.records


@pytest.mark.parametrize("length", [0, 1, 10])
def test_segment_whose_header_is_torn(run: RunDirectory, length: int) -> None:
    log(run, 0, range(1, 4))
    path = Journal(run, 2).path
    path.write_bytes(path.read_bytes()[:length])
    assert batches(run) == [1, 2, 3]
    assert Journal(run, 3).path.name == "0002.jsonl"
    assert batches(run) == [1, 2, 3]


def test_garbage_in_the_middle_is_named(
    run: RunDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    path = log(run, 0, range(1, 4)).path
    lines = path.read_bytes().splitlines(keepends=True)
    garbage = [b"\0\0\n", b"{}\n", b"[1]\n", b'{"batch": "x", "values": {}}\n', b"\xff\n"]
    path.write_bytes(b"".join([*lines[:2], *garbage, *lines[2:]]))
    with caplog.at_level(logging.WARNING):
        assert batches(run) == [1, 2, 3]
    (warning,) = caplog.messages
    assert str(path) in warning
    assert "3, 4, 5 and 2 more" in warning


def test_newer_format_is_refused(run: RunDirectory) -> None:
    run.metrics.mkdir()
    (run.metrics / "0000.jsonl").write_text('{"format":2,"after":0}\n')
    with pytest.raises(StoreError, match=r"0000\.jsonl was written by a newer torch-lab"):
        list(rows(run))


def test_run_without_a_journal_has_no_rows(run: RunDirectory) -> None:
    assert batches(run) == []


def test_summary_runs_along(run: RunDirectory) -> None:
    journal = Journal(run, 0)
    assert journal.summary == {}
    for value in (2.0, math.nan, 0.5, 3.0, math.nan):
        journal.append(1, 1, 0, {"a": value})
    journal.append(1, 1, 0, {"b": math.nan})
    journal.append(1, 1, 0, {"c": math.nan})
    journal.append(1, 1, 0, {"c": 7.0})
    summary = journal.summary
    assert math.isnan(summary["a"].last)
    assert (summary["a"].min, summary["a"].max) == (0.5, 3.0)
    assert math.isnan(summary["b"].max)
    assert summary["c"] == MetricSummary(7.0, 7.0, 7.0)


def test_summary_is_rebuilt_from_the_rows_that_count(run: RunDirectory) -> None:
    log(run, 0, range(1, 10))
    journal = Journal(run, 4)
    assert journal.summary == {"loss": MetricSummary(4.0, 1.0, 4.0)}
    journal.append(5, 5, 0, {"loss": 0.0})
    assert journal.summary == {"loss": MetricSummary(0.0, 0.0, 4.0)}
    assert Journal(run, -1).summary == {}


def test_rows_wait_while_the_disk_is_full(
    run: RunDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    journal = log(run, 0, range(1, 4))
    size = journal.path.stat().st_size
    for batch, beyond in ((4, 0), (5, 1), (6, 20)):
        with files_no_larger_than(size + beyond):
            journal.append(batch, batch, 0, {"loss": 1.0})
            with pytest.raises(StoreError, match=r"can't write to .*\.jsonl: File too large"):
                journal.sync()
        assert journal.path.stat().st_size == size  # no torn line
    assert [message.partition(": ")[2] for message in caplog.messages] == [
        "File too large; rows wait in memory until the next checkpoint"
    ]
    journal.sync()
    assert caplog.messages[1:] == [f"{journal.path} is written again; no row is lost"]
    journal.append(7, 7, 0, {"loss": 2.0})
    journal.close()
    assert batches(run) == [1, 2, 3, 4, 5, 6, 7]
    assert Journal(run, 7).summary == journal.summary


def test_waiting_rows_are_written_by_themselves_when_there_is_room(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = log(run, 0, range(1, 2))
    with files_no_larger_than(journal.path.stat().st_size):
        journal.append(2, 2, 0, {"loss": 1.0})
    journal.append(3, 3, 0, {"loss": 1.0})
    assert batches(run) == [1]  # it isn't tried at every row
    monkeypatch.setattr("torch_lab.store.journal._RETRY", 0.0)
    journal._next_try = 0.0
    journal.append(4, 4, 0, {"loss": 1.0})
    assert batches(run) == [1, 2, 3, 4]


def test_only_so_many_rows_wait(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = log(run, 0, range(1, 2))
    monkeypatch.setattr("torch_lab.store.journal.MOST_WAITING", 200)
    with files_no_larger_than(journal.path.stat().st_size):
        for batch in (2, 3):
            journal.append(batch, batch, 0, {"loss": 1.0})
        with pytest.raises(StoreError, match="File too large"):
            journal.append(4, 4, 0, {"loss": 1.0})
    journal.close()
    assert batches(run) == [1, 2, 3, 4]


def test_a_line_that_could_not_be_cut_off_is_cut_off_later(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = log(run, 0, range(1, 3))
    size = journal.path.stat().st_size

    def fails(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch, files_no_larger_than(size + 5):
        patch.setattr(os, "ftruncate", fails)
        journal.append(3, 3, 0, {"loss": 1.0})
    assert journal.path.stat().st_size == size + 5
    assert batches(run) == [1, 2]
    journal.close()
    assert batches(run) == [1, 2, 3]


def test_a_row_of_a_run_that_is_anothers_is_not_written(run: RunDirectory) -> None:
    def hold() -> None:
        raise LockLost("it is another's")

    journal = Journal(run, 0)
    journal._hold = hold
    with pytest.raises(LockLost):
        journal.append(1, 1, 0, {"loss": 1.0})
    assert batches(run) == []


def test_segment_that_cannot_begin_is_not_there(run: RunDirectory) -> None:
    with files_no_larger_than(5), pytest.raises(StoreError, match="can't write"):
        Journal(run, 0)
    assert list(run.metrics.iterdir()) == []
    run.metrics.rmdir()
    run.metrics.touch()
    with pytest.raises(StoreError, match="can't open the journal in"):
        Journal(run, 0)


def test_a_row_takes_less_than_20_microseconds(run: RunDirectory) -> None:
    journal = Journal(run, 0)
    values = {"loss/train": 0.123456789, "accuracy/train": 0.5, "f1/train": 0.25, "lr": 1e-3}
    rounds = []
    for _ in range(20):
        begin = time.perf_counter()
        for batch in range(100):
            journal.append(batch, batch, 0, values)
        rounds.append((time.perf_counter() - begin) / 100)
    assert min(rounds) < 20e-6
