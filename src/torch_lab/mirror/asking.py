"""Questions to the server, answered by a process that is killed when the time is up.

So whoever trains or lists imports no clearml and waits no longer than it says.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any

from torch_lab import errors
from torch_lab.errors import ServerError, ServerUnreachable
from torch_lab.mirror.deadline import LONGEST
from torch_lab.utils.text import format_duration

_ROOT = Path(__file__).parents[2]
_TOLD = 0.1  # seconds before its time is up in which an answering process says what it has
# Found like this wherever torch-lab lies, and whatever lies in the working directory.
_CODE = (
    "import sys; sys.path.append(sys.argv[1]); from torch_lab.mirror.answering import main; main()"
)


def ask(question: str, /, timeout: float, **arguments: Any) -> dict[str, Any]:
    """Put a question of `answering.QUESTIONS`, and wait for the answer at most so many seconds."""
    asking = start_asking(question, timeout=timeout, **arguments)
    try:
        return asking.answer()
    finally:
        asking.end()


def start_asking(question: str, /, timeout: float, **arguments: Any) -> Asking:
    """Put a question and go on; it is given up after so many seconds."""
    return Asking(question, timeout, arguments)


class Asking:
    """A question that a process is answering; `end` it, whatever became of it."""

    def __init__(self, question: str, timeout: float, arguments: dict[str, Any]) -> None:
        timeout = min(timeout, LONGEST)
        self._timeout = timeout
        self._until = time.monotonic() + timeout
        self._answer: bytes | None = None
        words = {
            "question": question,
            "until": time.time() + timeout - _TOLD,
            "arguments": arguments,
        }
        try:
            self._said, self._process = _started(json.dumps(words).encode())
        except OSError as error:
            raise ServerError(f"no process can be started to ask the server: {error}") from None

    def poll(self) -> bool:
        """Whether the answer is there, or will never be."""
        return self._process.poll() is not None or time.monotonic() > self._until

    def answer(self, timeout: float | None = None) -> dict[str, Any]:
        """The answer, awaited so long or until the question's time is up; raises as asked there."""
        left = max(0.0, self._until - time.monotonic())
        timeout = self._timeout if timeout is None else timeout
        try:
            self._process.wait(min(left, timeout))
        except subprocess.TimeoutExpired:
            raise ServerUnreachable(
                f"the ClearML server did not answer within {format_duration(timeout)}"
            ) from None
        if self._answer is None:
            self._said.seek(0)
            self._answer = self._said.read()
        return _understood(self._answer, self._process.returncode)

    def end(self) -> None:
        """Kill the process, and what it may have started, if it is still there."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._said.close()


def _started(order: bytes) -> tuple[IO[bytes], subprocess.Popen[bytes]]:
    """The process, and the file in which its answer will be.

    Files, not pipes: whoever asks may be busy, and a large answer must not wait for it.
    """
    with ExitStack() as closing:
        asked = closing.enter_context(tempfile.TemporaryFile())
        asked.write(order)
        asked.seek(0)
        said = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `end`
        closing.push(lambda *failed: said.close() if failed[0] else None)
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _CODE, str(_ROOT)],
            stdin=asked,
            stdout=said,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # ended as one, and no signal of the asker's group reaches it
        )
        return said, process


def _understood(said: bytes, status: int) -> dict[str, Any]:
    """The answer, or the exception that was raised in its place."""
    try:
        content = json.loads(said)
        error = content.get("error")
    except (ValueError, AttributeError):
        raise ServerError(f"the process that asks the server died (status {status})") from None
    if error is None:
        answer: dict[str, Any] = content["answer"]
        return answer
    kind = getattr(errors, error["kind"])
    given = {key: error[key] for key in ("hint", "code", "subcode") if key in error}
    raise kind(error["message"], **given)
