from __future__ import annotations

import json
from pathlib import Path

import pytest
from store_helpers import dead_pid, new_run, write_holder, write_record

from torch_lab.errors import RunNotFound, StoreError
from torch_lab.store.find import newest_interrupted, resolve, runs


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    """Four runs of three scripts, the last of them a dev run."""
    folder = tmp_path / "data" / "artifacts"
    add(folder, "00_digits-hparams", "a", created=1)
    add(folder, "00_digits-small_lr", "b", created=2)
    add(folder, "00_digits-hparams", "c", created=3)
    add(folder, "dev_00_digits-hparams", "d", created=4, dev_run=2)
    return folder


def add(artifacts: Path, prefix: str, letter: str, **fields: object) -> None:
    experiment, _, script = prefix.removeprefix("dev_").partition("-")
    path = f"project/experiments/{experiment}/{script}.py"
    fields = {"id": letter + "0" * 31, "experiment": experiment, "script": path} | fields
    write_record(new_run(artifacts, prefix), **fields)


def name(text: str, artifacts: Path, cwd: Path | None = None) -> str:
    return resolve(text, artifacts, cwd=cwd)[0].directory.name


def test_newest_first(artifacts: Path) -> None:
    assert [run.record.id[0] for run in runs(artifacts)] == ["d", "c", "b", "a"]
    assert {run.status for run in runs(artifacts)} == {"completed"}


def test_no_folder_no_runs(tmp_path: Path) -> None:
    assert runs(tmp_path / "nowhere") == []
    with pytest.raises(RunNotFound, match="There are no runs there yet"):
        resolve("x", tmp_path / "nowhere")


def test_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="can't list"):
        runs(tmp_path / "file")


def test_what_is_no_run_is_passed_over(artifacts: Path) -> None:
    (artifacts / "notes.txt").touch()
    (artifacts / "just a folder").mkdir()
    (artifacts / "link").symlink_to("nowhere")
    new_run(artifacts, "00_digits-hparams")  # claimed a moment ago
    assert len(runs(artifacts)) == 4


def test_damaged_runs_are_shown_as_such(artifacts: Path) -> None:
    damaged = artifacts / "00_digits-hparams_v1"
    (damaged / "run.json").write_text("{")
    assert len(runs(artifacts)) == 4
    (run,) = [run for run in runs(artifacts) if run.status == "damaged"]
    assert run.record.name == "00_digits-hparams_v1"
    assert "run.json is damaged" in (run.record.reason or "")
    assert name("00_digits/hparams", artifacts) == "00_digits-hparams_v0"
    for text in ("00_digits-hparams_v1", str(damaged)):
        with pytest.raises(StoreError, match=r"run\.json is damaged"):
            resolve(text, artifacts)


def test_names_and_ids_and_their_prefixes(artifacts: Path) -> None:
    assert name("00_digits-hparams_v0", artifacts) == "00_digits-hparams_v0"
    assert name("00_digits-s", artifacts) == "00_digits-small_lr_v0"
    assert name("c", artifacts) == "00_digits-hparams_v1"
    assert name("C000", artifacts) == "00_digits-hparams_v1"
    assert name("c" + "0" * 31, artifacts) == "00_digits-hparams_v1"


def test_full_name_wins_over_longer_ones(artifacts: Path) -> None:
    for _ in range(9):
        write_record(new_run(artifacts, "00_digits-hparams"))
    assert name("00_digits-hparams_v1", artifacts) == "00_digits-hparams_v1"


def test_newest_of_a_script_without_dev_runs(artifacts: Path) -> None:
    for text in (
        "00_digits/hparams",
        "00_digits/hparams.py",
        "experiments/00_digits/hparams.py",
        "/any/where/00_digits/hparams.py",
    ):
        assert name(text, artifacts) == "00_digits-hparams_v1"
    add(artifacts, "dev_00_digits-other", "e", dev_run=2)
    with pytest.raises(RunNotFound, match="only dev runs: dev_00_digits-other_v0"):
        resolve("00_digits/other", artifacts)


def test_run_directories(artifacts: Path, tmp_path: Path) -> None:
    expected = "00_digits-hparams_v0"
    assert name(str(artifacts / expected), artifacts) == expected
    assert name(f"data/artifacts/{expected}/", artifacts, cwd=tmp_path) == expected
    assert name(".", artifacts, cwd=artifacts / expected) == expected
    assert name(str(artifacts / expected), tmp_path / "elsewhere") == expected


def test_checkpoint_names(artifacts: Path, tmp_path: Path) -> None:
    for run in (
        "00_digits-hparams_v0",
        "00_digits/hparams",
        "c",
        artifacts / "00_digits-hparams_v0",
    ):
        assert resolve(f"{run}:best", artifacts)[1] == "best"
        assert resolve(str(run), artifacts)[1] is None
    odd = tmp_path / "a:b"
    add(odd, "00_digits-hparams", "a")
    assert resolve(str(odd / "00_digits-hparams_v0"), artifacts)[1] is None
    assert resolve(f"{odd}/00_digits-hparams_v0:last", artifacts)[1] == "last"


def test_ambiguous_names_list_what_they_could_mean(artifacts: Path) -> None:
    with pytest.raises(RunNotFound) as error:
        resolve("00_digits-hparams", artifacts)
    assert error.value.message == (
        '"00_digits-hparams" names 2 runs: 00_digits-hparams_v1 (c0000000), '
        "00_digits-hparams_v0 (a0000000)"
    )
    assert error.value.hint == "Type more of it, or 00_digits/hparams for the newest."


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("00_digit-hparams_v1", "00_digits-hparams_v1"),
        ("00_digits/hparam", "00_digits/hparams"),
        ("00_digits/h", "Did you mean 00_digits/hparams?"),
        ("00_digits/hparam.py:best", "00_digits/hparams"),
    ],
)
def test_unknown_names_suggest_the_nearest(artifacts: Path, text: str, meant: str) -> None:
    with pytest.raises(RunNotFound, match="Did you mean") as error:
        resolve(text, artifacts)
    assert meant in (error.value.hint or "")


@pytest.mark.parametrize("text", ["", ":", "zzz", "/", "a/b/c", "x" * 5000, "nul\0", "..", ":best"])
def test_strange_names_are_unknown(artifacts: Path, text: str) -> None:
    with pytest.raises(RunNotFound, match="no run"):
        resolve(text, artifacts)


def test_newest_interrupted_run(artifacts: Path) -> None:
    prefix = "00_digits-hparams"
    assert newest_interrupted(artifacts, prefix) is None
    assert newest_interrupted(artifacts / "nowhere", prefix) is None
    for status in ("aborted", "failed", "incomplete", "completed"):
        write_record(new_run(artifacts, prefix), status=status, created=5)
    write_record(new_run(artifacts, f"dev_{prefix}"), status="aborted", created=9)
    write_record(new_run(artifacts, f"{prefix}2"), status="aborted", created=9)
    found = newest_interrupted(artifacts, prefix)
    assert found
    assert (found.directory.name, found.status) == ("00_digits-hparams_v4", "incomplete")
    killed = new_run(artifacts, prefix)
    write_record(killed, status="running", created=6)
    write_holder(killed, pid=dead_pid())
    found = newest_interrupted(artifacts, prefix)
    assert found
    assert (found.directory, found.status) == (killed, "lost")


def test_the_id_of_a_clearml_task(artifacts: Path) -> None:
    task = "5a" * 16
    mirror = artifacts / "00_digits-small_lr_v0" / "mirror.json"
    mirror.write_text(json.dumps({"format": 1, "task_id": task}))
    (artifacts / "00_digits-hparams_v0" / "mirror.json").write_text("torn")
    assert name(task, artifacts) == name(task.upper(), artifacts) == "00_digits-small_lr_v0"
    assert resolve(f"{task}:best", artifacts)[1] == "best"
    with pytest.raises(RunNotFound):
        resolve(task[:12], artifacts)
    fetched = {"server": "http://server", "task_id": "5b" * 16}
    add(artifacts, "00_digits-fetched", "e", fetched=fetched)
    assert name("5b" * 16, artifacts) == "00_digits-fetched_v0"


def test_a_project_and_a_name(artifacts: Path) -> None:
    add(artifacts, "00_digits-far", "e", hparams={"task": {"project_name": "far/away"}})
    assert name("far/away/00_digits-far_v0", artifacts) == "00_digits-far_v0"
    for text in ("far/00_digits-far_v0", "away/00_digits-far_v0", "far/away/00_digits-far"):
        with pytest.raises(RunNotFound) as caught:
            resolve(text, artifacts)
        assert caught.value.unknown


def test_what_is_known_is_not_looked_for_elsewhere(artifacts: Path) -> None:
    """A server is asked for names that nothing here has, not for those that mean too much."""
    for text in ("00_digits", "0"):
        with pytest.raises(RunNotFound) as caught:
            resolve(text, artifacts)
        assert not caught.value.unknown


def test_fetched_runs_are_as_they_were(artifacts: Path) -> None:
    """Nobody works on one here, and nobody here goes on with it."""
    fetched = {"server": "http://server", "task_id": "5b" * 16}
    add(artifacts, "00_digits-fetched", "e", fetched=fetched, status="running")
    add(artifacts, "00_digits-fetched", "f", fetched=fetched, status="aborted")
    assert [resolve(letter, artifacts)[0].status for letter in "ef"] == ["running", "aborted"]
    assert newest_interrupted(artifacts, "00_digits-fetched") is None
