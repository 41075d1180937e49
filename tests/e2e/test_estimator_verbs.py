"""Every verb on runs of estimators, in the project tests/projects/fitted."""

from __future__ import annotations

import csv
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_project import Lab, Outcome

from zygote import Zygote

FITTED = Path(__file__).parents[1] / "projects" / "fitted"
HPARAMS = "fitted/experiments/00_fitted/hparams.py"
LINEAR, BOOSTED, OWN = (f"00_fitted-hparams_v{number}" for number in range(3))


def train(lab: Lab, *sets: str) -> Outcome:
    words = [word for each in sets for word in ("-s", each)]
    return lab.do("train", HPARAMS, *words)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, zygote: Zygote) -> Lab:
    """A run of each kind: fitted at once, in rounds, of a class of one's own; tests read them."""
    root = tmp_path_factory.mktemp("fitted") / "project"
    shutil.copytree(FITTED, root, ignore=shutil.ignore_patterns("__pycache__"))
    lab = Lab(root, zygote)
    done = [train(lab), train(lab, "kind=boosted"), train(lab, "kind=own")]
    assert [each.status for each in done] == [0, 0, 0], "\n".join(each.err for each in done)
    return lab


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def infer(lab: Lab, run: str, *words: str) -> Outcome:
    kind = {LINEAR: "linear", BOOSTED: "boosted", OWN: "own"}[run]
    return lab.do("infer", HPARAMS, *words, "--checkpoint", run, "--set", f"kind={kind}")


def points(lab: Lab) -> torch.Tensor:
    """What infer_config predicts on: the same numbers, from the same generator."""
    colors = torch.arange(10) % 3
    drawn = torch.randn(10, 2, 2, generator=torch.Generator().manual_seed(3))
    return (drawn + colors.view(-1, 1, 1)).flatten(1)


# -- infer -----------------------------------------------------------------------------------


def test_predictions_are_written_in_order(trained: Lab, tmp_path: Path) -> None:
    written = []
    for run, given in ((LINEAR, "loaders"), (LINEAR, "with names"), (BOOSTED, "arrays")):
        out = tmp_path / f"{given}.csv"
        done = infer(trained, run, str(out), given)
        assert done.status == 0, done.err
        assert f"weights from data/artifacts/{run}/checkpoints/" in done.err
        written.append(rows(out))
    loaded, named, boosted = written
    colors = [row["color"] for row in loaded]
    assert len(colors) == len(boosted) == 10
    assert {row["color"] for row in loaded + boosted} <= {"0", "1", "2"}
    assert [row["color"] for row in named] == colors
    assert [row["name"] for row in named] == [f"point {number}" for number in range(10)]


def test_an_estimator_of_ones_own_needs_trust(trained: Lab, tmp_path: Path) -> None:
    out = tmp_path / "colors.csv"
    done = infer(trained, OWN, str(out))
    assert (done.status, out.exists()) == (2, False)
    assert "--trust" in done.err
    done = infer(trained, OWN, str(out), "", "--trust")
    assert done.status == 0, done.err
    assert len(rows(out)) == 10


def test_an_estimator_without_a_checkpoint_is_not_fitted(trained: Lab, tmp_path: Path) -> None:
    done = trained.do("infer", HPARAMS, str(tmp_path / "colors.csv"), "--checkpoint", "none")
    assert done.status == 2
    assert "is not fitted" in done.err
    assert "--checkpoint RUN" in done.err


def test_several_devices_are_refused(trained: Lab, tmp_path: Path) -> None:
    words = ("--checkpoint", LINEAR, "--set", "trainer.init.devices=2")
    done = trained.do("infer", HPARAMS, str(tmp_path / "colors.csv"), *words)
    assert done.status == 2
    assert "trainer.init.devices: 2; an estimator is trained by one process\n" in done.err


# -- looking at runs -------------------------------------------------------------------------


def test_show_says_what_was_fitted_and_how(trained: Lab) -> None:
    shown = {run: trained.do("lab", "show", run).out for run in (LINEAR, BOOSTED, OWN)}
    lines = {
        run: next(line.split(None, 1)[1] for line in text.splitlines() if "  estimator " in line)
        for run, text in shown.items()
    }
    assert lines[LINEAR].startswith("sklearn.pipeline.Pipeline, ")
    assert lines[BOOSTED].startswith("xgboost.XGBClassifier, ")
    assert "rounds" in lines[BOOSTED]
    assert lines[OWN].startswith("fitted.experiments.00_fitted.__main__.Nearest, ")
    script = trained.do("lab", "show", HPARAMS)
    assert script.status == 0
    assert "config.kind" in script.out


def test_runs_are_ranked_by_what_they_have_in_common(trained: Lab) -> None:
    done = trained.do("lab", "runs", "--best", "accuracy/validate", "--limit", "3", "--json")
    found = json.loads(done.out)
    values = [each["metrics"]["accuracy/validate"]["max"] for each in found]
    assert values == sorted(values, reverse=True)
    assert len(values) == 3
    chosen = trained.do("lab", "runs", "estimator.class~XGB", "--json")
    assert [each["name"] for each in json.loads(chosen.out)] == [BOOSTED]


def test_diff_names_the_classes(trained: Lab) -> None:
    done = trained.do("lab", "diff", LINEAR, BOOSTED)
    assert done.status in (0, 1), done.err
    line = next(each for each in done.out.splitlines() if "estimator" in each)
    assert "sklearn.pipeline.Pipeline" in line
    assert "XGBClassifier" in line


def test_rounds_are_curves(trained: Lab, tmp_path: Path) -> None:
    out = tmp_path / "curves.html"
    done = trained.do("lab", "plot", LINEAR, BOOSTED, "--out", out)
    assert done.status == 0, done.err
    assert "accuracy/validate" in out.read_text()
    journal = (trained.artifacts / BOOSTED / "metrics" / "0000.jsonl").read_text().splitlines()
    logged = [json.loads(line).get("values", {}) for line in journal]
    assert sum("accuracy/validate" in each for each in logged) == 4


# -- before training -------------------------------------------------------------------------


def test_preview_shows_the_data_of_an_estimator(trained: Lab, tmp_path: Path) -> None:
    out = tmp_path / "batch.png"
    done = trained.do("lab", "preview", HPARAMS, "--out", out)
    assert (done.status, out.exists()) == (0, True), done.err
    assert "60 samples" in done.out
    words = ("--split", "predict", "--out", out)
    assert "classes of train: 60 samples, by get_raw_label" in done.out
    for given in ("", "arrays"):
        done = trained.do("lab", "preview", HPARAMS, *words, "colors.csv", given)
        assert done.status == 0, done.err
        assert "10" in done.out


def test_check_tries_an_estimator_on_some_samples(trained: Lab) -> None:
    for kind in ("linear", "boosted"):
        done = trained.do("lab", "check", HPARAMS, "--set", f"kind={kind}", "--json")
        assert done.status == 0, done.err
        (report,) = json.loads(done.out)
        assert [each for each in report["findings"] if each["level"] != "note"] == []
        assert report["facts"]["stages"] == ["train", "validate", "test", "predict"]
        assert "accuracy/validate" in report["facts"]["logged"]


# -- export ----------------------------------------------------------------------------------


def test_a_pipeline_is_exported_as_skops(trained: Lab, tmp_path: Path) -> None:
    import skops.io

    out = tmp_path / "linear.skops"
    done = trained.do("lab", "export", LINEAR, "--out", out)
    assert (done.status, done.err) == (0, "")
    assert "sklearn.pipeline.Pipeline" in done.out
    assert "equal, bit for bit" in done.out
    assert 'skops.io.load("linear.skops")' in done.out
    model = skops.io.load(out)
    written = tmp_path / "colors.csv"
    assert infer(trained, LINEAR, str(written)).status == 0
    colors = [int(row["color"]) for row in rows(written)]
    assert model.predict(points(trained).numpy()).tolist() == colors
    with zipfile.ZipFile(out) as archive:
        about = json.loads(archive.read("torch-lab.json"))
    assert about["run"] == LINEAR
    assert about["versions"].keys() >= {"scikit-learn", "skops"}


def test_xgboost_is_exported_as_ubj(trained: Lab, tmp_path: Path) -> None:
    from xgboost import XGBClassifier

    out = tmp_path / "boosted.ubj"
    done = trained.do("lab", "export", BOOSTED, "--out", out)
    assert (done.status, done.err) == (0, "")
    assert "equal, bit for bit" in done.out
    model = XGBClassifier()
    model.load_model(out)
    written = tmp_path / "colors.csv"
    assert infer(trained, BOOSTED, str(written)).status == 0
    colors = [int(row["color"]) for row in rows(written)]
    assert np.asarray(model.predict(points(trained).numpy())).tolist() == colors
    assert json.loads(model.get_booster().attr("torch-lab"))["run"] == BOOSTED


@pytest.mark.parametrize(
    ("run", "name", "said"),
    [
        (LINEAR, "x.pt2", "has fitted Pipeline, which no .pt2 file can hold\n--out FILE.skops"),
        (LINEAR, "x.ubj", "has fitted Pipeline, which no .ubj file can hold\n--out FILE.skops"),
        (BOOSTED, "x.safetensors", "no .safetensors file can hold\n--out FILE.ubj"),
    ],
)
def test_other_files_are_refused(
    trained: Lab, tmp_path: Path, run: str, name: str, said: str
) -> None:
    done = trained.do("lab", "export", run, "--out", tmp_path / name)
    assert (done.status, list(tmp_path.iterdir())) == (2, [])
    assert said in done.err
    assert done.err.count("\n") == 2
