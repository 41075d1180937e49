"""Output streams that outlive whoever was reading them."""

from __future__ import annotations

import errno
import os
from typing import Any, TextIO

GONE = frozenset({errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO})


class PipeProof:
    """A text stream whose reader may go away (`train … | head -1`): then the rest is dropped.

    It is no `io.TextIOBase`: that class' own read-only attributes would hide the stream's.
    """

    def __init__(self, stream: TextIO | PipeProof) -> None:
        self.stream: TextIO = stream.stream if isinstance(stream, PipeProof) else stream
        self._gone = False

    def __getattr__(self, name: str) -> Any:
        if name == "stream":  # while being copied: there is nothing to delegate to yet
            raise AttributeError(name)
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write; characters the stream's encoding lacks become question marks."""
        if self._gone:
            return len(text)
        try:
            self.stream.write(text)
        except UnicodeEncodeError:
            encoding = self.stream.encoding
            self.write(text.encode(encoding, "replace").decode(encoding))
        except OSError as error:
            self.give_up(error)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each of the lines."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush, or find out that nobody reads any more."""
        if self._gone:
            return
        try:
            self.stream.flush()
        except OSError as error:
            self.give_up(error)

    def give_up(self, error: OSError) -> None:
        """Point the stream at nothing if its reader is gone; raise any other error."""
        if error.errno not in GONE:
            raise error
        self._gone = not point_at_nothing(self.stream)


def point_at_nothing(stream: TextIO) -> bool:
    """Make the stream's file descriptor /dev/null, for the buffered rest and for children too."""
    try:
        target = stream.fileno()
    except (OSError, ValueError):
        return False
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, target)
    finally:
        os.close(nothing)
    return True


def terminal_width(stream: TextIO | PipeProof) -> int | None:
    """Columns of the stream's terminal, or of $COLUMNS; None where the text goes to no terminal."""
    try:
        return int(os.environ["COLUMNS"])
    except (KeyError, ValueError):
        pass
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return None


def colorful(stream: TextIO | PipeProof) -> bool:
    """Whether colors are wanted: on a terminal that has them, unless NO_COLOR is set."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return bool(stream.isatty())
