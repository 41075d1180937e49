"""Real trainings that record: what is kept, what TensorBoard shows, and after a kill the same."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import recording_helpers as board

from helpers import Project, StoredRun, wait_for
from recording.test_machine_use import BOTH, SMI
from torch_lab.recording.items import items
from torch_lab.recording.machine import samples
from torch_lab.store.paths import RunDirectory
from zygote import Zygote

RECORDED = Path(__file__).parent.parent / "projects" / "recorded"
SCRIPT = "recorded/experiments/00_all/hparams.py"
RUN = "00_all-hparams_v0"
ON = {"TORCH_LAB_TENSORBOARD": "true", "TORCH_LAB_MACHINE_USE_SECONDS": "0.2"}


@dataclass(frozen=True)
class Lab(Project):
    """A copy of the project that records."""

    zygote: Zygote

    def do(self, *words: str, env: dict[str, str] | None = None, status: int = 0) -> str:
        log = self.root / "log"
        log.unlink(missing_ok=True)
        pid = self.zygote.start(*words, cwd=self.root, log=log, env=env)
        assert self.zygote.wait(pid) == status, log.read_text()
        return log.read_text()

    @property
    def kept(self) -> StoredRun:
        return self.run(RUN)


@pytest.fixture
def lab(tmp_path: Path, zygote: Zygote) -> Lab:
    shutil.copytree(RECORDED, tmp_path / "lab", ignore=shutil.ignore_patterns("__pycache__"))
    return Lab(tmp_path / "lab", zygote)


def facts(run: StoredRun) -> list[tuple[Any, ...]]:
    return [
        (item.batch, item.step, item.epoch, item.kind, item.name, item.file, item.caption)
        for item in items(RunDirectory(run.path))
    ]


def shown(run: StoredRun) -> dict[str, Any]:
    """What TensorBoard shows of a run, but for the machine's use."""
    folder = run.path / "tensorboard"
    return {
        "scalars": {k: v for k, v in board.scalars(folder).items() if "machine/" not in k},
        "images": {tag: board.images(folder, tag) for tag in board.tags(folder, "images")},
        "weights": board.histograms(folder, "board/weights"),
        "building": board.texts(folder, "building"),
        "captions": board.texts(folder, "seen/caption"),
    }


def names(run: StoredRun) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for batch, _, _, _, name, *_ in facts(run):
        found.setdefault(name, []).append(batch)
    return found


def companions_of(run: StoredRun) -> list[str]:
    """The companion processes of a run that live."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):  # elsewhere there are none to be seen
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if "recording.companion" in words and str(run.path) in words:
            found.append(process.name)
    return found


def fake_gpus(folder: Path) -> str:
    folder.mkdir()
    script = folder / "nvidia-smi"
    script.write_text(SMI.format(log=folder / "log"))
    script.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_killed_and_resumed_it_is_as_if_nothing_had_been(
    tmp_path: Path, zygote: Zygote, lab: Lab
) -> None:
    whole = Lab(tmp_path / "whole", zygote)
    shutil.copytree(lab.root, whole.root)
    path = fake_gpus(tmp_path / "bin")
    whole.do("train", SCRIPT, env=ON | {"PATH": path, "CUDA_VISIBLE_DEVICES": "0,1"})
    kept = whole.kept

    assert names(kept) == {
        "building": [0],
        "start": [1],
        "first": [0, 0, 4, 4, 8, 8, 12, 12],
        "board/image": [0, 4, 8, 12],
        "board/figure": [0, 4, 8, 12],
        "seen": [1, 4, 7, 10],
        "code": [12],
        "tested": [13],
    }
    assert [row for row in kept.rows() if "board/scalar" in row[3]][1][:2] == (4, 0)
    board_shows = shown(kept)
    assert [step for step, _ in board_shows["images"]["board/image"]] == [0, 0, 1, 2]
    assert board_shows["weights"] == [0, 0, 1, 2]
    assert [text for _, text in board_shows["captions"]] == [
        "batch 0", "batch 3", "batch 2", "batch 1",
    ]  # fmt: skip
    assert [value for _, value in board_shows["scalars"]["out"]] == [
        row[3]["out"] for row in kept.rows() if "out" in row[3]
    ]
    (*_, last) = samples(RunDirectory(kept.path))
    assert last.values.items() >= BOTH.items()
    assert "training_memory_bytes" in last.values
    assert "machine/gpu0_percent" in board.tags(kept.path / "tensorboard")

    said = lab.do("train", SCRIPT, "-s", "kill_at=9", env=ON, status=-9)
    assert "warning" not in said
    wait_for(lambda: not companions_of(lab.kept))
    before = shown(lab.kept)["scalars"]["by hand"]
    assert before == board_shows["scalars"]["by hand"][:3]
    lab.do("train", "--resume", RUN, env=ON)
    assert facts(lab.kept) == facts(kept)
    files = [
        sorted(str(p.relative_to(r.path)) for p in (r.path / "media").rglob("*.*"))
        for r in (lab.kept, kept)
    ]
    assert [name for name in files[0] if name != "media/0001.jsonl"] == files[1]
    assert shown(lab.kept) == board_shows
    assert len(list((lab.kept.path / "tensorboard").iterdir())) == 1
    assert companions_of(lab.kept) == []


def test_workers_and_inference_record_nothing(lab: Lab) -> None:
    lab.do("train", SCRIPT, "-s", "num_workers=2", "-s", "pause=0.05")
    run = lab.kept
    assert "from a worker" not in names(run)
    assert not (run.path / "tensorboard").exists()
    assert not (run.path / "machine").exists()
    everything = sorted(lab.artifacts.rglob("*"))
    lab.do("infer", SCRIPT, "--checkpoint", RUN, env=ON)
    assert sorted(lab.artifacts.rglob("*")) == everything


def test_a_mistake_is_said_with_its_line_and_the_record_is_closed(lab: Lab) -> None:
    said = lab.do("train", SCRIPT, "-s", "mistake=true", env=ON, status=2)
    script = lab.root / "recorded" / "experiments" / "00_all" / "__main__.py"
    lines = script.read_text().splitlines()
    line = next(n for n, text in enumerate(lines, 1) if '"wrong"' in text)
    assert "error: record().image('wrong'): a Tensor of shape 3x4x4" in said
    assert f"at {script.relative_to(lab.root)}:{line}: " in said
    assert "expected 0 to 1 in an image" in said
    assert "Scale it, or cut it off: image.clamp(0, 1)." in said
    assert lab.kept.record["status"] == "failed"
    assert "by hand" in board.scalars(lab.kept.path / "tensorboard")
    assert companions_of(lab.kept) == []


def test_a_companion_that_breaks_is_said_and_training_goes_on(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "wrong" / "tensorboard").mkdir(parents=True)
    (tmp_path / "wrong" / "tensorboard" / "__init__.py").write_text("raise RuntimeError('broken')")
    env = ON | {"PYTHONPATH": f"{tmp_path / 'wrong'}:{os.environ.get('PYTHONPATH', '')}"}
    said = lab.do("train", SCRIPT, "-s", "pause=0.2", env=env)
    assert said.count("warning: nothing more is written for TensorBoard") == 1
    assert "RuntimeError: broken (training goes on)" in said
    assert lab.kept.record["status"] == "completed"
