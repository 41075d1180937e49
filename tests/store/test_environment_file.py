from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest
from store_helpers import new_run

from torch_lab.store import environment
from torch_lab.store.environment import collect, installed_packages, write


def test_what_is_collected() -> None:
    found = collect()
    assert found["format"] == 1
    assert found["python"]["version"].startswith(f"{sys.version_info.major}.")
    assert found["cpu"]["cores"] == os.cpu_count()
    assert found["memory"]["total"] > 10**8
    assert found["packages"]["pytest"] == pytest.__version__


def test_packages_are_those_of_importlib_metadata() -> None:
    expected = {
        environment.re.sub(r"[-_.]+", "-", distribution.name).lower(): distribution.version
        for distribution in metadata.distributions()
    }
    assert installed_packages() == dict(sorted(expected.items()))


def test_collecting_takes_little_of_the_processor() -> None:
    begin = time.process_time()
    collect()
    assert time.process_time() - begin < 0.15


def test_only_chosen_variables_are_recorded_and_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_NOTES", "private")
    monkeypatch.setenv("HF_TOKEN", "hunter2")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_JWT", "hunter2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    found = collect()
    assert found["slurm"] == {"SLURM_JOB_ID": "17", "SLURM_JWT": "***"}
    assert found["variables"]["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert found["variables"]["OMP_NUM_THREADS"] == "2"
    assert "hunter2" not in str(found)
    assert "private" not in str(found)


FAKE_SMI = """#!/bin/sh
echo "0, NVIDIA H100 80GB HBM3, 81559, 550.54.15, GPU-1b2c"
echo "1, NVIDIA GeForce, [N/A], 550.54.15, GPU-3d4e"
"""


def test_gpus_as_nvidia_smi_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "nvidia-smi"
    script.write_text(FAKE_SMI)
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    first, second = collect()["gpus"]
    assert first == {
        "index": "0",
        "name": "NVIDIA H100 80GB HBM3",
        "memory": 81559 * 2**20,
        "driver": "550.54.15",
        "uuid": "GPU-1b2c",
    }
    assert second["memory"] is None
    script.write_text("#!/bin/sh\necho 'driver mismatch'\nexit 9\n")
    assert collect()["gpus"] == []


def test_cuda_version_of_the_installed_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch").mkdir()
    version = "from typing import Optional\ncuda: Optional[str] = '12.4'\nhip = None\n"
    (tmp_path / "torch" / "version.py").write_text(version)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert collect()["cuda"]["torch"] == "12.4"


def test_files_in_the_run_directory(tmp_path: Path) -> None:
    run = new_run(tmp_path / "artifacts")
    write(run, tmp_path)
    assert json.loads(run.environment_file.read_text())["host"]
    assert run.git_diff.read_text().startswith("# format: 1\n# state: no git repository here")


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    (root / "deeper").mkdir(parents=True)
    git(root, "init", "-q", "-b", "main")
    return root


def state(root: Path) -> str:
    return environment.git_state(root)


def test_no_git_at_all(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert state(repository) == "# format: 1\n# state: no git repository here, or no git\n"


def test_no_commit_yet(repository: Path) -> None:
    assert "# branch: main\n# remote: none\n# state: no commit yet\n" in state(repository)


def test_clean_and_dirty(repository: Path) -> None:
    (repository / "a.py").write_text("a = 1\n")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "first")
    git(repository, "remote", "add", "origin", "https://me:hunter2@example.com/a.git")
    clean = state(repository / "deeper")
    assert "# remote: https://***@example.com/a.git\n# state: clean\n" in clean
    assert len(clean.split("# commit: ")[1].split("\n")[0]) == 40
    (repository / "a.py").write_text("a = 2\n")
    dirty = state(repository / "deeper")
    assert "# state: uncommitted changes follow\n\ndiff --git a/a.py b/a.py\n" in dirty
    git(repository, "stash")
    subprocess.run(["git", "apply"], cwd=repository, input=dirty, text=True, check=True)
    assert (repository / "a.py").read_text() == "a = 2\n"


def test_detached_head(repository: Path) -> None:
    (repository / "a.py").touch()
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "first")
    git(repository, "checkout", "-q", "--detach")
    assert "# branch: detached\n" in state(repository)


def test_secrets_in_the_diff(repository: Path) -> None:
    for name in ("a.py", ".env", "deeper/x.pem", "deeper/clearml.conf"):
        (repository / name).write_text("")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "first")
    (repository / "a.py").write_text('api_key = "hunter2"\n')
    for name in (".env", "deeper/x.pem", "deeper/clearml.conf"):
        (repository / name).write_text("swordfish\n")
    dirty = state(repository)
    assert '+api_key = "***"\n' in dirty
    assert "hunter2" not in dirty
    assert "swordfish" not in dirty


def test_huge_diff_is_cut_at_a_line(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (repository / "a.py").write_text("")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "first")
    (repository / "a.py").write_text("x" * 99 + "\n" * 3 + ("y" * 99 + "\n") * 50_000)
    begin = time.monotonic()
    dirty = state(repository)
    assert time.monotonic() - begin < 30
    assert "# state: uncommitted changes follow, cut after 1,000,000 bytes\n" in dirty
    assert dirty.endswith("y\n")
    assert 900_000 < len(dirty) < 1_001_000


def test_variables_of_a_git_hook_do_not_mislead(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    assert "# branch: main" in state(repository)


def test_user_settings_of_git_do_not_change_the_diff(repository: Path) -> None:
    (repository / "a.py").write_text("a\n")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "first")
    for setting in ("color.ui=always", "diff.external=false", "diff.noprefix=true"):
        git(repository, "config", *setting.split("="))
    (repository / "a.py").write_text("b\n")
    dirty = state(repository)
    assert "--- a/a.py\n+++ b/a.py\n" in dirty
    assert "\n-a\n+b\n" in dirty
