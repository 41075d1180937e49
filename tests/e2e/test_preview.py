"""`lab preview`, the command."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_project import Lab

from torch_lab.tasks.preview.batches import leaves, statistics

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "tests" / "projects" / "previewed"
KINDS = "previewed/experiments/00_kinds/hparams.py"
TRAINED = "previewed/experiments/01_trained/hparams.py"


@pytest.fixture
def previewed(tmp_path, zygote) -> Lab:
    root = tmp_path / "my project"
    shutil.copytree(PROJECT, root, ignore=shutil.ignore_patterns("__pycache__"))
    return Lab(root, zygote)


def made(lab: Lab) -> list[str]:
    """The files that are not the project's own."""
    files = (path.relative_to(lab.root) for path in lab.root.rglob("*") if path.is_file())
    own = {"previewed", "said"}
    return sorted(map(str, (path for path in files if path.parts[0] not in own)))


def test_it_says_what_there_is_and_draws_it(previewed):
    done = previewed.do("lab", "preview", KINDS, env={"COLUMNS": "60"})
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[1].split()[:2] == ["train", "40"]
    assert "classes of train: 40 samples, by get_raw_label" in lines
    file = "data/previews/00_kinds-hparams-train.png"
    assert lines[-1] == f"{file}: 16 of 20 samples"
    assert max(map(len, lines)) <= 60
    assert made(previewed) == [file, "pyproject.toml"]  # nothing is recorded
    with Image.open(previewed.root / file) as image:
        assert image.width > 600


def test_for_other_programs(previewed):
    words = ["--split", "val", "-n", "3", "-s", "kind=spoiled", "--json", "--out", "a b/c.png"]
    done = previewed.do("lab", "preview", KINDS, *words)
    assert done.status == 0, done.err
    data = json.loads(done.out)
    assert data["split"] == "val"
    assert data["file"] == str(previewed.root / "a b" / "c.png")
    (batch,) = data["batches"]
    assert (batch["drawn"], batch["samples"], batch["label"]) == (3, 5, "md.y")
    (x,) = [each for each in batch["contents"] if each["name"] == "x"]
    assert (x["shape"], x["nans"]) == ([5, 3, 24, 24], 240)
    assert made(previewed) == ["a b/c.png", "pyproject.toml"]


@pytest.mark.parametrize("workers", [0, 1])
def test_the_batch_is_the_first_that_a_run_is_trained_on(previewed, workers):
    """Shuffled, drawn at random and changed by a hook, whatever fetches it."""
    previewed.do("train", TRAINED)
    done = previewed.do("lab", "preview", TRAINED, "--json", "-s", f"workers={workers}")
    assert done.status == 0, done.err
    contents = {each["name"]: each for each in json.loads(done.out)["batches"][0]["contents"]}
    batch = torch.load(previewed.root / "first.pt")
    for leaf in leaves([batch]):
        trained = statistics(leaf)
        assert contents[leaf.path]["mean"] == trained.mean
        assert (contents[leaf.path]["low"], contents[leaf.path]["high"]) == (
            trained.low,
            trained.high,
        )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "which hyperparameter script?\ntype `lab preview HPARAMS`"),
        ([KINDS, "--split", "vall"], '--split vall: no such split\ndid you mean "val"?'),
        ([KINDS, "3"], "lab preview takes one script, got"),
        ([KINDS, "3"], "only with --split predict there may be more words, for infer_config"),
        ([KINDS, "--out", "x.jpg"], "--out takes a .png file, got x.jpg\nwrite `--out x.png`"),
        ([KINDS, "--out", "folder.png"], "--out folder.png: this is a folder"),
        ([KINDS, "-n", "257"], "--samples takes 256 at most, got 257"),
        ([KINDS, "-n", "few"], "--samples takes a positive number"),
        ([KINDS, "-s", "knid=images"], 'did you mean "kind"?'),
        ([KINDS, "--out", "pyproject.toml/x.png"], "pyproject.toml/x.png"),
        (["nothing.py"], "nothing.py does not exist"),
    ],
)
def test_mistakes_are_said_and_nothing_is_drawn(previewed, words, message):
    (previewed.root / "folder.png").mkdir()
    done = previewed.do("lab", "preview", *words)
    assert done.status == 2, done.err
    assert message in done.err
    assert "Traceback" not in done.err
    assert made(previewed) == ["pyproject.toml"]


def test_an_error_in_a_dataset_is_shown_where_it_is(previewed):
    path = previewed.root / KINDS.replace("hparams.py", "__main__.py")
    path.write_text(path.read_text().replace("return self.x[md", "return self.xx[md"))
    done = previewed.do("lab", "preview", KINDS)
    assert done.status == 1
    assert "previewed/experiments/00_kinds/__main__.py" in done.err
    assert "has no attribute 'xx'" in done.err
    assert "while loading sample" in done.err


def test_the_picture_of_the_page(tmp_path, zygote):
    """That of the example's digits; TORCH_LAB_PICTURES=1 puts it into docs/pictures/."""
    root = tmp_path / "digits"
    root.mkdir()
    shutil.copy(ROOT / "pyproject.toml", root)
    shutil.copytree(ROOT / "data" / "raw", root / "data" / "raw")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "example_project", root / "example_project", ignore=ignored)
    lab = Lab(root, zygote)
    log = tmp_path / "log"
    zygote.script(root / "example_project/preprocess/digits.py", cwd=root, log=log)
    script = "example_project/experiments/00_digits/hparams.py"
    done = lab.do("lab", "preview", script, "--out", "preview.png")
    assert done.status == 0, done.err
    with Image.open(root / "preview.png") as image:
        picture = np.asarray(image.convert("L"))
    assert 0.1 < (picture < 100).mean() < 0.9
    if os.environ.get("TORCH_LAB_PICTURES") == "1":
        shutil.copy(root / "preview.png", ROOT / "docs" / "pictures")
