"""Several scripts checked, each in a process of its own, and told as they are done."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import NoReturn

from torch_lab import settings as settings_
from torch_lab.errors import ServerError, Stopped, TorchLabError
from torch_lab.mirror import launch
from torch_lab.mirror.asking import Asking, start_asking
from torch_lab.tasks.check.examining import examine
from torch_lab.tasks.check.findings import Finding, by_seriousness, error, warning
from torch_lab.tasks.check.telling import Report
from torch_lab.utils.interrupts import end_at_once

_PATIENCE = 8.0  # seconds that the server has for an answer, while the scripts are looked at


def check(scripts: Sequence[Path], overrides: tuple[str, ...] = ()) -> Iterator[Report]:
    """What is found about each script, in their order."""
    with (
        _terminable(),
        _greeting(scripts) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        for script in scripts:
            report = _apart(script, overrides, folder)
            if server is not None and _wants_server(script):
                found = by_seriousness([*report.findings, *_reached(script, server)])
                report = replace(report, findings=found)
            yield report


@contextmanager
def _terminable() -> Iterator[None]:
    """Inside, SIGTERM unwinds, so that no process of an experiment is left."""

    def stop(signum: int, _: FrameType | None) -> None:
        raise Stopped(signum)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


# -- a process for each ----------------------------------------------------------------------


def _apart(script: Path, overrides: tuple[str, ...], folder: str) -> Report:
    """Examine in a child: whatever the experiment's code does there, the others are looked at."""
    sys.stdout.flush()
    # A file: a pipe would stay open as long as any process that the experiment has started.
    answer = Path(folder, "report.json")
    answer.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        _be(script, overrides, folder, answer)
    status = None
    try:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        if status is None:  # Ctrl-C, here or there
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    if status == -signal.SIGINT:
        raise KeyboardInterrupt
    said = answer.read_bytes() if status == 0 and answer.exists() else b""
    return Report.from_data(json.loads(said)) if said else Report(script, [_died(status)])


def _be(script: Path, overrides: tuple[str, ...], folder: str, answer: Path) -> NoReturn:
    """Become the process that examines."""
    status = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with end_at_once():
            os.dup2(2, 1)  # what the experiment prints is no part of the report
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # nor may it wait for an answer
            tempfile.tempdir = folder
            report = examine(script, overrides)
            answer.write_text(json.dumps(report.as_data()))
        status = 0
    except BaseException:  # noqa: BLE001  the outermost edge: a mistake of ours, shown whole
        sys.excepthook(*sys.exc_info())
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        for process in multiprocessing.active_children():  # a Manager's outlives its maker
            process.kill()
        os._exit(status)


def _died(status: int) -> Finding:
    how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with {status}"
    return error(
        "crash",
        f"the process that tried it {how}",
        hint="SIGKILL: out of memory, perhaps. Else a library crashed: train --debug shows where.",
    )


# -- the server ------------------------------------------------------------------------------


def _wants_server(script: Path) -> bool:
    try:
        return launch.wanted(settings_.load(script), offline=False)
    except TorchLabError:  # told where the script is examined
        return False


@contextmanager
def _greeting(scripts: Sequence[Path]) -> Iterator[Asking | None]:
    """A question to the server, if one is configured, answered while the scripts are examined."""
    wanted = any(map(_wants_server, scripts))
    asking = start_asking("greet", timeout=_PATIENCE) if wanted else None
    try:
        yield asking
    finally:
        if asking is not None:
            asking.end()


def _reached(script: Path, asking: Asking) -> Iterator[Finding]:
    try:
        asking.answer()
    except ServerError as away:
        required = settings_.load(script).require_server
        told = error if required else warning
        hint = away.hint or (None if required else "The run is recorded here, and sent later.")
        yield told("server", away.message, hint=hint)
