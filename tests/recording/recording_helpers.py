"""What the tests of the record share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from torch_lab.recording.items import Item, items
from torch_lab.recording.live import Position, RunRecorder
from torch_lab.store.paths import RunDirectory


class Training:
    """A recorder whose place in training a test moves."""

    def __init__(self, folder: Path, after: int = 0) -> None:
        self.run = RunDirectory(folder)
        self.batch = after + 1
        self.recorder = RunRecorder(self.run, after)
        self.recorder.position = lambda: Position(self.batch, self.batch - 1, 0)

    def items(self) -> list[Item]:
        return list(items(self.run))

    def files(self) -> list[str]:
        """The files under media/ that are no index, by their names there."""
        found = [path for path in self.run.media.rglob("*") if path.is_file()]
        names = sorted(path.relative_to(self.run.media).as_posix() for path in found)
        return [name for name in names if "/" in name]

    def file(self, item: Item) -> Path:
        return self.run.path / item.file


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows: each tag's steps and values."""
    return {tag: [(e.step, e.value) for e in _read(folder).Scalars(tag)] for tag in tags(folder)}


def tags(folder: Path, kind: str = "scalars") -> list[str]:
    return list(_read(folder).Tags()[kind])


def images(folder: Path, tag: str) -> list[tuple[int, bytes]]:
    return [(e.step, e.encoded_image_string) for e in _read(folder).Images(tag)]


def histograms(folder: Path, tag: str) -> list[int]:
    return [event.step for event in _read(folder).Histograms(tag)]


def texts(folder: Path, tag: str) -> list[tuple[int, str]]:
    events = _read(folder).Tensors(f"{tag}/text_summary")
    return [(e.step, e.tensor_proto.string_val[0].decode()) for e in events]


def _read(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(
        str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0, "histograms": 0}
    )
    return read.Reload()
