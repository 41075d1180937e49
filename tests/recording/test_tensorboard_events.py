from __future__ import annotations

from pathlib import Path

import pytest
import recording_helpers as board
import torch
from recording_helpers import Training

from torch_lab.recording.companion import Teller
from torch_lab.recording.events import markdown
from torch_lab.recording.machine import Sample
from torch_lab.store.segments import Segment, encode


def never() -> bool:
    return False


def record_until(training: Training, last: int) -> None:
    """Steps that go back and forth, as code that counts epochs gives them."""
    for batch in range(training.batch, last + 1):
        training.batch = batch
        training.recorder.scalar("loss", batch)
        training.recorder.scalar("by epoch", batch, step=batch // 4)
        if batch % 2:
            training.recorder.image("x", torch.full((2, 2), batch / 20), step=batch // 4)


def test_what_is_there_then_what_comes(tmp_path: Path) -> None:
    training = Training(tmp_path)
    record_until(training, 3)
    teller = Teller(training.run, 0)
    assert teller.tell(never)
    record_until(training, 5)
    assert teller.tell(never)
    with (training.run.metrics / "0000.jsonl").open("a") as file:
        row = '{"t":1,"batch":6,"step":5,"epoch":0,"values":{"loss":6}}\n'
        file.write(row[:30])
        file.flush()
        teller.tell(never)
        file.write(row[30:])
    teller.finish(never)
    shown = board.scalars(training.run.tensorboard)
    assert [value for _, value in shown["loss"]] == [1, 2, 3, 3, 4, 5, 6]
    assert [step for step, _ in shown["loss"]] == [0, 1, 2, 2, 3, 4, 5]


def test_a_resumed_run_shows_one_curve(tmp_path: Path) -> None:
    killed = Training(tmp_path)
    record_until(killed, 9)
    first = Teller(killed.run, 0)
    first.tell(never)
    resumed = Training(tmp_path, after=4)
    record_until(resumed, 12)
    second = Teller(resumed.run, 1)
    second.finish(never)
    first.finish(never)  # of a training that was killed: it ends late
    (events,) = resumed.run.tensorboard.iterdir()
    assert events.name == "events.out.tfevents.0000000001.torch-lab"
    shown = board.scalars(resumed.run.tensorboard)
    assert shown["loss"] == [(batch - 1, batch) for batch in range(1, 13)]
    assert shown["by epoch"] == [(batch // 4, batch) for batch in range(1, 13)]
    steps = [step for step, _ in board.images(resumed.run.tensorboard, "x")]
    assert steps == [batch // 4 for batch in range(1, 13, 2)]


def test_both_files_read_one_after_the_other_show_one_curve(tmp_path: Path) -> None:
    """A reader may come when the new file is there and the old one still."""
    killed = Training(tmp_path)
    record_until(killed, 9)
    Teller(killed.run, 0).finish(never)
    resumed = Training(tmp_path, after=4)
    record_until(resumed, 6)
    teller = Teller(resumed.run, 1)
    old = (killed.run.tensorboard / "events.out.tfevents.0000000000.torch-lab").read_bytes()
    teller.finish(never)
    (killed.run.tensorboard / "events.out.tfevents.0000000000.torch-lab").write_bytes(old)
    shown = board.scalars(resumed.run.tensorboard)
    assert shown["loss"] == [(batch - 1, batch) for batch in range(1, 7)]


def test_others_event_files_stay(tmp_path: Path) -> None:
    training = Training(tmp_path)
    training.run.tensorboard.mkdir()
    theirs = training.run.tensorboard / "events.out.tfevents.1.host.2.0"
    theirs.touch()
    Teller(training.run, 7).finish(never)
    assert theirs.exists()


def test_giving_up_and_going_on_tells_all_once(tmp_path: Path) -> None:
    training = Training(tmp_path)
    for batch in range(1, 1001):
        training.recorder.journal.append(batch, batch, 0, {"loss": 1.0})
    teller = Teller(training.run, 0)
    attempts = 0
    while not teller.tell(lambda: True):
        attempts += 1
    assert attempts == 5
    teller.finish(never)
    assert len(board.scalars(training.run.tensorboard)["loss"]) == 1000


def test_kinds_of_items(tmp_path: Path) -> None:
    training = Training(tmp_path)
    training.recorder.image("batch", torch.rand(2, 1, 2, 2), caption=["a", "b"])
    training.recorder.text("note", "**hello**")
    training.recorder.table("table", {"a": [1, 2], "b": ["x|y", "z"]})
    training.recorder.artifact(__file__)
    gone = training.items()[0]
    training.recorder.text("gone", "x")
    training.file(training.items()[-1]).unlink()
    Teller(training.run, 0).finish(never)
    folder = training.run.tensorboard
    assert board.tags(folder, "images") == ["batch/0", "batch/1"]
    assert board.images(folder, "batch/0") == [(0, training.file(gone).read_bytes())]
    assert board.texts(folder, "batch/1/caption") == [(0, "b")]
    assert board.texts(folder, "note") == [(0, "**hello**")]
    assert board.texts(folder, "table")[0][1].splitlines() == [
        "| a | b |", "| --- | --- |", "| 1 | x\\|y |", "| 2 | z |",
    ]  # fmt: skip


def test_machine_use_of_earlier_starts_is_told_again(tmp_path: Path) -> None:
    training = Training(tmp_path)
    use = Segment(training.run.machine, None, "the machine's use in")
    for t in (100.0, 110.0):
        use.write(encode({"t": t, "values": {"cpu_percent": t}}))
    teller = Teller(training.run, 1)
    teller.tell(never)
    teller.events.sample(Sample(200.0, {"cpu_percent": 5.0}))
    teller.finish(never)
    shown = board.scalars(training.run.tensorboard)
    assert shown == {"machine/cpu_percent": [(0, 100.0), (10, 110.0), (100, 5.0)]}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("a\n", "| a |\n| --- |"),
        ("a\n" + "1\n" * 60, "| a |\n| --- |\n" + "| 1 |\n" * 50 + "\n10 more rows"),
    ],
    ids=["empty", "header", "long"],
)
def test_tables_in_markdown(text: str, shown: str) -> None:
    assert markdown(text) == shown
