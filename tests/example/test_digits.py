from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from example_project.datasets import Digits, read_idx
from example_project.preprocess.digits import gzip_bytes, idx_bytes, preprocess
from torch_lab.errors import ConfigurationError


def write(folder: Path, prefix: str, count: int, size: int) -> None:
    random = np.random.default_rng(count)
    images = random.integers(0, 256, (count, size, size), dtype=np.uint8)
    labels = (np.arange(count) % 10).astype(np.uint8)
    (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip_bytes(idx_bytes(images)))
    (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip_bytes(idx_bytes(labels)))


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    write(tmp_path, "train", 60, 28)
    write(tmp_path, "t10k", 20, 28)
    return tmp_path


@pytest.mark.parametrize("shape", [(0,), (3,), (4, 8, 8), (2, 28, 28)])
def test_idx_round_trip(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    (tmp_path / "file.gz").write_bytes(gzip_bytes(idx_bytes(array)))
    np.testing.assert_array_equal(read_idx(tmp_path / "file.gz"), array)


def test_the_header_is_that_of_mnist() -> None:
    # The first 16 bytes of MNIST's train-images-idx3-ubyte, but for the number of images.
    header = idx_bytes(np.zeros((3, 28, 28), np.uint8))[:16]
    assert header.hex() == "00000803" + "00000003" + "0000001c" + "0000001c"


@pytest.mark.parametrize(
    "content", [b"", b"PNG", b"\0\0\x0d\x01\0\0\0\1\0\0\0\0", b"\0\0\x08\1\0\0\0\2\0"]
)
def test_what_is_no_idx_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(gzip_bytes(content))
    with pytest.raises(ValueError, match=r"file\.gz"):
        read_idx(path)


def test_samples(tmp_path: Path) -> None:
    preprocess(target=tmp_path)
    dataset = Digits(str(tmp_path), "validation")
    x, md = dataset[3]
    assert (x.shape, x.dtype) == ((1, 8, 8), torch.float32)
    assert 0.0 <= float(x.min()) < 0.1
    assert 0.9 < float(x.max()) <= 1.0
    assert md["index"] == 3
    assert md["y"] == dataset.labels[3]
    assert len(dataset) == len(dataset.labels)


def test_the_transform_is_applied(tmp_path: Path) -> None:
    preprocess(target=tmp_path)
    plain = Digits(str(tmp_path), "test")
    doubled = Digits(str(tmp_path), "test", lambda x, md: (2 * x, md))
    assert torch.equal(doubled[0][0], 2 * plain[0][0])


def test_mnist_is_read_under_its_own_names(mnist: Path) -> None:
    parts = {name: Digits(str(mnist), name) for name in ("train", "validation", "test")}
    assert {name: len(part) for name, part in parts.items()} == {
        "train": 54,
        "validation": 6,
        "test": 20,
    }
    assert parts["train"][0][0].shape == (1, 28, 28)
    together = {image.tobytes() for name in ("train", "validation") for image in parts[name].images}
    assert len(together) == 60


def test_missing_data_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Digits(str(tmp_path), "train")
    assert "python -m example_project.preprocess.digits" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_split_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match='no split "valid": there are train, validation'):
        Digits(str(tmp_path), "valid")


def test_labels_of_another_file_are_refused(mnist: Path) -> None:
    (mnist / "train-labels-idx1-ubyte.gz").write_bytes(
        (mnist / "t10k-labels-idx1-ubyte.gz").read_bytes()
    )
    with pytest.raises(ValueError, match="60 train images, but 20 labels"):
        Digits(str(mnist), "train")
