"""`--debug`: Python's debugger where an exception was raised, at the user's own frame.

It opens when the command has ended in every other way: the run's record is closed with its true
status, signals are as usual, nothing draws on the terminal.
"""

from __future__ import annotations

import bdb
import os
import pdb  # noqa: T100 - what this file is for
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from torch_lab.errors import RunError, ScriptError, TorchLabError
from torch_lab.utils.at_hand import found
from torch_lab.utils.tracebacks import format_exception, is_user_file

_LOADERS = ("train_dataloaders", "val_dataloaders", "test_dataloaders", "predict_dataloaders")
_WORKER = "in DataLoader worker process"  # how torch begins what a worker sent


@contextmanager
def post_mortem(wanted: bool) -> Iterator[None]:
    """Open the debugger on what is raised inside, if that is wanted and somebody is there."""
    wanted = wanted and not _is_other_rank()
    if wanted and not _has_terminal():
        _say("--debug has no effect: standard input or output is no terminal\n")
        wanted = False
    try:
        yield
    except Exception as error:  # any: it is looked at, and raised again
        if wanted:
            _offer(error)
        raise


def _has_terminal() -> bool:
    return all(each is not None and each.isatty() for each in (sys.stdin, sys.stdout))


def _offer(error: Exception) -> None:
    """Open the debugger, or say why not; a mistake in what was asked has nothing to look into."""
    raised = _raised_by_user(error)
    if raised is None:
        return
    if os.environ.get("WORLD_SIZE", "1") not in ("", "1"):
        _say("--debug: no debugger in a run of several processes: the others would wait for it\n")
    elif _WORKER in str(raised):
        _say(
            "--debug: no debugger in a loader worker: with config num_workers 0 (--set"
            " num_workers=0, or --dev-run) the exception is raised where it can be looked into\n"
        )
    else:
        _say(format_exception(raised))
        error.was_shown = True  # type: ignore[attr-defined]
        _open(raised, found(error))


def _is_other_rank() -> bool:
    ranks = (os.environ.get(name, "") for name in ("RANK", "LOCAL_RANK"))
    return any(rank not in ("", "0") for rank in ranks)


def _raised_by_user(error: Exception) -> BaseException | None:
    """What to look into: of a script's error what the script raised; of other mistakes nothing."""
    if isinstance(error, ScriptError):
        ran = not isinstance(error.__cause__, SyntaxError) and _has_user_frame(error.__cause__)
        return error.__cause__ if ran else None
    mistake = isinstance(error, TorchLabError) and not isinstance(error, RunError)
    if mistake or isinstance(error, bdb.BdbQuit):  # the end of a breakpoint()
        return None
    chain = (error, error.__cause__, error.__context__)
    return next((each for each in chain if _has_user_frame(each)), error)


def _has_user_frame(error: BaseException | None) -> bool:
    return error is not None and any(map(_is_users, _frames(error.__traceback__)))


def _frames(trace: TracebackType | None) -> Iterator[FrameType]:
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def _is_users(frame: FrameType) -> bool:
    return is_user_file(frame.f_code.co_filename)


class _Debugger(pdb.Pdb):
    """Begins at the innermost frame of the user's instead of one in a library."""

    def get_stack(
        self, frame: FrameType | None, trace: TracebackType | None
    ) -> tuple[list[tuple[FrameType, int]], int]:
        """The frames, and which of them to begin at."""
        stack, index = super().get_stack(frame, trace)
        users = [i for i, (each, _) in enumerate(stack) if _is_users(each)]
        return stack, users[-1] if users else index


def _open(error: BaseException, given: Mapping[str, Any]) -> None:
    frames = [*_frames(error.__traceback__)]
    names = _free(dict(_names(given)), frames)
    for frame in frames:
        for name, value in names.items():
            frame.f_locals.setdefault(name, value)
    if names:
        _say(f"\nat hand beside the frame's own names: {', '.join(names)}\n")
    debugger = _Debugger()
    debugger.reset()
    debugger.interaction(None, error.__traceback__)


def _names(given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What is known of the run, module and loaders out of their configuration."""
    for name, value in given.items():
        if name == "configuration":
            fields = ("module", "config", "datamodule", *_LOADERS)
            yield from ((each, getattr(value, each)) for each in fields)
            yield "trainer", getattr(value.module, "_trainer", None)
        else:
            yield name, value


def _free(names: Mapping[str, Any], frames: Sequence[FrameType]) -> dict[str, Any]:
    """The names that are known, with a `_` behind those that mean something else to the user."""
    used = [{**each.f_globals, **each.f_locals} for each in frames if _is_users(each)]
    known = {name: value for name, value in names.items() if value is not None}
    return {
        name if all(each.get(name, value) is value for each in used) else f"{name}_": value
        for name, value in known.items()
    }


def _say(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
