"""From the words that name a checkpoint to a verified file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from torch_lab.checkpoints import files, resolve
from torch_lab.checkpoints.resolve import Found
from torch_lab.errors import (
    CheckpointDamaged,
    CheckpointError,
    CheckpointNotFound,
    RunNotFound,
)
from torch_lab.store import find
from torch_lab.store.claim import claim
from torch_lab.store.lock import Lock
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import CheckpointEntry, Record, RecordWriter, read

SCRIPT = "project/experiments/00_digits/hparams.py"


class Artifacts:
    """Runs with checkpoints, as `train` leaves them, and how words resolve beside them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cwd = root / "elsewhere"
        self.cwd.mkdir(parents=True)
        self.said: list[str] = []

    def run(self, batches: tuple[int, ...] = (1, 2, 3), best: int = 2, **fields: Any) -> Record:
        directory = claim(self.root, "00_digits-hparams")
        entries = [self.entry(directory, batch) for batch in batches]
        chosen = {entry.batch: entry for entry in entries}
        links = [replace(chosen[b], name=n) for n, b in (("last", batches[-1]), ("best", best))]
        fields = {"experiment": "00_digits", "script": SCRIPT, "status": "completed"} | fields
        fields = {"id": f"{directory.name[-1]}" * 32, "created": float(directory.name[-1])} | fields
        lock = Lock.acquire(directory, lost_after=60)
        record = Record(directory.name, **fields, checkpoints=(*entries, *links))
        written = RecordWriter(directory, lock, record).update()
        lock.release()
        return written

    def entry(self, directory: RunDirectory, batch: int) -> CheckpointEntry:
        path = directory.checkpoints / f"step-{batch}.ckpt"
        digest = files.save({"batch": batch}, path)
        return CheckpointEntry(
            path.stem, f"checkpoints/{path.name}", "training", batch, batch, 0, sha256=digest
        )

    def folder(self, name: str = "00_digits-hparams_v0") -> Path:
        return RunDirectory(self.root / name).checkpoints

    def __call__(self, text: str, name: str = "last") -> Found:
        return resolve.resolve(text, name, self.root, cwd=self.cwd, say=self.said.append)

    def batch(self, text: str, name: str = "last") -> int:
        batch: int = files.load(self(text, name).path)["batch"]
        return batch


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path)


class TestRuns:
    @pytest.mark.parametrize(
        "text",
        [
            "00_digits-hparams_v0",
            "0" * 32,
            "0000",
            "00_digits-h",
            "00_digits/hparams",
            "experiments/00_digits/hparams.py",
            "../00_digits-hparams_v0",
        ],
    )
    def test_names(self, artifacts: Artifacts, text: str) -> None:
        artifacts.run()
        assert artifacts.batch(text) == 3
        assert artifacts.batch(text, "best") == 2
        for name, batch in (("best", 2), ("last", 3), ("step-1", 1), ("step-2.ckpt", 2)):
            assert artifacts.batch(f"{text}:{name}", "last") == batch
        assert artifacts(text).parent.id == "0" * 32  # type: ignore[union-attr]
        assert artifacts(f"{text}:best").parent.checkpoint == "step-2"  # type: ignore[union-attr]
        assert artifacts.said == []

    def test_the_newest_of_a_script_even_where_a_file_has_its_name(
        self, artifacts: Artifacts
    ) -> None:
        artifacts.run()
        artifacts.run(batches=(7,), best=7)
        script = artifacts.cwd / "00_digits" / "hparams.py"
        script.parent.mkdir()
        script.write_text("hparams = {}")
        assert artifacts.batch("00_digits/hparams.py") == 7

    def test_one_that_was_fetched_too_early_says_so(self, artifacts: Artifacts) -> None:
        fetched = {"server": "http://host", "task_id": "f" * 32}
        for status in ("running", "completed"):
            artifacts.run(status=status, fetched=fetched)
        assert artifacts.batch("00_digits-hparams_v0") == 3
        assert artifacts.said == [
            "last (epoch 0, batch 3) of run 00_digits-hparams_v0, which was fetched while it was"
            " still training; `lab pull 00_digits-hparams_v0` brings what there is now"
        ]
        artifacts.said.clear()
        assert artifacts.batch("00_digits-hparams_v1") == 3
        assert artifacts.said == []

    def test_a_file_of_the_experiments_own_callback(self, artifacts: Artifacts) -> None:
        artifacts.run()
        files.save({"batch": 9}, artifacts.folder() / "epoch=0-step=9.ckpt")
        found = artifacts("00_digits-hparams_v0:epoch=0-step=9")
        assert (found.path.name, found.parent.checkpoint) == (  # type: ignore[union-attr]
            "epoch=0-step=9.ckpt",
            "epoch=0-step=9",
        )

    def test_a_missing_name_lists_what_there_is(self, artifacts: Artifacts) -> None:
        artifacts.run(batches=(1,), best=1)
        files.save({"batch": 9}, artifacts.folder() / "callback-last.ckpt")
        with pytest.raises(CheckpointNotFound) as caught:
            artifacts("00_digits-hparams_v0:bset")
        assert caught.value.message == (
            f"run 00_digits-hparams_v0 has no checkpoint 'bset' in {artifacts.folder()}:"
            " it has step-1, last, best, callback-last"
        )

    @pytest.mark.parametrize("name", ["../../run", "../checkpoints/step-1", "..", "/etc/passwd"])
    def test_no_name_leads_out_of_the_folder(self, artifacts: Artifacts, name: str) -> None:
        artifacts.run()
        with pytest.raises((CheckpointNotFound, RunNotFound)):
            artifacts(f"00_digits-hparams_v0:{name}")

    def test_a_run_without_any(self, artifacts: Artifacts) -> None:
        directory = claim(artifacts.root, "01_a-b")
        lock = Lock.acquire(directory, lost_after=60)
        RecordWriter(directory, lock, Record(directory.name, "1" * 32, "failed")).update()
        with pytest.raises(CheckpointNotFound, match="it has none"):
            artifacts("01_a")
        lock.release()

    def test_no_such_run(self, artifacts: Artifacts) -> None:
        artifacts.run()
        with pytest.raises(RunNotFound, match="Did you mean 00_digits-hparams_v0"):
            artifacts("00_digit-hparams_v0:best")

    @pytest.mark.parametrize("text", ["a" * 5000, "a\0b", "~nobody-here/a", ":", ":best", "x:"])
    def test_strange_words(self, artifacts: Artifacts, text: str) -> None:
        artifacts.run()
        with pytest.raises(RunNotFound):
            artifacts(text)


class TestDamage:
    def damage(self, artifacts: Artifacts, *batches: int) -> None:
        for batch in batches:
            path = artifacts.folder() / f"step-{batch}.ckpt"
            path.write_bytes(path.read_bytes()[:-100])

    def test_the_newest_sound_one_before_it(self, artifacts: Artifacts) -> None:
        artifacts.run()
        self.damage(artifacts, 3)
        found = artifacts("00_digits-hparams_v0")
        assert found.path.stem == found.parent.checkpoint == "step-2"  # type: ignore[union-attr]
        (said,) = artifacts.said
        assert "step-3.ckpt is damaged" in said
        assert said.endswith("trying the one before it")

    def test_two_of_them_and_one_gone(self, artifacts: Artifacts) -> None:
        artifacts.run(batches=(1, 2, 3, 4))
        self.damage(artifacts, 3, 4)
        (artifacts.folder() / "step-2.ckpt").unlink()
        assert artifacts.batch("00_digits-hparams_v0") == 1
        assert len(artifacts.said) == 3

    def test_none_after_the_chosen_one(self, artifacts: Artifacts) -> None:
        artifacts.run()
        self.damage(artifacts, 2)
        assert artifacts.batch("00_digits-hparams_v0:best") == 1

    def test_of_a_run_that_goes_on_what_it_has_by_now(self, artifacts: Artifacts) -> None:
        artifacts.run(batches=(1, 2), status="running")
        directory = RunDirectory(artifacts.root / "00_digits-hparams_v0")
        lock = Lock.acquire(directory, lost_after=60)
        before = find.resolve(directory.name, artifacts.root)[0]
        newer = artifacts.entry(directory, 3)
        RecordWriter(directory, lock, before.record).update(
            checkpoints=(newer, replace(newer, name="last"))
        )
        for batch in (1, 2):
            (artifacts.folder() / f"step-{batch}.ckpt").unlink()
        assert resolve.of_run(before, "last", say=artifacts.said.append).path.stem == "step-3"
        assert artifacts.said == []
        with pytest.raises(CheckpointNotFound, match="no checkpoint 'best'"):
            resolve.of_run(before, "best", say=artifacts.said.append)
        lock.release()

    def test_none_left(self, artifacts: Artifacts) -> None:
        artifacts.run()
        self.damage(artifacts, 1, 2, 3)
        with pytest.raises(CheckpointDamaged, match="no sound checkpoint 'last' or before it"):
            artifacts("00_digits-hparams_v0")
        assert len(artifacts.said) == 3

    def test_a_whole_file_with_other_contents(self, artifacts: Artifacts) -> None:
        artifacts.run()
        files.save({"batch": 99}, artifacts.folder() / "step-3.ckpt")
        assert artifacts.batch("00_digits-hparams_v0") == 2
        assert "not the bytes that were saved" in artifacts.said[0]


class TestCrashes:
    """What an exception left stands for nothing else, nor anything else for it."""

    def with_crash(self, artifacts: Artifacts) -> Path:
        directory = RunDirectory(artifacts.root / artifacts.run().name)
        path = directory.checkpoints / "crash.ckpt"
        digest = files.save({"batch": 2}, path)
        entry = CheckpointEntry("crash", "checkpoints/crash.ckpt", "crash", 2, 2, 0, sha256=digest)
        lock = Lock.acquire(directory, lost_after=60)
        record = read(directory)
        listed = (*record.checkpoints, entry)
        RecordWriter(directory, lock, replace(record, checkpoints=listed)).update()
        lock.release()
        return path

    def test_by_its_name(self, artifacts: Artifacts) -> None:
        path = self.with_crash(artifacts)
        assert artifacts("00_digits-hparams_v0:crash").path == path
        assert artifacts("00_digits-hparams_v0").path.name == "step-3.ckpt"

    def test_it_takes_no_place_of_a_damaged_one(self, artifacts: Artifacts) -> None:
        folder = self.with_crash(artifacts).parent
        for number in (2, 3):
            (folder / f"step-{number}.ckpt").write_bytes(b"")
        assert artifacts("00_digits-hparams_v0").path.name == "step-1.ckpt"

    def test_damaged_itself_it_is_an_error(self, artifacts: Artifacts) -> None:
        self.with_crash(artifacts).write_bytes(b"")
        with pytest.raises(CheckpointDamaged, match=r"crash\.ckpt is damaged"):
            artifacts("00_digits-hparams_v0:crash")
        assert artifacts.said == []


class TestFiles:
    @pytest.fixture
    def file(self, artifacts: Artifacts) -> Path:
        path = artifacts.cwd / "sub" / "weights.ckpt"
        files.save({"batch": 5}, path)
        return path

    def test_absolute_and_relative(self, artifacts: Artifacts, file: Path) -> None:
        for text in (str(file), "sub/weights.ckpt", "./sub/../sub/weights.ckpt"):
            assert artifacts.batch(text, "best") == 5
            assert artifacts(text).name == "weights"
            assert artifacts(text).parent is None

    def test_under_home(
        self, artifacts: Artifacts, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", str(artifacts.cwd))
        assert artifacts.batch("~/sub/weights.ckpt") == 5
        artifacts.run()
        monkeypatch.setenv("HOME", str(artifacts.root))
        assert artifacts.batch("~/00_digits-hparams_v0:best") == 2

    def test_with_a_colon_or_another_ending(self, artifacts: Artifacts) -> None:
        for name in ("12:30.ckpt", "a:b", "weights.pt"):
            files.save({"batch": 6}, artifacts.cwd / name)
            assert artifacts.batch(name) == 6

    def test_in_a_run_it_knows_its_parent(self, artifacts: Artifacts) -> None:
        record = artifacts.run()
        found = artifacts(str(artifacts.folder() / "step-2.ckpt"))
        assert found.parent is not None
        assert (found.parent.id, found.parent.checkpoint) == (record.id, "step-2")
        relative = artifacts("../00_digits-hparams_v0/checkpoints/step-2.ckpt")
        assert relative.parent == found.parent

    def test_in_a_run_its_hash_counts(self, artifacts: Artifacts) -> None:
        artifacts.run()
        path = artifacts.folder() / "step-2.ckpt"
        files.save({"batch": 99}, path)
        with pytest.raises(CheckpointDamaged, match="not the bytes that were saved"):
            artifacts(str(path))

    def test_missing(self, artifacts: Artifacts, file: Path) -> None:
        with pytest.raises(CheckpointNotFound, match=r"none\.ckpt is not there") as caught:
            artifacts("sub/none.ckpt")
        assert caught.value.hint == f"{file.parent} has weights.ckpt"
        with pytest.raises(CheckpointNotFound, match="is not there"):
            artifacts("nowhere/none.ckpt")

    def test_a_damaged_file_is_an_error(self, artifacts: Artifacts, file: Path) -> None:
        file.write_bytes(b"no zip")
        with pytest.raises(CheckpointDamaged, match=r"weights\.ckpt is damaged"):
            artifacts(str(file))

    def test_a_folder(self, artifacts: Artifacts) -> None:
        (artifacts.cwd / "a.ckpt").mkdir()
        with pytest.raises(CheckpointError, match="is a folder"):
            artifacts("a.ckpt")


class TestTasksOfOldVersions:
    """What torch-lab 1.x left in NAME-ID: `model_weights/`, fetched ones below `train/`."""

    TASK = "00ff" * 8

    @pytest.fixture
    def folder(self, artifacts: Artifacts) -> Path:
        folder = artifacts.root / f"00_digits-hparams-v4-{self.TASK}"
        files.save({"batch": 8}, folder / "model_weights" / "last.ckpt")
        files.save({"batch": 7}, folder / "model_weights" / "epoch=1-step=7.ckpt")
        files.save({"batch": 6}, folder / "train" / "model_weights" / "best.ckpt")
        return folder

    @pytest.mark.parametrize(
        ("name", "batch"), [("last", 8), ("epoch=1-step=7", 7), ("best", 6), ("best.ckpt", 6)]
    )
    def test_by_name(self, artifacts: Artifacts, folder: Path, name: str, batch: int) -> None:
        artifacts.run()
        assert artifacts.batch(self.TASK, name) == batch
        assert artifacts.batch(f"{self.TASK}:{name}", "other") == batch
        parent = artifacts(self.TASK, name).parent
        assert parent is not None
        assert (parent.id, parent.name) == (self.TASK, "00_digits-hparams-v4")

    def test_names_that_are_not_there(self, artifacts: Artifacts, folder: Path) -> None:
        has = r"it has best, epoch=1-step=7, last"
        with pytest.raises(CheckpointNotFound, match=f"no checkpoint 'l\\*' in {folder}: {has}"):
            artifacts(self.TASK, "l*")
        with pytest.raises(RunNotFound):
            artifacts(self.TASK[:8])

    def test_damaged(self, artifacts: Artifacts, folder: Path) -> None:
        (folder / "model_weights" / "last.ckpt").write_bytes(b"no zip")
        with pytest.raises(CheckpointDamaged):
            artifacts(self.TASK)
