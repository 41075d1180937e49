"""What is read of a run's files to be sent: in batches, from any position, never too far."""

from __future__ import annotations

from pathlib import Path

from mirror.made_runs import BEGAN, MadeRun
from torch_lab.mirror.sending.lines import Batch, Event, Journal, Printed
from torch_lab.store import journal
from torch_lab.store.console_times import Line


def rows_of(made: MadeRun) -> Journal[journal.Row]:
    return Journal(made.run.metrics, journal.parse, lambda row: [{"row": row.batch}])


def read_all(stream: Journal[journal.Row], positions: dict[str, int]) -> list[int]:
    """The rows from there on; positions are moved as a server's acknowledgment moves them."""
    found: list[int] = []
    while (batch := stream.read(positions, ended=True)).positions:
        found += [event["row"] for event in batch.events]
        positions.update(batch.positions)
    return found


def test_batches_are_of_a_size_that_a_request_may_have(tmp_path: Path) -> None:
    made = MadeRun.begun(tmp_path).batches(2500)
    stream, positions = rows_of(made), dict[str, int]()
    sizes = []
    while (batch := stream.read(positions, ended=False)).positions:
        sizes.append(len(batch.events))
        positions.update(batch.positions)
    assert sizes == [1000, 1000, 500]
    assert stream.left(positions) == 0
    batch = Batch()
    batch.add({"type": "log", "msg": "x" * 1_000_000} for _ in range(4))
    assert not batch.full
    batch.add([{"type": "plot", "plot_str": "x" * 300_000}])
    assert batch.full


def test_what_is_not_acknowledged_is_read_again(tmp_path: Path) -> None:
    stream = rows_of(MadeRun.begun(tmp_path).batches(3))
    first = stream.read({}, ended=False)
    assert stream.read({}, ended=False) == first
    assert not stream.read(first.positions, ended=False).positions


def test_superseded_rows_are_not_read(tmp_path: Path) -> None:
    made = MadeRun.begun(tmp_path).batches(10).end()
    made.resume(6).batches(2).end().resume(4).batches(3)
    positions: dict[str, int] = {}
    stream = rows_of(made)
    assert read_all(stream, positions) == [1, 2, 3, 4, 5, 6, 7]
    assert stream.left(positions) == 0
    assert not stream.superseded(positions)


def test_rows_that_were_read_before_they_were_superseded_are_told_of(tmp_path: Path) -> None:
    made = MadeRun.begun(tmp_path).batches(10).end()
    stream, positions = rows_of(made), dict[str, int]()
    read_all(stream, positions)
    made.resume(10)
    assert not stream.superseded(positions)
    made.end().resume(9)
    assert stream.superseded(positions)
    assert not stream.superseded({"metrics/0000.jsonl": 200})


def test_the_last_row_is_found_behind_torn_and_long_lines(tmp_path: Path) -> None:
    made = MadeRun.begun(tmp_path).batches(5)
    file = made.run.metrics / "0000.jsonl"
    with file.open("a") as segment:
        segment.write('{"no": "row"}\n' + "x" * 200_000 + "\n")
    made.end().resume(3)
    assert rows_of(made).superseded({"metrics/0000.jsonl": file.stat().st_size})


def test_a_line_that_is_still_being_written_waits(tmp_path: Path) -> None:
    made = MadeRun.begun(tmp_path).batches(1)
    file = made.run.metrics / "0000.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    stream, positions = rows_of(made), dict[str, int]()
    assert read_all(stream, positions) == []
    file.write_bytes(whole)
    assert read_all(stream, positions) == [1]


def printed(log: Path) -> Printed:
    return Printed(log, BEGAN, _event)


def _event(line: Line) -> Event:
    return {"type": "log", "msg": line.text, "timestamp": line.milliseconds}


def messages(batch: Batch) -> list[str]:
    return [event["msg"] for event in batch.events]


def test_lines_of_a_log_come_again_until_they_are_acknowledged(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    log.write_text("a\nb\n")
    stream = printed(log)
    first = stream.read({}, ended=False)
    assert messages(first) == ["a", "b"]
    log.write_text("a\nb\nc\n")
    assert stream.read({}, ended=False) is first
    assert messages(stream.read(first.positions, ended=False)) == ["c"]
    assert messages(stream.read({}, ended=False)) == ["a", "b", "c"]  # all is sent anew
    assert not stream.read({"console.log": 6}, ended=False).positions


def test_a_line_has_the_same_time_whoever_reads_it_from_where(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    log.write_text("".join(f"{i}\n" for i in range(2500)))
    whole = []
    stream, positions = printed(log), dict[str, int]()
    while (batch := stream.read(positions, ended=True)).positions:
        whole += batch.events
        positions.update(batch.positions)
    assert [event["msg"] for event in whole] == [str(i) for i in range(2500)]
    assert len({event["timestamp"] for event in whole}) == 2500
    middle = printed(log).read({"console.log": log.read_text().index("1500\n")}, ended=True)
    assert middle.events == whole[1500:]


def test_the_torn_last_line_of_a_dead_run_is_read(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    log.write_text("a\nto")
    assert messages(printed(log).read({}, ended=False)) == ["a"]
    assert messages(printed(log).read({}, ended=True)) == ["a", "to"]
    assert not printed(tmp_path / "console.1.log").read({}, ended=True).positions
