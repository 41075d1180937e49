"""Digits from gzip IDX files, the format of MNIST."""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from example_project import ROOT
from torch_lab.datasets import BaseDataset
from torch_lab.errors import ConfigurationError
from torch_lab.transforms import Transform

Bytes = npt.NDArray[np.uint8]

SPLITS = ("train", "validation", "test")
# Preparing data is a step of its own: it may take hours, and a training run should not hide it.
HOW_TO_MAKE = "make the digits first, with `python -m example_project.preprocess.digits`"


class Digits(BaseDataset):
    """Images (1, H, W) with values 0..1; "y" is the digit. `split`: train, validation or test.

    `folder`, from the project's root, holds what `example_project.preprocess.digits` makes, or the
    files of MNIST under their standard names. MNIST has no validation split: every tenth of its
    training images is one.
    """

    def __init__(self, folder: str, split: str, transform: Transform | None = None) -> None:
        super().__init__(transform)
        self.images, self.labels = read_split(ROOT / folder, split)

    def __len__(self) -> int:
        return len(self.labels)

    def get_raw_data(self, md: dict[str, Any]) -> torch.Tensor:
        """Return an image; `md["index"]` says which."""
        return torch.from_numpy(self.images[md["index"]]).float().div(255).unsqueeze(0)

    def get_raw_label(self, md: dict[str, Any]) -> int:
        """Return the digit that the image shows; it becomes `md["y"]`."""
        return int(self.labels[md["index"]])


def read_split(folder: Path, split: str) -> tuple[Bytes, Bytes]:
    """Return the images and labels of a split, from files of its own or from MNIST's."""
    if split not in SPLITS:
        raise ConfigurationError(f'no split "{split}": there are {", ".join(SPLITS)}')
    if split == "test":
        return read_pair(folder, "t10k" if image_file(folder, "t10k").exists() else "test")
    if image_file(folder, "validation").exists():
        return read_pair(folder, split)
    images, labels = read_pair(folder, "train")
    chosen = (np.arange(len(labels)) % 10 == 0) == (split == "validation")
    return images[chosen], labels[chosen]


def image_file(folder: Path, prefix: str) -> Path:
    """Return where the images of a split are."""
    return folder / f"{prefix}-images-idx3-ubyte.gz"


def read_pair(folder: Path, prefix: str) -> tuple[Bytes, Bytes]:
    """Return the images and labels in the two files that begin with `prefix`."""
    try:
        images = read_idx(image_file(folder, prefix))
        labels = read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz")
    except FileNotFoundError as error:
        raise ConfigurationError(f"{error.filename} is missing: {HOW_TO_MAKE}") from error
    if len(images) != len(labels):
        raise ValueError(f"{folder}: {len(images)} {prefix} images, but {len(labels)} labels")
    return images, labels


def read_idx(path: Path) -> Bytes:
    """Return the array that a gzip IDX file of bytes holds."""
    # A bytearray, for torch warns of memory that can't be written to.
    content = bytearray(gzip.decompress(path.read_bytes()))
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise ValueError(f"{path} is no IDX file of bytes")
    start = 4 + 4 * content[3]
    shape = struct.unpack_from(f">{content[3]}I", content, 4)
    if len(content) != start + math.prod(shape):
        raise ValueError(f"{path} holds {len(content) - start} bytes, not {shape}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
