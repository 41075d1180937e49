"""Checkpoints of estimators by RUN and by file: of one's own classes, of strangers, of networks."""

from __future__ import annotations

import pickle
import shutil
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import torch_lab
from helpers import Project
from torch_lab.checkpoints import files
from torch_lab.errors import CheckpointUnsafe, UsageError
from torch_lab.estimators.formats.envelope import Envelope
from zygote import Zygote

FOLDER = "lab_project/experiments/00_kinds"
HPARAMS = f"{FOLDER}/hparams.py"
CONFIGURATION = """
    import numpy as np
    import torch
    from sklearn.base import BaseEstimator, TransformerMixin
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from torch import nn

    from torch_lab.callbacks import PredictionWriter
    from torch_lab.data import DataLoader
    from torch_lab.modules import LabModule, TrainLabModule

    X = np.random.default_rng(0).normal(size=(30, 3)).astype("float32")
    DATA = [(x, {"y": int(x[0] > 0)}) for x in X]


    class Scale(TransformerMixin, BaseEstimator):
        def fit(self, x, y=None):
            self.by_ = float(np.abs(x).max())
            return self

        def transform(self, x):
            return x / self.by_


    def built(kind):
        if kind == "own":
            return {"estimator": make_pipeline(Scale(), LogisticRegression())}
        if kind == "net":
            return {"module": LabModule(nn.Linear(3, 2))}
        return {"estimator": LogisticRegression()}


    def train_config(config):
        made = built(config["kind"])
        if "module" in made:
            optimizer = {"optimizer": torch.optim.SGD, "optimizer_kwargs": {"lr": 0.1}}
            made = {"module": TrainLabModule(nn.Linear(3, 2), nn.CrossEntropyLoss(), optimizer)}
        return {**made, "train_dataloaders": DataLoader(DATA, batch_size=10)}


    def infer_config(config, out="out.csv"):
        loader = DataLoader(DATA, batch_size=10)
        return {
            **built(config["kind"]), "predict_dataloaders": loader,
            "callbacks": [PredictionWriter(out)],
        }
"""
SCRIPT = """
    hparams = {
        "trainer": {"init": {"accelerator": "cpu"}, "validate": None},
        "config": {"kind": "plain"},
    }
"""
NET = ["-s", "kind=net", "-s", "trainer.init.max_epochs=1"]


class Kinds(Project):
    """The project, and its runs by kind."""

    zygote: Zygote

    def command(self, *words: str, env: dict[str, str] | None = None) -> tuple[int, str]:
        """The status and the output of a command."""
        log = self.root.parent / "log"
        log.unlink(missing_ok=True)
        status = self.zygote.wait(self.zygote.start(*words, cwd=self.root, log=log, env=env or {}))
        return status, log.read_text()

    def run(self, kind: str) -> torch_lab.Run:
        return torch_lab.runs(self.root).where(kind=kind)[-1]


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory, zygote: Zygote) -> Kinds:
    made = Kinds(tmp_path_factory.mktemp("kinds") / "project")
    made.zygote = zygote
    made.write("pyproject.toml", '[project]\nname = "kinds"\nversion = "0"\n')
    made.write("lab_project/__init__.py", "")
    made.write(f"{FOLDER}/__main__.py", textwrap.dedent(CONFIGURATION))
    made.write(HPARAMS, textwrap.dedent(SCRIPT))
    made.outputs = {}
    for kind, words in (("plain", []), ("own", ["-s", "kind=own"]), ("net", NET)):
        status, output = made.command("train", HPARAMS, *words)
        assert status == 0, output
        made.outputs[kind] = output
    return made


def test_what_needs_trust_is_said_when_it_is_saved(kinds):
    line = "Pipeline has no safe format (lab_project.experiments.00_kinds.__main__.Scale): loading"
    assert kinds.outputs["own"].count(line) == 1
    assert "safe format" not in kinds.outputs["plain"]


def test_ones_own_classes_are_loaded_with_trust_alone(kinds):
    words = ["infer", HPARAMS, "--set", "kind=own", "--checkpoint", kinds.run("own").name]
    status, output = kinds.command(*words)
    assert status == 2
    assert "step-1.ckpt: the checkpoint's estimator is refused: loading it could run" in output
    assert "load it with --trust" in output
    status, output = kinds.command(*words, "--trust")
    assert status == 0, output
    assert len((kinds.root / "out.csv").read_text().splitlines()) == 31


def test_the_fitted_estimator_from_the_record_alone(kinds):
    plain = kinds.run("plain")
    x = np.zeros((2, 3), dtype=np.float32)
    found = plain.load_estimator()
    with torch.no_grad():
        y_pred = plain.load_module()(torch.from_numpy(x))
    assert np.allclose(found.predict_proba(x), y_pred.numpy())
    with pytest.raises(UsageError, match="trained TrainLabModule, which is no estimator") as error:
        kinds.run("net").load_estimator()
    assert error.value.hint == "load_module() rebuilds it."


def test_the_recorded_code_makes_its_own_classes(kinds):
    own = kinds.run("own")
    with pytest.raises(CheckpointUnsafe):
        own.load_estimator()
    found = own.load_estimator(trust=True)
    assert type(found[0]).__module__.startswith("torch_lab.utils.recorded.r")
    assert found[0].by_ > 1


def test_of_a_fetched_run_it_says_how_to_trust(kinds, tmp_path):
    elsewhere = tmp_path / "elsewhere" / kinds.run("plain").name
    shutil.copytree(kinds.run("plain").directory, elsewhere)
    run = torch_lab.runs(elsewhere.parent)[0]
    with pytest.raises(UsageError, match="load_estimator would run the code") as error:
        run.load_estimator()
    assert "load_estimator(trust=True)" in str(error.value)


def test_a_networks_checkpoint_is_no_estimators(kinds):
    place = f"checkpoint.checkpoint_task_id={kinds.run('net').name}"
    words = ["-s", place, "-s", "checkpoint.weights_only=True", "-s", "checkpoint.strict=False"]
    status, output = kinds.command("train", HPARAMS, *words)
    assert status == 2, output
    words = "the checkpoint holds a network's weights, and the code builds LogisticRegression, an"
    assert words in output
    assert "Name a checkpoint of an estimator, or none to begin anew." in output


def test_an_estimators_checkpoint_is_no_networks(kinds):
    plain = kinds.run("plain").name
    status, output = kinds.command("infer", HPARAMS, "--set", "kind=net", "--checkpoint", plain)
    assert status == 2, output
    assert "the checkpoint holds an estimator, and the code builds a network, Linear" in output
    assert "Name a checkpoint of a network, or none to begin anew." in output


@pytest.mark.parametrize("verb", ["train", "infer"])
def test_a_strangers_file_runs_no_code(kinds, tmp_path, verb):
    mark, file = tmp_path / "mark", tmp_path / "strange.ckpt"
    name = "sklearn.linear_model._logistic:LogisticRegression"
    state = Envelope("pickle", name, pickle.dumps(Touching(mark))).pack()
    checkpoint: dict[str, Any] = {"state_dict": {"_extra_state": state}}
    words = ["--checkpoint", str(file)]
    if verb == "train":
        checkpoint = files.load(kinds.run("plain").checkpoint()) | checkpoint
        words = ["-s", f"checkpoint.checkpoint_task_id={file}"]
    files.save(checkpoint, file)
    forced = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
    status, output = kinds.command(verb, HPARAMS, *words, env=forced)
    assert status == 2, output
    assert "strange.ckpt: the checkpoint's estimator is refused" in output
    assert not mark.exists()


class Touching:
    """Touches a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_run_goes_on_with_trust_where_its_estimator_needs_it(kinds):
    name = kinds.run("own").name
    start = ["train", HPARAMS, "-s", "kind=own", "-s", f"checkpoint.checkpoint_task_id={name}"]
    status, output = kinds.command(*start)
    assert status == 2
    assert "it names lab_project.experiments.00_kinds.__main__.Scale" in output
    status, output = kinds.command(*start, "--trust")
    assert status == 0, output
