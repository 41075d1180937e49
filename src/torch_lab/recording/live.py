"""The record of a run under way, on the process that keeps its books."""

from __future__ import annotations

import base64
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from torch_lab.errors import ConfigurationError
from torch_lab.recording import images
from torch_lab.recording.figures import Interactive, drawn
from torch_lab.recording.images import Picture, Unfit
from torch_lab.recording.items import Item, folder_of
from torch_lab.recording.recorder import Caption, Every
from torch_lab.recording.shelf import Shelf, Stream
from torch_lab.recording.tables import csv_of
from torch_lab.store.journal import Journal
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import MetricSummary
from torch_lab.store.secrets import mask_text
from torch_lab.utils.text import shown

_log = logging.getLogger("torch_lab")


class Position(NamedTuple):
    """Where in training something is recorded."""

    batch: int
    step: int
    epoch: int
    counts: bool = True  # not while a finder tries things out


class RunRecorder:
    """Scalars go to the journal, all else to media/; what TensorBoard alone shows to summaries/.

    A method that takes `step` keeps it in place of the training's own. What can't be written
    raises StoreError; rows of the journal wait for a while. `hold` is asked before each write, and
    may refuse by raising: the run may be another process's by now. Calls in other processes, such
    as forked loader workers, do nothing; nor do those that a resumed run repeats before it goes
    on, while it builds its configuration, say: what they record is there.
    """

    def __init__(
        self, run: RunDirectory, after: int, hold: Callable[[], None] = lambda: None
    ) -> None:
        self.run = run
        self._after = after
        self.journal = Journal(run, after, hold)
        self.position: Callable[[], Position] = lambda: Position(0, 0, 0)
        self._shelf = Shelf(run, after, hold)
        self._summaries = Stream(run.summaries, after, "the summaries for TensorBoard in", hold)
        self._turn = threading.Lock()
        self._pid = os.getpid()
        self._closed = False
        self._warned: set[str] = set()
        self._last = {
            ("scalar", name): (row.batch, row.t) for name, row in self.journal.inherited.items()
        }
        for item in self._shelf.inherited:
            self._last[item.kind, item.name] = (item.batch, item.t)

    # -- what experiment code calls --------------------------------------------------------------

    def scalar(
        self, name: str, value: Any, *, every: Every = None, step: int | None = None
    ) -> None:
        """A number, in the journal beside what Lightning logs."""
        with self._taking("scalar", name, every) as taken:
            if taken:
                self.scalars({name: value}, step=step)

    def image(
        self,
        name: str,
        image: Any,
        *,
        caption: Caption = None,
        every: Every = None,
        step: int | None = None,
    ) -> None:
        """An image or several, each as a file."""
        with self._taking("image", name, every) as taken:
            if taken:
                made = self._pictures(name, image, seen=taken.before)
                several = images.is_several(image)
                captions = images.captions(caption, len(made))
                for number, (picture, text) in enumerate(zip(made, captions, strict=True)):
                    index = number if several else None
                    self.picture("image", name, picture, caption=text, index=index, step=step)

    def figure(
        self, name: str, figure: Any, *, every: Every = None, step: int | None = None
    ) -> None:
        """A figure: of matplotlib as an image, of plotly as a page for a browser."""
        with self._taking("figure", name, every) as taken:
            if not taken:
                return
            made = drawn(figure, "../" * (folder_of(name).count("/") + 1))
            if isinstance(made, Picture):
                self.picture("figure", name, made, step=step)
            else:
                self._interactive(name, made, step)

    def table(
        self,
        name: str,
        rows: Sequence[Any] | Any,
        *,
        columns: Sequence[str] | None = None,
        every: Every = None,
        step: int | None = None,
    ) -> None:
        """A table, as CSV."""
        with self._taking("table", name, every) as taken:
            if taken:
                self._keep("table", name, ".csv", csv_of(rows, columns).encode(), step)

    def text(self, name: str, text: str, *, every: Every = None, step: int | None = None) -> None:
        """A text; what looks like a secret in it is masked."""
        with self._taking("text", name, every) as taken:
            if taken:
                data = mask_text(str(text)).encode(errors="backslashreplace")
                self._keep("text", name, ".txt", data, step)

    def artifact(
        self,
        path: str | os.PathLike[str],
        *,
        name: str | None = None,
        every: Every = None,
    ) -> None:
        """A copy of a file or a folder, as it is now."""
        source = Path(path).expanduser()
        name = name or source.resolve().name
        with self._taking("artifact", name, every) as taken:
            if not taken:
                return
            if not source.exists():
                raise ConfigurationError(f"there is no file or folder {source} to keep")
            if self.run.path.resolve().is_relative_to(source.resolve()):
                raise ConfigurationError(
                    f"{source} holds this run itself: it can't be a part of it"
                )
            place = self._shelf.reserve(name, self.position().batch, source.suffix)
            self._shelf.copy(source, place)
            self._add("artifact", name, place)

    # -- what loggers call -----------------------------------------------------------------------

    def scalars(
        self, values: Mapping[str, Any], *, step: int | None = None, epoch: int | None = None
    ) -> None:
        """Several numbers as one row of the journal."""
        if not self._open():
            return
        numbers = {name: _number(name, value) for name, value in values.items()}
        at = self.position()
        step = at.step if step is None else int(step)
        self.journal.append(at.batch, step, at.epoch if epoch is None else epoch, numbers)

    def picture(
        self,
        kind: str,
        name: str,
        picture: Picture,
        *,
        caption: str | None = None,
        index: int | None = None,
        step: int | None = None,
    ) -> None:
        """An image file's contents."""
        if self._open():
            more = {"caption": mask_text(caption)} if caption else {}
            facts = {"size": picture.size, "index": index, **more}
            self._keep(kind, name, picture.ending, picture.data, step, **facts)

    def event(self, event: bytes) -> None:
        """An event of TensorBoard's that nothing else here has a place for, serialized."""
        if self._open():
            at, text = self.position(), base64.b64encode(event).decode()
            place = {"t": _now(), "batch": at.batch, "step": at.step, "epoch": at.epoch}
            self._summaries.write({**place, "event": text})

    # -- what the session and the checkpoints' keeper call ---------------------------------------

    @property
    def summary(self) -> dict[str, MetricSummary]:
        """Each metric's last, least and greatest value so far."""
        return self.journal.summary

    def sync(self) -> None:
        """Make all that was recorded so far durable."""
        self.journal.sync()
        self._shelf.sync()
        self._summaries.sync()

    def close(self) -> None:
        """Make all durable; nothing can be recorded after. Harmless when done before."""
        if self._closed:
            return
        self._closed = True
        self._shelf.sync()
        self.journal.close()
        self._shelf.close()
        self._summaries.close()

    # -- in between ------------------------------------------------------------------------------

    def _open(self) -> bool:
        if self._closed or os.getpid() != self._pid:
            return False
        at = self.position()
        return at.counts and (self._after <= 0 or at.batch > 0)

    @contextmanager
    def _taking(self, kind: str, name: str, every: Every) -> Iterator[_Taken]:
        """Whether a call is to be taken; mistakes made in it are said with the user's line."""
        try:
            yield self._taken(kind, name, every)
        except ConfigurationError as error:
            message = f"record().{kind}({name!r}): {error.message}"
            raise ConfigurationError(message, hint=error.hint) from error

    def _taken(self, kind: str, name: str, every: Every) -> _Taken:
        if not self._open():
            return _Taken(False, False)
        if not isinstance(name, str) or not name.strip():
            raise ConfigurationError(f"expected a name, got {shown(name)}")
        batches, seconds = _interval(every)
        batch, now = self.position().batch, _now()
        with self._turn:
            last = self._last.get((kind, name))
            if last is not None and every is not None:
                elapsed = now - last[1]
                if batch - last[0] < batches or 0 <= elapsed < seconds:
                    return _Taken(False, True)
            self._last[kind, name] = (batch, now)
        return _Taken(True, last is not None)

    def _pictures(self, name: str, image: Any, *, seen: bool) -> list[Picture]:
        """The first image of a name must be right; a later one is no reason to end a training."""
        try:
            return images.pictures(image)
        except Unfit as error:
            if not seen:
                raise
            if name not in self._warned:
                self._warned.add(name)
                _log.warning("image %r: %s; it is cut off there", name, error.message)
            return error.clipped

    def _interactive(self, name: str, figure: Interactive, step: int | None) -> None:
        batch, script = self.position().batch, self.run.media / figure.script
        data = self._shelf.reserve(name, batch, ".json")  # the folder is there from here on
        if not script.exists():
            self._shelf.write(script, figure.script_text)
        self._shelf.write(data, figure.data)
        facts = {"data": self._shelf.relative(data)}
        self._keep("figure", name, ".html", figure.page, step, **facts)

    def _keep(
        self, kind: str, name: str, ending: str, content: bytes, step: int | None, **facts: Any
    ) -> None:
        place = self._shelf.reserve(name, self.position().batch, ending)
        self._shelf.write(place, content)
        self._add(kind, name, place, step, **facts)

    def _add(
        self, kind: str, name: str, place: Path, step: int | None = None, **facts: Any
    ) -> None:
        at, file = self.position(), self._shelf.relative(place)
        step = at.step if step is None else int(step)
        self._shelf.add(Item(_now(), at.batch, step, at.epoch, kind, name, file, **facts))


class _Taken(NamedTuple):
    """Whether a call is taken, and whether one of its kind and name was before."""

    now: bool
    before: bool

    def __bool__(self) -> bool:
        return self.now


def _interval(every: Every) -> tuple[int, float]:
    """`every` in batches and in seconds, one of them 0."""
    if isinstance(every, timedelta):
        every = every.total_seconds()
    if every is None:
        return 0, 0.0
    if isinstance(every, bool) or not isinstance(every, (int, float)) or not every > 0:
        raise ConfigurationError(
            f"every: expected a positive number, got {shown(every)}",
            hint="An int counts batches, a float seconds; a timedelta will do.",
        )
    return (every, 0.0) if isinstance(every, int) else (0, every)


def _number(name: str, value: Any) -> float:
    try:
        return float(value.detach() if hasattr(value, "detach") else value)
    except (TypeError, ValueError, RuntimeError):
        shape = getattr(value, "shape", None)
        got = f"a {type(value).__name__} of shape {tuple(shape)}" if shape else shown(value)
        raise ConfigurationError(f"{name}: expected one number, got {got}") from None


def _now() -> float:
    return round(time.time(), 3)
