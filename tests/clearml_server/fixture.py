"""The tests' side of the server: started, told to fail, and asked what it holds."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from clearml_server.api.auth import ACCESS_KEY, SECRET_KEY

_TESTS = Path(__file__).resolve().parents[1]
_CONFIG = """api {{
  web_server: {url}
  api_server: {url}
  files_server: {url}
  credentials {{ "access_key" = "{key}", "secret_key" = "{secret}" }}
}}
sdk {{ storage {{ cache {{ default_base_dir: "{cache}" }} }} }}
"""


class ClearMLServer:
    """A ClearML server in a process of its own, and its database."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.port = 0
        self._process: subprocess.Popen[str] | None = None
        self.start()

    @property
    def url(self) -> str:
        """The address of API, files and web page alike."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to use this server, wherever its home is."""
        config = self.root / "clearml.conf"
        return {
            "CLEARML_CONFIG_FILE": str(config),
            "CLEARML_API_HOST": self.url,
            "CLEARML_WEB_HOST": self.url,
            "CLEARML_FILES_HOST": self.url,
            "CLEARML_API_ACCESS_KEY": ACCESS_KEY,
            "CLEARML_API_SECRET_KEY": SECRET_KEY,
            "CLEARML_CACHE_DIR": str(self.root / "cache"),
            "TORCH_LAB_OFFLINE": "false",
        }

    # The process

    def start(self) -> None:
        """Start it, or start it again: on the same port, with the same data."""
        self.root.mkdir(parents=True, exist_ok=True)
        words = ["--root", str(self.root / "server"), "--port", str(self.port)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "clearml_server", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(_TESTS)},
        )
        assert self._process.stdout is not None
        ports = json.loads(self._process.stdout.readline())
        self.port, self._control = ports["port"], ports["control"]
        conf = _CONFIG.format(
            url=self.url, key=ACCESS_KEY, secret=SECRET_KEY, cache=self.root / "cache"
        )
        (self.root / "clearml.conf").write_text(conf)

    def stop(self) -> None:
        """Kill it, as a machine that is switched off."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _do(self, action: str, **body: Any) -> Any:
        request = Request(f"http://127.0.0.1:{self._control}/{action}", json.dumps(body).encode())
        with closing(urlopen(request, timeout=30)) as response:
            return json.load(response)

    def fault(self, kind: str, **options: Any) -> None:
        """Let something go wrong from now on; `faults.Fault` has the kinds and the options."""
        self._do("fault", kind=kind, **options)

    def heal(self) -> None:
        """Let nothing go wrong any more."""
        self._do("heal")

    def forget(self) -> None:
        """Lose the database, not the files."""
        self._do("forget")

    def counts(self) -> dict[str, int]:
        """How often each endpoint was asked so far; "files.POST" and the like are the files'."""
        return dict(self._do("counts"))

    def hanging(self) -> int:
        """How many requests a fault lets hang now; what they asked for is done if that was said."""
        return int(self._do("hanging"))

    def call(self, endpoint: str, **body: Any) -> dict[str, Any]:
        """Ask an endpoint as somebody in the web page does, whatever goes wrong elsewhere."""
        return dict(self._do("call", endpoint=endpoint, body=body))

    def abort(self, task: str) -> None:
        """What the web page's abort does."""
        self.call("tasks.stop", task=task)

    def queue(self, name: str) -> str:
        """The id of the queue with that name, made where there is none."""
        for each in self.call("queues.get_all")["queues"]:
            if each["name"] == name:
                return str(each["id"])
        return str(self.call("queues.create", name=name)["id"])

    # What it holds

    def _select(self, query: str, *values: Any) -> list[Any]:
        file = self.root / "server" / "clearml.sqlite"
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            return database.execute(query, values).fetchall()

    def _documents(self, kind: str) -> list[dict[str, Any]]:
        rows = self._select("SELECT content FROM documents WHERE kind=?", kind)
        found = [json.loads(content) for (content,) in rows]
        return sorted(found, key=lambda each: each.get("created") or "")

    def tasks(self) -> list[dict[str, Any]]:
        """All tasks, oldest first."""
        return self._documents("task")

    def task(self, name: str) -> dict[str, Any]:
        """The one task with that id or name."""
        found = [each for each in self.tasks() if name in (each["id"], each["name"])]
        if len(found) != 1:
            names = [each["name"] for each in self.tasks()]
            raise AssertionError(f"{len(found)} tasks are called {name!r}; there are {names}")
        return found[0]

    def project(self, task: str) -> str:
        """The name of a task's project."""
        found = self.task(task)["project"]
        names = {each["id"]: str(each["name"]) for each in self._documents("project")}
        return names[found]

    def events(self, task: str, kind: str) -> list[dict[str, Any]]:
        """A task's events of a type ("log", "plot", "training_debug_image" …), by their time."""
        query = "SELECT content FROM events WHERE task=? AND type=? ORDER BY timestamp, number"
        rows = self._select(query, self.task(task)["id"], kind)
        return [json.loads(content) for (content,) in rows]

    def scalars(self, task: str) -> dict[tuple[str, str], list[tuple[int, float]]]:
        """Iteration and value of each scalar, by (metric, variant)."""
        query = (
            "SELECT metric, variant, iter, value FROM events WHERE task=?"
            " AND type='training_stats_scalar' ORDER BY iter, timestamp"
        )
        found: dict[tuple[str, str], list[tuple[int, float]]] = {}
        for metric, variant, iteration, value in self._select(query, self.task(task)["id"]):
            found.setdefault((metric, variant), []).append((iteration, value))
        return found

    def logs(self, task: str) -> list[str]:
        """The messages of a task's log events, by their time."""
        return [str(each["msg"]) for each in self.events(task, "log")]

    def models(self, task: str) -> list[dict[str, Any]]:
        """The models that a task made, oldest first."""
        made_by = self.task(task)["id"]
        return [each for each in self._documents("model") if each.get("task") == made_by]

    def files(self) -> dict[str, int]:
        """The size of each uploaded file, by its path."""
        folder = self.root / "server" / "files"
        found = (each for each in folder.rglob("*") if each.is_file())
        return {str(each.relative_to(folder)): each.stat().st_size for each in found}


@pytest.fixture
def clearml_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClearMLServer]:
    """A server of a test's own, to break and to empty."""
    made = ClearMLServer(tmp_path_factory.mktemp("clearml"))
    yield made
    made.stop()


@pytest.fixture(scope="session")
def shared_clearml_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClearMLServer]:
    """A server for all tests that only use it; what others sent is there too."""
    made = ClearMLServer(tmp_path_factory.mktemp("clearml"))
    yield made
    made.stop()
