"""`lab sync`."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from torch_lab.cli.options import HELP, Option, Parsed, Reader, answered, option_lines
from torch_lab.cli.values import count
from torch_lab.errors import Stopped, UsageError

FOLLOW = Option("--follow", help="go on with what comes, for as long as something is trained here")
BESIDE = Option("--beside", "PID", "with --follow: at least as long as that process lives")
OPTIONS = (FOLLOW, BESIDE, HELP)

HELP_TEXT = f"""\
lab sync [RUN…] [options]      send to the ClearML server what it does not have yet

  lab sync                                all runs, those made offline too
  lab sync 00_digits-hparams_v3           one of them, by the name or id that `lab show` takes
  lab sync --follow                       what `train` starts beside itself where a server is known

{option_lines(OPTIONS)}

Whatever was interrupted goes on where it was, however often; nothing is sent twice. A line says of
each run what was sent, or why it is pending. Exit status: 0 all is sent, 1 something is pending,
2 there is no server to send it to.
"""


def command(argv: Sequence[str]) -> int | None:
    """Send runs."""
    reader = Reader(argv, OPTIONS)
    parsed = reader.read(reader.refuse)
    if answered(parsed, HELP_TEXT):
        return 0
    beside = count(BESIDE.name, parsed.one(BESIDE.name))
    with _stopped_by(signal.SIGTERM):
        if parsed.has(FOLLOW.name):
            return _follow(parsed, beside)
        if beside is not None:
            raise UsageError("--beside belongs to --follow")
        return _send(parsed)


def _send(parsed: Parsed) -> int:
    from torch_lab import settings
    from torch_lab.store.console import LiveLine
    from torch_lab.tasks.sync import Sync

    line = LiveLine(sys.stderr)

    def say(text: str) -> None:
        line.erase()
        print(text, flush=True)

    try:
        return Sync(settings.load(Path.cwd()), say, line.draw).run(parsed.words)
    finally:
        line.erase()


def _follow(parsed: Parsed, beside: int | None) -> int:
    import os

    from torch_lab import settings
    from torch_lab.mirror.sender import follow

    if parsed.words:
        raise UsageError("--follow sends all runs that come; name none")
    os.nice(10)
    follow(settings.load(Path.cwd()), _log, beside)
    return 0


def _log(text: str) -> None:
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}", flush=True)


@contextmanager
def _stopped_by(signum: int) -> Iterator[None]:
    """Have a signal end the block as Ctrl-C does, so that locks are let go."""

    def stop(number: int, _: FrameType | None) -> None:
        raise Stopped(number)

    before = signal.signal(signum, stop)
    try:
        yield
    finally:
        signal.signal(signum, before)
