"""Checkpoints that are damaged on disk: named, set aside, and the one before goes on exactly."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from exact_runs import SCENARIOS, Trial, checkpoint_files, outcome

from helpers import StoredRun, cut
from zygote import Zygote

pytestmark = pytest.mark.slow


def truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


def zeroed(data: bytes) -> bytes:
    return bytes(len(data))


def zeroed_tail(data: bytes) -> bytes:
    """As a power cut leaves a file whose length was written before its contents."""
    return data[:-4096] + bytes(4096)


def flipped(data: bytes) -> bytes:
    return data[:1500] + bytes([data[1500] ^ 4]) + data[1501:]


def emptied(data: bytes) -> bytes:
    return b""


DAMAGES = (truncated, zeroed, zeroed_tail, flipped, emptied)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, zygote: Zygote) -> Trial:
    """A run of which every checkpoint is kept."""
    trial = Trial(
        tmp_path_factory.mktemp("whole") / "whole",
        zygote,
        ["checkpoint.keep=100", *SCENARIOS["plateau"]],
    )
    trial.finish()
    return trial


def damage(path: Path, how: Callable[[bytes], bytes]) -> None:
    """Put damaged bytes in its place; links to the file keep what they have."""
    data = how(path.read_bytes())
    path.unlink()
    path.write_bytes(data)


def interrupted(whole: Trial, root: Path) -> tuple[Trial, StoredRun]:
    """A copy of the run as it was when it was killed after batch 8."""
    trial = Trial(root, whole.zygote, [])
    name = whole.run().path.name
    trial.project.artifacts.mkdir(parents=True)
    return trial, cut(whole.run(), 8, trial.project.artifacts / name)


@pytest.mark.parametrize("how", DAMAGES)
def test_the_newest(tmp_path: Path, whole: Trial, how: Callable[[bytes], bytes]) -> None:
    trial, run = interrupted(whole, tmp_path / "project")
    damage(run.path / "checkpoints/step-8.ckpt", how)
    assert outcome(trial.finish()) == outcome(whole.run()), trial.said()
    assert "step-8.ckpt is damaged: " in trial.said()
    assert "; set aside as step-8.ckpt.damaged\n" in trial.said()
    assert "from step-7.ckpt (epoch 1, batch 7)" in trial.said()
    assert (run.path / "checkpoints/step-8.ckpt.damaged").exists()


def test_several_and_some_gone(tmp_path: Path, whole: Trial) -> None:
    trial, run = interrupted(whole, tmp_path / "project")
    for batch, how in zip((8, 7, 6), DAMAGES, strict=False):
        damage(run.path / f"checkpoints/step-{batch}.ckpt", how)
    (run.path / "checkpoints/step-5.ckpt").unlink()
    assert outcome(trial.finish()) == outcome(whole.run()), trial.said()
    assert "checkpoints/step-5.ckpt is gone\n" in trial.said()
    assert "from step-4.ckpt (epoch 0, batch 4)" in trial.said()


def test_all_of_them(tmp_path: Path, whole: Trial) -> None:
    trial, run = interrupted(whole, tmp_path / "project")
    for path in checkpoint_files(run):
        damage(path, flipped)
    assert outcome(trial.finish()) == outcome(whole.run()), trial.said()
    assert "from the start: it has no checkpoint" in trial.said()


def test_one_that_training_s_end_saved_again_is_not_taken_for_damaged(
    tmp_path: Path, zygote: Zygote
) -> None:
    trial = Trial(tmp_path / "project", zygote, ["ema=True"])  # its end puts the average in place
    run = trial.finish()
    expected, record = outcome(run), run.record
    for entry in record["checkpoints"]:
        if entry["file"].endswith("step-15.ckpt"):
            entry["sha256"] = "0" * 64  # killed before the new one was listed
    (run.path / "run.json").write_text(json.dumps(record | {"status": "running"}))
    assert outcome(trial.finish()) == expected
    assert "damaged" not in trial.said()
    assert "from step-15.ckpt" in trial.said()


def test_a_journal_with_torn_and_zeroed_ends(tmp_path: Path, whole: Trial) -> None:
    for name, tail in (("torn", b'{"t":1795282770.5,"batch":9,"st'), ("zeroed", bytes(512))):
        trial, run = interrupted(whole, tmp_path / name)
        with (run.path / "metrics/0000.jsonl").open("ab") as file:
            file.write(tail)
        assert outcome(trial.finish()) == outcome(whole.run()), trial.said()
        shutil.rmtree(tmp_path / name)
