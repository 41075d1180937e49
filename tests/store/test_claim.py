from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from store_helpers import everything_in, files_no_larger_than, python

from torch_lab.errors import StoreError
from torch_lab.store.claim import claim, discard, new_id

MANY_CLAIMS = """
import sys, time
from pathlib import Path
from torch_lab.store.claim import claim
artifacts, go, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
print("ready", flush=True)
while not go.exists():
    time.sleep(0.001)
for _ in range(count):
    print(claim(artifacts, "00_x-h").name)
"""


def test_numbers_begin_at_zero_and_go_up(tmp_path: Path) -> None:
    names = [claim(tmp_path / "data" / "artifacts", "00_x-h").name for _ in range(3)]
    assert names == ["00_x-h_v0", "00_x-h_v1", "00_x-h_v2"]


def test_each_prefix_counts_for_itself(tmp_path: Path) -> None:
    claim(tmp_path, "00_x-h")
    assert claim(tmp_path, "dev_00_x-h").name == "dev_00_x-h_v0"
    assert claim(tmp_path, "00_x-h.b+").name == "00_x-h.b+_v0"


def test_floor_and_existing_names_of_any_kind_are_respected(tmp_path: Path) -> None:
    assert claim(tmp_path, "a-b", floor=7).name == "a-b_v7"
    assert claim(tmp_path, "a-b", floor=3).name == "a-b_v8"
    (tmp_path / "a-b_v9").write_text("a file in the way")
    (tmp_path / "a-b_vx").mkdir()
    assert claim(tmp_path, "a-b").name == "a-b_v10"


def test_number_of_a_deleted_run_is_not_given_again(tmp_path: Path) -> None:
    for _ in range(3):
        newest = claim(tmp_path, "a-b")
    discard(newest)
    assert claim(tmp_path, "a-b").name == "a-b_v3"
    for run in tmp_path.glob("a-b_v*"):
        shutil.rmtree(run)
    assert claim(tmp_path, "a-b").name == "a-b_v4"


@pytest.mark.parametrize("damage", ["missing", "a file", "strange names"])
def test_damaged_counter_is_rebuilt_from_the_runs(tmp_path: Path, damage: str) -> None:
    for _ in range(2):
        claim(tmp_path, "a-b")
    counter = tmp_path / ".counters" / "a-b"
    shutil.rmtree(counter)
    if damage == "a file":
        counter.write_text("??")
    if damage == "strange names":
        counter.mkdir()
        (counter / "x").touch()
        (counter / "²").touch()
    assert claim(tmp_path, "a-b").name == "a-b_v2"
    discard(claim(tmp_path, "a-b"))
    assert claim(tmp_path, "a-b").name == "a-b_v4"


def test_simultaneous_claims_never_get_the_same_number(tmp_path: Path) -> None:
    processes, count = 6, 25
    go = tmp_path / "go"
    claimers = [python(MANY_CLAIMS, tmp_path / "runs", go, count) for _ in range(processes)]
    for claimer in claimers:
        assert claimer.stdout
        assert claimer.stdout.readline() == "ready\n"
    go.touch()
    names = [name for claimer in claimers for name in claimer.communicate()[0].split()]
    assert sorted(names) == sorted(f"00_x-h_v{n}" for n in range(processes * count))


@pytest.mark.parametrize("place", ["artifacts", "artifacts/deeper"])
def test_file_where_the_folder_should_be(tmp_path: Path, place: str) -> None:
    (tmp_path / "artifacts").write_text("not a folder")
    with pytest.raises(StoreError, match=r"artifacts isn't a folder") as error:
        claim(tmp_path / place, "a-b")
    assert "\n" not in error.value.message


def test_link_to_nowhere_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "artifacts").symlink_to("nowhere")
    with pytest.raises(StoreError, match="artifacts isn't a folder"):
        claim(tmp_path / "artifacts", "a-b")


def test_file_where_the_counters_should_be(tmp_path: Path) -> None:
    (tmp_path / ".counters").touch()
    with pytest.raises(StoreError, match=r"\.counters"):
        claim(tmp_path, "a-b")
    assert everything_in(tmp_path) == [".counters"]


def test_unwritable_folder(tmp_path: Path) -> None:
    code = """
import os, sys
from pathlib import Path
from torch_lab.errors import StoreError
from torch_lab.store.claim import claim
if os.geteuid() == 0:
    os.seteuid(65534)
try:
    claim(Path(sys.argv[1]), "a-b")
except StoreError as error:
    print(error)
"""
    for folder in (tmp_path, *tmp_path.parents[:3]):
        if folder.owner() == tmp_path.owner() and os.access(folder, os.W_OK):
            folder.chmod(0o755)
    artifacts = tmp_path / "artifacts"
    artifacts.mkdir(mode=0o555)
    output, _ = python(code, artifacts).communicate()
    assert "Permission denied" in output
    assert "TORCH_LAB_ARTIFACTS" in output
    assert everything_in(artifacts) == []


def test_full_disk_leaves_nothing_of_the_run(tmp_path: Path) -> None:
    with files_no_larger_than(0), pytest.raises(StoreError, match=r"can't write .*a-b"):
        claim(tmp_path, "a-b")
    assert everything_in(tmp_path) == [".counters", ".counters/a-b"]
    assert claim(tmp_path, "a-b").name == "a-b_v0"


def test_ids_are_32_hex_digits_and_differ() -> None:
    ids = {new_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(len(value) == 32 and int(value, 16) >= 0 for value in ids)
