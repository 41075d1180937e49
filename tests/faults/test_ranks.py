"""Two processes: one run, one record; killed and resumed, the same run."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from helpers import Project, kill, wait_for

EXACT = Path(__file__).parent.parent / "projects" / "exact"
SCRIPT = "exact_project/experiments/00_exact/hparams.py"


@pytest.mark.slow
def test_two_ranks_are_one_run(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    shutil.copytree(EXACT, project.root)
    sets = ["-s", "trainer.init.devices=2", "-s", "trainer.init.strategy=ddp", "-s", "pause=0.01"]
    project.command("train", SCRIPT, *sets)
    assert project.runs() == ["00_exact-hparams_v0"]
    whole = project.run("00_exact-hparams_v0")
    assert whole.record["status"] == "completed"
    assert len(whole.checkpoint()["torch_lab"]["ranks"]) == 2
    assert (whole.path / "console.1.log").exists()
    (segment,) = (whole.path / "metrics").iterdir()
    assert len(whole.rows()) == len(segment.read_text().splitlines()) - 1  # none twice

    cut = project.run("00_exact-hparams_v1")
    process = project.start("train", SCRIPT, *sets)
    wait_for(lambda: list((cut.path / "checkpoints").glob("step-4.ckpt")))
    kill(process, signal.SIGKILL)
    project.command("train", "--resume", cut.path.name)
    assert cut.record["status"] == "completed"
    assert cut.weights() == whole.weights()
    assert cut.rows() == whole.rows()
    assert project.runs() == [whole.path.name, cut.path.name]
