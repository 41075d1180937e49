"""Real commands in real processes without paying for imports each time.

    python tests/zygote.py [KIND]    then, a line of JSON for each request on its standard input

It imports what `train` imports, and forks a child for each command. The child is a process of
its own in a group of its own: signals and SIGKILL do to it what they do to any `train`.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import forked_ranks
import forked_starters
from helpers import argv, environment

SYNC = ("lab", "sync")  # needs no torch, but clearml, which takes a second


class Zygote:
    """The test's side."""

    def __init__(self, kind: str = "torch") -> None:
        self._senders: Zygote | None = None
        self._syncing: set[int] = set()
        self._process = subprocess.Popen(
            [sys.executable, __file__, kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(PYTHONPATH=f"{environment()['PYTHONPATH']}:{Path(__file__).parent}"),
        )
        self._ask({"do": "hello"})

    def start(
        self,
        *words: str | Path,
        cwd: Path,
        log: Path,
        errors: Path | None = None,
        stdin: Path | str = os.devnull,
        env: Mapping[str, str] | None = None,
    ) -> int:
        """Start a command; returns its process id, which is also its group's.

        What it prints goes to `log`, or its standard error to `errors`.
        """
        request = {"do": "start", "argv": argv(*words)[3:], "cwd": str(cwd), "env": env or {}}
        paths = {"log": str(log), "errors": str(errors or log), "stdin": str(stdin)}
        pid = int(self._parent(words)._ask(request | paths))
        if words[:2] == SYNC:
            self._syncing.add(pid)
        return pid

    def wait(self, pid: int) -> int:
        """The exit status, -N for signal N."""
        parent = self._parent(SYNC if pid in self._syncing else ())
        self._syncing.discard(pid)
        return int(parent._ask({"do": "wait", "pid": pid}))

    def run(
        self,
        *words: str | Path,
        cwd: Path,
        log: Path,
        status: int | None = 0,
        env: Mapping[str, str] | None = None,
    ) -> int:
        """Start a command, wait for it, and check its exit status."""
        found = self.wait(self.start(*words, cwd=cwd, log=log, env=env))
        if status is not None and found != status:
            raise AssertionError(f"{words}: exit {found}, expected {status}\n{log.read_text()}")
        return found

    def start_script(
        self,
        path: Path,
        *words: str | Path,
        cwd: Path,
        log: Path,
        env: Mapping[str, str] | None = None,
    ) -> int:
        """Start a Python script, as `python path words…` would; returns its process id."""
        request = {"do": "start", "script": str(path), "argv": list(map(str, words))}
        paths = {"cwd": str(cwd), "log": str(log), "errors": str(log)}
        return int(self._ask(request | paths | {"env": env or {}}))

    def script(self, path: Path, *words: str | Path, cwd: Path, log: Path) -> None:
        """Run a Python script to its end without an error."""
        if status := self.wait(self.start_script(path, *words, cwd=cwd, log=log)):
            raise AssertionError(f"{path}: exit {status}\n{log.read_text()}")

    def close(self) -> None:
        if self._senders is not None:
            self._senders.close()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def _parent(self, words: Sequence[str | Path]) -> Zygote:
        """The process that a command is forked from."""
        if tuple(words[:2]) != SYNC:
            return self
        self._senders = self._senders or Zygote("clearml")
        return self._senders

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if request["do"] == "start":  # who is killed at once has said nothing, but has a log
            for path in (request["log"], request["errors"]):
                Path(path).touch()
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def _child(request: dict[str, Any]) -> NoReturn:
    os.setsid()
    for descriptor, path in ((1, request["log"]), (2, request["errors"])):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), descriptor)
    os.dup2(os.open(request.get("stdin", os.devnull), os.O_RDONLY), 0)
    os.chdir(request["cwd"])
    os.environ.update(request["env"])
    tempfile.tempdir = None  # as the environment says now
    script = request.get("script")
    sys.argv = [script or "torch-lab", *request["argv"]]
    if not script:  # as `python -m torch_lab`, which is what the other ranks are started with
        sys.modules["__main__"].__spec__ = importlib.util.find_spec("torch_lab.__main__")

    def run() -> NoReturn:
        _run(script)

    forked_ranks.prepare(run)
    forked_starters.prepare()
    run()


def _run(script: str | None) -> NoReturn:
    from torch_lab.cli.main import main

    if (ranks := sys.modules.get("lightning_fabric.utilities.rank_zero")) is not None:
        ranks.rank_zero_only.rank = ranks._get_rank() or 0  # as if it were imported only now
    try:
        if script:
            runpy.run_path(script, run_name="__main__")
        else:
            main()
    except SystemExit as end:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code if isinstance(end.code, int) else int(end.code is not None))
    os._exit(0)


def _torch() -> None:
    """What every child would do anew: half of the time of a tiny training."""
    from torchmetrics import Metric

    import torch_lab.tasks.predicting
    import torch_lab.tasks.running  # noqa: F401

    isinstance(_torch, Metric)  # asks all of its subclasses, for each kind of object once


def _clearml() -> None:
    import torch_lab.tasks.sync  # noqa: F401
    from torch_lab.mirror.server import clearml_under_bounds

    clearml_under_bounds()


def _serve(kind: str = "torch") -> None:
    {"torch": _torch, "clearml": _clearml}[kind]()
    gc.collect()
    gc.freeze()  # a child's collections would copy what they look at
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        request = json.loads(line)
        answer: Any = None
        if request["do"] == "start":
            answer = os.fork()
            if answer == 0:
                _child(request)
        elif request["do"] == "wait":
            _, status = os.waitpid(request["pid"], 0)
            answer = os.waitstatus_to_exitcode(status)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    _serve(*sys.argv[1:])
