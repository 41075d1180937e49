"""`lab init`, but for whether what it makes trains."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from torch_lab import settings
from torch_lab.cli.init import command
from torch_lab.errors import UsageError
from torch_lab.tasks.init import describe, init

FILES = {
    ".gitignore",
    "README.md",
    "pyproject.toml",
    "PACKAGE/__init__.py",
    "PACKAGE/datasets.py",
    "PACKAGE/experiments/00_shapes/__main__.py",
    "PACKAGE/experiments/00_shapes/hparams.py",
    "PACKAGE/experiments/00_shapes/wide.py",
    "PACKAGE/models.py",
    "PACKAGE/preprocess/__init__.py",
    "PACKAGE/preprocess/shapes.py",
    "PACKAGE/transforms.py",
    "tests/test_data.py",
    "tests/test_experiments.py",
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def contents(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_text() for path in files}


def refused(path: str, *words: str) -> UsageError:
    with pytest.raises(UsageError) as error:
        command([path, *words])
    return error.value


def test_a_new_folder_has_all_of_it():
    made = init(Path("above/Wave Fields"))
    assert contents(Path("above/Wave Fields")).keys() == {
        name.replace("PACKAGE", "wave_fields") for name in FILES
    }
    assert [path.name for path in Path("above").iterdir()] == ["Wave Fields"]
    assert describe(made).splitlines() == [
        "above/Wave Fields: a project with the package wave_fields and a first experiment, "
        "00_shapes",
        "  package   wave_fields, after 'Wave Fields'",
        "next",
        "  cd 'above/Wave Fields'",
        "  train wave_fields/experiments/00_shapes/hparams.py",
        "  infer wave_fields/experiments/00_shapes/hparams.py --checkpoint 00_shapes/hparams:best",
        '  lab clone 00_shapes "my idea"',
        "  python -m pytest",
    ]


def test_every_name_is_filled_in():
    init(Path("waves"))
    for name, text in contents(Path("waves")).items():
        assert "$" not in text.replace("\n$ ", "\n"), name
        assert not text.strip() or text.endswith("\n"), name
    table = tomllib.loads(Path("waves/pyproject.toml").read_text())
    assert table["project"]["name"] == "waves"
    assert table["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["waves"]


def test_the_settings_it_explains_are_settings():
    init(Path("waves"))
    file = Path("waves/pyproject.toml")
    lines = file.read_text().splitlines()
    explained = [line[2:] for line in lines if line.startswith("# ") and " = " in line]
    values = [line.split("  ")[0] for line in explained]
    assert len(values) == 4
    file.write_text("\n".join(["[tool.torch-lab]", *values]))
    read = settings.load(file.parent)
    assert (read.artifacts.name, read.default_project) == ("artifacts", "waves")
    assert (read.keep_checkpoints, read.every_minutes) == (2, 5)


@pytest.mark.parametrize(
    ("folder", "package"),
    [
        ("my-project", "my_project"),
        ("2026 thesis", "project_2026_thesis"),
        ("日本", "my_project"),
        ("test", "test_project"),
        ("class", "class_project"),
        ("data", "data_project"),
        ("torch", "torch_project"),
        ("torch_lab", "torch_lab_project"),
    ],
)
def test_the_package_has_a_name_that_can_be_imported(folder, package):
    made = init(Path(folder))
    assert made.package == package
    assert (Path(folder) / package / "__init__.py").is_file()
    assert made.named == folder
    assert f"package   {package}, after {folder!r}" in describe(made)


def test_a_name_of_ones_own():
    made = init(Path("2026 thesis"), "waves")
    assert (made.package, made.named) == ("waves", None)


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        (
            "my-waves",
            "'my-waves' can't be imported: letters, digits and _ make a package's name",
            "for instance `--name my_waves`",
        ),
        ("2waves", "--name '2waves' can't be imported", "for instance `--name project_2waves`"),
        ("class", "--name class is taken: it is a word of Python's", "`--name class_project`"),
        ("random", "--name random is taken: it is a module of Python's", "random_project"),
        ("tests", "--name tests is taken: a project has a folder of that name", "tests_project"),
        ("numpy", "--name numpy is taken: it leads to ", "try `--name numpy_project`"),
    ],
)
def test_a_name_that_would_lead_elsewhere(name, message, hint):
    error = refused("new", "--name", name)
    assert message in error.message
    assert hint in (error.hint or "")
    assert not Path("new").exists()


def test_what_is_there_stays_and_what_is_missing_comes(monkeypatch):
    ours = {"README.md": "# Mine\n", ".gitignore": "*.log\n", "notes/a.txt": "a", "LICENSE": "l"}
    for name, text in ours.items():
        Path("waves", name).parent.mkdir(parents=True, exist_ok=True)
        Path("waves", name).write_text(text)
    monkeypatch.chdir("waves")
    made = init(Path())
    found = contents(Path())
    assert found.keys() == {name.replace("PACKAGE", "waves") for name in FILES} | ours.keys()
    assert {name: found[name] for name in ours} == ours
    said = describe(made).splitlines()
    assert said[1:4] == [
        "  kept      README.md, .gitignore: as it was",
        "  note      .gitignore doesn't name data/: add `data/*` and `!data/raw/`",
        "next",
    ]
    assert said[4].startswith("  train ")


def test_a_project_that_has_no_experiments_keeps_its_name():
    Path("pyproject.toml").write_text('[project]\nname = "wave-fields"\n')
    made = init(Path())
    assert made.package == "wave_fields"
    assert Path("pyproject.toml").read_text() == '[project]\nname = "wave-fields"\n'


@pytest.mark.parametrize(
    "text", ["", "not toml [", "[project]\n", "project = 3\n", "[project]\nname = 3"]
)
def test_a_project_whose_name_can_not_be_read_has_its_folders(text):
    Path("waves").mkdir()
    Path("waves/pyproject.toml").write_text(text)
    assert init(Path("waves")).package == "waves"


def test_no_other_file_is_replaced():
    Path("waves/waves").mkdir(parents=True)
    for name in ("datasets.py", "models.py", "own.py"):
        Path("waves/waves", name).write_text("own = 1\n")
    before = contents(Path("waves"))
    error = refused("waves")
    files = "waves/datasets.py, waves/models.py"
    assert error.message == f"waves has 2 files that a new project would replace: {files}"
    assert error.hint == "name another folder, or another package with `--name`"
    assert contents(Path("waves")) == before


def test_nothing_is_written_through_a_link_or_over_a_file(tmp_path):
    Path("elsewhere").mkdir()
    Path("waves").mkdir()
    Path("waves/tests").symlink_to(tmp_path / "elsewhere")
    Path("waves/waves").touch()
    assert "that a new project would replace: tests/test_data.py" in refused("waves").message
    assert sorted(path.name for path in Path("waves").iterdir()) == ["tests", "waves"]
    assert list(Path("elsewhere").iterdir()) == []


def test_what_a_kill_left_is_completed():
    whole = contents(init(Path("waves")).root)
    for name in ("pyproject.toml", "waves/models.py", "tests/test_data.py"):
        Path("waves", name).unlink()
    assert set(init(Path("waves")).written) == {
        "pyproject.toml",
        "waves/models.py",
        "tests/test_data.py",
    }
    assert contents(Path("waves")) == whole
    assert describe(init(Path("waves"))).startswith("waves has all of it already\n")


def test_a_project_with_experiments_is_one():
    made = init(Path("waves"))
    changed = made.root / "waves/experiments/00_shapes/hparams.py"
    changed.write_text(changed.read_text() + "\n")
    assert "1 file that a new project would replace" in refused("waves").message
    for name in ("01_a", "02_b"):
        (made.root / f"waves/experiments/{name}").mkdir()
        (made.root / f"waves/experiments/{name}/__main__.py").touch()
        (made.root / f"waves/experiments/{name}/hparams.py").write_text("hparams = {}\n")
    error = refused("waves")
    assert error.message == "waves is a project already, with 01_a, 02_b"
    assert error.hint == 'its next experiment: `lab clone 02_b "my idea"`'


def test_a_project_within_a_project_is_said():
    Path("pyproject.toml").touch()
    said = describe(init(Path("inner")))
    assert (
        f"note      it lies within the project {Path.cwd()}, but has settings and runs of" in said
    )


def test_places_where_no_project_should_be(monkeypatch, tmp_path):
    Path("file").touch()
    assert refused("file").message == "file is not a folder"
    Path("loose").symlink_to("nowhere")
    assert refused("loose").hint == "name a folder, or one to be made"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    Path("home").mkdir()
    monkeypatch.chdir("home")
    for place in ("~", ".", "/"):
        error = refused(place)
        assert "as a project would have every folder below it as a part" in error.message
        assert error.hint == "name a folder to be made: `lab init my_project`"
    error = refused("../file/new")
    assert error.message.startswith("can't make ")
    assert "File exists" in error.message


def test_more_words_than_one_folder():
    error = refused("my", "project")
    assert error.message == "lab init takes one folder, got 2"
    assert error.hint == 'with spaces in it, quote it: `lab init "my project"`'
    error = refused("")
    assert error.message == "lab init got a name without a letter"
    assert error.hint == "is a variable empty?"
