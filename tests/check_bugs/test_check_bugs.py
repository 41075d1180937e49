"""The proof of `lab check`: it finds the bugs that people make, and none where there is none."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from check_bugs.bugs import BUGS, PARTS
from check_bugs.planting import SOUND, Bug, plant
from check_bugs.proving import Findings, checked, project, told
from example_project import ROOT
from example_project.preprocess.digits import preprocess
from zygote import Zygote

TESTS = Path(__file__).parents[1]
OWN = sorted(each.name for each in SOUND.iterdir() if (each / "hparams.py").is_file())


def is_about(bug: Bug, finding: dict[str, Any]) -> bool:
    text = f"{finding['message']} {finding['place']} {finding['hint']}"
    fits = finding["code"] == bug.code and finding["level"] in bug.level
    return bool(fits and bug.says in text)


def files(root: Path) -> set[str]:
    """All that is in a project, but for its data, and what Python keeps beside its modules."""
    found = (path.relative_to(root) for path in root.rglob("*"))
    return {
        str(path) for path in found if path.parts[0] != "data" and "__pycache__" not in path.parts
    }


def wrong(names: list[str], found: list[Findings]) -> str:
    """What was reported where there is nothing to report; notes are let through."""
    serious = [
        (name, [each for each in findings if each["level"] != "note"])
        for name, findings in zip(names, found, strict=True)
    ]
    return "\n".join(f"{name}:\n{told(findings)}" for name, findings in serious if findings)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__.rpartition(".")[2])
def test_bugs_are_found(part: Any, tmp_path: Path, zygote: Zygote) -> None:
    root = tmp_path / "project"
    experiments = project(root)
    scripts = [plant(bug, experiments / bug.name) for bug in part.BUGS]
    before = files(root)
    found = checked(zygote, scripts, root, tmp_path / "said")
    missed = [
        f"{bug.name}, {bug.code!r} that says {bug.says!r}:\n{told(findings)}"
        for bug, findings in zip(part.BUGS, found, strict=True)
        if not any(is_about(bug, each) for each in findings)
    ]
    assert not missed, "\n".join(missed)
    assert files(root) == before


def test_there_are_many_and_none_twice() -> None:
    assert len(BUGS) >= 75
    assert len({bug.name for bug in BUGS}) == len(BUGS)
    assert {bug.sound for bug in BUGS} <= set(OWN)


def test_nothing_is_reported_of_sound_experiments(tmp_path: Path, zygote: Zygote) -> None:
    root = tmp_path / "project"
    experiments = project(root)
    shutil.copytree(SOUND, experiments, ignore=shutil.ignore_patterns("__pycache__"))
    scripts = [experiments / name / "hparams.py" for name in OWN]
    before = files(root)
    assert len(OWN) >= 12
    assert not wrong(OWN, checked(zygote, scripts, root, tmp_path / "said"))
    assert files(root) == before


# Projects of other tests, whose experiments are as people write them; ports/ were once theirs.
PROJECTS = {
    "ports/moved": ["*"],
    "ports/habits": ["00_habits"],
    "projects/tiny": ["*"],
    "projects/checkpoints": ["*"],
    "projects/recorded": ["*"],
}


@pytest.mark.parametrize("name", PROJECTS)
def test_nothing_is_reported_of_other_tests_projects(
    name: str, tmp_path: Path, zygote: Zygote
) -> None:
    root = tmp_path / "project"
    shutil.copytree(TESTS / name, root, ignore=shutil.ignore_patterns("__pycache__"))
    if not (root / "pyproject.toml").exists():
        (root / "pyproject.toml").write_text('[project]\nname = "theirs"\nversion = "0"\n')
    scripts = [
        script
        for pattern in PROJECTS[name]
        for script in sorted(root.glob(f"*/experiments/{pattern}/*.py"))
        if script.name != "__main__.py"
    ]
    before = files(root)
    found = checked(zygote, scripts, root, tmp_path / "said")
    assert scripts
    assert not wrong([str(each) for each in scripts], found)
    assert files(root) == before


def test_nothing_is_reported_of_the_example(tmp_path: Path, zygote: Zygote) -> None:
    preprocess(target=tmp_path / "digits")
    folder = ROOT / "example_project" / "experiments"
    names = ["00_digits/hparams.py", "00_digits/small_lr.py", "01_digits_wider/hparams.py"]
    scripts = [folder / name for name in names]
    words = ["--set", f"data={os.fspath(tmp_path / 'digits')}"]
    found = checked(zygote, scripts, ROOT, tmp_path / "said", *words)
    assert not wrong(names, found)
