"""A run saved at every step and resumed from each of them ends the same, to the last bit."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from exact_runs import EXACT, SCRIPT, outcome

from helpers import Project, cut
from zygote import Zygote


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        ["scheduler=step", "trainer.init.accumulate_grad_batches=2"],
        ["scheduler=epoch", "trainer.init.val_check_interval=2", "num_workers=2"],
        ["scheduler=plateau", "trainer.init.val_check_interval=0.4", "trainer.init.max_steps=13"],
    ],
    ids=["accumulation", "mid-epoch validation", "plateau and max_steps"],
)
def test_resume_from_every_step(tmp_path: Path, zygote: Zygote, changes: list[str]) -> None:
    project = Project(tmp_path / "project")
    shutil.copytree(EXACT, project.root)
    log = tmp_path / "log.txt"
    sets = [word for change in [*changes, "checkpoint.keep=100"] for word in ("-s", change)]
    zygote.run("train", SCRIPT, *sets, cwd=project.root, log=log)
    whole = project.run("00_exact-hparams_v0")
    expected = outcome(whole)
    batches = [e["batch"] for e in whole.record["checkpoints"] if e["name"].startswith("step-")]
    assert len(batches) >= 13
    for batch in batches[:-1]:
        name = f"00_exact-hparams_v{batch + 100}"
        run = cut(whole, batch, project.artifacts / name)
        zygote.run("train", "--resume", run.path, cwd=project.root, log=log)
        assert outcome(run) == expected, f"resumed from batch {batch}"
        assert run.record["status"] == "completed"
        shutil.rmtree(run.path)
