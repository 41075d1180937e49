"""The tiny project, a queue of a server's, and two agents: clearml-agent's, and one by hand."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clearml_server.fixture import ClearMLServer
from e2e.tiny_project import HPARAMS
from helpers import environment
from mirror.mirrored_lab import MirroredLab

WORKER = "box:0"


@dataclass(frozen=True)
class QueuedLab:
    """Runs that go into a queue, and what becomes of them."""

    lab: MirroredLab
    server: ClearMLServer
    home: Path  # the agent's
    queue: str = field(default_factory=lambda: f"queue-{uuid.uuid4().hex[:8]}")

    def __post_init__(self) -> None:
        self.server.queue(self.queue)
        self.home.mkdir()

    def put(self, *words: str, script: str = HPARAMS) -> str:
        """`train SCRIPT --queue … words`; the id of the task."""
        self.lab.done("train", script, "--queue", self.queue, *words)
        newest = max(self.lab.artifacts.glob("*/run.json"), key=lambda file: file.stat().st_mtime)
        return str(self.lab.run(newest.parent.name).record["queued"]["task"])

    def waiting(self) -> list[str]:
        """The tasks in the queue."""
        queues = self.server.call("queues.get_all")["queues"]
        found = next(each for each in queues if each["name"] == self.queue)
        return [entry["task"] for entry in found["entries"]]

    def edit(self, task: str, **values: str) -> None:
        """What somebody does in the web page: a draft again, edited, into the queue again."""
        self._dequeue(task)
        if self.server.task(task)["status"] != "created":
            self.server.call("tasks.reset", task=task, force=True)
        section = self.server.task(task)["hyperparams"]["hparams"]
        named = {name.replace("__", "/"): text for name, text in values.items()}
        changed = [{**section[name], "value": text} for name, text in named.items()]
        self.server.call("tasks.edit_hyper_params", task=task, hyperparams=changed)
        self.server.call("tasks.enqueue", task=task, queue=self.server.queue(self.queue))

    def _dequeue(self, task: str) -> None:
        if task in self.waiting():
            self.server.call("tasks.dequeue", task=task)

    def status(self, name: str) -> str:
        """What `lab runs` says of a run, once the server has answered it."""
        listed = json.loads(self.lab.done("lab", "runs", "--json").out)
        return str(next(each["status"] for each in listed if each["name"] == name))

    # -- an agent by hand: what clearml-agent does, without its half a minute --------------------

    def begin(self, task: str, env: Mapping[str, str] | None = None) -> int:
        """Start the task's script as an agent does; the process id."""
        self._dequeue(task)
        self.server.call("tasks.started", task=task, force=True)
        script = self.home / "torch_lab_queued.py"
        script.write_text(self.server.task(task)["script"]["diff"])
        own = {"CLEARML_TASK_ID": task, "CLEARML_WORKER_ID": WORKER, "HOME": str(self.home)}
        env = {**self.lab.environment, **own, **(env or {})}
        zygote = self.lab.zygote
        return zygote.start_script(script, cwd=self.home, log=self.log(task), env=env)

    def log(self, task: str) -> Path:
        """What the task's script printed, every time."""
        return self.home / f"{task}.log"

    def train(self, task: str, env: Mapping[str, str] | None = None, status: int = 0) -> str:
        """Run the task's script to its end; what it printed."""
        found = self.lab.zygote.wait(self.begin(task, env))
        said = self.log(task).read_text()
        assert found == status, said
        return said

    @contextmanager
    def elsewhere(self) -> Iterator[Path]:
        """Inside, no agent sees the project's folder; the one that stands for it there."""
        away = self.lab.root.with_name("out of sight")
        self.lab.root.rename(away)
        try:
            yield self.home / ".torch-lab" / self.lab.root.name
        finally:
            away.rename(self.lab.root)

    def end_senders(self) -> None:
        """Those of queued runs live in the folders of their code."""
        places = (self.lab.root.resolve(), self.home.resolve())
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, ProcessLookupError):
                following = b"--follow" in (process / "cmdline").read_bytes()
                if following and any(map((process / "cwd").readlink().is_relative_to, places)):
                    os.kill(int(process.name), signal.SIGKILL)

    # -- clearml-agent's own -------------------------------------------------------------------

    @contextmanager
    def daemon(self) -> Iterator[Path]:
        """A real agent of the queue, in Python as it is here; its log."""
        log = self.home / "agent.log"
        own = {
            "HOME": str(self.home),
            "TMPDIR": str(self.home),  # where agents of one machine find each other, to be numbered
            "CLEARML_WORKER_NAME": "box",
            "CLEARML_AGENT_SKIP_PIP_VENV_INSTALL": sys.executable,
            "CLEARML_AGENT_SKIP_PYTHON_ENV_INSTALL": "1",
            "CLEARML_AGENT_QUEUE_POLL_FREQ_SEC": "1",
        }
        words = ["clearml_agent", "daemon", "--foreground", "--queue", self.queue]
        with log.open("wb") as output:
            agent = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", *words],
                stdout=output,
                stderr=output,
                cwd=self.home,
                env=environment(**{**self.lab.environment, **own}),
                start_new_session=True,
            )
        try:
            yield log
        finally:
            os.killpg(agent.pid, signal.SIGKILL)
            agent.wait()


def section(task: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Value and type of a task's hyperparameters."""
    found = task["hyperparams"]["hparams"]
    return {name: (each["value"], each["type"]) for name, each in found.items()}
