"""Runs whose configuration returns an estimator: trained, cut, resumed, limited, stopped."""

from __future__ import annotations

import json
import runpy
import signal
import textwrap
import uuid
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import Project
from torch_lab.estimators import formats
from zygote import Zygote

pytest.importorskip("xgboost")

FOLDER = "lab_project/experiments/00_cut"
HPARAMS = f"{FOLDER}/hparams.py"
CONFIGURATION = """
    import os
    import signal
    import time

    import numpy as np
    import pytorch_lightning as pl
    from pytorch_lightning.callbacks import EarlyStopping
    from torchmetrics.classification import MulticlassAccuracy

    from torch_lab.data import DataLoader
    from torch_lab.engine import thrift

    if "PAUSE" in os.environ:  # so that how long a save takes doesn't matter
        thrift._PAUSE = float(os.environ["PAUSE"])


    class Cut(pl.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, index):
            if trainer.global_step == int(os.environ.get("FAIL", -1)):
                raise RuntimeError("a callback fails")
            if trainer.global_step == int(os.environ.get("CUT", -1)):
                os.kill(os.getpid(), getattr(signal, os.environ.get("BY", "SIGKILL")))


    class Endless:
        def fit(self, x, y):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)

        def predict(self, x):
            return np.zeros(len(x), dtype=int)


    def estimator(kind):
        if kind == "endless":
            return Endless()
        if kind.startswith("xgb"):
            from xgboost import XGBClassifier

            if kind == "xgb-eager":
                return XGBClassifier(n_estimators=40, learning_rate=2.0, n_jobs=1)
            sampled = 0.5 if kind == "xgb-drawing" else None
            return XGBClassifier(n_estimators=6, n_jobs=1, subsample=sampled)
        if kind == "gb":
            from sklearn.ensemble import GradientBoostingClassifier

            return GradientBoostingClassifier(n_estimators=6, subsample=0.7, random_state=0)
        if kind == "hgb":
            from sklearn.ensemble import HistGradientBoostingClassifier

            return HistGradientBoostingClassifier(
                learning_rate=1.0, max_iter=40, max_features=0.5, random_state=0
            )
        if kind == "mlp":
            from sklearn.neural_network import MLPClassifier

            return MLPClassifier(5, random_state=0)
        from sklearn.linear_model import LogisticRegression, SGDClassifier

        if kind == "sgd":
            return SGDClassifier(loss="log_loss", random_state=0)
        return LogisticRegression(C=0.5)


    def data():
        rng = np.random.default_rng(0)
        y = np.arange(120) % 3
        x = (rng.normal(size=(120, 6)) * 2 + np.eye(3)[y].repeat(2, axis=1) * 2).astype("float32")
        return [(row, {"y": int(label)}) for row, label in zip(x, y)]


    def train_config(config):
        samples = data()
        callbacks = [Cut()]
        if config["patience"]:
            callbacks.append(EarlyStopping("loss/validate", patience=config["patience"]))
        return dict(
            estimator=estimator(config["kind"]),
            metrics={"accuracy": MulticlassAccuracy(3, average="micro")},
            train_dataloaders=DataLoader(samples[:80], batch_size=32, shuffle=True),
            val_dataloaders=DataLoader(samples[80:], batch_size=32),
            callbacks=callbacks,
        )
    """
SCRIPT = """
    hparams = {"config": {"kind": "logistic", "patience": 0}, "checkpoint": {"every_n_steps": 2}}
    """
SPARING = ("patience=2", "checkpoint.every_n_steps=None")


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory, zygote: Zygote) -> Cuts:
    project = Project(tmp_path_factory.mktemp("estimators") / "project")
    project.write("pyproject.toml", '[project]\nname = "lab-project"\nversion = "0"\n')
    project.write("lab_project/__init__.py", "")
    project.write(f"{FOLDER}/__main__.py", textwrap.dedent(CONFIGURATION))
    project.write(HPARAMS, textwrap.dedent(SCRIPT))
    return Cuts(project, zygote)


class Cuts:
    """Runs of one project, each by its directory."""

    def __init__(self, project: Project, zygote: Zygote) -> None:
        self.project = project
        self._zygote = zygote
        self.said = ""

    def do(self, *words: str, status: int | None = 0, **env: str) -> Path:
        """The command, and the newest run after it."""
        log = self.project.root / f"said-{uuid.uuid4().hex}.txt"
        pid = self._zygote.start(*words, cwd=self.project.root, log=log, env=env)
        found = self._zygote.wait(pid)
        self.said = log.read_text()
        assert status in (None, found), self.said
        artifacts = self.project.root / "data/artifacts"
        return max(artifacts.glob("*00_cut*"), key=lambda path: path.stat().st_ctime_ns)

    def train(self, *sets: str, status: int = 0, **env: str) -> Path:
        options = [word for each in sets for word in ("-s", each)]
        return self.do("train", HPARAMS, *options, status=status, **env)


def record(run: Path) -> dict:
    return json.loads((run / "run.json").read_text())


def kept(run: Path) -> dict[str, dict]:
    return {each["name"]: each for each in record(run)["checkpoints"]}


def probabilities(run: Path, kind: str, name: str = "last") -> np.ndarray:
    """What the estimator in a run's checkpoint predicts."""
    file = kept(run)[name]["file"]
    state = torch.load(run / file, weights_only=True)["state_dict"]["_extra_state"]
    made = runpy.run_path(str(run.parents[2] / FOLDER / "__main__.py"))["estimator"](kind)
    rows = np.random.default_rng(1).normal(size=(200, 6)).astype("float32")
    return formats.load(state, into=made).predict_proba(rows)


PASSES = ("trainer.init.max_epochs=3",)


@pytest.mark.parametrize(
    ("kind", "sets", "at"),
    [
        ("xgb", (), 3),
        ("xgb-drawing", (), 3),
        ("gb", (), 4),
        ("hgb", ("trainer.init.max_epochs=6",), 4),
        ("sgd", PASSES, 5),
        ("mlp", PASSES, 5),
    ],
)
def test_killed_and_resumed_it_ends_as_if_it_never_was(cut, kind, sets, at):
    whole = cut.train(f"kind={kind}", *sets)
    broken = cut.train(f"kind={kind}", *sets, status=-signal.SIGKILL, CUT=str(at))
    assert broken != whole
    assert record(broken)["checkpoints"]
    assert cut.do("train", "--resume", broken.name) == broken
    again = "boosted again" in cut.said
    assert again == (kind == "xgb-drawing")
    assert record(broken)["metrics"] == record(whole)["metrics"]
    assert np.array_equal(probabilities(broken, kind), probabilities(whole, kind))


def test_sigterm_ends_rounds_after_the_one_under_way(cut):
    run = cut.train("kind=xgb", status=128 + signal.SIGTERM, CUT="2", BY="SIGTERM")
    assert record(run)["status"] == "aborted"
    assert record(run)["checkpoints"][-1]["batch"] == 2


def test_sigterm_ends_what_is_fitted_at_once_there_and_then(cut):
    run = cut.train("kind=endless", status=128 + signal.SIGTERM)
    assert record(run)["status"] == "aborted"
    assert not record(run)["checkpoints"]


def test_at_once_a_run_cut_before_its_end_is_trained_from_the_start(cut):
    whole = cut.train("kind=logistic", "seed=3")
    broken = cut.train("kind=logistic", "seed=3", status=-signal.SIGKILL, CUT="1")
    assert not record(broken)["checkpoints"]
    cut.do("train", "--resume", broken.name)
    assert np.array_equal(probabilities(broken, "logistic"), probabilities(whole, "logistic"))


def test_early_stopping_keeps_the_best_round(cut):
    run = cut.train("kind=hgb", "patience=2", "trainer.init.max_epochs=40")
    best, last = kept(run)["best"], kept(run)["last"]
    assert last["batch"] == best["batch"] + 2 < 40
    values = [
        json.loads(line)
        for path in sorted((run / "metrics").glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    shown = [each.get("values", {}) for each in values]
    losses = [each["loss/validate"] for each in shown if "loss/validate" in each]
    assert min(losses) == losses[best["batch"] - 1]


@pytest.mark.parametrize("kind", ["hgb", "xgb-eager"])
def test_what_is_saved_rarely_has_its_best_and_its_last(cut, kind):
    whole = cut.train(f"kind={kind}", "patience=2", "checkpoint.keep=100")
    each = [e["batch"] for e in record(whole)["checkpoints"] if e["name"].startswith("step")]
    assert each == list(range(1, len(each) + 1))
    best = len(each) - 2
    assert best > 1
    run = cut.train(f"kind={kind}", *SPARING, PAUSE="1e9")
    assert {name: e["batch"] for name, e in kept(run).items()} == {
        f"step-{best}": best,
        f"step-{len(each)}": len(each),
        "best": best,
        "last": len(each),
    }
    assert kept(run)["best"]["metrics"] == kept(whole)["best"]["metrics"]
    for name in ("best", "last"):
        assert np.array_equal(probabilities(run, kind, name), probabilities(whole, kind, name))
    _cut_after_the_best(cut, kind, best, whole)


def _cut_after_the_best(cut: Cuts, kind: str, best: int, whole: Path) -> None:
    """A signal has all saved; after a kill the rounds since the last save come once more."""
    at = {"CUT": str(best + 1), "PAUSE": "1e9"}
    stopped = cut.train(f"kind={kind}", *SPARING, status=143, BY="SIGTERM", **at)
    assert (kept(stopped)["best"]["batch"], kept(stopped)["last"]["batch"]) == (best, best + 1)
    failed = cut.train(f"kind={kind}", *SPARING, status=1, FAIL=str(best + 1), PAUSE="1e9")
    assert kept(failed).keys() == {"step-1", f"step-{best}", "best", "last", "crash"}
    assert kept(failed)["best"]["batch"] == best
    assert np.array_equal(probabilities(failed, kind, "best"), probabilities(whole, kind, "best"))
    killed = cut.train(f"kind={kind}", *SPARING, status=-signal.SIGKILL, **at)
    assert kept(killed).keys() in ({"step-1", "best", "last"}, set())  # or amid the first save
    for run in (stopped, failed, killed):
        cut.do("train", "--resume", run.name, PAUSE="1e9")
        assert record(run)["metrics"] == record(whole)["metrics"]
        assert (run / kept(run)["best"]["file"]).name == f"step-{best}.ckpt"
        assert np.array_equal(probabilities(run, kind), probabilities(whole, kind))


def test_a_quick_check_takes_as_many_batches_as_it_is_told(cut):
    run = cut.do("train", "--dev-run", "1", HPARAMS, "-s", "kind=logistic")
    assert run.name == "dev_00_cut-hparams_v0"
    assert record(run)["ledger"]["epochs"][0]["samples"] == 32
    assert "LogisticRegression is trained by fit, at once" in cut.said


def test_limits(cut):
    run = cut.train("kind=xgb", "trainer.init.limit_train_batches=2", "trainer.init.max_steps=3")
    ledger = record(run)["ledger"]
    assert ledger["epochs"][0]["samples"] == 64
    assert sum(each["last"] - each["first"] + 1 for each in ledger["epochs"]) == 3


def test_epochs_of_what_has_none_are_refused(cut):
    cut.train("trainer.init.max_epochs=5", status=2)
    assert "trainer.init.max_epochs: LogisticRegression is trained by fit, at once" in cut.said
