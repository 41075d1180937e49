from __future__ import annotations

import itertools
import os
import time

import pytest

from torch_lab.store.console import Console
from torch_lab.store.console_times import TimedLog, times_of

FORKS = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture
def log(tmp_path):
    return tmp_path / "console.log"


def write(log, text, times=""):
    log.write_text(text)
    times_of(log).write_text(f"# format: 1\n{times}")


def told(lines):
    return [(line.milliseconds, line.text) for line in lines]


def test_lines_have_the_times_at_which_they_were_printed(log, monkeypatch):
    clock, wall = iter([0.0, 0.5, 1.5]), iter([1000.0, 1001.5])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(time, "time", lambda: next(wall))
    with Console(log):
        print("one")
        print("two")
        print("three")
    assert times_of(log).read_text() == "# format: 1\n0 1000.000\n8 1001.500\n"
    lines = told(TimedLog(log, 0.0).poll())
    assert lines == [(1_000_000, "one"), (1_000_001, "two"), (1_001_500, "three")]


def test_a_resumed_run_goes_on_in_the_same_files(log):
    for text in ("one", "two"):
        with Console(log):
            print(text)
    began = time.time() * 1000
    first, second = TimedLog(log, 0.0).poll()
    assert began - 60_000 < first.milliseconds < second.milliseconds < began + 60_000
    assert times_of(log).read_text().count("format") == 1


def test_times_are_written_once_a_second_at_most(log):
    with Console(log):
        for number in range(2000):
            print(number)
    assert len(times_of(log).read_text().splitlines()) < 50
    lines = list(TimedLog(log, 0.0).poll())
    assert [line.text for line in lines] == [str(number) for number in range(2000)]
    assert all(b.milliseconds > a.milliseconds for a, b in itertools.pairwise(lines))


def test_a_line_has_the_same_time_wherever_reading_begins(log):
    write(log, "a\nb\nc\nd\n", "0 10.0\n2 10.0\n4 12.5\n")
    whole = list(TimedLog(log, 0.0).poll())
    assert told(whole) == [(10_000, "a"), (10_001, "b"), (12_500, "c"), (12_501, "d")]
    for line in whole:
        assert list(TimedLog(log, 0.0).poll(line.end)) == whole[whole.index(line) + 1 :]


def test_a_clock_that_was_put_back_changes_no_order(log):
    write(log, "a\nb\n", "0 10.0\n2 5.0\n")
    assert told(TimedLog(log, 0.0).poll()) == [(10_000, "a"), (10_001, "b")]


def test_without_times_lines_begin_with_their_run(log):
    log.write_text("a\nb\n")
    assert told(TimedLog(log, 1000.0).poll()) == [(1_000_000, "a"), (1_000_001, "b")]


def test_what_comes_later_is_read_later(log):
    timed = TimedLog(log, 0.0)
    assert list(timed.poll()) == []
    write(log, "a\nb", "0 10.0\n")
    assert told(timed.poll()) == [(10_000, "a")]
    write(log, "a\nbc\nd\n", "0 10.0\n5 20.0\n")
    assert told(timed.poll()) == [(10_001, "bc"), (20_000, "d")]
    assert list(timed.poll()) == []


def test_lines_that_were_not_taken_come_again(log):
    write(log, "a\nb\n", "0 10.0\n2 20.0\n")
    timed = TimedLog(log, 0.0)
    assert next(timed.poll()).text == "a"
    assert told(timed.poll()) == [(20_000, "b")]


def test_the_torn_line_of_a_process_that_was_killed_counts_when_it_has_ended(log):
    write(log, "a\nb", "0 10.0\n")
    timed = TimedLog(log, 0.0)
    assert told(timed.poll()) == [(10_000, "a")]
    assert told(timed.poll(ended=True)) == [(10_001, "b")]


def test_damaged_times_are_passed_over(log):
    write(log, "a\nb\n", "0 10.0\n\x00\x00\nx y\n2 inf\n2 20")
    assert told(TimedLog(log, 0.0).poll()) == [(10_000, "a"), (10_001, "b")]


def test_bytes_that_are_no_text_are_shown_as_such(log):
    log.write_bytes(b"\xff\n")
    assert told(TimedLog(log, 0.0).poll()) == [(0, "\N{REPLACEMENT CHARACTER}")]


@FORKS
def test_forked_workers_write_lines_and_no_times(log, monkeypatch):
    monkeypatch.setattr(time, "monotonic", iter(float(n) for n in range(0, 99, 2)).__next__)
    with Console(log):
        print("parent")
        pid = os.fork()
        if pid == 0:
            print("child")
            os._exit(0)
        os.waitpid(pid, 0)
    assert log.read_text() == "parent\nchild\n"
    assert len(times_of(log).read_text().splitlines()) == 2


def test_a_run_goes_on_where_times_cannot_be_written(log):
    times_of(log).mkdir()
    with Console(log):
        print("one")
    assert log.read_text() == "one\n"


def test_each_rank_has_times_of_its_own(tmp_path):
    assert times_of(tmp_path / "console.1.log") == tmp_path / "console.1.times"
