"""Loader workers that die or don't answer: said where their batch is waited for, and why."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing import connection
from types import FrameType
from typing import Any

from torch_lab.errors import WorkerFailed

_MEMORY = (
    "The system does that where memory runs out: try fewer num_workers, or a dataset that keeps"
    " less."
)
_HINTS = {
    signal.SIGKILL: _MEMORY,
    signal.SIGBUS: "Often shared memory is full (df -h /dev/shm): try fewer num_workers.",
}
_ALONE = "With num_workers=0 the error itself would show."
_PATIENCE = 1.0  # seconds in which a death that has been felt becomes known
_TIMEOUT = re.compile(r"DataLoader timed out after ([\d.]+) seconds")
_WAITS = "_try_get_data"  # torch's method in which the main process waits for a batch


def told(batches: Iterator[Any]) -> Iterator[Any]:
    """The batches of torch's iterator; what befalls its workers is a WorkerFailed."""
    raise_where_it_waits()
    try:
        yield from batches
    except (RuntimeError, OSError, EOFError) as error:
        failure = _failure(error, getattr(batches, "_workers", []))
        if failure is None:
            raise
        raise failure from None


def raise_where_it_waits() -> None:
    """Let torch's handler of SIGCHLD raise in nothing but its own waiting for a batch.

    Else a worker's death comes up in whatever the main thread does at that moment: in a callback,
    in the midst of an optimizer's step, in a block that must not fail. The next wait finds it.
    """
    current: Any = signal.getsignal(signal.SIGCHLD)
    of_torch = getattr(current, "__module__", "") == "torch.utils.data._utils.signal_handling"
    if of_torch and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, _patient(current))


def _patient(handler: Callable[[int, FrameType | None], None]) -> Callable[..., None]:
    def handle(signum: int, frame: FrameType | None) -> None:
        try:
            handler(signum, frame)
        except RuntimeError:
            if _is_waiting(frame):
                raise

    return handle


def _is_waiting(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_name == _WAITS:
            return True
        frame = frame.f_back
    return False


def _failure(error: Exception, workers: list[Any]) -> WorkerFailed | None:
    if str(error).startswith("Caught "):  # an exception of the dataset's, sent by a worker
        return None
    if found := _TIMEOUT.search(str(error)):
        return WorkerFailed(
            f"no batch came from the loader's workers within {float(found[1]):g} s",
            hint=f"They hang, or are slower than the loader's timeout allows. {_ALONE}",
        )
    # What a dead worker has sent can't be received any more; that can be known before its death.
    dying = connection.wait([each.sentinel for each in workers], _PATIENCE)
    for each in workers:
        if each.sentinel in dying:
            each.join(_PATIENCE)  # its files are closed a moment before it is dead
    died = next((each for each in workers if each.exitcode is not None), None)
    return None if died is None else _death(died.pid, died.exitcode)


def _death(pid: int, status: int) -> WorkerFailed:
    if status >= 0:
        return WorkerFailed(f"loader worker {pid} exited with status {status}", hint=_ALONE)
    name = signal.Signals(-status).name
    return WorkerFailed(
        f"loader worker {pid} was killed by {name}",
        hint=_HINTS.get(signal.Signals(-status), _ALONE),
    )
