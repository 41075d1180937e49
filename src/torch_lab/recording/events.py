"""TensorBoard's event files, written anew from the run's own at each of its starts.

TensorBoard reads the files of a folder one after the other, and can drop what is superseded only
by step; the steps that code gives may be anything. So a file begins with a mark that drops all
that came before it, and holds everything that counts.
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
import time
from contextlib import suppress
from typing import Any, NamedTuple

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.summary.writer.record_writer import RecordWriter

from torch_lab.recording.items import Item
from torch_lab.recording.machine import Sample
from torch_lab.store.journal import Row
from torch_lab.store.paths import RunDirectory

_NAME = "events.out.tfevents.*.torch-lab"
_SHOWN_ROWS = 50
_SHOWN_BYTES = 20_000_000  # more is no picture for a browser


class Kept(NamedTuple):
    """A serialized event that a SummaryWriter made, and the batch it belongs to."""

    batch: int
    event: bytes


def parse(content: dict[str, Any]) -> Kept | None:
    """The event that a line's content is, if it is one."""
    try:
        return Kept(content["batch"], base64.b64decode(content["event"], validate=True))
    except (KeyError, TypeError, binascii.Error):
        return None


class EventFile:
    """The event file of one start of a run; those of earlier ones go when it says as much.

    Its name has the start's number where others have the time: clocks differ between machines.
    """

    def __init__(self, run: RunDirectory, start: int) -> None:
        self._run = run
        run.tensorboard.mkdir(exist_ok=True)
        now = time.time()
        self.path = run.tensorboard / _NAME.replace("*", f"{start:010d}")
        self._file = self.path.open("xb")
        self._records = RecordWriter(self._file)
        self._first_sample: float | None = None
        self._put(Event(wall_time=now, file_version="brain.Event:2"))
        self._put(Event(wall_time=now, step=0, session_log=SessionLog(status=SessionLog.START)))

    def replace_earlier(self) -> None:
        """Remove the event files of earlier starts: all that counts in them is in this one."""
        self._file.flush()
        for path in self._run.tensorboard.glob(_NAME):
            if path.name < self.path.name:
                path.unlink(missing_ok=True)

    def give_way(self) -> None:
        """Leave nothing behind where a later start has a file of its own."""
        if any(path.name > self.path.name for path in self._run.tensorboard.glob(_NAME)):
            self.path.unlink(missing_ok=True)

    def row(self, row: Row) -> None:
        """The scalars of a row of the journal."""
        values = [Summary.Value(tag=name, simple_value=v) for name, v in row.values.items()]
        self._summarize(row.t, row.step, values)

    def item(self, item: Item) -> None:
        """An item of media/, if it is of a kind that TensorBoard shows."""
        path = self._run.path / item.file
        tag = item.name if item.index is None else f"{item.name}/{item.index}"
        with suppress(OSError):  # it was superseded, or taken away, since
            if path.stat().st_size > _SHOWN_BYTES:
                return
            if item.size is not None:
                self._image(item, tag, path.read_bytes())
            elif item.kind == "text":
                self._text(item, tag, path.read_text(errors="replace"))
            elif item.kind == "table":
                self._text(item, tag, markdown(path.read_text(errors="replace")))

    def kept(self, kept: Kept) -> None:
        """An event as it was made."""
        self._records.write(kept.event)

    def sample(self, sample: Sample) -> None:
        """Machine use, over the seconds since it was first looked at."""
        self._first_sample = self._first_sample or sample.t
        values = [
            Summary.Value(tag=f"machine/{name}", simple_value=value)
            for name, value in sample.values.items()
        ]
        self._summarize(sample.t, max(int(sample.t - self._first_sample), 0), values)

    def flush(self) -> None:
        """Let readers see what was written."""
        self._file.flush()

    def close(self) -> None:
        """End the file."""
        self._file.close()

    def _image(self, item: Item, tag: str, data: bytes) -> None:
        width, height = item.size or (0, 0)
        image = Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=data)
        self._summarize(item.t, item.step, [Summary.Value(tag=tag, image=image)])
        if item.caption:
            self._text(item, f"{tag}/caption", item.caption)

    def _text(self, item: Item, tag: str, text: str) -> None:
        metadata = SummaryMetadata(plugin_data={"plugin_name": "text"})
        tensor = TensorProto(
            dtype=DT_STRING,
            string_val=[text.encode()],
            tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)]),
        )
        value = Summary.Value(tag=f"{tag}/text_summary", metadata=metadata, tensor=tensor)
        self._summarize(item.t, item.step, [value])

    def _summarize(self, t: float, step: int, values: list[Any]) -> None:
        self._put(Event(wall_time=t, step=step, summary=Summary(value=values)))

    def _put(self, event: Any) -> None:
        self._records.write(event.SerializeToString())


def markdown(text: str) -> str:
    """The beginning of a CSV file as a table in Markdown."""
    rows = list(csv.reader(io.StringIO(text)))
    if not rows:
        return ""
    header, *body = [[cell.replace("|", "\\|") for cell in row] for row in rows[: _SHOWN_ROWS + 1]]
    lines = [header, ["---"] * len(header), *body]
    shown = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    left = len(rows) - 1 - len(body)
    return f"{shown}\n\n{left} more rows" if left > 0 else shown
