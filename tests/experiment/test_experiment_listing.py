"""The experiments of a project, and where a cloned one came from."""

from __future__ import annotations

import pytest

from helpers import Project
from torch_lab.experiment import origin
from torch_lab.experiment.listing import experiments, number_of, scripts
from torch_lab.experiment.origin import Origin, OriginRun

HPARAMS = "hparams = {}\n"


def add(project: Project, folder: str, script: str = HPARAMS) -> None:
    project.write(f"{folder}/__main__.py", "")
    project.write(f"{folder}/hparams.py", script)


def names(project: Project) -> list[str]:
    return [path.relative_to(project.root).as_posix() for path in experiments(project.root)]


def test_they_are_found_in_the_order_of_their_numbers(project):
    for name in ("100_c", "9_b", "00_a", "00_z"):
        add(project, f"lab_project/experiments/{name}")
    add(project, "plain")
    found = [name.rpartition("/")[2] for name in names(project)]
    assert found == ["00_a", "00_z", "plain", "9_b", "100_c"]


@pytest.mark.parametrize(
    "folder", [".hidden/00_a", "data/00_a", ".venv/lib/00_a", "node_modules/00_a", "__pycache__/a"]
)
def test_nothing_is_looked_for_where_no_code_is(project, folder):
    add(project, folder)
    assert names(project) == []


def test_a_project_within_the_project_has_its_own(project):
    add(project, "other/experiments/00_a")
    assert names(project) == ["other/experiments/00_a"]
    project.write("other/pyproject.toml", "")
    assert names(project) == []


def test_a_folder_without_hyperparameters_is_none(project):
    add(project, "lab_project/tool", "values = {}\n")
    project.write("lab_project/half/hparams.py", HPARAMS)
    assert names(project) == []


@pytest.mark.parametrize(
    "text",
    [
        "hparams = {}",
        "hparams: dict[str, object] = {}",
        "from lab_project.values import hparams",
        'hparams["config"] = 3',
    ],
)
def test_scripts_are_those_that_name_hparams(project, text):
    add(project, "00_a")
    project.write("00_a/b.py", f'"""A text."""\n{text}\n')
    project.write("00_a/a.py", "# hparams = {}\n")
    assert scripts(project.root / "00_a") == ["hparams", "b"]


def test_numbers():
    assert [number_of(name) for name in ("007_a", "0_b", "x", "7", "7-a")] == [
        7,
        0,
        None,
        None,
        None,
    ]


def test_an_origin_is_read_as_it_was_written(tmp_path):
    written = Origin("00_ä", "lab/00_ä", 12.5, OriginRun("ab" * 16, "00_a-hparams_v0"), "c0ffee")
    (tmp_path / "origin.json").write_bytes(origin.content(written))
    assert origin.read(tmp_path) == written


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1}', '{"format": 2}', "\xff", "null"])
def test_a_damaged_origin_is_none(tmp_path, text):
    (tmp_path / "origin.json").write_text(text, encoding="latin-1")
    assert origin.read(tmp_path) is None
    assert origin.read(tmp_path / "nowhere") is None
