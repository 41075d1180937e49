"""ClearML's SDK in the training process, for code of an experiment that asks it for its task.

The sender makes the run's task and brings the record there, as ever; the SDK joins that task and
carries what the code itself gives to it. It is fenced in: left alone it would kill this process,
take its signals, seed its random generators, end the task as completed, and wait without end for
a server that is away.
"""

from __future__ import annotations

import atexit
import importlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch_lab.errors import ServerError, ServerUnreachable
from torch_lab.mirror import state
from torch_lab.mirror.launch import problem
from torch_lab.mirror.senders import AWAY, State
from torch_lab.mirror.task import project_name, task_type
from torch_lab.mirror.words import clean
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import Record
from torch_lab.utils.threads import leave_signals_to_main

Say = Callable[[str], None]

LOOK = 0.1  # seconds between two looks for the task that the sender makes
# Nothing is connected by itself: checkpoints, curves, figures and what is printed are in the
# record, and would be on the server twice.
_FRAMEWORKS = {
    "detect_repository",
    *("hydra", "scikit", "joblib", "matplotlib", "tensorflow", "tensorboard", "tfdefines"),
    *("pytorch", "megengine", "xgboost", "catboost", "fastai", "lightgbm", "gradio"),
}
_STATUS = ("mark_completed", "mark_failed", "mark_stopped", "completed", "failed", "stopped")
_MASTER = ("CLEARML_PROC_MASTER_ID", "TRAINS_PROC_MASTER_ID")


class Sdk:
    """The run's task as ClearML's SDK has it open in this process, until `close`."""

    def __init__(self, task: Any, say: Say) -> None:
        self.task_id = str(task.id)
        self._task = task
        self._say = say
        self._closed = False
        self._fence()

    def close(self, seconds: float) -> bool:
        """Let the SDK send what it has, for so long at most; whether that was enough."""
        if self._closed:
            return True
        self._closed = True
        thread = _beside(self._task.close)
        thread.join(seconds)
        if thread.is_alive():
            self._abandon()
        return not thread.is_alive()

    def _fence(self) -> None:
        for name in _STATUS:
            setattr(self._task, name, self._without_effect(name))
        logger = self._task.get_logger()
        logger._console = _once(logger._console)
        # Loader workers are forked: their signals and their end are none of the SDK's business.
        _private("clearml.binding.environ_bind").PatchOsFork.patch_fork(None)
        _leave_no_heirs()

    def _without_effect(self, name: str) -> Callable[..., None]:
        def ignored(*_: Any, **__: Any) -> None:
            if not self._closed:
                self._say(f"{name}() of the ClearML task has no effect: the run's end says how")

        return ignored

    def _abandon(self) -> None:
        """Keep the SDK from making this process wait for the server when it exits."""
        atexit.unregister(self._task._at_exit)
        self._task._reporter._report_service = None
        handler = _private("clearml.backend_interface.task.log").TaskHandler
        handler.flush = handler.close = lambda *_, **__: None


def join(
    run: RunDirectory, record: Record, news: Callable[[], State], seconds: float, say: Say
) -> Sdk:
    """Open the task that the sender makes for the run, in so many seconds at most.

    `news` is what the sender says of itself. ServerError if the server is away, or the SDK doesn't
    get that far.
    """
    end = time.monotonic() + seconds
    task_id = _awaited(run, news, end)
    task = _Opening(_arguments(record, task_id)).result(end - time.monotonic())
    if str(task.id) != task_id:
        _discard(task)
        raise ServerError(f"the ClearML server has no task {task_id} any more")
    return Sdk(task, say)


def _awaited(run: RunDirectory, news: Callable[[], State], end: float) -> str:
    """The id of the run's task, once the sender has found or made it."""
    while time.monotonic() < end:
        now, mirror = news(), state.read(run)
        if now.state in AWAY:
            raise ServerUnreachable(problem(now))
        here = now.state == "connected" and mirror is not None and mirror.server == now.server
        if here and mirror is not None and mirror.task_id is not None:
            return mirror.task_id
        time.sleep(LOOK)
    raise ServerUnreachable("the run has no task on the ClearML server yet")


class _Opening:
    """Task.init in a thread, where it can take no signals and can be given up."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self._arguments = arguments
        self._lock = threading.Lock()
        self._given_up = False
        self._task: Any = None
        self._problem = ""
        self._hooks = sys.excepthook, sys.exit
        self._thread = _beside(self._open)

    def result(self, seconds: float) -> Any:
        """The task; ServerError if there is none after so many seconds."""
        self._thread.join(max(0.0, seconds))
        sys.excepthook, sys.exit = self._hooks
        with self._lock:
            self._given_up = self._task is None
        if self._given_up:
            _leave_no_heirs()
        if self._problem:
            raise ServerError(f"ClearML's SDK can't open the task: {self._problem}")
        if self._task is None:
            raise ServerUnreachable("the ClearML server doesn't answer its SDK in time")
        return self._task

    def _open(self) -> None:
        try:
            task = _init(self._arguments)
        except Exception as error:  # noqa: BLE001  the SDK's, of any kind: the run goes on without
            self._problem = clean(error) or type(error).__name__
            return
        with self._lock:
            self._task = task
        if self._given_up:
            _leave(task)


def _init(arguments: dict[str, Any]) -> Any:
    task = _private("clearml").Task
    task._report_subprocess_enabled = False  # its close takes ten seconds, a report milliseconds
    signal = _private("clearml.backend_interface.task.development.stop_signal").TaskStopSignal
    signal.enabled = False  # it kills the process; the sender asks it to stop
    task.set_random_seed(None)  # the run has a seed
    with _silent(_private("clearml").Logger):
        return task.init(**arguments)


@contextmanager
def _silent(logger: Any) -> Iterator[None]:
    """Nothing of what the SDK prints when it opens a task: the run says where it is shown."""
    before = logger.report_text
    logger.report_text = lambda *_, **__: None
    try:
        yield
    finally:
        logger.report_text = before


def _leave_no_heirs() -> None:
    """A process that inherits this would take part in the task, and wait for its server."""
    for name in _MASTER:
        os.environ.pop(name, None)


def _private(module: str) -> Any:
    """A module of clearml's whose inner parts are changed here."""
    return importlib.import_module(module)


def _arguments(record: Record, task_id: str) -> dict[str, Any]:
    return {
        "project_name": project_name(record),
        "task_name": record.name,
        "task_type": task_type(record),
        "output_uri": record.hparams["task"].get("output_uri"),
        "reuse_last_task_id": task_id,
        "continue_last_task": 0,  # not True: that moves what is reported behind what is there
        "auto_connect_arg_parser": False,
        "auto_connect_frameworks": dict.fromkeys(_FRAMEWORKS, False),
        "auto_connect_streams": False,
        "auto_resource_monitoring": False,
    }


def _leave(task: Any) -> None:
    """Close the task without a word on its status."""
    for name in _STATUS:
        setattr(task, name, lambda *_, **__: None)
    task.close()


def _discard(task: Any) -> None:
    """Remove a task that the SDK has made in the place of one that is gone."""
    session, body = task.session, {"task": task.id, "force": True}

    def remove() -> None:
        _leave(task)
        session.send_request("tasks", "delete", json=body)

    _beside(remove)


def _once(send: Callable[..., None]) -> Callable[..., None]:
    """The logger's way to the console: what it prints is sent with all that the run prints."""

    def console(
        msg: Any, level: int = 20, omit_console: bool = False, *args: Any, **more: Any
    ) -> None:
        if omit_console:
            send(msg, level, omit_console, *args, **more)
        else:
            print(msg)

    return console


def _beside(work: Callable[[], object]) -> threading.Thread:
    def quietly() -> None:
        leave_signals_to_main()
        work()

    thread = threading.Thread(target=quietly, name="clearml", daemon=True)
    thread.start()
    return thread
