"""The process that answers one question about the server, in JSON."""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from torch_lab.errors import ServerError, ServerRefused, TorchLabError
from torch_lab.mirror.deadline import deadline
from torch_lab.mirror.words import clean

_AT_LEAST = 0.05  # seconds, where starting took all of the time
_KILLED = 1.0  # seconds after the end, if nobody is left who ends this process

# question → module:function; it takes the question's arguments and returns what JSON can hold.
QUESTIONS = {
    "greet": "torch_lab.mirror.answering:greet",
    "highest": "torch_lab.mirror.highest:highest",
    "fetch": "torch_lab.mirror.fetching:fetch",
    "find": "torch_lab.mirror.fetching:find_checkpoint",
    "runs": "torch_lab.mirror.listing:runs",
    "upload": "torch_lab.mirror.answering:upload",
    "queue": "torch_lab.mirror.queueing:queue",
    "draft": "torch_lab.mirror.queueing:draft",
    "enqueue": "torch_lab.mirror.queueing:enqueue",
    "queued": "torch_lab.mirror.waiting:queued",
    "order": "torch_lab.mirror.queued:order",
    "begun": "torch_lab.mirror.queued:begun",
}


def greet() -> dict[str, Any]:
    """Whether the server is there and lets this user in."""
    from torch_lab.mirror.server import Server

    return {"server": Server.connect().host}


def upload(file: str, url: str, deadline: float) -> dict[str, Any]:
    """Send a file to an address; see `storage.upload`."""
    from torch_lab.mirror import storage

    storage.upload(Path(file), url, deadline=deadline)
    return {}


def main() -> None:
    """Read a question from stdin, answer it on stdout, and end, whatever threads are left."""
    out = os.dup(1)
    os.dup2(2, 1)  # what anybody prints is no answer
    order = json.load(sys.stdin)
    left = max(_AT_LEAST, order["until"] - time.time())
    faulthandler.dump_traceback_later(left + _KILLED, exit=True)
    content = json.dumps(_answered(order["question"], order["arguments"], left)).encode()
    while content:
        content = content[os.write(out, content) :]
    os._exit(0)  # clearml's threads and exit handlers may wait for a server


def _answered(question: str, arguments: dict[str, Any], seconds: float) -> dict[str, Any]:
    try:
        with deadline(seconds):
            module, _, name = QUESTIONS[question].partition(":")
            function = getattr(importlib.import_module(module), name)
            return {"answer": function(**arguments)}
    except TorchLabError as error:
        return {"error": _told(error)}
    except Exception as error:  # noqa: BLE001  any: this process has no terminal to show it
        last = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__}: {clean(error)} ({Path(last.filename).name}:{last.lineno})"
        return {"error": _told(ServerError(f"asking the server failed: {said}"))}


def _told(error: TorchLabError) -> dict[str, Any]:
    alike = isinstance(error, ServerRefused) or type(error).__init__ is TorchLabError.__init__
    kind = type(error).__name__ if alike else ServerError.__name__
    told: dict[str, Any] = {"kind": kind, "message": error.message, "hint": error.hint}
    if isinstance(error, ServerRefused):
        told |= {"code": error.code, "subcode": error.subcode}
    return told
