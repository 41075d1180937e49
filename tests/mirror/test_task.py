from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from torch_lab.mirror.task import definition, ending, project_name, run_tag
from torch_lab.store import environment
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import Parent, Record
from torch_lab.store.source import bundle

ID = "5d1deac55b08428ea6620230eb3b36dc"
SCRIPT = "pkg/experiments/00_x/hparams.py"


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    command = ["git", *identity, *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def record(**fields):
    fields = {"script": SCRIPT, "experiment": "00_x", "host": "box"} | fields
    return Record("00_x-hparams_v3", ID, "completed", **fields)


def of(**task):
    return record(hparams={"task": task, "config": {}})


@pytest.fixture
def project(tmp_path):
    """A repository with uncommitted changes, its remote's address holding a password."""
    root = tmp_path / "project"
    folder = root / "pkg" / "experiments" / "00_x"
    folder.mkdir(parents=True)
    (root / "pkg" / "__init__.py").touch()
    (folder / "__main__.py").write_text("def train_config(config): ...\n")
    (folder / "hparams.py").write_text("hparams = {}\n")
    git(root, "init", "-q", "-b", "main")
    git(root, "remote", "add", "origin", "https://me:hunter2@example.com/team/project.git")
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    (folder / "hparams.py").write_text("hparams = {}\nAPI_KEY = 'abcdef123456'\n")
    return root


@pytest.fixture
def run(tmp_path, project):
    run = RunDirectory(tmp_path / "00_x-hparams_v3")
    run.path.mkdir()
    bundle(project / "pkg" / "experiments" / "00_x", project, run.source_bundle)
    environment.write(run, project)
    return run


def test_a_task_shows_code_changes_and_packages(run, project):
    script = definition(run, record())["script"]
    assert script["repository"] == "https://example.com/team/project.git"
    assert script["branch"] == "main"
    assert script["version_num"] == git(project, "rev-parse", "HEAD").strip()
    assert script["entry_point"] == SCRIPT
    assert script["diff"].startswith("diff --git a/pkg/experiments/00_x/hparams.py")
    assert "+API_KEY = '***'" in script["diff"]
    assert script["binary"].startswith("python3.")
    requirements = script["requirements"]["pip"].splitlines()
    assert any(line.startswith("numpy==") for line in requirements)


def test_a_task_shows_both_scripts_as_they_were_run_and_masked(run, project):
    (project / "pkg" / "experiments" / "00_x" / "__main__.py").write_text("changed since")
    objects = definition(run, record())["configuration"]
    assert objects["__main__.py"]["value"] == "def train_config(config): ...\n"
    assert objects["hparams.py"]["value"] == "hparams = {}\nAPI_KEY = '***'\n"
    assert objects["hparams.py"]["type"] == "py"


def test_a_task_shows_the_machine(run):
    task = definition(run, record())
    found = json.loads(task["configuration"]["environment"]["value"])
    assert found == json.loads(run.environment_file.read_bytes())
    assert task["runtime"]["cpu_cores"] == found["cpu"]["cores"]
    assert task["runtime"]["hostname"] == found["host"]
    assert task["runtime"]["gpu_count"] == len(found["gpus"])


def test_gpus_are_shown_as_the_sdk_shows_them(run):
    gpu = {"index": "0", "name": "H100", "memory": 80 * 2**30, "driver": "550", "uuid": "GPU-0"}
    content = json.loads(run.environment_file.read_bytes())
    content |= {"gpus": [gpu, gpu], "cuda": {"torch": "12.4", "driver": "550"}}
    run.environment_file.write_text(json.dumps(content))
    runtime = definition(run, record())["runtime"]
    assert {name: value for name, value in runtime.items() if name.startswith("gpu")} == {
        "gpu_count": 2,
        "gpu_type": "H100, H100",
        "gpu_memory": "80GB, 80GB",
        "gpu_driver_version": "550",
        "gpu_driver_cuda_version": "12.4",
    }


def test_a_task_is_named_tagged_and_found_by_its_run(run):
    task = definition(run, of(tags=["a", "b"]))
    assert task["name"] == "00_x-hparams_v3"
    assert task["tags"] == ["a", "b"]
    assert run_tag(ID) in task["system_tags"]
    assert ID in run_tag(ID)


def test_hparams_are_a_section(run):
    task = definition(run, record(hparams={"config": {"lr": 0.1}}))
    item = {"section": "hparams", "name": "config/lr", "value": "0.1", "type": "float"}
    assert task["hyperparams"] == {"hparams": {"config/lr": item}}


def test_the_comment_says_when_and_where_the_run_is_from(run):
    command = ("train", "a.py", "--set", "api_key=secret123")
    parent = Parent("0" * 32, "00_x-hparams_v2", "step-400")
    made = record(command=command, parent=parent, created=1750000000.0)
    comment = definition(run, made)["comment"]
    assert "on box, 2025-06-15 15:06:40 UTC" in comment
    assert "train a.py --set api_key=***" in comment
    assert "from 00_x-hparams_v2:step-400" in comment


def test_nothing_secret_is_in_a_definition(run):
    hparams = {"task": {"tags": ["https://me:hunter2@host"]}, "config": {"password": "hunter2"}}
    text = json.dumps(definition(run, record(hparams=hparams)))
    assert "hunter2" not in text
    assert "abcdef123456" not in text


def test_a_run_without_files_has_a_definition(tmp_path):
    task = definition(RunDirectory(tmp_path), record())
    assert task["configuration"] == {}
    assert task["runtime"] == {}
    assert task["script"]["diff"] == ""
    assert task["script"]["repository"] == ""


def test_damaged_files_are_passed_over(run):
    run.source_bundle.write_bytes(run.source_bundle.read_bytes()[:40])
    run.environment_file.write_text("{")
    run.git_diff.write_bytes(b"\xff\x00")
    task = definition(run, record())
    assert task["configuration"] == {}
    assert task["name"] == "00_x-hparams_v3"


@pytest.mark.parametrize(
    ("remote", "shown"),
    [
        ("none", ""),
        ("git@github.com:team/project.git", "git@github.com:team/project.git"),
        ("ssh://git@host/p.git", "ssh://git@host/p.git"),
        ("https://***@host/p.git", "https://host/p.git"),
        ("https://host/p@1.git", "https://host/p@1.git"),
        ("/srv/git/p.git", "/srv/git/p.git"),
    ],
)
def test_a_remote_is_shown_without_its_user(run, remote, shown):
    run.git_diff.write_text(
        f"# format: 1\n# branch: detached\n# remote: {remote}\n# state: clean\n"
    )
    script = definition(run, record())["script"]
    assert script["repository"] == shown
    assert script["branch"] == ""


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (None, "training"),
        ("data_processing", "data_processing"),
        ("TaskTypes.testing", "testing"),
        ("<TaskTypes.qc: 'qc'>", "qc"),
        ("my own", "custom"),
    ],
)
def test_the_type_is_one_that_the_server_knows(run, given, shown):
    assert definition(run, of(task_type=given))["type"] == shown


def test_dev_runs_are_tests(run):
    dev = record(dev_run=2, hparams={"task": {"project_name": "digits"}})
    assert project_name(dev) == "test"
    assert definition(run, dev)["type"] == "testing"


def test_a_run_belongs_to_its_project():
    assert project_name(of(project_name="digits/first")) == "digits/first"
    assert project_name(of()) == "00_x"
    assert project_name(of(project_name="ab")) == "ab_"
    assert project_name(of(project_name="a/b")) == "a__/b"
    assert project_name(of(project_name=" /digits//first/")) == "digits/first"
    assert project_name(of(project_name="/")) == "torch-lab"
    assert project_name(record(experiment="")) == "torch-lab"


@pytest.mark.parametrize(
    ("status", "reason", "call", "said"),
    [
        ("completed", None, "tasks.completed", "completed"),
        ("failed", "RuntimeError: boom", "tasks.failed", "RuntimeError: boom"),
        ("aborted", "SIGTERM", "tasks.stopped", "aborted: SIGTERM"),
        ("incomplete", "3 of 5 steps", "tasks.failed", "incomplete: 3 of 5 steps"),
        ("lost", None, "tasks.failed", "lost: its process died without a word"),
    ],
)
def test_a_run_ends_with_its_status_and_reason(status, reason, call, said):
    found, body = ending(status, reason)
    assert found == call
    assert body["status_reason"] == said
    assert body["force"] is True


def test_the_reason_is_masked_and_not_too_long():
    _, body = ending("failed", f"token=abcdef123456 {'x' * 10_000}")
    assert "abcdef" not in body["status_reason"]
    assert len(body["status_reason"]) == 2000
