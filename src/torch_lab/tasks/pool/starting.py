"""The pool's end of the process that its commands are forked from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch_lab.utils.threads import leave_signals_to_main

_ROOT = Path(__file__).parents[3]
# Found like this wherever torch-lab lies, and whatever lies in the working directory.
_CODE = (
    "import sys; sys.path.append(sys.argv[1]);"
    " from torch_lab.tasks.pool.starter import main; main()"
)


@dataclass(frozen=True)
class Begun:
    """The command of that number has a process."""

    number: int
    pid: int


@dataclass(frozen=True)
class Over:
    """It has ended; the status is -N for signal N."""

    number: int
    status: int


@dataclass(frozen=True)
class Gone:
    """The starter itself has ended, and said this."""

    said: str


Event = Begun | Over | Gone


class Starter:
    """A process that starts commands; `put` gets what becomes of them, from a thread."""

    def __init__(self, environment: Mapping[str, str], put: Callable[[Event], None]) -> None:
        self._put = put
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _CODE, str(_ROOT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, name="starter", daemon=True)
        self._reader.start()

    def start(self, number: int, argv: tuple[str, ...], env: Mapping[str, str], log: Path) -> None:
        """Have a command started; it gets this environment."""
        order = {"number": number, "argv": argv, "environment": dict(env), "log": str(log)}
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended, as is told
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()

    def kill(self) -> None:
        """End it at once, whatever it does; the commands it has started hear of it."""
        self._process.kill()

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._reader.join()
        self._errors.close()

    def _read(self) -> None:
        leave_signals_to_main()
        assert self._process.stdout is not None
        with self._process.stdout as answers:
            for line in answers:
                self._put(_event(json.loads(line)))
        self._process.wait()
        self._errors.seek(0)
        self._put(Gone(self._errors.read().decode(errors="replace").strip()))


def _event(answer: dict[str, Any]) -> Event:
    if "pid" in answer:
        return Begun(answer["number"], answer["pid"])
    return Over(answer["number"], answer["status"])
