"""The index of runs that have ended: fast where it helps, and never believed too much."""

from __future__ import annotations

import math
import os
import shutil
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import torch_lab
from torch_lab.store import find, index
from torch_lab.store import record as records
from torch_lab.store.find import DAMAGED, StoredRun
from torch_lab.store.flat import Facts
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import CheckpointEntry, MetricSummary, Parent, Record
from torch_lab.store.values import dumps

MANY = 30  # so many that an index is made


def write(artifacts: Path, number: int, **fields: Any) -> Path:
    """A run's record, as its writer would replace it."""
    name = f"00_digits-hparams_v{number}"
    known: dict[str, Any] = {
        "name": name,
        "id": f"{number:032x}",
        "status": "completed",
        "experiment": "00_digits",
        "script": "project/experiments/00_digits/hparams.py",
        "created": 1000.0 + number,
        "hparams": {"config": {"lr": number / 1000}},
        "metrics": {"loss/validate": MetricSummary(float(number), float(number), 90.0)},
    }
    folder = artifacts / name
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / ".draft"
    draft.write_bytes(dumps(Record(**(known | fields)).as_json()))
    return draft.replace(folder / "run.json")


@pytest.fixture
def artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Thirty runs that ended a while ago, and a cache folder without anything."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(index, "_TICK", -3600.0)  # as if an hour had gone by
    folder = tmp_path / "data" / "artifacts"
    for number in range(MANY):
        write(folder, number)
    return folder


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the runs whose records are read."""
    names: list[str] = []
    parse = records.parse

    def counted(run: RunDirectory, content: bytes) -> Record:
        names.append(run.name)
        return parse(run, content)

    monkeypatch.setattr(records, "parse", counted)
    return names


def file_of(artifacts: Path) -> Path:
    found = index.file_of(os.path.realpath(artifacts))
    assert found is not None
    return found


def rates(runs: list[StoredRun]) -> list[float]:
    return [run.facts.exactly("hparams.config.lr") for run in runs]


def test_what_has_ended_is_read_once(artifacts: Path, parsed: list[str]) -> None:
    first = find.runs(artifacts)
    assert len(parsed) == MANY
    assert file_of(artifacts).is_file()
    parsed.clear()
    again = find.runs(artifacts)
    assert again == first
    assert [run.brief.name for run in again] == [
        f"00_digits-hparams_v{n}" for n in range(29, -1, -1)
    ]
    assert rates(again) == [n / 1000 for n in range(29, -1, -1)]
    assert parsed == []
    assert again[3].record == records.read(again[3].directory)


def test_a_few_runs_need_no_index(artifacts: Path) -> None:
    for folder in sorted(artifacts.iterdir())[5:]:
        shutil.rmtree(folder)
    assert len(find.runs(artifacts)) == 5
    assert not file_of(artifacts).exists()


def test_it_is_left_alone_until_it_pays(artifacts: Path, parsed: list[str]) -> None:
    find.runs(artifacts)
    before = file_of(artifacts).stat()
    write(artifacts, 30)
    shutil.rmtree(artifacts / "00_digits-hparams_v3")
    parsed.clear()
    for _ in range(2):
        assert len(find.runs(artifacts)) == MANY
    assert parsed == ["00_digits-hparams_v30"] * 2
    assert file_of(artifacts).stat() == before
    for number in range(31, 60):
        write(artifacts, number)
    assert len(find.runs(artifacts)) == 59
    parsed.clear()
    assert len(find.runs(artifacts)) == 59
    assert parsed == []


def resumed(path: Path) -> None:
    """Replaced by another file: the same size, the same time."""
    before = path.stat()
    write(path.parents[1], 7, hparams={"config": {"lr": 0.009}})
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def edited(path: Path) -> None:
    """Written to in place, and its time set back."""
    before = path.stat()
    content = path.read_bytes()
    assert content.count(b"0.007") == 1
    path.write_bytes(content.replace(b"0.007", b"0.009"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", [resumed, edited])
def test_a_record_that_changed_is_read_anew(
    artifacts: Path, change: Callable[[Path], None]
) -> None:
    find.runs(artifacts)
    change(artifacts / "00_digits-hparams_v7" / "run.json")
    assert sorted(rates(find.runs(artifacts)))[7:10] == [0.008, 0.009, 0.009]


def test_a_file_is_not_trusted_at_once(
    artifacts: Path, parsed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a tick of the clock it may be replaced once more and look just the same."""
    monkeypatch.setattr(index, "_TICK", 3600.0)
    for _ in range(2):
        assert len(find.runs(artifacts)) == MANY
    assert len(parsed) == 2 * MANY
    assert not file_of(artifacts).exists()


def test_a_time_in_the_future_is_not_trusted(
    artifacts: Path, parsed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "_TICK", -1.0)
    ahead = artifacts / "00_digits-hparams_v9" / "run.json"
    os.utime(ahead, (2e9 + 1e9, 2e9 + 1e9))
    find.runs(artifacts)
    parsed.clear()
    find.runs(artifacts)
    assert parsed == ["00_digits-hparams_v9"]


def test_runs_under_way_are_always_read(artifacts: Path, parsed: list[str]) -> None:
    write(artifacts, 4, status="running")
    find.runs(artifacts)
    parsed.clear()
    found = {run.folder: run.status for run in find.runs(artifacts)}
    assert found["00_digits-hparams_v4"] == "lost"
    assert set(parsed) == {"00_digits-hparams_v4"}
    write(artifacts, 4, status="aborted", reason="SIGTERM")
    found = {run.folder: run.status for run in find.runs(artifacts)}
    assert found["00_digits-hparams_v4"] == "aborted"


def test_runs_that_are_damaged_are_always_read(artifacts: Path) -> None:
    find.runs(artifacts)
    damaged = artifacts / "00_digits-hparams_v4" / "run.json"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:100])
    for _ in range(2):
        assert [r.folder for r in find.runs(artifacts) if r.status == DAMAGED] == [
            damaged.parent.name
        ]
    damaged.write_bytes(whole)
    assert not [run for run in find.runs(artifacts) if run.status == DAMAGED]


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-9])


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def of_garbage(file: Path) -> None:
    file.write_bytes(os.urandom(5000))


def flipped(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


def of_a_newer_format(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"index 1", b"index 2", 1))


def of_another_user(file: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can give files away")
    os.chown(file, 12345, -1)


def gone(file: Path) -> None:
    shutil.rmtree(file.parent)


@pytest.mark.parametrize(
    "damage", [cut, emptied, of_garbage, flipped, of_a_newer_format, of_another_user, gone]
)
def test_it_heals(artifacts: Path, parsed: list[str], damage: Callable[[Path], None]) -> None:
    first = find.runs(artifacts)
    damage(file_of(artifacts))
    parsed.clear()
    assert find.runs(artifacts) == first
    assert len(parsed) == MANY
    parsed.clear()
    assert find.runs(artifacts) == first
    assert parsed == []


def test_any_flipped_bit_is_noticed(artifacts: Path) -> None:
    first = find.runs(artifacts)
    file = file_of(artifacts)
    whole = file.read_bytes()
    for place in range(0, len(whole), len(whole) // 50):
        flipped_once = bytearray(whole)
        flipped_once[place] ^= 1
        file.write_bytes(flipped_once)
        assert find.runs(artifacts) == first


def test_a_folder_that_was_renamed_or_copied(artifacts: Path, parsed: list[str]) -> None:
    find.runs(artifacts)
    copied = artifacts.with_name("copied")
    shutil.copytree(artifacts, copied)
    write(copied, 3, hparams={"config": {"lr": 7}})
    assert rates(find.runs(copied)).count(7) == 1
    assert rates(find.runs(artifacts)).count(7) == 0
    artifacts.rename(artifacts.with_name("old"))
    copied.rename(artifacts)
    parsed.clear()
    found = find.runs(artifacts)
    assert rates(found).count(7) == 1
    assert len(parsed) == MANY  # other files, though names, sizes and times are the same
    assert {run.directory.path.parent for run in found} == {artifacts}


def test_the_index_of_another_folder_is_none(artifacts: Path, parsed: list[str]) -> None:
    find.runs(artifacts)
    other = artifacts.with_name("other")
    artifacts.rename(other)
    shutil.copy(file_of(artifacts), file_of(other))
    parsed.clear()
    find.runs(other)
    assert len(parsed) == MANY


@pytest.mark.parametrize("place", ["file", "/proc/no-such-place", "relative", ""])
def test_without_a_cache_folder_all_works(
    artifacts: Path, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / place) if place == "file" else place)
    monkeypatch.setenv("HOME", "nowhere")
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert len(find.runs(artifacts)) == MANY
    assert {path.name for path in tmp_path.iterdir()} == {"data", "file"}


def test_a_link_to_the_folder_has_the_same_index(artifacts: Path, parsed: list[str]) -> None:
    find.runs(artifacts)
    link = artifacts.with_name("link")
    link.symlink_to(artifacts)
    parsed.clear()
    found = find.runs(link)
    assert len(found) == MANY
    assert found[0].directory.path.parent == link
    assert parsed == []


def test_indexes_of_folders_that_are_gone_are_taken_away(artifacts: Path) -> None:
    find.runs(artifacts)
    cache = file_of(artifacts).parent
    artifacts.rename(artifacts.with_name("renamed"))
    young = cache / "young.index"
    shutil.copy(file_of(artifacts), young)
    for name in (".x.index.123.tmp", "torn.index", "notes.txt", "other.tmp"):
        (cache / name).write_text("torch")
    for path in cache.iterdir():
        if path != young:
            os.utime(path, (1, 1))
    find.runs(artifacts.with_name("renamed"))
    left = {file_of(artifacts.with_name("renamed")).name, "young.index", "notes.txt", "other.tmp"}
    assert {path.name for path in cache.iterdir()} == left


def test_all_kinds_of_values_come_back(artifacts: Path) -> None:
    config = {
        "nan": math.nan,
        "none": None,
        "yes": True,
        "large": 2**80,
        "pair": (1, [2.5, "x"]),
        "path": Path("a/b"),
        "bytes": b"\0\xff",
        "time": timedelta(hours=1),
        "numbers": {1: "a", None: {"deep": -1}},
        "empty": {},
        "type": {"$type": "mine"},
        "text": "ä\n\udc80",
        "function": print,
    }
    entry = CheckpointEntry("best", "a.ckpt", "training", 9, 8, 7, {"f1": 0.5}, "00" * 32, 10, 1.0)
    write(
        artifacts,
        5,
        hparams={"config": config, "task": {"tags": ["a", "b"]}},
        checkpoints=(entry, CheckpointEntry("step-9", "a.ckpt", "training", 9, 8, 7)),
        parent=Parent("ff" * 16, "other_v0", "last"),
        ledger={"ended": "max_epochs=5", "epochs": [{}], "faults": []},
        extra={"newer": {"key": [1]}},
        dev_run=0.5,
        fetched={"server": "http://server", "task_id": "5b" * 16},
    )
    (fresh,) = (run for run in find.runs(artifacts) if run.folder.endswith("v5"))
    (known,) = (run for run in find.runs(artifacts) if run.folder.endswith("v5"))
    assert repr(known.facts) == repr(fresh.facts) == repr(Facts.of(known.record))
    assert (known.brief, known.status) == (fresh.brief, fresh.status)
    assert (known.brief.task, known.brief.parent, known.brief.dev_run) == (
        "5b" * 16,
        "ff" * 16,
        0.5,
    )
    facts = known.facts
    assert facts.of_key("pair") == ((1, [2.5, "x"]),)
    assert facts.of_key("path") == (Path("a/b"),)
    assert facts.of_key("time") == (timedelta(hours=1),)
    assert facts.of_key("numbers.1") == ("a",)
    assert facts.of_key("deep") == (-1,)
    assert facts.of_key("none") == (None,)
    assert facts.of_key("nothing") == ()
    assert facts.of_key("text") == ("ä\n\udc80",)
    assert facts.of_key("best.f1") == (0.5,)
    assert facts.of_key("checkpoints.best.epoch") == (7,)
    assert facts.of_key("ledger.ended") == ("max_epochs=5",)
    assert facts.of_key("newer.key") == ([1],)
    assert facts.of_key("tags") == (["a", "b"],)
    assert facts.of_key("step-9.epoch") == ()


def test_a_run_that_vanishes_meanwhile(artifacts: Path) -> None:
    find.runs(artifacts)
    run = find.runs(artifacts)[0]
    shutil.rmtree(run.directory.path)
    assert run.brief.name == "00_digits-hparams_v29"
    assert run.facts.metric("loss/validate") == 29
    assert run.record.status == DAMAGED
    assert "can't read" in (run.record.reason or "")


def test_a_changed_copy(artifacts: Path) -> None:
    find.runs(artifacts)
    run = find.runs(artifacts)[0]
    other = run.changed(status="failed", where="both", project="p")
    assert (other.status, other.where, other.project) == ("failed", "both", "p")
    assert (other.brief, other.facts, run.status) == (run.brief, run.facts, "completed")
    record = Record("a", "b", "running")
    assert run.changed(record=record).brief.name == "a"
    assert run.changed(record=record).facts == Facts.of(record)
    assert other != run
    assert find.runs(artifacts)[0] == run


def test_python_reads_no_record_that_it_needs_not(artifacts: Path, parsed: list[str]) -> None:
    find.runs(artifacts)
    parsed.clear()
    runs = torch_lab.runs(artifacts)
    assert len(runs) == MANY
    assert [run.name for run in runs[:2]] == ["00_digits-hparams_v29", "00_digits-hparams_v28"]
    few = runs.where("lr<0.005", status="completed")
    assert len(few) == 5
    best = few.best("loss/validate")
    assert best.name == "00_digits-hparams_v0"
    assert "00_digits-hparams_v4" in repr(few)
    assert parsed == []
    assert best.hparams["config"] == {"lr": 0.0}
    assert parsed == ["00_digits-hparams_v0"]


def test_a_far_file_server_is_asked_for_several_files_at_once(
    artifacts: Path, parsed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    near = find.runs(artifacts)
    shutil.rmtree(file_of(artifacts).parent)
    (artifacts / "notes.txt").touch()
    (artifacts / "no run").mkdir()
    monkeypatch.setattr(find, "_MANY", 1)
    monkeypatch.setattr(find, "_FAR", 0.0)
    assert find.runs(artifacts) == near
    parsed.clear()
    assert find.runs(artifacts) == near
    assert parsed == []


def test_strange_names_of_folders(artifacts: Path, parsed: list[str], tmp_path: Path) -> None:
    place = artifacts.rename(tmp_path / "new\nline 'and' \udcff")
    for number, strange in enumerate(("a\nb_v0", "\udcfe_v1", 'quote"_v2')):
        (place / f"00_digits-hparams_v{number}").rename(place / strange)
    first = find.runs(place)
    assert len(first) == MANY
    parsed.clear()
    assert find.runs(place) == first
    assert parsed == []


def test_readers_and_writers_at_once(artifacts: Path) -> None:
    """Each record that is seen is one that was written, whole."""
    over = threading.Event()
    wrong: list[object] = []

    def look() -> None:
        while not over.is_set():
            for run in find.runs(artifacts):
                rate, loss = (
                    run.facts.exactly("hparams.config.lr"),
                    run.facts.metric("loss/validate"),
                )
                if rate * 1000 != pytest.approx(loss):
                    wrong.append((run.folder, rate, loss))

    readers = [threading.Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    for turn in range(8):
        for number in range(MANY):
            value = float(turn * 100 + number)
            metrics = {"loss/validate": MetricSummary(value, value, value)}
            write(artifacts, number, hparams={"config": {"lr": value / 1000}}, metrics=metrics)
    over.set()
    for reader in readers:
        reader.join()
    assert not wrong
    assert rates(find.runs(artifacts)) == [(700 + n) / 1000 for n in range(29, -1, -1)]
