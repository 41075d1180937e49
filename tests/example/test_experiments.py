from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from example_project import ROOT
from example_project.preprocess.digits import preprocess
from torch_lab import experiment, hparams
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


def test_train_finetune_infer(tmp_path: Path, digits: str, zygote: Zygote) -> None:
    log = tmp_path / "said.txt"

    def command(verb: str, script: str, *arguments: str) -> str:
        path = f"example_project/experiments/00_digits/{script}.py"
        words = [verb, path, "--set", f"data={digits}", *arguments]
        variables = {"TORCH_LAB_ARTIFACTS": str(tmp_path / "runs")}
        status = zygote.wait(zygote.start(*words, cwd=ROOT, log=log, env=variables))
        assert status == 0, log.read_text()
        return log.read_text()

    def record(run: str) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads((tmp_path / "runs" / run / "run.json").read_text())
        return loaded

    command("train", "hparams", "--set", "trainer.init.max_epochs=12")
    trained = record("00_digits-hparams_v0")
    assert trained["status"] == "completed"
    assert trained["metrics"]["accuracy/validate"]["last"] > 0.95

    command("train", "finetune", "--set", "trainer.init.max_epochs=1")
    tuned = record("00_digits-finetune_v0")
    assert tuned["parent"]["id"] == trained["id"]
    # The first value comes from the validation before fit: of the weights it starts from.
    assert tuned["metrics"]["accuracy/validate"]["min"] > 0.95

    output = tmp_path / "predictions.csv"
    said = command(
        "infer", "hparams", str(output), "test", "--checkpoint", "00_digits/hparams:best"
    )
    rows = list(csv.DictReader(output.read_text().splitlines()))
    right = sum(row["digit"] == row["label"] for row in rows)
    assert right > 0.95 * len(rows)
    assert f"{right} of {len(rows)} digits right; written to {output}" in said
