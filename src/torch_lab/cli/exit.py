"""How every command ends: the one place that knows exit statuses.

0        success
1        a failure while running: its traceback, beginning in the user's code, and where the
         run is; a RunError says it in words of its own
2        the user's mistake: one message, no traceback; where the run is, if it got that far
128 + N  ended by signal N (130 Ctrl-C, 143 SIGTERM)
"""

from __future__ import annotations

import gc
import io
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TextIO, cast

from torch_lab.errors import RunError, Stopped, StoreError, TorchLabError
from torch_lab.utils.streams import PipeProof, colorful, point_at_nothing

FAILURE = 1
MISTAKE = 2


def leave(command: Callable[[], int | None]) -> NoReturn:
    """Run a command and end the process with its exit status."""
    _prepare_streams()
    try:
        status = command() or 0
    except SystemExit as error:
        if not hasattr(error, "run_directory"):
            raise
        status = report(error)  # the experiment's code; whatever it says, the run isn't completed
        _finish(error)
    except (Exception, KeyboardInterrupt, Stopped) as error:  # noqa: BLE001 - the outermost edge
        status = report(error)
        _finish(error)
    _settle_streams()
    _end_workers()
    _spare_the_clearing_up()
    sys.exit(status)


def _finish(error: BaseException) -> None:
    """What a task still has to do when people have read how it failed."""
    afterwards: Callable[[], None] | None = getattr(error, "afterwards", None)
    if afterwards is not None:
        afterwards()


def report(error: BaseException) -> int:
    """Say on stderr what went wrong, and return the exit status it means."""
    if isinstance(error, Stopped):
        return 128 + error.signum
    if isinstance(error, KeyboardInterrupt):
        return 128 + signal.SIGINT
    if isinstance(error, TorchLabError):
        _say(_message(error))
        # A run's files can fail under it: a full disk is no mistake in what was asked.
        under_way = isinstance(error, StoreError) and hasattr(error, "run_directory")
        if not (under_way or isinstance(error, RunError)):
            _say(_whereabouts(error))
            return MISTAKE
    elif not hasattr(error, "was_shown"):  # before a debugger opened
        from torch_lab.utils.tracebacks import format_exception

        _say(format_exception(error))
    _say(_whereabouts(error))
    return FAILURE


def _message(error: TorchLabError) -> str:
    """What was found, where in the user's code it was asked for, what to do about it."""
    from torch_lab.utils.tracebacks import user_place

    place, hint = user_place(error), error.hint
    lines = [f"{_headline()} {error.message}", *([f"  at {place}"] if place else [])]
    lines += [*([hint] if hint else []), *getattr(error, "__notes__", ())]
    return "\n".join(lines) + "\n"


def _headline() -> str:
    return "\x1b[1;31merror:\x1b[0m" if colorful(sys.stderr) else "error:"


def _whereabouts(error: BaseException) -> str:
    """Where the run of a failed command lies, if it got one."""
    directory = getattr(error, "run_directory", None)
    if directory is None:
        return ""
    path = Path(getattr(directory, "path", directory))
    with suppress(OSError):
        if not path.exists():  # it was deleted under the run
            return ""
    with suppress(ValueError, OSError):  # elsewhere, or the working directory is gone
        path = path.relative_to(Path.cwd())
    lines = [f"run directory: {path}"]
    if (log := path / "console.log").exists():
        lines.append(f"console log:   {log}")
    return "\n" + "\n".join(lines) + "\n"


def _say(text: str) -> None:
    with suppress(OSError):  # nobody reads stderr, or its disk is full: the status still tells
        sys.stderr.write(text)
        sys.stderr.flush()


def _prepare_streams() -> None:
    """`… | head -1` must not end a command, nor make Python exit with 120."""
    sys.stdout = _proof(sys.stdout)
    sys.stderr = _proof(sys.stderr)


def _proof(stream: TextIO | None) -> TextIO:
    # Both are None where the process was started with closed descriptors.
    return cast(TextIO, PipeProof(stream or Path("/dev/null").open("w")))


def _settle_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            point_at_nothing(cast(PipeProof, stream).stream)


def _end_workers() -> None:
    """Loaders of which nobody said that they are done: torch would wait five seconds for each."""
    if (workers := sys.modules.get("torch_lab.data.workers")) is not None:  # it takes torch
        workers.kill_all()


def _spare_the_clearing_up() -> None:
    """Leave torch's hundred thousands of objects to the system, which frees them at once.

    Python would look through all of them several times, for a second. What only that would have
    done is done here: garbage is collected, and files that nobody closed are written out.
    """
    if "torch" not in sys.modules:
        return
    from torch_lab.utils.garbage import objects

    _write_out(gc.get_objects())  # a search would close what is below a file before it is flushed
    gc.collect()
    _write_out(objects())
    gc.freeze()


def _write_out(objects: list[Any]) -> None:
    writers = {*_kinds(io.BufferedWriter), *_kinds(io.BufferedRandom), *_kinds(io.TextIOWrapper)}
    for each in [each for each in objects if type(each) in writers]:
        with suppress(OSError, ValueError):  # closed, or its pipe is gone
            each.flush()


def _kinds(kind: type[Any]) -> Iterator[type[Any]]:
    yield kind
    for each in kind.__subclasses__():
        yield from _kinds(each)
