from __future__ import annotations

import json
import math
import threading
from pathlib import Path
from typing import Any

import pytest
from store_helpers import everything_in, files_no_larger_than, new_run, write_holder

from torch_lab.errors import LockLost, StoreError
from torch_lab.store import record
from torch_lab.store.lock import Lock
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import (
    Best,
    CheckpointEntry,
    MetricSummary,
    Parent,
    Progress,
    Record,
    RecordWriter,
    Resume,
    read,
)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return new_run(tmp_path)


@pytest.fixture
def writer(run: RunDirectory) -> RecordWriter:
    return RecordWriter(run, Lock.acquire(run, lost_after=60), full_record(run.name))


def full_record(name: str) -> Record:
    return Record(
        name=name,
        id="0123456789abcdef" * 2,
        status="running",
        experiment="00_digits",
        script="project/experiments/00_digits/hparams.py",
        reason=None,
        created=1.5,
        started=2.5,
        command=("train", "hparams.py", "-s", "lr=0.1"),
        hparams={"task": {}, "config": {"betas": (0.9, 0.999), "sizes": {1: 2}, "top": math.inf}},
        overrides=("config.lr=0.1",),
        dev_run=0.5,
        seed=3,
        parent=Parent("ab" * 16, "00_digits-hparams_v0", "best"),
        host="box",
        best=Best("accuracy/validate", "max"),
        metrics={"loss/train": MetricSummary(0.1, -math.inf, 2.0)},
        checkpoints=(
            CheckpointEntry(
                "last", "checkpoints/step-4.ckpt", "step", 4, 4, 1, {"a": 0.5}, "0" * 64, 10, 3.0
            ),
        ),
        scripts={"hparams.py": "0" * 64},
        resumes=(Resume(4.0, 2, ("train", "--resume", name), "box"),),
        progress=Progress(4, 4, 1),
    )


def test_record_survives_a_round_trip(run: RunDirectory, writer: RecordWriter) -> None:
    written = writer.update()
    assert read(run) == written == full_record(run.name)


def test_file_is_strict_json_with_the_agreed_keys(run: RunDirectory, writer: RecordWriter) -> None:
    writer.update(metrics={"loss/train": MetricSummary(math.nan, math.nan, math.nan)})
    content = json.loads(run.record_file.read_text(), parse_constant=lambda name: pytest.fail(name))
    assert content["format"] == 1
    assert content["name"] == run.name
    assert content["status"] == "running"
    assert content["parent"] == {
        "id": "ab" * 16,
        "name": "00_digits-hparams_v0",
        "checkpoint": "best",
    }
    assert content["checkpoints"][0]["file"] == "checkpoints/step-4.ckpt"
    assert math.isnan(read(run).metrics["loss/train"].last)


def test_update_changes_and_returns_the_record(run: RunDirectory, writer: RecordWriter) -> None:
    assert writer.update(status="failed", reason="out of memory").status == "failed"
    assert writer.record.reason == read(run).reason == "out of memory"
    with pytest.raises(TypeError):
        writer.update(stauts="failed")
    assert writer.record.status == "failed"


def test_secrets_are_masked_wherever_the_user_wrote_them(
    run: RunDirectory, writer: RecordWriter
) -> None:
    writer.update(
        hparams={"task": {"output_uri": "s3://me:hunter2@box/x"}, "config": {"api_key": "hunter2"}},
        command=("train", "x.py", "-s", "config.password=hunter2", "--token", "hunter2"),
        overrides=("config.password=hunter2",),
        reason="ConnectionError: https://me:hunter2@box/ refused",
        resumes=(Resume(1.0, 2, ("train", "-s", "api_key=hunter2")),),
    )
    text = run.record_file.read_text()
    assert "hunter2" not in text
    assert text.count("***") == 7


def test_keys_of_a_newer_minor_version_survive(run: RunDirectory, writer: RecordWriter) -> None:
    writer.update()
    content = json.loads(run.record_file.read_text())
    content["color"] = {"$type": "tuple", "value": ["blue", {"$type": "rgb", "value": 1}]}
    content["checkpoints"][0]["shape"] = "round"
    content["progress"]["tokens"] = 7
    run.record_file.write_text(json.dumps(content))
    known = read(run)
    assert known.checkpoints == full_record(run.name).checkpoints
    RecordWriter(run, writer._lock, known).update(status="completed")
    again = json.loads(run.record_file.read_text())
    assert again["color"] == content["color"]
    assert again["status"] == "completed"


def test_keys_that_an_older_version_did_not_write(run: RunDirectory) -> None:
    run.record_file.write_text('{"format": 1, "name": "a", "id": "b", "status": "completed"}')
    assert read(run) == Record("a", "b", "completed")


def test_newer_format_is_refused(run: RunDirectory, writer: RecordWriter) -> None:
    content = writer.update().as_json() | {"format": 2}
    run.record_file.write_text(json.dumps(content))
    with pytest.raises(StoreError, match=r"newer torch-lab \(format 2\)") as error:
        read(run)
    assert error.value.hint == "Update torch-lab to read it."


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\0" * 100,
        b'{"format": "1"}',
        b'{"format": 1, "id": "b", "status": "completed"}',
        b'{"format": 1, "name": 3, "id": "b", "status": "completed"}',
        b'{"format": 1, "name": "a", "id": "b", "status": "x", "checkpoints": 3}',
        b'{"format": 1, "name": "a", "id": "b", "status": "x", "checkpoints": [{"name": "c"}]}',
        b'{"format": 1, "name": "a", "id": "b", "status": "x", "hparams": [1]}',
        b'{"format": 1, "name": "a", "id": "b", "status": "x", "parent": "y"}',
    ],
)
def test_damaged_record_is_named(run: RunDirectory, content: bytes) -> None:
    run.record_file.write_bytes(content)
    with pytest.raises(StoreError, match=r"run\.json is damaged: ."):
        read(run)


def test_missing_record_is_named(run: RunDirectory) -> None:
    with pytest.raises(StoreError, match=r"can't read .*run\.json: No such file"):
        read(run)


def test_full_disk_keeps_the_record_that_was_there(run: RunDirectory, writer: RecordWriter) -> None:
    before = writer.update()
    files = everything_in(run.path)
    with files_no_larger_than(100), pytest.raises(StoreError, match=r"can't write .*run\.json"):
        writer.update(status="completed")
    assert everything_in(run.path) == files
    assert read(run) == writer.record == before
    assert writer.update(status="completed") == read(run)


def test_lost_lock_stops_the_writer(run: RunDirectory, writer: RecordWriter) -> None:
    before = writer.update()
    write_holder(run, 2)
    with pytest.raises(LockLost):
        writer.update(status="completed")
    assert read(run) == before


def test_lock_lost_while_writing(
    run: RunDirectory, writer: RecordWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = writer.update()
    real = record.dumps

    def overtaken(value: Any) -> bytes:
        write_holder(run, 2)
        return real(value)

    monkeypatch.setattr(record, "dumps", overtaken)
    with pytest.raises(LockLost):
        writer.update(status="completed")
    assert read(run) == before
    assert everything_in(run.path) == ["heartbeat", "lock", "run.json"]


def test_updates_from_several_threads_are_all_kept(run: RunDirectory, writer: RecordWriter) -> None:
    fields: list[dict[str, Any]] = [{"reason": "x"}, {"seed": 1}, {"ended": 9.0}, {"host": "y"}]
    threads = [
        threading.Thread(target=lambda field=field: [writer.update(**field) for _ in range(10)])
        for field in fields
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if run.record_file.exists():
            read(run)  # always whole
    for thread in threads:
        thread.join()
    final = read(run)
    assert (final.reason, final.seed, final.ended, final.host) == ("x", 1, 9.0, "y")
