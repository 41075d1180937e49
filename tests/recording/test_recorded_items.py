from __future__ import annotations

import json
from pathlib import Path

import pytest
from recording_helpers import Training

from torch_lab.recording.items import folder_of


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("loss", "loss"),
        ("val/prediction", "val/prediction"),
        ("größe (mm)", "größe_(mm)"),
        ("../../etc/passwd", "_/_/etc/passwd"),
        ("/etc/passwd", "etc/passwd"),
        ("a\\b:c*?\n", "a_b_c_"),
        (".hidden", "hidden"),
        ("..", "_"),
        ("/", "_"),
        ("0000.jsonl", "_0000.jsonl"),
        ("000123.png", "_000123.png"),
        ("x" * 300, "x" * 80),
        ("ä" * 300, "ä" * 40),
        ("/".join("abcdefghijkl"), "a/b/c/d/e/f/g/h"),
        ("con. ", "con"),
    ],
)
def test_names_make_folders_that_stay_inside(name: str, folder: str) -> None:
    assert folder_of(name) == folder


@pytest.fixture
def training(tmp_path: Path) -> Training:
    return Training(tmp_path)


def test_names_that_share_a_folder_keep_their_files_apart(training: Training) -> None:
    for name in ("a b", "a?b", "a_b", "A_B"):
        training.recorder.text(name, name)
    assert [item.name for item in training.items()] == ["a b", "a?b", "a_b", "A_B"]
    assert [training.file(item).read_text() for item in training.items()] == [
        "a b", "a?b", "a_b", "A_B",
    ]  # fmt: skip
    assert training.files() == [
        "A_B/000001-3.txt", "a_b/000001-1.txt", "a_b/000001-2.txt", "a_b/000001.txt",
    ]  # fmt: skip


def test_an_index_line_says_where_in_training_it_was(training: Training) -> None:
    training.batch = 7
    training.recorder.text("note", "hello")
    lines = (training.run.media / "0000.jsonl").read_text().splitlines()
    header, line = map(json.loads, lines)
    assert (header["format"], header["after"]) == (1, 0)
    assert line.pop("t") > 1e9
    assert line == {
        "batch": 7, "step": 6, "epoch": 0, "kind": "text", "name": "note",
        "file": "media/note/000007.txt",
    }  # fmt: skip


def test_nothing_recorded_leaves_nothing(training: Training) -> None:
    training.recorder.close()
    assert not training.run.media.exists()
    assert not training.run.summaries.exists()


def test_unknown_keys_and_torn_lines_are_passed_over(training: Training) -> None:
    training.recorder.text("note", "hello")
    path = training.run.media / "0000.jsonl"
    line = path.read_text().splitlines()[1]
    newer = json.dumps({**json.loads(line), "colour": "red"})
    path.write_text(f'{{"format":1,"after":0}}\n{newer}\n{line[:20]}')
    assert [item.name for item in training.items()] == ["note"]
