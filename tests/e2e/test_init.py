"""A project that `lab init` makes trains at once, and its own tests pass."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import Project, names
from torch_lab.experiment import origin
from zygote import Zygote

EXPERIMENTS = "wave_fields/experiments"
PYTEST = "import sys\nimport pytest\n\nsys.exit(pytest.main(sys.argv[1:]))\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, zygote: Zygote) -> Project:
    """A new project whose first experiment was trained, applied and cloned, by commands alone."""
    place = tmp_path_factory.mktemp("wave fields")
    log = place / "log"
    zygote.run("lab", "init", "Wave Fields", cwd=place, log=log)
    project = Project(place / "Wave Fields")

    def do(*words: str) -> None:
        zygote.run(*words, cwd=project.root, log=log)

    script = f"{EXPERIMENTS}/00_shapes/hparams.py"
    do("train", script)
    do("infer", script, "--checkpoint", "00_shapes/hparams:best")
    do("lab", "clone", "00_shapes", "Sharper, still!")
    return project


def test_it_learns_what_it_is_to_learn(made):
    record = made.run("00_shapes-hparams_v0").record
    assert record["status"] == "completed"
    assert record["metrics"]["accuracy/validate"]["max"] > 0.9
    assert names(record["checkpoints"])[-2:] == ["last", "best"]


def test_it_infers_with_what_it_learned(made):
    with (made.root / "data/predictions/00_shapes.csv").open() as file:
        rows = list(csv.DictReader(file))
    chosen = ("circle", "square", "triangle")
    right = [
        max(chosen, key=lambda name: float(row[name])) == chosen[int(row["y"])] for row in rows
    ]
    assert len(right) == 300
    assert sum(right) > 270


def test_its_clone_says_where_it_came_from(made):
    found = origin.read(made.root / EXPERIMENTS / "01_sharper_still")
    assert found is not None
    assert found.path == f"{EXPERIMENTS}/00_shapes"


def test_its_own_tests_pass_for_the_clone_too(made, zygote, tmp_path):
    script, log = tmp_path / "run_pytest.py", tmp_path / "log"
    script.write_text(PYTEST)
    zygote.script(script, "-p", "no:cacheprovider", cwd=made.root, log=log)
    assert "12 passed" in log.read_text()
    assert "warning" not in log.read_text()


@pytest.mark.parametrize("words", [["check"], ["format", "--check"]], ids=lambda words: words[0])
def test_it_is_as_ruff_would_have_it(made, words):
    command = [sys.executable, "-m", "ruff", *words, "--no-cache", "."]
    done = subprocess.run(command, cwd=made.root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_git_takes_only_what_is_code(made):
    done = subprocess.run(["git", "init", "-q"], cwd=made.root, capture_output=True)
    assert done.returncode == 0
    listing = ["git", "ls-files", "--others", "--exclude-standard"]
    files = subprocess.run(listing, cwd=made.root, capture_output=True, text=True).stdout.split()
    assert {Path(name).parts[0] for name in files} == {
        ".gitignore",
        "README.md",
        "pyproject.toml",
        "tests",
        "wave_fields",
    }
    assert not [name for name in files if "__pycache__" in name]
