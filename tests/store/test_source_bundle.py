from __future__ import annotations

import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from store_helpers import everything_in, files_no_larger_than

from torch_lab.errors import StoreError
from torch_lab.store import source
from torch_lab.store.source import MANIFEST, bundle, script_hashes


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A git repository with a package, an experiment and much that must not be bundled."""
    root = tmp_path / "my project"
    write(root, ".gitignore", "data/\n*.log\n!keep.log\n")
    write(root, "pyproject.toml", "")
    write(root, "data/raw/a.bin", "data")
    write(root, "other/__init__.py", "")
    for name in ("__init__.py", "datasets.py", "run.log", "keep.log", "secret/.env", "a.pem"):
        write(root, f"pkg/{name}", name)
    for name in ("__main__.py", "hparams.py", "new.py", ".env.local", "clearml.conf", "x.key"):
        write(root, f"pkg/experiments/00_x/{name}", name)
    write(root, "pkg/experiments/00_x/__pycache__/hparams.cpython-311.pyc", "")
    write(root, "pkg/experiments/01_y/__main__.py", "")
    git(root, "init", "-q")
    git(root, "add", ":!pkg/experiments/00_x/new.py")
    git(root, "commit", "-qm", "first")
    return root


def write(root: Path, name: str, content: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def bundled(experiment: Path, root: Path) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """What is in the archive (links as "-> target"), what was left out, and the notes."""
    target = root.parent / "source.tar.gz"
    bundle(experiment, root, target)
    with tarfile.open(target) as archive:
        content = {}
        for member in archive.getmembers():
            file = archive.extractfile(member) if member.isfile() else None
            content[member.name] = file.read().decode() if file else f"-> {member.linkname}"
    manifest = json.loads(content.pop(MANIFEST))
    assert manifest["format"] == 1
    left_out = {entry["path"]: entry["why"] for entry in manifest["left_out"]}
    return content, left_out, manifest["notes"]


CODE = {
    "pkg/__init__.py",
    "pkg/datasets.py",
    "pkg/keep.log",
    "pkg/experiments/00_x/__main__.py",
    "pkg/experiments/00_x/hparams.py",
    "pkg/experiments/00_x/new.py",
    "pkg/experiments/01_y/__main__.py",
}


def test_package_and_experiment_untracked_files_too(project: Path) -> None:
    content, left_out, notes = bundled(project / "pkg/experiments/00_x", project)
    assert set(content) == CODE
    assert content["pkg/experiments/00_x/new.py"] == "new.py"
    assert left_out == dict.fromkeys(
        [
            "pkg/a.pem",
            "pkg/secret/.env",
            "pkg/experiments/00_x/.env.local",
            "pkg/experiments/00_x/clearml.conf",
            "pkg/experiments/00_x/x.key",
        ],
        "may hold secrets",
    )
    assert notes == []


def test_without_git_the_built_in_rule(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project, "pkg/.venv/lib/x.py", "")
    monkeypatch.setenv("PATH", "")
    content, _, notes = bundled(project / "pkg/experiments/00_x", project)
    assert set(content) == {*CODE, "pkg/run.log"}
    assert "git could not be asked" in notes[0]


def test_experiment_in_no_package_is_bundled_alone(tmp_path: Path) -> None:
    root = tmp_path / "loose"
    experiment = write(root, "experiments/00_x/hparams.py", "a").parent
    write(root, "helpers.py", "")
    write(root, "__init__.py", "")
    content, _, _ = bundled(experiment, root)
    assert set(content) == {"experiments/00_x/hparams.py"}
    content, _, _ = bundled(experiment, experiment)
    assert set(content) == {"hparams.py"}
    content, _, _ = bundled(experiment, project_elsewhere(tmp_path))
    assert set(content) == {"00_x/hparams.py"}


def project_elsewhere(tmp_path: Path) -> Path:
    write(tmp_path, "elsewhere/pyproject.toml", "")
    return tmp_path / "elsewhere"


def test_topmost_package_counts(project: Path) -> None:
    write(project, "pkg/experiments/00_x/__init__.py", "")
    content, _, _ = bundled(project / "pkg/experiments/00_x", project)
    assert "pkg/datasets.py" in content


def test_experiment_that_git_ignores_is_bundled_all_the_same(project: Path) -> None:
    write(project, "pkg/experiments/02_z/hparams.py", "mine")
    write(project, ".gitignore", "02_z/\n")
    content, _, notes = bundled(project / "pkg/experiments/02_z", project)
    assert content["pkg/experiments/02_z/hparams.py"] == "mine"
    assert "git ignores the experiment" in notes[0]


def test_links(project: Path, tmp_path: Path) -> None:
    experiment = project / "pkg/experiments/00_x"
    outside = write(tmp_path, "outside/secret.txt", "secret")
    links = {
        "inside.py": "../../datasets.py",
        "absolute.py": str(project / "pkg/datasets.py"),
        "data": "../../../data",
        "out.txt": str(outside),
        "out": "../../../../outside",
        "circle": "circle",
        "dangling.py": "nowhere.py",
    }
    for name, to in links.items():
        (experiment / name).symlink_to(to)
    content, left_out, _ = bundled(experiment, project)
    found = {name: content.get(f"pkg/experiments/00_x/{name}") for name in links}
    assert found == {
        "inside.py": "-> ../../datasets.py",
        "absolute.py": "-> ../../datasets.py",
        "data": "-> ../../../data",
        "out.txt": None,
        "out": None,
        "circle": "-> circle",
        "dangling.py": "-> nowhere.py",
    }
    assert left_out["pkg/experiments/00_x/out"] == "a link that leads outside"
    assert "secret" not in content.values()


def test_data_folders_stay_but_packages_of_that_name_come(project: Path) -> None:
    write(project, "pkg/data/__init__.py", "")
    write(project, "pkg/data/loaders.py", "")
    write(project, "pkg/experiments/00_x/data/big.py", "")
    git(project, "add", "-f", ".")
    content, left_out, _ = bundled(project / "pkg/experiments/00_x", project)
    assert "pkg/data/loaders.py" in content
    assert left_out["pkg/experiments/00_x/data/big.py"] == "data"


def test_large_files_are_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "LARGEST_FILE", 1000)
    monkeypatch.setattr(source, "LARGEST_BUNDLE", 1500)
    for name, size in {"a.bin": 1001, "b.bin": 900, "c.bin": 900}.items():
        write(project, f"pkg/experiments/00_x/z/{name}", "x" * size)
    content, left_out, _ = bundled(project / "pkg/experiments/00_x", project)
    folder = "pkg/experiments/00_x/z"
    assert left_out[f"{folder}/a.bin"] == "1.0 kB, more than 1.0 kB"
    assert f"{folder}/b.bin" in content
    assert "the bundle would grow over" in left_out[f"{folder}/c.bin"]


def test_unusual_names_and_files(project: Path) -> None:
    experiment = project / "pkg/experiments/00_x"
    names = ["with space.py", "line\nbreak.py", "größe.py", "-rf.py", "$(x).py", "n" * 200 + ".py"]
    for name in names:
        write(experiment, name, "")
    undecodable = os.fsencode(experiment) + b"/\xff.py"
    with open(undecodable, "wb"):  # noqa: PTH123
        pass
    os.mkfifo(experiment / "pipe")
    (project / "pkg/datasets.py").unlink()  # deleted, but still in git's index
    content, left_out, _ = bundled(experiment, project)
    assert {f"pkg/experiments/00_x/{name}" for name in [*names, "\udcff.py"]} <= set(content)
    assert "pkg/datasets.py" not in content
    # git lists no pipes; without git they are named.
    assert left_out.get("pkg/experiments/00_x/pipe", "not a plain file") == "not a plain file"


def test_unreadable_files_are_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refusing(path: os.PathLike[str], flags: int, mode: int = 0o777) -> int:
        if Path(path).name == "new.py":
            raise PermissionError(13, "Permission denied")
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", refusing)
    _, left_out, _ = bundled(project / "pkg/experiments/00_x", project)
    assert left_out["pkg/experiments/00_x/new.py"] == "can't be read: Permission denied"


def test_repositories_within_the_repository(project: Path) -> None:
    inner = project / "pkg/vendored"
    write(inner, "code.py", "")
    write(inner, "junk.tmp", "")
    write(inner, ".gitignore", "*.tmp\n")
    git(inner, "init", "-q")
    content, _, _ = bundled(project / "pkg/experiments/00_x", project)
    assert "pkg/vendored/code.py" in content
    assert "pkg/vendored/junk.tmp" not in content
    assert not any("/.git/" in name for name in content)


def test_equal_code_gives_equal_bytes(project: Path, tmp_path: Path) -> None:
    experiment = project / "pkg/experiments/00_x"
    (experiment / "hparams.py").chmod(0o755)
    bundle(experiment, project, tmp_path / "a.tar.gz")
    os.utime(experiment / "hparams.py", (1, 1))
    bundle(experiment, project, tmp_path / "b.tar.gz")
    assert (tmp_path / "a.tar.gz").read_bytes() == (tmp_path / "b.tar.gz").read_bytes()
    with tarfile.open(tmp_path / "a.tar.gz") as archive:
        members = {member.name: member for member in archive}
        assert list(members) == [MANIFEST, *sorted(CODE)]
        assert members["pkg/experiments/00_x/hparams.py"].mode == 0o755
        archive.extractall(tmp_path / "again", filter="data")
    assert (tmp_path / "again/pkg/datasets.py").read_text() == "datasets.py"


def test_full_disk_leaves_no_half_archive(project: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with files_no_larger_than(100), pytest.raises(StoreError, match=r"can't write .*source\.tar"):
        bundle(project / "pkg/experiments/00_x", project, tmp_path / "run" / "source.tar.gz")
    assert everything_in(tmp_path / "run") == []


def test_hashes_of_the_scripts(project: Path) -> None:
    experiment = project / "pkg/experiments/00_x"
    write(experiment, "parts/block.py", "")
    write(experiment, ".ipynb_checkpoints/x.py", "")
    hashes = script_hashes(experiment)
    assert list(hashes) == ["__main__.py", "hparams.py", "new.py", "parts/block.py"]
    assert hashes["parts/block.py"].startswith("e3b0c44298fc1c14")
    write(experiment, "new.py", "changed")
    assert script_hashes(experiment) != hashes
