"""What a run is going to be, from options, settings and what other runs recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers import Project
from torch_lab.errors import UsageError
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import read
from torch_lab.tasks.options import TrainOptions
from torch_lab.tasks.plan import interrupted, plan, recorded_plan
from torch_lab.tasks.train import train


@pytest.fixture
def script(project: Project) -> Path:
    project.write("experiments/00_x/__main__.py", "def train_config(config): ...\n")
    return project.write("experiments/00_x/hparams.py", 'hparams = {"config": {"lr": 0.1}}\n')


def stored(project: Project, number: int, **fields: Any) -> RunDirectory:
    directory = project.artifacts / f"00_x-hparams_v{number}"
    directory.mkdir(parents=True)
    record = {
        "format": 1,
        "name": directory.name,
        "id": f"{number:032x}",
        "status": "aborted",
        "created": number,
        "script": "experiments/00_x/hparams.py",
    }
    (directory / "run.json").write_text(json.dumps(record | fields))
    return RunDirectory(directory)


def newest(script: Path, *overrides: str) -> str | None:
    found = interrupted(TrainOptions(script=script, resume="auto", overrides=overrides))
    return found.directory.name if found else None


def test_auto_takes_the_newest_run_begun_alike(project: Project, script: Path) -> None:
    assert newest(script) is None
    stored(project, 0)
    stored(project, 1)
    stored(project, 2, overrides=["lr=0.3"])
    stored(project, 3, status="completed")
    assert newest(script) == "00_x-hparams_v1"
    assert newest(script, "lr=0.3") == "00_x-hparams_v2"
    assert newest(script, "lr=0.4") is None


def test_a_completed_run_is_not_resumed(
    project: Project, script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(project, 0, status="completed")
    monkeypatch.chdir(project.root)
    with pytest.raises(UsageError, match="00_x-hparams_v0 is completed"):
        interrupted(TrainOptions(resume="00_x-hparams_v0"))


def test_a_resumed_run_keeps_what_it_was_begun_with(project: Project, script: Path) -> None:
    directory = stored(project, 0, overrides=["lr=0.3"], dev_run=2)
    found = recorded_plan(directory, read(directory), TrainOptions(resume="00_x"))
    assert found.hparams.config == {"lr": 0.3}
    assert found.options.dev_run == 2
    assert found.experiment.script == script


def test_artifacts_outside_of_the_project(
    project: Project, script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = RunDirectory(stored(project, 0).path.rename(tmp_path / "elsewhere"))
    monkeypatch.chdir(script.parent)
    found = recorded_plan(directory, read(directory), TrainOptions(resume="00_x"))
    assert found.experiment.script == script


def test_a_masked_value_can_not_be_had_again(project: Project, script: Path) -> None:
    directory = stored(project, 0, overrides=["api_token=***"])
    with pytest.raises(UsageError, match="what was masked is not recorded"):
        recorded_plan(directory, read(directory), TrainOptions(resume="00_x"))


def test_the_projects_default_project(project: Project, script: Path) -> None:
    assert plan(script, TrainOptions()).hparams.task.get("project_name") is None
    project.write("pyproject.toml", '[tool.torch-lab]\ndefault-project = "digits"\n')
    assert plan(script, TrainOptions()).hparams.task["project_name"] == "digits"
    script.write_text('hparams = {"task": {"project_name": "own"}}\n')
    assert plan(script, TrainOptions()).hparams.task["project_name"] == "own"


@pytest.mark.parametrize(
    "variables", [{"RANK": "0", "WORLD_SIZE": "2"}, {"LOCAL_RANK": "1"}, {"SLURM_PROCID": "3"}]
)
def test_launchers_that_say_too_little(
    script: Path, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="one of several"):
        train(TrainOptions(script=script))
