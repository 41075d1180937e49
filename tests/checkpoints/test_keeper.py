"""The checkpoints of a run under way: listed, linked, kept, deleted; and tidied after a kill."""

from __future__ import annotations

import errno
import math
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from torch_lab.checkpoints import files, keeper
from torch_lab.checkpoints.keeper import Keeper, SavePoint, tidy
from torch_lab.errors import LockLost, SaveFailed
from torch_lab.store import record as records
from torch_lab.store.claim import claim
from torch_lab.store.journal import Journal
from torch_lab.store.lock import Lock
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import Progress, Record, RecordWriter


class Run:
    """A run with a keeper, as a training process holds it."""

    def __init__(self, artifacts: Path, keep: int = 2) -> None:
        self.directory = claim(artifacts, "00_a-b")
        self.lock = Lock.acquire(self.directory, lost_after=60)
        record = Record(self.directory.name, "0" * 32, "running")
        self.writer = RecordWriter(self.directory, self.lock, record)
        self.writer.update()
        self.journal = Journal(self.directory, after=0)
        self.keeper = Keeper(self.directory, self.lock, self.writer, self.journal, keep=keep)

    @property
    def folder(self) -> Path:
        return self.directory.checkpoints

    @property
    def record(self) -> Record:
        return records.read(self.directory)

    def save(self, batch: int, *, best: bool = False, wait: bool = True) -> Path:
        point = SavePoint(batch, batch, batch // 10, {"loss/validate": 1 / batch}, best)
        draft = files.write_draft(files.encoded(contents(point)), self.keeper.path(batch))
        self.keeper.finish(draft, point)
        if wait:
            self.keeper.wait()
        return self.keeper.path(batch)

    def names(self) -> dict[str, str]:
        return {entry.name: entry.file for entry in self.record.checkpoints}

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def close(self) -> None:
        self.keeper.close()
        self.journal.close()
        self.lock.release()


def contents(point: SavePoint) -> dict[str, Any]:
    return {
        "state_dict": {"w": torch.full((100,), float(point.batch))},
        "torch_lab": {**vars(point), "format": 1},
    }


def batch_in(path: Path) -> int:
    batch: int = files.load(path)["torch_lab"]["batch"]
    return batch


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    made = Run(tmp_path)
    yield made
    made.close()


class TestSaving:
    def test_it_is_listed_with_all_that_is_known(self, run: Run) -> None:
        run.journal.append(3, 3, 0, {"loss": 0.5})
        path = run.save(3, best=True)
        step, last, best = run.record.checkpoints
        assert (step.name, last.name, best.name) == ("step-3", "last", "best")
        assert replace(last, name="step-3") == replace(best, name="step-3") == step
        assert (step.batch, step.step, step.epoch, step.kind) == (3, 3, 0, "training")
        assert step.metrics == {"loss/validate": 1 / 3}
        assert step.file == "checkpoints/step-3.ckpt"
        assert step.size == path.stat().st_size
        assert step.sha256 == files.verify(path)
        assert run.record.progress == Progress(3, 3, 0)
        assert run.record.metrics["loss"].last == 0.5

    def test_the_newest_and_the_best_are_kept(self, run: Run) -> None:
        for batch in range(1, 7):
            run.save(batch, best=batch in (1, 2))
        assert run.files() == ["best.ckpt", "last.ckpt", *(f"step-{n}.ckpt" for n in (2, 5, 6))]
        assert list(run.names()) == ["step-2", "step-5", "step-6", "last", "best"]
        assert run.names()["best"] == "checkpoints/step-2.ckpt"

    def test_what_others_wrote_is_never_deleted(self, run: Run) -> None:
        run.folder.mkdir()
        theirs = ["epoch=0-step=1.ckpt", "callback-last.ckpt", "step-one.ckpt", "notes.txt"]
        for name in theirs:
            (run.folder / name).touch()
        for batch in range(1, 5):
            run.save(batch)
        assert set(theirs) < set(run.files())
        assert "step-1.ckpt" not in run.files()

    def test_the_links_are_the_files(self, run: Run) -> None:
        run.save(1, best=True)
        run.save(2)
        assert batch_in(run.folder / "last.ckpt") == 2
        assert batch_in(run.folder / "best.ckpt") == 1
        assert (run.folder / "last.ckpt").samefile(run.folder / "step-2.ckpt")

    def test_links_without_hard_links(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Path, "hardlink_to", failing(errno.EPERM))
        for batch in range(1, 5):
            run.save(batch, best=batch == 1)
        assert (run.folder / "last.ckpt").readlink() == Path("step-4.ckpt")
        assert batch_in(run.folder / "last.ckpt") == 4
        assert batch_in(run.folder / "best.ckpt") == 1

    def test_rather_no_link_than_an_old_one(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run.save(1)
        monkeypatch.setattr(Path, "hardlink_to", failing(errno.EPERM))
        monkeypatch.setattr(Path, "symlink_to", failing(errno.EPERM))
        run.save(2)
        assert run.files() == ["step-1.ckpt", "step-2.ckpt"]
        assert run.names()["last"] == "checkpoints/step-2.ckpt"

    def test_a_file_that_cannot_be_deleted_ends_nothing(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run.save(1)
        run.save(2)
        monkeypatch.setattr(Path, "unlink", failing(errno.EBUSY))
        run.save(3)
        assert "step-1" not in run.names()

    def test_the_file_before_goes_only_when_the_new_one_is_recorded(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        update = run.writer.update
        seen: list[list[str]] = []
        monkeypatch.setattr(
            run.writer, "update", lambda **c: seen.append(run.files()) or update(**c)
        )
        for batch in (1, 2, 3):
            run.save(batch)
        assert "step-1.ckpt" in seen[-1]
        assert "step-1.ckpt" not in run.files()


def failing(error: int, name: str = "") -> Any:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise OSError(error, os.strerror(error))

    return fail


class TestFailing:
    """What is on disk stays as it was, and training hears of it."""

    @pytest.fixture
    def saved(self, run: Run) -> Run:
        run.save(1, best=True)
        return run

    def check(self, run: Run, match: str) -> None:
        run.save(2, wait=False)
        with pytest.raises(SaveFailed, match=match):
            run.keeper.wait()
        assert run.names()["last"] == run.names()["best"] == "checkpoints/step-1.ckpt"
        assert not list(run.directory.path.rglob("*.tmp"))
        files.verify(run.folder / "step-1.ckpt", run.record.checkpoints[0].sha256)

    def test_no_fsync(self, saved: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(files.os, "fsync", failing(errno.ENOSPC))
        self.check(saved, r"can't save checkpoint .*step-2.ckpt: No space left")

    def test_no_record(self, saved: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(records, "write_atomic", failing(errno.ENOSPC))
        self.check(
            saved, r"step-2.ckpt was written, but not recorded: can't write .*run.json: No space"
        )

    def test_no_journal(self, saved: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        os.close(saved.journal._descriptor)
        self.check(saved, r"can't save checkpoint .*step-2.ckpt: can't flush .*0000.jsonl")
        assert saved.files() == ["best.ckpt", "last.ckpt", "step-1.ckpt"]  # none to be adopted
        saved.journal._descriptor = -1

    def test_another_process_took_the_run(self, saved: Run) -> None:
        point = SavePoint(2, 2, 0, {})
        draft = files.write_draft(files.encoded(contents(point)), saved.keeper.path(2))
        saved.directory.lock.write_text("another's")
        saved.keeper.finish(draft, point)
        with pytest.raises(LockLost):
            saved.keeper.wait()
        assert saved.files() == ["best.ckpt", "last.ckpt", "step-1.ckpt"]
        with pytest.raises(LockLost):
            saved.keeper.path(3)  # nothing is even begun
        with pytest.raises(LockLost):
            saved.keeper.raise_if_failed()

    def test_it_is_raised_once_at_the_next_look(
        self, saved: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        go = threading.Event()

        def publish(*args: Any, **kwargs: Any) -> str:
            go.wait(10)
            raise SaveFailed("no room")

        monkeypatch.setattr(files, "publish", publish)
        saved.save(2, wait=False)
        saved.keeper.raise_if_failed()  # not known yet
        go.set()
        pending = saved.keeper._pending
        assert pending is not None
        pending.exception(10)
        with pytest.raises(SaveFailed, match="no room"):
            saved.keeper.raise_if_failed()
        saved.keeper.wait()

    def test_closing_raises_it_too(self, saved: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(files.os, "fsync", failing(errno.ENOSPC))
        saved.save(2, wait=False)
        with pytest.raises(SaveFailed):
            saved.keeper.close()

    def test_the_next_draft_goes_with_the_failure_before(
        self, saved: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(files.os, "fsync", failing(errno.ENOSPC))
            saved.save(2, wait=False)
            with pytest.raises(SaveFailed):
                saved.save(3, wait=False)
        assert saved.files() == ["best.ckpt", "last.ckpt", "step-1.ckpt"]


class TestTidying:
    """A killed run's checkpoints before it goes on."""

    def tidied(self, run: Run) -> tuple[Record, list[str]]:
        said: list[str] = []
        return tidy(run.directory, run.record, said.append), said

    def names(self, record: Record) -> dict[str, str]:
        return {entry.name: Path(entry.file).stem for entry in record.checkpoints}

    def orphan(self, run: Run, batch: int, *, best: bool = False) -> None:
        point = SavePoint(batch, batch, 0, {"a": math.nan}, best)
        files.save(contents(point), run.keeper.path(batch))

    def test_nothing_to_do(self, run: Run) -> None:
        run.save(1, best=True)
        run.save(2)
        record, said = self.tidied(run)
        assert said == []
        assert record == run.record

    def test_no_checkpoint_at_all(self, run: Run) -> None:
        assert self.tidied(run) == (run.record, [])

    def test_drafts_are_swept(self, run: Run) -> None:
        run.save(1)
        (run.folder / ".step-2.ckpt.17.tmp").write_bytes(b"half")
        self.tidied(run)
        assert run.files() == ["last.ckpt", "step-1.ckpt"]

    def test_a_whole_unlisted_one_is_adopted(self, run: Run) -> None:
        run.save(1, best=True)
        self.orphan(run, 2, best=True)
        record, said = self.tidied(run)
        assert self.names(record)["last"] == self.names(record)["best"] == "step-2"
        assert said == ["found checkpoint step-2.ckpt, whole but not listed"]
        adopted = next(entry for entry in record.checkpoints if entry.name == "step-2")
        assert (adopted.batch, adopted.sha256) == (2, files.verify(run.keeper.path(2)))
        assert batch_in(run.folder / "last.ckpt") == batch_in(run.folder / "best.ckpt") == 2

    def test_what_was_about_to_be_deleted_is_not_the_best_again(self, run: Run) -> None:
        run.save(5, best=True)
        self.orphan(run, 2, best=True)  # killed between run.json and the deletion
        record, _ = self.tidied(run)
        assert self.names(record)["best"] == self.names(record)["last"] == "step-5"

    @pytest.mark.parametrize("damage", ["truncated", "flipped", "zeroed", "emptied", "replaced"])
    def test_a_damaged_newest_is_set_aside(self, run: Run, damage: str) -> None:
        run.save(1)
        path = run.save(2)
        if damage == "replaced":
            self.orphan(run, 2)
        else:
            content = path.read_bytes()
            flipped = bytearray(content)
            flipped[-300] ^= 1
            path.unlink()
            changed = {"truncated": content[:-200], "flipped": flipped, "emptied": b""}
            path.write_bytes(changed.get(damage, bytes(len(content))))
        record, said = self.tidied(run)
        assert self.names(record) == {"step-1": "step-1", "last": "step-1"}
        assert len(said) == 1
        assert f"{path} is damaged" in said[0]
        assert said[0].endswith("set aside as step-2.ckpt.damaged")
        assert run.files() == ["last.ckpt", "step-1.ckpt", "step-2.ckpt.damaged"]
        assert batch_in(run.folder / "last.ckpt") == 1

    def test_a_malicious_unlisted_one_is_set_aside(self, run: Run) -> None:
        run.save(1)
        torch.save({"torch_lab": threading.Thread}, run.keeper.path(2))
        record, said = self.tidied(run)
        assert self.names(record)["last"] == "step-1"
        assert "could run code" in said[0]

    def test_an_unlisted_one_of_nobody_is_set_aside(self, run: Run) -> None:
        run.save(1)
        torch.save({"torch_lab": {"batch": 2}}, run.keeper.path(2))
        record, said = self.tidied(run)
        assert self.names(record)["last"] == "step-1"
        assert "doesn't say where in training it stands" in said[0]

    def test_a_missing_one_is_said(self, run: Run) -> None:
        run.save(1)
        run.save(2).unlink()
        record, said = self.tidied(run)
        assert self.names(record)["last"] == "step-1"
        assert said == [f"checkpoint {run.keeper.path(2)} is gone"]

    def test_the_whole_folder_missing(self, run: Run) -> None:
        run.save(1)
        for path in run.folder.iterdir():
            path.unlink()
        run.folder.rmdir()
        record, said = self.tidied(run)
        assert record.checkpoints == ()
        assert len(said) == 1

    def test_the_best_lost_falls_back_to_the_best_before(self, tmp_path: Path) -> None:
        run = Run(tmp_path / "other", keep=10)
        for batch in (1, 2, 3, 4):
            run.save(batch, best=batch in (1, 2, 4))
        run.keeper.path(4).write_bytes(b"")
        record, _ = self.tidied(run)
        assert self.names(record)["best"] == "step-2"
        assert self.names(record)["last"] == "step-3"
        run.close()

    def test_without_a_best_there_is_no_link_to_one(self, run: Run) -> None:
        run.save(1, best=True).write_bytes(b"")
        run.save(2)
        record, _ = self.tidied(run)
        assert self.names(record) == {"step-2": "step-2", "last": "step-2"}
        assert "best.ckpt" not in run.files()

    def test_an_unreadable_one_is_not_set_aside(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run.save(1)
        monkeypatch.setattr(files, "_digest", failing(errno.ESTALE))
        with pytest.raises(Exception, match="can't read checkpoint"):
            self.tidied(run)
        assert run.files() == ["last.ckpt", "step-1.ckpt"]

    def test_files_of_callbacks_are_left_alone(self, run: Run) -> None:
        run.save(1)
        (run.folder / "callback-last.ckpt").write_bytes(b"whatever")
        (run.folder / "epoch=0-step=7.ckpt").write_bytes(b"whatever")
        record, said = self.tidied(run)
        assert said == []
        assert "epoch=0-step=7.ckpt" in run.files()
        assert self.names(record) == {"step-1": "step-1", "last": "step-1"}


class TestCrashes:
    """What an exception left is listed beside the others, and stands for none of them."""

    def crash(self, run: Run, batch: int) -> Path:
        point = SavePoint(batch, batch, 0, {})
        run.keeper.keep_crash({"state_dict": {}, "of": object}, point)
        return run.folder / "crash.ckpt"

    def listed(self, record: Record) -> dict[str, int]:
        return {entry.name: entry.batch for entry in record.checkpoints}

    def test_it_is_whole_listed_and_replaced_by_the_next(self, run: Run) -> None:
        run.save(1, best=True)
        self.crash(run, 2)
        path = self.crash(run, 4)
        *others, entry = run.record.checkpoints
        assert [each.name for each in others] == ["step-1", "last", "best"]
        assert (entry.name, entry.kind, entry.batch) == ("crash", "crash", 4)
        assert files.verify(path) == entry.sha256
        assert files.load(path)["of"] == repr(object)  # what has no plain form is told all the same
        assert run.record.progress.batch == 1

    def test_it_takes_no_place_among_those_that_are_kept(self, run: Run) -> None:
        run.save(1)
        self.crash(run, 9)
        for batch in (2, 3):
            run.save(batch)
        assert list(run.names()) == ["step-2", "step-3", "last", "crash"]
        assert run.names()["last"] == "checkpoints/step-3.ckpt"

    @pytest.mark.parametrize("left", [True, False])
    def test_no_resumed_run_goes_on_from_it(self, run: Run, left: bool) -> None:
        run.save(1)
        path = self.crash(run, 9)
        path.write_bytes(b"damaged")  # it is nobody's business
        if not left:
            path.unlink()
        said: list[str] = []
        record = tidy(run.directory, run.record, said.append)
        assert list(self.listed(record)) == ["step-1", "last", *(["crash"] if left else [])]
        assert self.listed(record)["last"] == 1
        assert said == []

    def test_not_by_a_process_that_lost_the_run(self, run: Run) -> None:
        run.lock.release()
        with pytest.raises(LockLost):
            self.crash(run, 1)
        assert not run.folder.exists() or run.files() == []


def test_a_run_directory_is_named_by_relative_files(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.save(1)
    run.close()
    moved = RunDirectory(run.directory.path.rename(tmp_path / "moved"))
    record = tidy(moved, records.read(moved), print)
    assert [entry.name for entry in record.checkpoints] == ["step-1", "last"]
    assert keeper.read_point(files.load(moved.checkpoints / "last.ckpt")) is not None
