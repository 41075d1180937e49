"""The processes of loaders: deaf to signals, and never there without the one they work for."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import context, popen_fork, util
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any

from torch.utils.data import DataLoader as TorchDataLoader

from torch_lab.utils.orphans import ask_system
from torch_lab.utils.threads import ENDING

_LOOK = 1.0  # seconds between two looks at whether the process worked for lives
# Of a folder for temporary files: /pymp-12345678/listener-12345678 follows, in 107 bytes at most.
_LONGEST = 75
_SHORT = ("/tmp", "/var/tmp", "/dev/shm")
_alive: weakref.WeakSet[BaseProcess] = weakref.WeakSet()


def look_after(loader: TorchDataLoader[Any]) -> None:
    """Let a loader's workers be deaf to signals, and end with this process or when it says so."""
    if loader.num_workers == 0:
        return
    given: Any = loader.multiprocessing_context
    found = multiprocessing.get_context() if given is None else given
    kind = _CONTEXTS.get(type(found.get_context()))
    if kind is not None:  # else it is a context of the user's own making
        loader.multiprocessing_context = kind()
    _share_a_folder()


def _share_a_folder() -> None:
    """Let workers have their sockets in a folder of this process, which removes it at its end.

    Workers that are killed would leave theirs behind; and below a TMPDIR that is too long for a
    socket's name they could hand over no batch, which nobody would hear of.
    """
    before = tempfile.tempdir
    try:
        for tempfile.tempdir in _places():
            with suppress(OSError):  # full, or not to be written to
                util.get_temp_dir()  # which workers inherit
                return
    finally:
        tempfile.tempdir = before


def _places() -> Iterator[str]:
    with suppress(OSError):  # there is none
        usual = tempfile.gettempdir()
        if len(os.fsencode(usual)) <= _LONGEST:
            yield usual
    yield from _SHORT


def set_up() -> None:
    """Called in a worker when torch has set it up, with handlers of its own."""
    ignore()
    if isinstance(multiprocessing.current_process(), _Worker):
        # Not ignored: programs that the user's dataset starts would inherit that.
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def ignore() -> None:
    """Keep signals meant for the training process from killing its workers first."""
    for each in ENDING:
        if each != signal.SIGTERM:
            signal.signal(each, signal.SIG_IGN)


def kill_all() -> None:
    """End all workers of this process without waiting for what they do.

    torch would wait for each of them for five seconds, and take a killed one for a failure.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for each in list(_alive):
        if each._parent_pid == os.getpid() and each.is_alive():  # type: ignore[attr-defined]
            each.kill()


class _Worker(BaseProcess):
    """Ended by SIGKILL where torch would send SIGTERM, which also comes from elsewhere."""

    _by_main_thread = False

    def start(self) -> None:
        """Start it, from the thread with which it is to end."""
        self._by_main_thread = threading.current_thread() is threading.main_thread()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # until it is deaf to them
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        popen: popen_fork.Popen = self._popen  # type: ignore[attr-defined]
        popen.terminate = popen.kill  # type: ignore[method-assign]
        _alive.add(self)

    def run(self) -> None:
        """Work."""
        ignore()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {*ENDING} - {signal.SIGTERM})
        self._end_with_parent()
        super().run()

    def _end_with_parent(self) -> None:
        """However that ends: also where this process is stuck, with nobody to look."""
        by_system = self._by_main_thread and self._is_child() and ask_system(signal.SIGKILL)
        if not self._parent_lives():
            os._exit(1)
        if not by_system:
            threading.Thread(target=self._watch, name="parent", daemon=True).start()

    def _watch(self) -> None:
        while self._parent_lives():
            time.sleep(_LOOK)
        os._exit(1)

    def _is_child(self) -> bool:
        """Whether the process worked for has started this one itself."""
        return self._start_method != "forkserver"  # type: ignore[attr-defined,no-any-return]

    def _parent_lives(self) -> bool:
        parent: int = self._parent_pid  # type: ignore[attr-defined]
        return os.getppid() == parent if self._is_child() else _is_there(parent)


def _is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


class _ForkWorker(_Worker, context.ForkProcess):
    pass


class _SpawnWorker(_Worker, context.SpawnProcess):
    pass


class _ForkServerWorker(_Worker, context.ForkServerProcess):
    pass


class _Fork(context.ForkContext):
    Process = _ForkWorker


class _Spawn(context.SpawnContext):
    Process = _SpawnWorker


class _ForkServer(context.ForkServerContext):
    Process = _ForkServerWorker


_CONTEXTS: dict[type, type[BaseContext]] = {
    context.ForkContext: _Fork,
    context.SpawnContext: _Spawn,
    context.ForkServerContext: _ForkServer,
}
