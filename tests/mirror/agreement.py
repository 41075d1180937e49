"""Whether a server has of some runs what their records say: all of it, and nothing twice.

What is expected comes from the run directories; what is there, from clearml's own SDK, and where
the SDK would hide that something is there twice, from the server's database.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clearml_server.fixture import ClearMLServer
from helpers import StoredRun, environment
from torch_lab.mirror import state
from torch_lab.store import journal
from torch_lab.store.paths import RunDirectory

READER = Path(__file__).parent / "read_with_sdk.py"
STATUSES = {"completed": "completed", "aborted": "stopped"}  # all others are failures


def read_with_sdk(server: ClearMLServer, tasks: Sequence[str], home: Path) -> dict[str, Any]:
    """What the SDK reads of tasks, by their ids, in a process of its own."""
    home.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, READER, *tasks],
        env=environment(**server.environment, HOME=str(home)),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def agree(server: ClearMLServer, runs: Sequence[StoredRun], home: Path) -> None:
    """Check all of it, of all tasks that the server has."""
    ids = [_only_task(server, run) for run in runs]
    assert sorted(task["id"] for task in server.tasks()) == sorted(ids)
    read = read_with_sdk(server, ids, home)
    for run, task in zip(runs, ids, strict=True):
        try:
            _agrees(server, run, task, read[task])
        except AssertionError as error:
            mirror = (run.path / "mirror.json").read_text()
            raise AssertionError(f"{run.path.name}: {error}\n{mirror}") from error


def _only_task(server: ClearMLServer, run: StoredRun) -> str:
    """The run's task: there is one, and the mirror knows it."""
    name = run.record["name"]
    tag = f"torch-lab-run:{run.record['id']}"
    found = [task for task in server.tasks() if tag in task["system_tags"]]
    assert [task["name"] for task in found] == [name], f"tasks of {name}: {len(found)}"
    mirror = state.read(RunDirectory(run.path))
    assert mirror is not None, f"{name}: no mirror.json"
    assert mirror.task_id == found[0]["id"]
    assert mirror.done, f"{name}: {mirror}"
    return str(found[0]["id"])


def _agrees(server: ClearMLServer, run: StoredRun, task: str, read: Mapping[str, Any]) -> None:
    record = run.record
    assert read["status"] == STATUSES.get(record["status"], "failed")
    if record["status"] in ("aborted", "failed"):
        assert record["reason"] in read["status_reason"]
    _numbers(server, run, task, read)
    _lines(server, run, task, read)
    _models(server, run, task, read)
    _files(run, read)


def _numbers(server: ClearMLServer, run: StoredRun, task: str, read: Mapping[str, Any]) -> None:
    values: dict[tuple[str, str], dict[int, float]] = {}
    times: dict[tuple[str, str, int], int] = {}
    for row in journal.rows(RunDirectory(run.path)):
        for name, value in row.values.items():
            metric, _, variant = name.rpartition("/")
            values.setdefault((metric or name, variant), {})[row.step] = value
            times[metric or name, variant, row.step] = int(row.t * 1000)
    found = {
        (metric, variant): dict(zip(series["x"], series["y"], strict=True))
        for metric, variants in read["scalars"].items()
        for variant, series in variants.items()
        if not metric.startswith(":")
    }
    assert found == values
    sent = {
        (event["metric"], event["variant"], event["iter"]): event["timestamp"]
        for event in server.events(task, "training_stats_scalar")
        if (event["metric"], event["variant"]) in values
    }
    assert sent == times


def _lines(server: ClearMLServer, run: StoredRun, task: str, read: Mapping[str, Any]) -> None:
    killed_before = not (run.path / "console.log").exists()
    printed = ("" if killed_before else run.console).split("\n")
    expected = printed if printed[-1] else printed[:-1]
    assert server.logs(task) == expected
    assert read["console"] == expected
    events = server.events(task, "log")
    moments = [event["timestamp"] for event in events]
    assert moments == sorted(set(moments)), "times of lines"
    created, ended = run.record["created"], run.record["ended"] or float("inf")
    assert all(created * 1000 - 1 <= moment <= ended * 1000 + 1000 for moment in moments)


def _models(server: ClearMLServer, run: StoredRun, task: str, read: Mapping[str, Any]) -> None:
    record = run.record
    names = {entry["name"]: entry["sha256"] for entry in record["checkpoints"]}
    expected = {
        f"{record['name']} {name}": names[name] for name in ("best", "last") if name in names
    }
    assert {model["name"]: model["sha256"] for model in read["models"]["output"]} == expected
    assert sorted(model["name"] for model in server.models(task)) == sorted(expected)
    sizes = {entry["sha256"]: str(entry["size"]) for entry in record["checkpoints"]}
    for model in read["models"]["output"]:
        facts = {key: each["value"] for key, each in model["metadata"].items()}
        assert facts["sha256"] == model["sha256"]
        assert facts["size"] == sizes[model["sha256"]]  # also where a metric is called so


def _files(run: StoredRun, read: Mapping[str, Any]) -> None:
    artifacts = {name: each["sha256"] for name, each in read["artifacts"].items()}
    own = {"run.json": "run.json", "environment.json": "environment.json"}
    own |= {"source": "source.tar.gz", "git.diff": "git.diff"}
    for name, file in own.items():
        if (run.path / file).exists():
            assert artifacts[name] == _digest(run.path / file), name


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
