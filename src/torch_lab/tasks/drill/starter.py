"""The process that starts a drill's runs: it imports what they need once, and forks one for each.

    python -m torch_lab.tasks.drill.starter      then a line of JSON on its input for each start

A run is a process of its own, in a group of its own, so that its SIGKILL is a real one, and what
it started ends with it. At the end of its input, however that comes, this process ends what runs.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import tempfile
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch_lab.engine.drill import Drill
from torch_lab.tasks.options import TrainOptions
from torch_lab.tasks.train import JOIN, train

DRILL = "_TORCH_LAB_DRILL"  # tells processes of other ranks how they are watched
_EVERY = 0.02  # seconds between two looks at a run and at the input


def main() -> None:
    """Serve, or be one of the other ranks that a run's process starts by this same command."""
    if JOIN in os.environ:
        train(TrainOptions(drill=Drill.from_text(os.environ[DRILL])))
        return
    from torch_lab.tasks import running  # noqa: F401  imported here, once for all runs

    try:
        _say({"ready": True})
        while line := sys.stdin.readline():
            _say({"status": _run(json.loads(line))})
    except (SystemExit, BrokenPipeError):  # who ordered it is gone
        pass
    os._exit(0)  # unloading torch takes longer than anybody wants to wait


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _run(order: dict[str, Any]) -> int:
    """One start of a run, to its end; the exit status, -N for signal N."""
    child = os.fork()
    if child == 0:
        _be(order)
    try:
        while True:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            if select.select([sys.stdin], [], [], _EVERY)[0]:  # no order comes before an answer
                sys.exit(1)
    finally:
        with suppress(ProcessLookupError):  # workers, other ranks
            os.killpg(child, signal.SIGKILL)


def _be(order: dict[str, Any]) -> None:
    """Become the run."""
    status = 1
    try:
        os.setsid()
        _redirect(Path(order["log"]))
        os.environ.update(order["environment"], **{DRILL: order["drill"]})
        tempfile.tempdir = None  # as the environment says now
        script, resume = Path(order["script"]), order["resume"]
        overrides, drill = tuple(order["overrides"]), Drill.from_text(order["drill"])
        train(TrainOptions(script, resume, overrides=overrides, offline=True, drill=drill))
        status = 0
    except BaseException as error:  # noqa: BLE001 - the outermost edge: told to who ordered it
        Path(order["outcome"]).write_text(json.dumps(_told(error)))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _redirect(log: Path) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)


def _told(error: BaseException) -> dict[str, Any]:
    """An exception as plain values."""
    from torch_lab.errors import RunError, TorchLabError
    from torch_lab.utils.tracebacks import format_exception, summary

    if isinstance(error, TorchLabError):
        mistake = not isinstance(error, RunError)
        return {"mistake": mistake, "summary": error.message, "text": str(error)}
    if isinstance(error, Exception):
        return {"mistake": False, "summary": summary(error), "text": format_exception(error)}
    return {"mistake": False, "summary": summary(error), "text": traceback.format_exc()}


if __name__ == "__main__":
    main()
