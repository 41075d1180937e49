from __future__ import annotations

import math
import os
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from recording_helpers import Training

from store.store_helpers import files_no_larger_than
from torch_lab import record
from torch_lab.errors import ConfigurationError, StoreError
from torch_lab.recording import NullRecorder
from torch_lab.recording.live import Position
from torch_lab.recording.recorder import set_current
from torch_lab.store.journal import rows


@pytest.fixture
def training(tmp_path: Path) -> Training:
    return Training(tmp_path)


def logged(training: Training, name: str) -> list[int]:
    return [row.batch for row in rows(training.run) if name in row.values]


# -- which record ----------------------------------------------------------------------------


def test_outside_of_a_run_nothing_is_recorded(tmp_path: Path) -> None:
    nothing = record()
    assert isinstance(nothing, NullRecorder)
    nothing.scalar("a", 1)
    nothing.image("a", "nowhere", caption="b", every=1)
    nothing.figure("a", None)
    nothing.table("a", [], columns=["b"])
    nothing.text("a", "b")
    nothing.artifact("nowhere", name="c")


def test_a_forked_worker_records_nothing(training: Training) -> None:
    set_current(training.recorder)
    try:
        held = record()
        assert held is training.recorder
        child = os.fork()
        if child == 0:
            held.text("from", "a worker that kept it")
            held.scalar("from", 1)
            os._exit(0 if isinstance(record(), NullRecorder) else 1)
        assert os.waitpid(child, 0)[1] == 0
    finally:
        set_current(None)
    assert training.items() == []
    assert logged(training, "from") == []
    assert isinstance(record(), NullRecorder)


def test_threads_may_record(training: Training) -> None:
    def work(number: int) -> None:
        for _ in range(20):
            training.recorder.text("shared", str(number))
            training.recorder.scalar("count", number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(training.items()) == len(training.files()) == 80
    assert len(logged(training, "count")) == 80


# -- scalars, texts, artifacts ---------------------------------------------------------------


def test_scalars_are_rows_of_the_journal(training: Training) -> None:
    training.batch = 5
    training.recorder.scalar("a", torch.tensor(0.5, requires_grad=True))
    training.recorder.scalar("b", math.nan, step=77)
    first, second = rows(training.run)
    assert (first.batch, first.step, first.values) == (5, 4, {"a": 0.5})
    assert (second.batch, second.step) == (5, 77)
    assert training.recorder.summary["a"].last == 0.5


@pytest.mark.parametrize(
    ("value", "got"),
    [(torch.zeros(3), r"a Tensor of shape \(3,\)"), ("much", "'much'"), (None, "None")],
    ids=["tensor", "text", "none"],
)
def test_what_is_no_number_is_said(training: Training, value: object, got: str) -> None:
    with pytest.raises(ConfigurationError, match=f"loss: expected one number, got {got}"):
        training.recorder.scalar("loss", value)


def test_texts_are_masked(training: Training) -> None:
    training.recorder.text("log", "ok, password=hunter2hunter2, größe")
    (item,) = training.items()
    assert training.file(item).read_text() == "ok, password=***, größe"


def test_artifacts_are_copies(training: Training, tmp_path: Path) -> None:
    folder = tmp_path / "model.d"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "weights").write_text("1")
    training.recorder.artifact(folder)
    training.recorder.artifact(folder / "deep" / "weights", name="w/best")
    (folder / "deep" / "weights").write_text("2")
    copied, single = training.items()
    assert copied.file == "media/model.d/000001.d"
    assert (training.file(copied) / "deep" / "weights").read_text() == "1"
    assert single.file == "media/w/best/000001"
    assert training.file(single).read_text() == "1"


def test_an_artifact_that_is_not_there_is_said(training: Training, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no file or folder nowhere to keep"):
        training.recorder.artifact("nowhere")
    with pytest.raises(ConfigurationError, match="holds this run itself"):
        training.recorder.artifact(tmp_path)


@pytest.mark.parametrize("name", ["", " ", None, 3])
def test_a_name_is_needed(training: Training, name: object) -> None:
    with pytest.raises(ConfigurationError, match="expected a name, got"):
        training.recorder.text(name, "x")  # type: ignore[arg-type]


# -- every -----------------------------------------------------------------------------------


def test_an_int_counts_batches_for_each_kind_and_name(training: Training) -> None:
    for batch in range(1, 12):
        training.batch = batch
        for _ in range(2):
            training.recorder.scalar("a", 1, every=4)
            training.recorder.text("a", "x", every=3)
            training.recorder.text("b", "x", every=5)
    assert logged(training, "a") == [1, 5, 9]
    assert [item.batch for item in training.items() if item.name == "a"] == [1, 4, 7, 10]
    assert [item.batch for item in training.items() if item.name == "b"] == [1, 6, 11]


@pytest.mark.parametrize("every", [0.2, timedelta(milliseconds=200)])
def test_a_float_counts_seconds(training: Training, every: float | timedelta) -> None:
    begin = time.monotonic()
    while len(training.items()) < 3:
        training.recorder.text("a", "x", every=every)
    assert time.monotonic() - begin >= 0.398  # the record's clock counts milliseconds


@pytest.mark.parametrize("every", [0, -1, 0.0, True, "5", math.nan])
def test_what_is_no_interval_is_said(training: Training, every: object) -> None:
    with pytest.raises(ConfigurationError, match="every: expected a positive number, got"):
        training.recorder.text("a", "x", every=every)  # type: ignore[arg-type]


# -- going on --------------------------------------------------------------------------------


def record_until(training: Training, last: int) -> None:
    for batch in range(training.batch, last + 1):
        training.batch = batch
        training.recorder.text("each", str(batch))
        training.recorder.text("third", str(batch), every=3)
        training.recorder.scalar("third", batch, every=3)


def test_a_resumed_run_supersedes_what_came_after_its_checkpoint(tmp_path: Path) -> None:
    killed = Training(tmp_path)
    killed.recorder.artifact(__file__, name="code")
    record_until(killed, 11)
    killed.recorder.artifact(Path(__file__).parent, name="late")
    (tmp_path / "media" / "each" / ".000012.txt.0.tmp").touch()
    resumed = Training(tmp_path, after=6)
    assert [item.batch for item in resumed.items() if item.name == "each"] == [1, 2, 3, 4, 5, 6]
    assert not (tmp_path / "media" / "late").exists()
    left = {item.file.removeprefix("media/") for item in resumed.items()}
    assert set(resumed.files()) == left
    record_until(resumed, 12)
    (tmp_path / "whole").mkdir()
    whole = Training(tmp_path / "whole")
    whole.recorder.artifact(__file__, name="code")
    record_until(whole, 12)
    facts = [
        [(item.batch, item.kind, item.name, item.file) for item in each.items()]
        for each in (resumed, whole)
    ]
    assert facts[0] == facts[1]
    assert resumed.files() == whole.files()
    assert logged(resumed, "third") == logged(whole, "third") == [1, 4, 7, 10]


def test_a_start_that_records_nothing_supersedes_all_the_same(tmp_path: Path) -> None:
    record_until(Training(tmp_path), 9)
    Training(tmp_path, after=4)
    last = Training(tmp_path, after=6)
    assert [item.batch for item in last.items() if item.name == "each"] == [1, 2, 3, 4]


def test_what_a_resumed_run_repeats_before_it_goes_on_is_passed_over(tmp_path: Path) -> None:
    for after in (0, 5, -1):
        training = Training(tmp_path, after)
        training.batch = 0
        training.recorder.text("building", str(after))
        training.recorder.scalars({"building": after})
        training.recorder.event(b"x")
    # From the checkpoint the first counts; from nothing, all begins anew.
    assert [training.file(item).read_text() for item in training.items()] == ["-1"]
    assert [row.values["building"] for row in rows(training.run)] == [-1]
    assert len((training.run.summaries / "0001.jsonl").read_text().splitlines()) == 1


def test_a_file_that_somebody_took_away_is_no_reason_to_stop(training: Training) -> None:
    record_until(training, 3)
    for item in training.items():
        training.file(item).unlink()
    training.recorder.sync()
    training.recorder.close()
    training.recorder.close()


# -- a full disk -----------------------------------------------------------------------------


def test_a_full_disk_is_said_and_leaves_nothing_half(training: Training) -> None:
    training.recorder.text("a", "x")
    with files_no_larger_than(2000), pytest.raises(StoreError, match=r"can't write .*/media/big"):
        training.recorder.text("big", "x" * 5000)
    index = training.run.media / "0000.jsonl"
    with (
        files_no_larger_than(index.stat().st_size + 10),
        pytest.raises(StoreError, match=r"can't write to .*/media/0000\.jsonl"),
    ):
        training.recorder.text("b", "x")
    assert [item.name for item in training.items()] == ["a"]
    assert training.files() == ["a/000001.txt"]
    training.recorder.text("c", "x")
    assert [item.name for item in training.items()] == ["a", "c"]


def test_what_a_finder_tries_out_is_not_recorded(training: Training) -> None:
    training.recorder.position = lambda: Position(3, 2, 0, counts=False)
    training.recorder.text("a", "x")
    training.recorder.scalar("a", 1, every=2)
    training.recorder.position = lambda: Position(4, 3, 0)
    training.recorder.scalar("a", 1, every=2)
    assert training.items() == []
    assert logged(training, "a") == [4]
