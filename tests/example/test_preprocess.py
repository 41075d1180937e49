from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from example_project.datasets import read_idx
from example_project.preprocess import digits

COMMANDS = (
    ["-m", "example_project.preprocess.digits"],
    ["example_project/preprocess/digits.py"],
)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_it_writes_all_images_once_and_as_they_are(tmp_path: Path) -> None:
    sizes = digits.preprocess(target=tmp_path)
    images, labels = digits.read_raw(digits.SOURCE)

    assert sum(sizes.values()) == len(images) == 1797
    assert sizes["train"] > 1200
    assert min(sizes.values()) > 200
    read = {name: read_idx(tmp_path / f"{name}-images-idx3-ubyte.gz") for name in sizes}
    assert {name: len(part) for name, part in read.items()} == sizes
    together = sorted(image.tobytes() for part in read.values() for image in part)
    assert together == sorted(image.tobytes() for image in images)

    index = [digits.split_of(image) for image in images].index("validation")
    first = read_idx(tmp_path / "validation-labels-idx1-ubyte.gz")[0]
    assert first == labels[index]
    np.testing.assert_array_equal(read["validation"][0], images[index])


def test_pixels_reach_from_0_to_255_and_labels_from_0_to_9() -> None:
    images, labels = digits.read_raw(digits.SOURCE)
    assert (images.min(), images.max()) == (0, 255)
    assert sorted(set(labels.tolist())) == list(range(10))
    assert labels[:10].tolist() == list(range(10))  # as the source begins


def test_equal_bytes_each_time_and_nothing_to_do_the_second(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digits.preprocess(target=tmp_path / "a")
    digits.preprocess(target=tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert len(contents(tmp_path / "a")) == 6
    capsys.readouterr()

    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "a").iterdir()}
    digits.preprocess(target=tmp_path / "a")
    assert "up to date" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "a").iterdir()} == times


@pytest.mark.parametrize("damage", [b"", b"no gzip", None])
def test_a_missing_or_damaged_file_is_written_anew(tmp_path: Path, damage: bytes | None) -> None:
    digits.preprocess(target=tmp_path)
    sound = contents(tmp_path)
    victim = tmp_path / "train-images-idx3-ubyte.gz"
    victim.unlink() if damage is None else victim.write_bytes(damage)
    digits.preprocess(target=tmp_path)
    assert contents(tmp_path) == sound


def test_a_truncated_file_is_written_anew(tmp_path: Path) -> None:
    digits.preprocess(target=tmp_path)
    victim = tmp_path / "test-images-idx3-ubyte.gz"
    whole = victim.read_bytes()
    victim.write_bytes(whole[:-100])
    digits.preprocess(target=tmp_path)
    assert victim.read_bytes() == whole


def test_a_source_that_is_something_else_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "raw.csv"
    source.write_text("1,2,3\n4,5,6\n")
    with pytest.raises(ValueError, match="64 values from 0 to 16"):
        digits.preprocess(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", COMMANDS)
def test_both_ways_to_run_it(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=digits.ROOT, capture_output=True, text=True, check=True
    )
    assert "data/processed/digits: " in done.stdout
    assert done.stdout.count("\n") == 1
    assert (digits.TARGET / "train-images-idx3-ubyte.gz").exists()
