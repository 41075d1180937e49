"""Disks that are full, read-only or broken, folders that go away: what there is stays sound."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from commands import RUN, SCRIPT, Commands, assert_as_whole

from helpers import StoredRun, wait_for
from torch_lab.checkpoints import files
from torch_lab.store import record as records
from torch_lab.store.paths import RunDirectory

DRAFT = r"/checkpoints/\.step-8\.ckpt"


def assert_sound(run: StoredRun) -> dict[str, int]:
    """Every checkpoint that is listed is whole, nothing passing is there; returns their batches."""
    entries = run.record["checkpoints"]
    for entry in entries:
        files.verify(run.path / entry["file"], entry["sha256"])
    names = [path.name for path in run.path.rglob("*")]
    assert not [n for n in names if n.endswith(".tmp") or n == "lock" or n.startswith(".probe")]
    return {entry["name"]: entry["batch"] for entry in entries}


def failed(commands: Commands, *faults: dict[str, Any], sets: tuple[str, ...] = ()) -> list[str]:
    """Train under faults; the lines of its error, up to where the run is."""
    words = [word for text in sets for word in ("-s", text)]
    said = commands.ended(commands.start("train", SCRIPT, *words, faults=faults), 1)
    assert "Traceback" not in said
    assert len(re.findall("^error: ", said, re.MULTILINE)) == 1
    message, found, _ = said[said.index("error: ") :].partition("\nrun directory: ")
    assert found
    return message.strip().splitlines()


def resumed(commands: Commands, whole: StoredRun) -> None:
    said = commands.ended(commands.start("train", "--resume", RUN), 0)
    assert "damaged" not in said
    assert_as_whole(commands.run, whole)
    assert_sound(commands.run)


# -- saves -----------------------------------------------------------------------------------

SAVES = {
    "full": ({"call": "write", "path": DRAFT, "do": "ENOSPC"}, "No space left on device"),
    "quota, at its end": (
        {"call": "write", "path": DRAFT, "nth": 3, "do": "EDQUOT"},
        "Disk quota exceeded",
    ),
    "read-only": ({"path": DRAFT, "do": "EROFS"}, "Read-only file system"),
    "flush": ({"call": "fsync", "path": DRAFT, "do": "EIO"}, "Input/output error"),
    "rename": (
        {"call": "replace", "path": "/step-8.ckpt", "do": "EIO"},
        "Input/output error",
    ),
    "flush of the folder": (
        {"call": "fsync", "path": "/checkpoints$", "nth": 8, "do": "EIO"},
        "Input/output error",
    ),
}


@pytest.mark.parametrize(("fault", "reason"), SAVES.values(), ids=SAVES)
def test_a_save_that_fails(
    commands: Commands, whole: StoredRun, fault: dict[str, Any], reason: str
) -> None:
    message = failed(commands, fault)
    path = commands.run.path / "checkpoints" / "step-8.ckpt"
    assert message[0] == f"error: can't save checkpoint {path}: {reason}"
    assert len(message) == 2  # and what to do
    kept = {"step-5": 5, "step-6": 6, "step-7": 7, "last": 7, "best": 5}
    assert assert_sound(commands.run) == kept
    record = commands.run.record
    assert (record["status"], record["progress"]["batch"]) == ("failed", 7)
    assert record["reason"].startswith("SaveFailed: can't save checkpoint ")
    resumed(commands, whole)


def test_a_record_that_cannot_be_written(commands: Commands, whole: StoredRun) -> None:
    """The save that it was to name is found by the next start; nobody could close the books."""
    fault = {"call": "write", "path": r"/\.run\.json", "nth": 10, "do": "ENOSPC"}
    message = failed(commands, fault)
    assert re.match(r"error: checkpoint step-\d\.ckpt was written, but not recorded: ", message[0])
    assert re.search(r"can't write .*/run\.json: No space left on device$", message[0])
    assert re.match("The run's record could not be closed: can't write .*run.json", message[2])
    run = RunDirectory(commands.run.path)
    assert records.status(run, records.read(run)) == "lost"
    assert_sound(commands.run)
    resumed(commands, whole)
    assert commands.run.record["resumes"][0]["batch"] == int(message[0].split("step-")[1][0])


def test_all_of_it_read_only(commands: Commands, whole: StoredRun) -> None:
    """As after an error for which the system mounts it so: nothing can be recorded any more."""
    begun = {"call": "open", "path": r"/\.step-8\.", "nth": 1, "times": 1, "do": "EROFS"}
    from_then = {"path": RUN, "do": "EROFS", "after": r"/\.step-8\."}
    message = failed(commands, begun, from_then)
    assert message[0].endswith("step-8.ckpt: Read-only file system")
    assert message[1].startswith("Mount it writable, or keep the runs elsewhere: ")
    assert "The run's record could not be closed" in message[2]
    (commands.run.path / "lock").unlink()  # it could not be; a dead process's is no obstacle
    assert assert_sound(commands.run)["last"] == 7
    resumed(commands, whole)


def test_what_is_in_the_way_of_a_save(commands: Commands) -> None:
    """A new run on a full disk leaves nothing."""
    fault = {"call": "write", "path": "/metrics/", "do": "ENOSPC"}
    said = commands.ended(commands.start("train", SCRIPT, faults=[fault]), 2)
    assert re.match(r"error: can't write to .*/metrics/0000.jsonl: No space left on device\n", said)
    assert commands.project.runs() == []


# -- the journal -----------------------------------------------------------------------------


def test_rows_wait_for_room(commands: Commands, whole: StoredRun) -> None:
    fault = {"call": "write", "path": "/metrics/", "nth": 3, "times": 1, "do": "ENOSPC"}
    said = commands.ended(commands.start("train", SCRIPT, faults=[fault]), 0)
    path = commands.run.path / "metrics" / "0000.jsonl"
    assert f"can't write to {path}: No space left on device; rows wait in memory until" in said
    assert f"{path} is written again; no row is lost" in said
    assert_as_whole(commands.run, whole)


def test_no_checkpoint_without_the_rows_before_it(commands: Commands, whole: StoredRun) -> None:
    fault = {"call": "write", "path": "/metrics/", "nth": 4, "do": "ENOSPC"}
    message = failed(commands, fault)
    saved = assert_sound(commands.run)["last"]
    path = commands.run.path / "checkpoints" / f"step-{saved + 1}.ckpt"
    assert re.match(f"error: can't save checkpoint {path}: can't write to .*0000.jsonl", message[0])
    assert not path.exists()
    assert commands.run.record["status"] == "failed"
    resumed(commands, whole)


def test_a_full_console_ends_nothing(commands: Commands, whole: StoredRun) -> None:
    fault = {"path": "/console", "do": "ENOSPC"}
    said = commands.ended(commands.start("train", SCRIPT, faults=[fault]), 0)
    assert (
        said.count("console.log can't be written (No space left on device); the run goes on") == 1
    )
    assert_as_whole(commands.run, whole)


# -- real ones -------------------------------------------------------------------------------


def test_a_disk_that_is_full_and_freed_again(commands: Commands, whole: StoredRun) -> None:
    """Where the tests may mount one."""
    commands.project.artifacts.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "none", commands.project.artifacts]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a disk")
    try:
        message = failed(commands, sets=("checkpoint.keep=50",))
        assert message[0].endswith(": No space left on device")
        assert 1 < assert_sound(commands.run)["last"] < 15
        again = ["mount", "-o", "remount,size=20m", commands.project.artifacts]
        subprocess.run(again, check=True)
        resumed(commands, whole)
    finally:
        subprocess.run(["umount", commands.project.artifacts], check=True)


@pytest.mark.parametrize("every", [1, 1000], ids=["at a save", "between saves"])
def test_a_run_directory_that_is_deleted(commands: Commands, every: int) -> None:
    sets = (f"checkpoint.every_n_steps={every}", "pause=0.03", "trainer.init.max_epochs=300")
    words = [word for text in sets for word in ("-s", text)]
    process = commands.start("train", SCRIPT, *words)
    wait_for((commands.run.path / "metrics" / "0000.jsonl").exists)
    wait_for(lambda: len(commands.run.rows()) > 1)
    aside = commands.run.path.rename(commands.project.root / "aside")  # in one moment
    said = commands.ended(process, 1)
    assert f"error: run directory {commands.run.path} is gone: it was deleted or moved\n" in said
    assert "Nothing can be saved there any more, so this process stops.\n" in said
    assert "Traceback" not in said
    assert "run directory: " not in said
    assert commands.project.runs() == []
    assert aside.exists()  # with a draft, maybe, which a resume sweeps: it was moved with the rest


@pytest.mark.parametrize("workers", [0, 2])
def test_a_folder_for_temporary_files_that_is_not_there(
    commands: Commands, whole: StoredRun, workers: int
) -> None:
    words = ("train", SCRIPT, "-s", f"num_workers={workers}")
    commands.ended(commands.start(*words, TMPDIR="/nowhere"), 0)
    assert_as_whole(commands.run, whole)


def test_a_folder_for_temporary_files_whose_name_is_too_long_for_sockets(
    commands: Commands, whole: StoredRun, tmp_path: Path
) -> None:
    """Workers hand their batches over through sockets, which lie there."""
    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    commands.ended(commands.start("train", SCRIPT, "-s", "num_workers=2", TMPDIR=str(folder)), 0)
    assert_as_whole(commands.run, whole)
    assert list(folder.iterdir()) == []


def test_a_project_moved_to_another_disk_by_a_link(
    commands: Commands, whole: StoredRun, tmp_path: Path
) -> None:
    """Checkpoints are renamed within their own folder: never across file systems."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    commands.project.artifacts.parent.mkdir()
    commands.project.artifacts.symlink_to(elsewhere)
    fault = {"call": "replace", "path": f"^(?!/{RUN})", "do": "EXDEV"}
    commands.ended(commands.start("train", SCRIPT, faults=[fault]), 0)
    assert_as_whole(commands.run, whole)
