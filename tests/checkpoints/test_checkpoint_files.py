"""One checkpoint file: whole or not there, verified, and loaded without running code."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import random
import resource
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from torch_lab.checkpoints import files
from torch_lab.checkpoints.plain import TAG
from torch_lab.errors import (
    CheckpointDamaged,
    CheckpointError,
    CheckpointNotFound,
    CheckpointUnsafe,
    RunError,
    SaveFailed,
)

CONTENTS = {"state_dict": {"w": torch.arange(20_000.0)}, "epoch": 3}


def everything_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextlib.contextmanager
def file_size_limited_to(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def failing(error: int) -> Any:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise OSError(error, os.strerror(error))

    return fail


class TestSaving:
    def test_a_round_trip(self, tmp_path: Path) -> None:
        digest = files.save(CONTENTS, tmp_path / "new" / "a.ckpt")
        assert files.verify(tmp_path / "new" / "a.ckpt", digest) == digest
        got = files.load(tmp_path / "new" / "a.ckpt")
        assert got["epoch"] == 3
        assert torch.equal(got["state_dict"]["w"], CONTENTS["state_dict"]["w"])
        assert everything_in(tmp_path / "new") == ["a.ckpt"]

    def test_plain_torch_opens_it(self, tmp_path: Path) -> None:
        model = nn.Linear(2, 1)
        files.save({"state_dict": model.state_dict()}, tmp_path / "a.ckpt")
        got = torch.load(tmp_path / "a.ckpt", weights_only=True)
        nn.Linear(2, 1).load_state_dict(got["state_dict"])

    def test_hyperparameters_of_any_kind_are_kept_as_text(self, tmp_path: Path) -> None:
        kinds = {"hyper_parameters": {"net": nn.ReLU()}, "hparams_type": dict}
        kinds |= {"datamodule_hyper_parameters": {"f": len}, "hparams_name": "kwargs"}
        files.save(kinds, tmp_path / "a.ckpt")
        got = files.load(tmp_path / "a.ckpt")
        assert got["hyper_parameters"] == {"net": "ReLU()"}
        assert got["hparams_name"] == "kwargs"

    def test_what_cannot_be_saved_leaves_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(SaveFailed, match=r"checkpoint\['callbacks'\]\['Mine'\]\['net'\] holds"):
            files.save({"callbacks": {"Mine": {"net": nn.ReLU()}}}, tmp_path / "a.ckpt")
        assert everything_in(tmp_path) == []


class TestFailingToSave:
    """The file before stays; nothing else is left; one message says what and where."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        files.save({"epoch": 1}, tmp_path / "a.ckpt")
        return tmp_path / "a.ckpt"

    def check(self, path: Path, reason: str) -> SaveFailed:
        with pytest.raises(SaveFailed) as caught:
            files.save(CONTENTS, path)
        assert isinstance(caught.value, RunError)
        assert caught.value.message == f"can't save checkpoint {path}: {reason}"
        assert everything_in(path.parent) == [path.name]
        assert files.load(path) == {"epoch": 1}
        return caught.value

    @pytest.mark.parametrize("size", [100, 10_000, 80_000])
    def test_no_room(self, path: Path, size: int) -> None:
        with file_size_limited_to(size):
            error = self.check(path, "File too large")
        assert "ulimit" in (error.hint or "")

    def test_a_full_disk(self, tmp_path: Path) -> None:
        disk = tmp_path / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
        try:
            subprocess.run(mount, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("mounting a small disk needs to be allowed")
        try:
            files.save({"epoch": 1}, disk / "a.ckpt")
            error = self.check(disk / "a.ckpt", "No space left on device")
            assert "Free some space" in (error.hint or "")
        finally:
            subprocess.run(["umount", str(disk)], check=True)

    def test_no_fsync(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "fsync", failing(errno.EIO))
        self.check(path, "Input/output error")

    def test_no_rename(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "replace", failing(errno.EACCES))
        monkeypatch.setattr(os, "rename", failing(errno.EACCES))
        self.check(path, "Permission denied")

    def test_other_bytes_on_the_disk(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fsync = os.fsync

        def corrupting(descriptor: int) -> None:
            os.pwrite(descriptor, b"\xff" * 9, 5_000)
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", corrupting)
        self.check(path, "what is read back is not what was written")

    def test_gone_before_it_is_read_back(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        draft = path.parent / f".{path.name}.{os.getpid()}.tmp"
        monkeypatch.setattr(os, "fsync", lambda descriptor: draft.unlink(missing_ok=True))
        self.check(path, f"checkpoint {draft} is not there")

    def test_a_refusal_at_the_last_moment(self, path: Path) -> None:
        draft = files.write_draft(files.encoded(CONTENTS), path)
        with pytest.raises(ZeroDivisionError):
            files.publish(draft, path, before_replace=lambda: 1 / 0)  # type: ignore[arg-type]
        assert everything_in(path.parent) == [path.name]

    def test_interrupted_while_writing(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(*args: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(files._Stream, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            files.save(CONTENTS, path)
        assert everything_in(path.parent) == [path.name]

    def test_no_folder_can_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(SaveFailed, match="can't save checkpoint"):
            files.save(CONTENTS, tmp_path / "file" / "a.ckpt")

    def test_what_is_no_failure_to_write_keeps_its_traceback(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*args: Any) -> None:
            raise RuntimeError("of another kind")

        monkeypatch.setattr(torch, "save", broken)
        with pytest.raises(RuntimeError, match="of another kind"):
            files.save(CONTENTS, path)
        assert everything_in(path.parent) == [path.name]


class TestVerifying:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        files.save(CONTENTS, tmp_path / "a.ckpt")
        return tmp_path / "a.ckpt"

    def test_every_flipped_bit_is_noticed(self, path: Path) -> None:
        sound = path.read_bytes()
        digest = files.verify(path)
        chance = random.Random(0)
        silent = 0
        for _ in range(60):
            flipped = bytearray(sound)
            place = chance.randrange(len(sound))
            flipped[place] ^= 1 << chance.randrange(8)
            path.write_bytes(flipped)
            with pytest.raises(CheckpointDamaged, match="is damaged"):
                files.verify(path, digest)
            try:
                files.verify(path)
            except CheckpointDamaged:
                continue
            silent += 1  # in padding, or in a zip header that nobody reads
        assert silent < 10

    @pytest.mark.parametrize("part", [0, 0.3, 0.99])
    def test_truncated(self, path: Path, part: float) -> None:
        path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
        with pytest.raises(CheckpointDamaged, match=f"{path} is damaged"):
            files.load(path)

    def test_zeroed(self, path: Path) -> None:
        path.write_bytes(bytes(path.stat().st_size))
        with pytest.raises(CheckpointDamaged, match="is damaged"):
            files.load(path)

    def test_replaced_by_another_whole_one(self, path: Path) -> None:
        digest = files.verify(path)
        files.save({"epoch": 9}, path)
        files.verify(path)
        with pytest.raises(CheckpointDamaged, match="not the bytes that were saved"):
            files.verify(path, digest)

    def test_missing_and_folders(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointNotFound, match="is not there"):
            files.load(tmp_path / "none.ckpt")
        with pytest.raises(CheckpointNotFound, match="is a folder"):
            files.load(tmp_path)

    def test_unreadable_is_not_damaged(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(files, "_digest", failing(errno.EACCES))
        with pytest.raises(CheckpointError, match=r"can't read .*: Permission") as caught:
            files.verify(path)
        assert not isinstance(caught.value, CheckpointDamaged)


RAN = threading.Event()
ran = RAN.set  # what a pickle of the tests calls


class Own:
    def __init__(self) -> None:
        self.x = 1


class TestLoadingSafely:
    @pytest.mark.parametrize("force", ["", "1"])
    @pytest.mark.parametrize(
        ("value", "culprit"),
        [
            (functools.partial(print), "functools.partial"),
            (Own(), "Own"),
            (Own, "Own"),
            (nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
            (eval, "eval"),
        ],
        ids=["partial", "object", "class", "module", "builtin"],
    )
    def test_what_could_run_code_is_refused_by_name(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        value: Any,
        culprit: str,
        force: str,
    ) -> None:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", force)
        torch.save({"a": value}, tmp_path / "a.ckpt")
        with pytest.raises(CheckpointUnsafe, match=rf"could run code \(.*{culprit}\)") as caught:
            files.load(tmp_path / "a.ckpt")
        assert "--trust" in (caught.value.hint or "")

    def test_code_runs_only_when_trusted(self, tmp_path: Path) -> None:
        payload = b"\x80\x02}X\x01\x00\x00\x00ac" + f"{__name__}\nran\n".encode() + b")Rs."
        with zipfile.ZipFile(tmp_path / "a.ckpt", "w") as archive:
            archive.writestr("a/data.pkl", payload)
            archive.writestr("a/version", "3\n")
            archive.writestr("a/byteorder", "little")
        RAN.clear()
        with pytest.raises(CheckpointUnsafe):
            files.load(tmp_path / "a.ckpt")
        assert not RAN.is_set()
        files.load(tmp_path / "a.ckpt", trust=True)
        assert RAN.is_set()

    def test_trust_loads_what_only_pickle_can(self, tmp_path: Path) -> None:
        torch.save({"a": Own()}, tmp_path / "a.ckpt")
        assert files.load(tmp_path / "a.ckpt", trust=True)["a"].x == 1

    def test_trusted_but_not_importable(self, tmp_path: Path, monkeypatch: Any) -> None:
        torch.save({"a": Own()}, tmp_path / "a.ckpt")
        monkeypatch.delattr(f"{__name__}.Own")
        with pytest.raises(CheckpointDamaged, match="can't be read as a checkpoint"):
            files.load(tmp_path / "a.ckpt", trust=True)

    def test_torchs_optimizer_and_scheduler_classes_open(self, tmp_path: Path) -> None:
        config = {
            "optimizer": torch.optim.AdamW,
            "scheduler": torch.optim.lr_scheduler.ReduceLROnPlateau,
            "other": torch.optim.lr_scheduler.OneCycleLR,
        }
        torch.save({"hyper_parameters": {"optimizer_config": config}}, tmp_path / "a.ckpt")
        assert files.load(tmp_path / "a.ckpt")["hyper_parameters"]["optimizer_config"] == config

    @pytest.mark.parametrize("payload", [b"", b"\x80\x02garbage", b"\x80\x02K\x01.", b"\x80\x02."])
    def test_broken_pickles_are_damage(self, tmp_path: Path, payload: bytes) -> None:
        with zipfile.ZipFile(tmp_path / "a.ckpt", "w") as archive:
            archive.writestr("a/data.pkl", payload)
            archive.writestr("a/version", "3\n")
        with pytest.raises(CheckpointDamaged, match="can't be read as a checkpoint"):
            files.load(tmp_path / "a.ckpt")

    @pytest.mark.parametrize("contents", [[1], torch.ones(1), {"a": {TAG: "of the future"}}])
    def test_what_is_no_checkpoint(self, tmp_path: Path, contents: Any) -> None:
        torch.save(contents, tmp_path / "a.ckpt")
        with pytest.raises(CheckpointDamaged, match="can't be read as a checkpoint: it holds"):
            files.load(tmp_path / "a.ckpt")

    def test_other_archives(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "a.ckpt", "w") as archive:
            archive.writestr("hello", "x")
        with pytest.raises(CheckpointDamaged, match="can't be read as a checkpoint"):
            files.load(tmp_path / "a.ckpt")


def test_a_state_dict_that_was_saved_alone_keeps_its_versions(tmp_path: Path) -> None:
    norm = nn.BatchNorm1d(2)
    torch.save(norm.state_dict(), tmp_path / "alone.pt")
    contents = files.load(tmp_path / "alone.pt")
    assert contents.keys() == norm.state_dict().keys()
    assert contents._metadata == norm.state_dict()._metadata
