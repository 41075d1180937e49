from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from example_project import ROOT
from example_project.preprocess.digits import preprocess
from torch_lab import experiment, hparams
from torch_lab.estimators import EstimatorModule
from zygote import Zygote

EXPERIMENTS = ROOT / "example_project" / "experiments"
SCRIPTS = sorted(
    path for path in EXPERIMENTS.glob("*/*.py") if path.name not in ("__main__.py", "__init__.py")
)


@pytest.fixture
def digits(tmp_path: Path) -> str:
    preprocess(target=tmp_path / "digits")
    return str(tmp_path / "digits")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_script_is_sound_and_builds(script: Path, digits: str) -> None:
    config = {**hparams.load(script).config, "data": digits}
    found = experiment.find(script)
    training = experiment.train_configuration(found, config)
    x, md = next(iter(training.train_dataloaders))
    if isinstance(training.module, EstimatorModule):
        training.module.model.estimator.fit(x.flatten(1).numpy(), md["y"].numpy())
    assert training.module(x).shape == (config["batch_size"], 10)
    assert md["y"].shape == (config["batch_size"],)
    inference = experiment.infer_configuration(found, config, ["out.csv", "validation"])
    assert len(inference.predict_dataloaders.dataset) == len(training.val_dataloaders.dataset)


def test_the_layered_scripts_differ_only_where_they_say() -> None:
    base = hparams.load(EXPERIMENTS / "00_digits" / "hparams.py").as_dict()
    slow = hparams.load(EXPERIMENTS / "00_digits" / "small_lr.py").as_dict()
    assert slow["config"].pop("learning_rate") < base["config"].pop("learning_rate")
    assert slow["trainer"]["init"].pop("max_epochs") > base["trainer"]["init"].pop("max_epochs")
    assert slow == base


@dataclass(frozen=True)
class Shell:
    """Types commands in the repository; runs go to a folder of the test's own."""

    folder: Path
    digits: str
    zygote: Zygote

    def command(self, verb: str, script: str, *arguments: str) -> str:
        path = f"example_project/experiments/{script}.py"
        words = [verb, path, "--set", f"data={self.digits}", *arguments]
        variables = {"TORCH_LAB_ARTIFACTS": str(self.folder / "runs")}
        log = self.folder / "said.txt"
        status = self.zygote.wait(self.zygote.start(*words, cwd=ROOT, log=log, env=variables))
        assert status == 0, log.read_text()
        return log.read_text()

    def record(self, run: str) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads((self.folder / "runs" / run / "run.json").read_text())
        return loaded


def test_train_finetune_infer(tmp_path: Path, digits: str, zygote: Zygote) -> None:
    shell = Shell(tmp_path, digits, zygote)
    shell.command("train", "00_digits/hparams", "--set", "trainer.init.max_epochs=12")
    trained = shell.record("00_digits-hparams_v0")
    assert trained["status"] == "completed"
    assert trained["metrics"]["accuracy/validate"]["last"] > 0.95

    shell.command("train", "00_digits/finetune", "--set", "trainer.init.max_epochs=1")
    tuned = shell.record("00_digits-finetune_v0")
    assert tuned["parent"]["id"] == trained["id"]
    # The first value comes from the validation before fit: of the weights it starts from.
    assert tuned["metrics"]["accuracy/validate"]["min"] > 0.95

    infer_beats_95_percent(shell, "00_digits/hparams")


def test_a_baseline(tmp_path: Path, digits: str, zygote: Zygote) -> None:
    shell = Shell(tmp_path, digits, zygote)
    shell.command("train", "02_digits_baselines/hparams")
    trained = shell.record("02_digits_baselines-hparams_v0")
    assert trained["status"] == "completed"
    assert trained["metrics"]["accuracy/validate"]["last"] > 0.95
    infer_beats_95_percent(shell, "02_digits_baselines/hparams")


def infer_beats_95_percent(shell: Shell, script: str) -> None:
    output = shell.folder / "predictions.csv"
    said = shell.command("infer", script, str(output), "test", "--checkpoint", f"{script}:best")
    rows = list(csv.DictReader(output.read_text().splitlines()))
    right = sum(row["digit"] == row["label"] for row in rows)
    assert right > 0.95 * len(rows)
    assert f"{right} of {len(rows)} digits right; written to {output}" in said
