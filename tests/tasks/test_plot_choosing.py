"""`lab plot`: which runs it takes, what it says, and what it refuses."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from plotted_runs import falling, write_run
from torch_lab.cli import plot
from torch_lab.errors import RunNotFound, UsageError
from torch_lab.settings import load
from torch_lab.tasks.plot import drawing
from torch_lab.tasks.plot.choosing import chosen


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with five runs, one of them damaged, one that has logged nothing."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "lab"\nversion = "0"\n')
    artifacts = tmp_path / "data" / "artifacts"
    for number in range(3):
        hparams = {"config": {"lr": 10.0**-number}}
        name = f"00_a-hparams_v{number}"
        write_run(artifacts, name, falling(number), number=number, hparams=hparams)
    write_run(artifacts, "01_b-small_v0", number=3)
    damaged = write_run(artifacts, "00_a-hparams_v9", number=4)
    (damaged / "run.json").write_text("{")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(root: Path, *words: str, **options) -> list[str]:
    return [run.record.name for run in chosen(words, load(root), cwd=root, **options)]


def test_runs_by_name_path_script_pattern_and_filter(root: Path) -> None:
    first, second, third = (f"00_a-hparams_v{number}" for number in range(3))
    assert names(root, second, f"data/artifacts/{first}") == [second, first]
    assert names(root, "00_a/hparams") == [third]
    assert names(root, "00_*") == [third, second, first]
    assert names(root, "lr<0.5") == [third, second]
    assert names(root, "lr<0.5", "lr>0.05") == [second]
    assert names(root, first, "experiment=00_a") == [first, third, second]
    assert names(root, "experiment=00_a", sort="lr", limit=2) == [third, second]


def test_what_is_no_filter_because_it_is_a_folder(root: Path) -> None:
    (root / "data" / "artifacts" / "00_a-hparams_v0").rename(root / "a=b")
    assert names(root, "a=b") == ["00_a-hparams_v0"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            [],
            "lab plot takes runs\n`lab runs` lists them; `lab plot experiment=00_digits"
            " --out curves.html` takes all that meet a filter",
        ),
        (
            ["lr>5", "lr<6"],
            "none of 5 runs in {root}/data/artifacts meets lr>5 and lr<6\n"
            "`lab runs` lists them, with the same filters",
        ),
        (
            ["02_*"],
            "no run's name is like '02_*'\n`lab runs` lists them, with the same filters",
        ),
        (
            ["00_a-hparams_v1:best"],
            "curves are of a whole run, not of its checkpoint 'best'\n"
            "leave it away: `lab plot 00_a-hparams_v1 …`",
        ),
    ],
)
def test_what_names_no_runs(root: Path, words: list[str], message: str) -> None:
    with pytest.raises((UsageError, RunNotFound)) as error:
        names(root, *words)
    assert str(error.value) == message.format(root=root)


@pytest.mark.parametrize("word", ["00_*", "lr<1"])
def test_in_a_project_without_runs(tmp_path: Path, word: str) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "lab"\nversion = "0"\n')
    with pytest.raises(RunNotFound, match=r"no runs yet in .*/data/artifacts") as error:
        names(tmp_path, word)
    assert error.value.hint == "`train HPARAMS` makes the first"


def test_a_beginning_of_many_names_has_a_pattern_that_takes_them_all(root: Path) -> None:
    with pytest.raises(RunNotFound, match='"00_a-h" names 4 runs') as error:
        names(root, "00_a-h")
    assert str(error.value).endswith("`lab plot '00_a-h*' …` takes them all.")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "00_*",
            "lab plot needs the name of the file to write: --out FILE\n"
            "`--out curves.html` makes a page, `--out curves.png` a picture",
        ),
        (
            "00_* --out curves.jpg",
            "lab plot writes a page (.html) or a picture (.png, .svg, .pdf), got 'curves.jpg'\n"
            "`--out curves.html`, or `--out curves.png`",
        ),
        ("00_* --out c.png --x tim", "there is no axis 'tim'\ndid you mean \"time\"?"),
        ("00_* --out folder.png", "folder.png is a folder\nname a file in it"),
        (
            "00_* --out c.png --smooth 3",
            "--smooth takes a number from 0 to 1, got '3'\n"
            "write `--smooth 0.05` for means over a twentieth of the axis",
        ),
        (
            "00_* --out c.png --smooth much",
            "--smooth takes a number from 0 to 1, got 'much'\n"
            "write `--smooth 0.05` for means over a twentieth of the axis",
        ),
        ("01_b-small_v0 --out c.png", "nothing has been logged yet by 01_b-small_v0"),
        (
            "00_* --out c.png --metric 'los/train'",
            'no metric is like "\'los/train\'"\ndid you mean "loss/train"?',
        ),
    ],
)
def test_what_cannot_be_drawn(root: Path, words: str, message: str) -> None:
    (root / "folder.png").mkdir()
    with pytest.raises(UsageError) as error:
        plot.command(words.split())
    assert str(error.value) == message
    assert not (root / "c.png").exists()


@pytest.mark.parametrize(("out", "library"), [("c.html", "plotly"), ("c.png", "matplotlib")])
def test_without_what_draws(root: Path, monkeypatch, out: str, library: str) -> None:
    assert drawing.PAGE, "imported before there is nothing to import from"
    monkeypatch.setattr(sys, "path", [])
    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(UsageError) as error:
        plot.command(["00_*", "--out", out])
    assert str(error.value) == (
        f"lab plot draws with {library}, which is not installed\n"
        "pip install 'torch-lab[plot]' installs what draws"
    )


def test_what_is_said(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    many = [(1, 0, {f"metric_{i}": 1.0 for i in range(14)})]
    write_run(root / "data" / "artifacts", "02_c-hparams_v0", many, number=7)
    assert plot.command(["0[12]*", "--out", "some.png"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("some.png: 1 run, 12 charts, ")
    assert said.err.splitlines() == [
        "2 more are not drawn: metric_8, metric_9; `--metric` chooses, a page (.html) has all",
        "nothing logged yet: 01_b-small_v0",
    ]
    assert plot.command(["02_c", "--out", "some.png", "--metric", "metric_1?"]) == 0
    assert capsys.readouterr().out.startswith("some.png: 1 run, 4 charts, ")


def test_the_file_is_replaced_and_its_folder_made(root: Path) -> None:
    (root / "old.png").write_text("what was here before goes")
    for out in ("old.png", "a 'new' folder/in it/new.PNG"):
        assert plot.command(["00_*", "--out", out]) == 0
        assert (root / out).read_bytes().startswith(b"\x89PNG")
    (root / "file").write_text("")
    with pytest.raises(UsageError, match=r"^can't make file/c\.html: File exists \(file\)$"):
        plot.command(["00_*", "--out", "file/c.html"])


def test_very_many_runs_have_a_word_of_advice(root: Path, capsys) -> None:
    for number in range(201):
        rows = [(1, 0, {"loss": 1.0})]
        write_run(root / "data" / "artifacts", f"03_d-hparams_v{number}", rows, number=number)
    assert plot.command(["03_*", "--out", "c.html"]) == 0
    advice = "a page of 201 runs is slow to draw: `--limit 50` takes fewer\n"
    assert capsys.readouterr().err == advice
