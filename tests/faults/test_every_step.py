"""A run saved at every step and resumed from each of them ends the same, to the last bit."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from helpers import Project, cut
from zygote import Zygote

EXACT = Path(__file__).parent.parent / "projects" / "exact"
SCRIPT = "exact_project/experiments/00_exact/hparams.py"


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        ["scheduler=plateau"],
        ["scheduler=step", "trainer.init.accumulate_grad_batches=2"],
        ["scheduler=epoch", "trainer.init.val_check_interval=2", "num_workers=2"],
        ["scheduler=plateau", "trainer.init.val_check_interval=0.4", "trainer.init.max_steps=13"],
    ],
    ids=["plateau", "accumulation", "mid-epoch validation", "max_steps"],
)
def test_resume_from_every_step(tmp_path: Path, zygote: Zygote, changes: list[str]) -> None:
    project = Project(tmp_path / "project")
    shutil.copytree(EXACT, project.root)
    log = tmp_path / "log.txt"
    sets = [word for change in [*changes, "checkpoint.keep=100"] for word in ("-s", change)]
    zygote.run("train", SCRIPT, *sets, cwd=project.root, log=log)
    whole = project.run("00_exact-hparams_v0")
    weights, rows = whole.weights(), whole.rows()
    batches = [e["batch"] for e in whole.record["checkpoints"] if e["name"].startswith("step-")]
    assert len(batches) >= 13
    for batch in batches[:-1]:
        name = f"00_exact-hparams_v{batch + 100}"
        run = cut(whole, batch, project.artifacts / name)
        zygote.run("train", "--resume", run.path, cwd=project.root, log=log)
        assert run.weights() == weights, f"resumed from batch {batch}"
        assert run.rows() == rows, f"resumed from batch {batch}"
        assert run.record["status"] == "completed"
        shutil.rmtree(run.path)
