"""Turn data/raw/digits.csv.gz into data/processed/digits/: gzip IDX files, as MNIST has them.

    python -m example_project.preprocess.digits [--upload]

With `--upload` they are published as a ClearML Dataset too. Without, it imports nothing of the
project; either way it also runs as a plain script from any folder.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import os
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "data" / "raw" / "digits.csv.gz"
TARGET = ROOT / "data" / "processed" / "digits"
SHARES = {"train": 0.7, "validation": 0.15, "test": 0.15}


def read_raw(source: Path) -> tuple[Pixels, Pixels]:
    """Return the images (n, 8, 8), scaled to 0..255, and their labels (n,)."""
    table = np.loadtxt(source, delimiter=",", dtype=np.int64, ndmin=2)
    if table.shape[1] != 65 or table[:, :64].max() > 16 or table.min() < 0:
        raise ValueError(f"{source}: expected 64 values from 0 to 16 and a digit on each line")
    images = (table[:, :64] * 255 + 8) // 16
    return images.reshape(-1, 8, 8).astype(np.uint8), table[:, 64].astype(np.uint8)


def split_of(image: Pixels) -> str:
    """Name the split an image belongs to.

    Its own pixels decide: no random generator, the same answer on every machine; adding images
    moves none of the others, and a duplicate never ends up in two splits.
    """
    draw = int.from_bytes(hashlib.sha256(image.tobytes()).digest()[:8], "big") / 2**64
    for name, share in SHARES.items():
        if draw < share:
            return name
        draw -= share
    return name


def idx_bytes(array: Pixels) -> bytes:
    """Encode an array as an IDX file: two zeros, type 8 (byte), the shape, the values."""
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + np.ascontiguousarray(array).tobytes()


def gzip_bytes(content: bytes) -> bytes:
    """Compress without a name or a time, so that equal content makes equal files."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0) as file:
        file.write(content)
    return buffer.getvalue()


def write_if_new(path: Path, content: bytes) -> bool:
    """Write the gzip file unless it holds this content already; say whether it was written."""
    try:
        if gzip.decompress(path.read_bytes()) == content:
            return False
    except (OSError, EOFError, zlib.error):
        pass  # missing or damaged: written anew
    path.parent.mkdir(parents=True, exist_ok=True)
    # A reader sees the old file or the whole new one, even if this script is killed.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(gzip_bytes(content))
    temporary.replace(path)
    return True


def preprocess(source: Path = SOURCE, target: Path = TARGET) -> dict[str, int]:
    """Write the files that are missing or differ; return the number of images in each split."""
    images, labels = read_raw(source)
    splits = np.array([split_of(image) for image in images])
    written = []
    for split in SHARES:
        chosen = splits == split
        for name, array in (("images-idx3", images[chosen]), ("labels-idx1", labels[chosen])):
            path = target / f"{split}-{name}-ubyte.gz"
            if write_if_new(path, idx_bytes(array)):
                written.append(path.name)
    sizes = {split: int((splits == split).sum()) for split in SHARES}
    state = f"wrote {len(written)} files" if written else "up to date"
    print(f"{target}: {state}; " + ", ".join(f"{n} {split}" for split, n in sizes.items()))
    return sizes


def upload(folder: Path = TARGET) -> None:
    """Publish the files as the next version of a ClearML Dataset, named as their folder."""
    sys.path.insert(0, str(ROOT))  # a plain script finds no package
    from example_project.published import PROJECT, UnavailableError, publish

    try:
        dataset = publish(folder, folder.name)
    except UnavailableError as error:
        sys.exit(f"not uploaded: {error}")
    print(f"uploaded as the ClearML Dataset {folder.name} in project {PROJECT}, id {dataset}")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Make the digits from the raw file.")
    parser.add_argument("--upload", action="store_true", help="publish them as a ClearML Dataset")
    options = parser.parse_args()
    preprocess()
    if options.upload:
        upload()


if __name__ == "__main__":
    main()
