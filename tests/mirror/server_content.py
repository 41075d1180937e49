"""What a server holds before a test begins, as torch-lab 2, 1.x and others have sent it there."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from clearml_server.fixture import ClearMLServer
from torch_lab.mirror import events
from torch_lab.mirror.sending.places import Places
from torch_lab.mirror.task import definition, ending
from torch_lab.recording.items import items
from torch_lab.store import journal, record
from torch_lab.store.paths import RunDirectory


@dataclass(frozen=True)
class Content:
    """Puts tasks, models and files on a server, one request at a time."""

    server: ClearMLServer

    def project(self, name: str) -> str:
        """The id of a project of that name, made where there is none."""
        for each in self.server.call("projects.get_all")["projects"]:
            if each["name"] == name:
                return str(each["id"])
        return str(self.server.call("projects.create", name=name, description="")["id"])

    def file(self, path: str, content: bytes) -> str:
        """The address of a file that was uploaded."""
        requests.post(self.server.url, files={path: (path, content)}, timeout=30).raise_for_status()
        return f"{self.server.url}/{quote(path)}"

    def task(self, name: str, project: str, **fields: Any) -> str:
        """A task of that name."""
        body = {"name": name, "project": self.project(project), "type": "training", **fields}
        return str(self.server.call("tasks.create", **body)["id"])

    def model(self, task: str, name: str, uri: str, facts: Mapping[str, Any] | None = None) -> str:
        """A model of a task, by the name that the task gives it."""
        fields: dict[str, Any] = {"labels": {}, "framework": "PyTorch", "ready": False}
        model = self.server.call("models.create", name=f"a {name}", uri=uri, task=task, **fields)
        metadata = [{"key": k, "type": "str", "value": str(v)} for k, v in (facts or {}).items()]
        self.server.call("models.add_or_update_metadata", model=model["id"], metadata=metadata)
        body = {"task": task, "name": name, "model": model["id"], "type": "output"}
        self.server.call("tasks.add_or_update_model", **body)
        return str(model["id"])

    def old_task(
        self,
        name: str,
        project: str,
        checkpoints: Mapping[str, Path],
        marked: Mapping[str, str] | None = None,
    ) -> str:
        """A task as torch-lab 1.x made them: checkpoints by name, and no facts about them.

        What was `marked` has a word of clearml's in place of a file.
        """
        task = self.task(name, project, system_tags=["development"])
        for each, path in checkpoints.items():
            place = f"{project}/{task}/models/{path.name}"
            self.model(task, each, self.file(place, path.read_bytes()))
        for each, mark in (marked or {}).items():
            self.model(task, each, f"{self.server.url}/{task}/{mark}")
        self.server.call("tasks.started", task=task, force=True)
        self.server.call("tasks.completed", task=task, force=True)
        return task

    def artifact(self, task: str, key: str, path: Path, uri: str | None = None) -> None:
        """A file beside the models."""
        content = path.read_bytes()
        uri = uri or self.file(f"tests/{task}/artifacts/{key}/{path.name}", content)
        entry = {"key": key, "type": "custom", "mode": "output", "uri": uri}
        entry |= {"hash": hashlib.sha256(content).hexdigest(), "content_size": len(content)}
        self.server.call("tasks.add_or_update_artifacts", task=task, artifacts=[entry], force=True)

    def run(
        self,
        path: Path,
        *,
        project: str = "tests",
        names: Iterable[str] = ("last", "best"),
        with_journal: bool = True,
        instead: Mapping[str, Path] | None = None,
    ) -> str:
        """A run as torch-lab 2 sends it; `names` are of the checkpoints that are sent.

        A hostile server has other files `instead` of the artifacts by these names.
        """
        run = RunDirectory(path)
        made = record.read(run)
        fields = definition(run, made)
        task = self.task(fields.pop("name"), project, **fields)
        self.server.call("tasks.started", task=task, force=True)
        self._scalars(run, task)
        for entry in (each for each in made.checkpoints if each.name in names):
            self._checkpoint(run, task, entry)
        sent = {"source": run.source_bundle, "git.diff": run.git_diff}
        sent |= {"environment.json": run.environment_file, "run.json": run.record_file}
        if with_journal:
            sent["journal"] = self._journal(run)
            self._media(run, project, task)
        for key, file in {**sent, **(instead or {})}.items():
            self.artifact(task, key, file)
        endpoint, body = ending(made.status, made.reason)
        self.server.call(endpoint, task=task, **body)
        return task

    def _checkpoint(self, run: RunDirectory, task: str, entry: Any) -> None:
        place = f"tests/run.{task}/models/{str(entry.sha256)[:16]}-{Path(entry.file).name}"
        content = (run.path / entry.file).read_bytes()
        facts = {key: getattr(entry, key) for key in ("sha256", "size", "step", "epoch", "batch")}
        self.model(task, entry.name, self.file(place, content), {**facts, **entry.metrics})

    def _scalars(self, run: RunDirectory, task: str) -> None:
        said: set[str] = set()
        rows = [each for row in journal.rows(run) for each in events.scalars(task, row, said, "w")]
        if rows:
            self.events(rows)

    def events(self, sent: list[dict[str, Any]]) -> None:
        """Events of tasks."""
        for each in sent:
            self.server.call("events.add", **each)

    def _journal(self, run: RunDirectory) -> Path:
        target = run.path.parent / f"{run.name}-journal.zip"
        with zipfile.ZipFile(target, "w") as archive:
            for folder in (run.metrics, run.media, run.machine, run.summaries):
                for path in sorted(folder.glob("*.jsonl")):
                    archive.write(path, path.relative_to(run.path))
            archive.write(run.console(), run.console().name)
        return target

    def _media(self, run: RunDirectory, project: str, task: str) -> None:
        places = Places(self.server.url, self.server.url, f"{project}/run.{task}")

        def upload(path: Path, file: str) -> str:
            url = places.shown(file)
            return self.file(url.removeprefix(f"{self.server.url}/"), path.read_bytes())

        for item in items(run):
            if item.kind == "artifact":
                self.artifact(task, item.name, run.path / item.file)
            self.events(list(events.item(task, run, item, upload)))


def facts_of(path: Path) -> dict[str, Any]:
    """What torch-lab 2 says of a checkpoint file."""
    content = path.read_bytes()
    return {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}


def record_of(path: Path) -> dict[str, Any]:
    """A run's run.json."""
    content: dict[str, Any] = json.loads((path / "run.json").read_text())
    return content
