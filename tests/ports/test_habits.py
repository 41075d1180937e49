"""Ways of people's that a manual doesn't show: they work, or one message says what to change."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from helpers import Project, cut
from torch_lab.errors import ScriptError
from torch_lab.utils import import_script_as_module
from zygote import Zygote

HABITS = Path(__file__).parent / "habits"
RUN = "00_habits-hparams_v0"


def script(experiment: str) -> str:
    return f"mine/experiments/{experiment}/hparams.py"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root = tmp_path / "project"
    shutil.copytree(HABITS, root, ignore=shutil.ignore_patterns("__pycache__"))
    return Project(root)


def test_a_program_with_every_habit(project: Project, zygote: Zygote) -> None:
    log = project.root / "log.txt"
    every = ["-s", "checkpoint.every_n_steps=1", "-s", "checkpoint.keep=100"]
    zygote.run("train", script("00_habits"), *every, cwd=project.root, log=log)
    whole = project.run(RUN)
    said = log.read_text()
    assert f"places {whole.path} {whole.path} {whole.path} {whole.path}\n" in said
    assert "steps 18 6\n" in said
    assert (whole.path / "notes.txt").read_text() == "hello"
    assert (project.root / "data" / "raw" / "x.npy").exists()
    assert whole.record["metrics"]["extra"]["last"] == 1
    assert "can't go on exactly" not in said

    run = cut(whole, 9, project.artifacts / "00_habits-hparams_v100")
    zygote.run("train", "--resume", run.path, cwd=project.root, log=log)
    assert run.weights() == whole.weights()
    assert run.rows() == whole.rows()
    assert "another order" not in log.read_text()


def test_a_parser_that_runs_on_import(project: Project, zygote: Zygote) -> None:
    log = project.root / "log.txt"
    zygote.run("train", script("01_parser"), cwd=project.root, log=log, status=2)
    lines = [
        "error: mine/experiments/01_parser/__main__.py:5: SystemExit: 2",
        "    args = parser.parse_args()",
        "Scripts are imported, not run: values come from hparams, arguments reach infer_config.",
        'Move what ends this one below `if __name__ == "__main__":`, or remove it.',
    ]
    assert "\n".join(lines) in log.read_text()
    assert project.runs() == []


def test_the_other_lightning(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.root)
    monkeypatch.setitem(sys.modules, "lightning", None)  # as where it isn't installed
    with pytest.raises(ScriptError) as caught:
        import_script_as_module(Path(script("02_twin")).with_name("__main__.py"))
    file = "mine/experiments/02_twin/__main__.py"
    assert caught.value.hint is not None
    assert caught.value.hint.splitlines() == [
        "torch-lab uses pytorch_lightning. Change",
        f"  {file}:1: from lightning.pytorch.callbacks import ModelCheckpoint"
        " -> from pytorch_lightning.callbacks import ModelCheckpoint",
        f"  {file}:3: import lightning as L -> import pytorch_lightning as L",
    ]
