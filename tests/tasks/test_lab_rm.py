"""`lab rm`: what it deletes, and what it never does."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from store.store_helpers import everything_in, files_no_larger_than
from torch_lab.cli import rm as cli
from torch_lab.errors import RunNotFound, StoreError, UsageError
from torch_lab.mirror import state
from torch_lab.mirror.sending import seal
from torch_lab.mirror.state import Mirror
from torch_lab.store import find
from torch_lab.store.claim import claim, new_id
from torch_lab.store.lock import Lock
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import (
    Best,
    CheckpointEntry,
    MetricSummary,
    Parent,
    Record,
    RecordWriter,
    Resume,
)
from torch_lab.tasks.remove import carry_out, choose, parse_rules, require_done, trash
from torch_lab.utils.files import file_sizes

HPARAMS = "lab_project/experiments/00_digits/hparams.py"
PREFIX = "00_digits-hparams"


@pytest.fixture
def lab(project, monkeypatch, tmp_path):
    """A project in which one stands, and no ClearML server that anybody configured."""
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in [name for name in os.environ if name.startswith(("CLEARML_", "TRAINS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("TORCH_LAB_OFFLINE", raising=False)
    return project


def stored(lab, prefix: str = PREFIX, **fields: Any) -> RunDirectory:
    """A run that has ended, with a file of 1,000 bytes."""
    directory = claim(lab.artifacts, prefix)
    fields = {"id": new_id(), "status": "completed", "experiment": "00_digits"} | fields
    fields = {"script": HPARAMS, "created": float(len(lab.runs()))} | fields
    lock = Lock.acquire(directory, lost_after=60)
    RecordWriter(directory, lock, Record(name=directory.name, **fields)).update()
    lock.release()
    (directory.path / "console.log").write_bytes(b"x" * 1000)
    return directory


def with_checkpoints(lab, **fields: Any) -> RunDirectory:
    """A run that has saved twice; the second is its last, the first its best."""
    directory = stored(lab, **fields)
    directory.checkpoints.mkdir()
    entries = []
    for batch in (10, 20):
        file = directory.checkpoints / f"step-{batch}.ckpt"
        file.write_bytes(b"c" * 5000)
        entries.append(entry(f"step-{batch}", file.name))
    for name, file in (("best", "step-10.ckpt"), ("last", "step-20.ckpt")):
        (directory.checkpoints / f"{name}.ckpt").hardlink_to(directory.checkpoints / file)
        entries.append(entry(name, file))
    changed(directory, checkpoints=[vars(each) for each in entries])
    return directory


def entry(name: str, file: str) -> CheckpointEntry:
    return CheckpointEntry(name, f"checkpoints/{file}", "training", 10, 10, 1)


def changed(directory: RunDirectory, **fields: Any) -> None:
    content = json.loads(directory.record_file.read_text())
    directory.record_file.write_text(json.dumps(content | fields))


def said(capsys, *words: str) -> str:
    assert cli.command(words) == 0
    return capsys.readouterr().out


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def names(directory: RunDirectory) -> list[str]:
    return [each["name"] for each in json.loads(directory.record_file.read_text())["checkpoints"]]


# -- runs ------------------------------------------------------------------------------------------


def test_a_run_goes_and_nothing_else(lab, capsys):
    gone, stays = stored(lab), stored(lab)
    before = everything_in(stays.path)
    text = said(capsys, gone.name, "--yes")
    assert text.startswith("these runs go\n  00_digits-hparams_v0  ")
    assert "\ndeleted 1 run, 1." in text  # kilobytes
    assert lab.runs() == [stays.name]
    assert everything_in(stays.path) == before
    assert listed(lab.artifacts) == [".counters", stays.name]


def test_numbers_are_not_used_again(lab, capsys):
    stored(lab)
    newest = stored(lab)
    copied = RunDirectory(lab.artifacts / f"{PREFIX}_v7")
    shutil.copytree(newest.path, copied.path)  # by hand: no counter has heard of it
    changed(copied, name=copied.name, id=new_id())
    said(capsys, "--keep", "newest=0", "--yes")
    assert lab.runs() == []
    assert claim(lab.artifacts, PREFIX).name == f"{PREFIX}_v8"


def test_a_run_is_named_in_all_the_ways(lab, capsys):
    runs = [stored(lab) for _ in range(5)]
    ident = json.loads(runs[1].record_file.read_text())["id"]
    said(
        capsys, runs[0].name, ident[:12], str(runs[2].path), f"data/artifacts/{runs[3].name}", "-y"
    )
    assert lab.runs() == [runs[4].name]
    said(capsys, "00_digits/hparams", "--yes")
    assert lab.runs() == []
    with pytest.raises(RunNotFound):
        cli.command(["nothing", "--yes"])


def test_filters_choose(lab, capsys):
    failed, completed = stored(lab, status="failed"), stored(lab)
    said(capsys, "status=failed", "--yes")
    assert lab.runs() == [completed.name]
    assert said(capsys, "status=failed") == "no run meets that: nothing to delete\n"
    with pytest.raises(UsageError, match=r"runs are named .* and filtered") as caught:
        cli.command([completed.name, "status=failed"])
    assert caught.value.hint == "Give names of runs or filters, not both."
    assert failed.name not in lab.runs()


def test_patterns_of_names_choose(lab, capsys):
    living = stored(lab, "00_digits-wide", status="running")
    gone, other = stored(lab, "00_digits-small"), stored(lab, "01_other-hparams")
    holder = Lock.acquire(living, lost_after=60)
    with pytest.raises(RunNotFound, match="no run's name is like '02_\\*'"):
        cli.command(["00_*", "02_*", "--yes"])
    text = said(capsys, "00_*", "--yes")
    assert "it is running" in text  # a pattern chooses as filters do: what lives just stays
    assert sorted(lab.runs()) == [living.name, other.name]
    assert gone.name not in lab.runs()
    with pytest.raises(UsageError, match="1 run can't be deleted"):
        cli.command(["00_*", other.name, "--yes"])
    holder.release()


def test_a_name_of_several_runs_says_how_all_of_them_are_meant(lab):
    stored(lab), stored(lab)
    with pytest.raises(RunNotFound) as caught:
        cli.command(["00_digits"])
    assert str(caught.value.hint).endswith(" `lab rm '00_digits*'` takes them all.")


def test_dev_runs_are_neither_the_newest_nor_the_best(lab, capsys):
    def of(loss: float, **fields: Any) -> str:
        return stored(lab, metrics={"loss": MetricSummary(loss, loss, loss)}, **fields).name

    of(0.9)
    best, dev = of(0.5), of(0.0, dev_run=2)
    said(capsys, "name=" + dev, "--keep", "newest=1", "--yes")
    assert dev in lab.runs()  # where there are no others they count
    said(capsys, "--keep", "best=1:loss", "--keep", "newest=1", "--yes")
    assert lab.runs() == [best]


def test_a_damaged_run_can_go(lab, capsys):
    damaged, other = stored(lab), stored(lab)
    damaged.record_file.write_text("{")
    said(capsys, damaged.name, "--yes")
    assert lab.runs() == [other.name]


def test_nothing_goes_without_a_yes(lab, monkeypatch):
    stored(lab)
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))  # a pipe may say what it likes
    with pytest.raises(UsageError, match=r"Delete 1 run, .*\? Nobody can answer here") as caught:
        cli.command(["--keep", "newest=0"])
    assert caught.value.hint == "Add --yes if that is right."
    assert len(lab.runs()) == 1


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (
            [],
            "lab rm takes runs, filters or --keep",
            "`lab runs` lists the runs, `lab rm --help` shows how to choose among them",
        ),
        (
            ["RUN", "--group-by", "script"],
            "--group-by belongs to --keep",
            "for instance `--keep newest=2`",
        ),
        (
            ["RUN:best"],
            "lab rm deletes whole runs, not a checkpoint: RUN:best",
            "To keep a run but not all of its checkpoints: `lab rm RUN --keep checkpoints=best`.",
        ),
        (
            ["--keep", "newest"],
            "'newest' is no rule for --keep",
            "Write `--keep newest=5`, `--keep best=3:loss/validate` or `--keep checkpoints=best`.",
        ),
        (
            ["--keep", "newst=3"],
            "'newst=3' is no rule for --keep",
            'did you mean "newest"? Write `--keep newest=5`, `--keep best=3:loss/validate` or'
            " `--keep checkpoints=best`.",
        ),
        (
            ["--keep", "newest=x"],
            "--keep newest=x: 'x' is no number of runs",
            "Write `--keep newest=5`, `--keep best=3:loss/validate` or `--keep checkpoints=best`.",
        ),
        (
            ["--keep", "best=3"],
            "--keep best=3: best of which metric?",
            "Write `--keep best=3:loss/validate`.",
        ),
        (
            ["--keep", "checkpoints="],
            "--keep checkpoints=: which checkpoints?",
            "Write `--keep checkpoints=best,last`, or `--keep checkpoints=none`.",
        ),
    ],
)
def test_what_is_wrong_with_the_words(lab, words, message, hint):
    run = stored(lab)
    with pytest.raises(UsageError) as caught:
        cli.command([*(word.replace("RUN", run.name) for word in words), "--yes"])
    assert caught.value.message == message.replace("RUN", run.name)
    assert caught.value.hint == hint.replace("RUN", run.name)
    assert lab.runs() == [run.name]


# -- what must stay --------------------------------------------------------------------------------


def test_a_run_that_lives_never_goes(lab, capsys):
    living, dead = stored(lab, status="running"), stored(lab)
    lock = Lock.acquire(living, lost_after=60)
    with pytest.raises(UsageError, match="1 run can't be deleted") as caught:
        cli.command([living.name, dead.name, "--yes", "--force"])
    assert f"  {living.name}: it is running" in str(caught.value)
    assert caught.value.hint == (
        "Nothing was deleted. --force deletes what another run starts from, what waits in a queue"
        " or is not on the server; nothing deletes a run that lives."
    )
    assert lab.runs() == [living.name, dead.name]
    text = said(capsys, "--keep", "newest=0", "--yes", "--force")
    assert "these stay\n" in text
    assert lab.runs() == [living.name]
    lock.release()
    said(capsys, living.name, "--yes")  # it is lost now
    assert lab.runs() == []


def test_a_run_that_somebody_goes_on_with_stays(lab):
    run = stored(lab, status="aborted")
    lock = Lock.acquire(run, lost_after=60)  # the record is not changed yet
    with pytest.raises(UsageError, match=f"process {os.getpid()} on .* writes to it"):
        cli.command([run.name, "--yes"])
    lock.release()


def test_a_run_that_comes_alive_meanwhile_is_left_alone(lab):
    run, other = stored(lab, status="aborted"), stored(lab)
    choice = choose(["--", "id!=x"][1:], parse_rules([]), _settings(lab))
    lock = Lock.acquire(run, lost_after=60)
    done = carry_out(choice, 60)
    assert done.runs == 1
    with pytest.raises(StoreError, match="1 run could not be deleted") as caught:
        require_done(done)
    assert f"  {run.name}: run {run.name} is alive by now: it was left alone" in str(caught.value)
    assert "What was begun is finished by the next `lab rm`." in str(caught.value)
    assert lab.runs() == [run.name]
    lock.check()
    lock.release()
    assert other.name not in lab.runs()


def _settings(lab):
    from torch_lab import settings

    return settings.load(lab.root)


def test_a_run_that_another_starts_from(lab, capsys):
    parent = stored(lab, id="aa" * 16)
    child = stored(lab, parent=Parent("aa" * 16, parent.name, "best"))
    with pytest.raises(UsageError, match=f"{child.name} starts from it"):
        cli.command([parent.name, "--yes"])
    assert "starts from it" in said(capsys, f"name={parent.name}", "--yes")
    assert lab.runs() == [parent.name, child.name]
    said(capsys, parent.name, "--yes", "--force")
    assert lab.runs() == [child.name]


def test_a_family_goes_together(lab, capsys):
    parent = stored(lab, id="aa" * 16)
    child = stored(lab, parent=Parent("aa" * 16, parent.name, "best"))
    said(capsys, parent.name, child.name, "--yes")
    assert lab.runs() == []


def test_a_queued_run_stays(lab, capsys):
    run = stored(lab, status="queued", queued={"queue": "default"})
    with pytest.raises(UsageError, match="it waits in a queue"):
        cli.command([run.name, "--yes"])
    said(capsys, run.name, "--yes", "--force")
    assert lab.runs() == []


def test_what_a_configured_server_has_not_got_stays(lab, capsys, monkeypatch):
    unsent, sent, damaged = stored(lab), stored(lab), stored(lab)
    fetched = stored(lab, fetched={"server": "x", "task_id": "y"})
    state.write(sent, Mirror(server="http://x", task_id="t", done=True, seal=seal(sent)))
    damaged.record_file.write_text("{")
    monkeypatch.setenv("CLEARML_API_HOST", "http://127.0.0.1:9")  # nobody is asked
    with pytest.raises(
        UsageError, match=r"not all of it is on the ClearML server yet \(`lab sync`"
    ):
        cli.command([unsent.name, "--yes"])
    said(capsys, sent.name, fetched.name, damaged.name, "--yes")
    assert lab.runs() == [unsent.name]
    monkeypatch.setenv("TORCH_LAB_OFFLINE", "true")  # the project wants no server
    said(capsys, unsent.name, "--yes")
    assert lab.runs() == []


def test_a_run_that_changed_since_it_was_sent_stays(lab, monkeypatch):
    run = stored(lab)
    state.write(run, Mirror(server="http://x", task_id="t", done=True, seal=seal(run)))
    changed(run, resumes=[{"time": 1.0, "batch": 3}])
    monkeypatch.setenv("CLEARML_API_HOST", "http://127.0.0.1:9")
    with pytest.raises(UsageError, match="not all of it is on the ClearML server"):
        cli.command([run.name, "--yes"])
    newer = {"format": 99}
    run.mirror_file.write_text(json.dumps(newer))  # nobody here knows what it says
    with pytest.raises(UsageError, match="not all of it is on the ClearML server"):
        cli.command([run.name, "--yes"])


# -- nothing outside -------------------------------------------------------------------------------


def outside(tmp_path: Path) -> Path:
    place = tmp_path / "outside"
    place.mkdir()
    (place / "precious").write_text("data")
    return place


def test_links_are_deleted_and_not_followed(lab, capsys, tmp_path):
    place = outside(tmp_path)
    run = stored(lab)
    (run.path / "folder").symlink_to(place, target_is_directory=True)
    (run.path / "file").symlink_to(place / "precious")
    (run.path / "up").symlink_to(lab.artifacts, target_is_directory=True)
    stays = stored(lab)
    said(capsys, run.name, "--yes")
    assert (place / "precious").read_text() == "data"
    assert lab.runs() == [stays.name]


def test_of_a_run_that_is_a_link_the_link_goes(lab, capsys, tmp_path):
    run = stored(lab)
    real = tmp_path / "elsewhere" / "moved"
    real.parent.mkdir()
    run.path.rename(real)
    run.path.symlink_to(real, target_is_directory=True)
    before = everything_in(real)
    text = said(capsys, run.name, "--yes")
    assert "the link; " in text
    assert text.endswith("deleted 1 run, 0 B\n")
    assert everything_in(real) == before
    assert lab.runs() == []
    run.path.symlink_to(real, target_is_directory=True)
    said(capsys, str(real), "--yes")  # named by where it leads to: the link all the same
    assert everything_in(real) == before
    assert not run.path.is_symlink()
    with pytest.raises(UsageError, match="is not in the artifacts folder") as caught:
        cli.command([str(real), "--yes"])
    assert caught.value.hint == (
        "`lab rm` deletes nothing outside of it: delete it as any other folder."
    )
    assert everything_in(real) == before


def test_an_artifacts_folder_that_is_a_link_is_fine(lab, capsys, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    lab.artifacts.parent.mkdir(parents=True)
    lab.artifacts.symlink_to(scratch, target_is_directory=True)
    by_name, by_path, by_real = stored(lab), stored(lab), stored(lab)
    said(capsys, by_name.name, str(by_path.path), str(scratch / by_real.name), "--yes")
    assert lab.runs() == []


@pytest.mark.parametrize(
    "word", ["..", ".", "data/artifacts", "data/artifacts/..", "", "/", "x" * 5000]
)
def test_no_other_folder_is_a_run(lab, word):
    stored(lab)
    with pytest.raises(RunNotFound):
        cli.command([word, "--yes"])
    assert len(lab.runs()) == 1


def test_a_run_of_another_project_is_left_alone(lab, tmp_path):
    stored(lab)
    elsewhere = tmp_path / "other" / "data" / "artifacts" / "x_v0"
    shutil.copytree(lab.artifacts / f"{PREFIX}_v0", elsewhere)
    before = everything_in(elsewhere)
    with pytest.raises(UsageError, match="is not in the artifacts folder"):
        cli.command([str(elsewhere), "--yes", "--force"])
    assert everything_in(elsewhere) == before


def test_what_is_mounted_in_a_run_is_left_alone(lab, monkeypatch, tmp_path):
    run = stored(lab)
    place = run.path / "a b"
    escaped = str(place.resolve()).replace(" ", r"\040")
    table = tmp_path / "mountinfo"
    table.write_text(f"22 1 0:21 / /other rw - proc proc rw\n31 1 8:1 / {escaped} rw - ext4 x rw\n")
    monkeypatch.setattr(trash, "_MOUNTS", table)
    with pytest.raises(UsageError, match=r"another file system is mounted in it: .*a b"):
        cli.command([run.name, "--yes", "--force"])
    monkeypatch.setattr(trash, "_MOUNTS", tmp_path / "none")  # as on macOS
    assert trash.mounted_in(run.path) is None
    if Path("/proc/self").exists():
        assert trash.mounted_in(Path("/proc")) == Path("/proc")


# -- interrupted -----------------------------------------------------------------------------------


def test_what_was_interrupted_is_finished_by_the_next(lab, capsys, monkeypatch):
    run, other = stored(lab), stored(lab)

    def interrupted(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trash, "destroy", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cli.command([run.name, "--yes"])
    capsys.readouterr()
    (left,) = [name for name in listed(lab.artifacts) if name.startswith(".deleted-")]
    assert [each.folder for each in find.runs(lab.artifacts)] == [other.name]
    assert (lab.artifacts / left / "run.json").exists()
    assert said(capsys) == "finished deleting 1 run\n"
    assert listed(lab.artifacts) == [".counters", other.name]


def test_a_run_that_lives_comes_back(lab, capsys):
    """As if a deletion had been killed between putting it out of sight and looking again."""
    run = stored(lab, status="running")
    lock = Lock.acquire(run, lost_after=60)
    hidden = lab.artifacts / f".deleted-{run.name}.0123456789ab"
    run.path.rename(hidden)
    with pytest.raises(UsageError, match="lab rm takes runs"):
        cli.command([])
    assert lab.runs() == [run.name]
    lock.check()
    lock.release()


def test_two_may_delete_the_same_run(lab):
    run = stored(lab)
    choices = [choose([run.name], parse_rules([]), _settings(lab)) for _ in range(2)]
    for choice in choices:
        require_done(carry_out(choice, 60))
    assert lab.runs() == []


def test_a_name_like_a_leftover_is_no_leftover(lab, tmp_path):
    place = outside(tmp_path)
    lab.artifacts.mkdir(parents=True)
    (lab.artifacts / ".deleted-x.0123456789ab").symlink_to(place, target_is_directory=True)
    (lab.artifacts / ".deleted-y").mkdir()
    assert trash.leftovers(lab.artifacts) == []


def test_what_cannot_be_deleted_is_said_and_the_others_go(lab, monkeypatch):
    first, second = stored(lab), stored(lab)
    real = shutil.rmtree

    def refusing(path: Path, ignore_errors: bool = False) -> None:
        if first.name not in str(path):
            real(path, ignore_errors=ignore_errors)
        elif not ignore_errors:
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(shutil, "rmtree", refusing)
    with pytest.raises(StoreError, match=r"can't delete all of .*Permission denied"):
        cli.command([first.name, second.name, "--yes"])
    assert lab.runs() == []


def test_a_full_disk_can_be_cleared(lab, capsys):
    run = stored(lab)
    capsys.readouterr()
    choice = choose([run.name], parse_rules([]), _settings(lab))
    with files_no_larger_than(0):
        done = carry_out(choice, 60)
    require_done(done)
    assert lab.runs() == []


# -- --keep ----------------------------------------------------------------------------------------


def sweep(lab, *losses: float, **fields: Any) -> list[RunDirectory]:
    return [
        stored(lab, metrics={"loss/validate": MetricSummary(loss, loss, 9.0)}, **fields)
        for loss in losses
    ]


def left(lab) -> list[int]:
    return [int(name.rpartition("_v")[2]) for name in lab.runs()]


def test_the_newest_stay(lab, capsys):
    sweep(lab, 3, 1, 2)
    text = said(capsys, "--keep", "newest=2", "--yes")
    assert "2 runs of 3 kept by --keep" in text
    assert left(lab) == [1, 2]


def test_the_best_stay_whatever_the_name_says(lab, capsys):
    sweep(lab, 3, 1, float("nan"), 2)
    said(capsys, "--keep", "best=2:loss/validate", "--yes")
    assert left(lab) == [1, 3]
    said(capsys, "--keep", "best=1:loss/validate:max", "--yes")
    assert left(lab) == [3]  # both had 9 once; of equals the newer stays


def test_rules_add_up(lab, capsys):
    sweep(lab, 1, 3, 2, 4)
    said(capsys, "--keep", "newest=1", "--keep", "best=1:loss/validate", "--yes")
    assert left(lab) == [0, 3]


def test_rules_hold_in_each_group(lab, capsys):
    for rate in (1, 2):
        sweep(lab, 1, 2, hparams={"config": {"lr": rate}})
    said(capsys, "--keep", "newest=1", "--group-by", "lr", "--yes")
    assert left(lab) == [1, 3]
    with pytest.raises(UsageError, match="'leraning'"):
        cli.command(["--keep", "newest=1", "--group-by", "leraning"])


def test_rules_hold_among_what_filters_choose(lab, capsys):
    sweep(lab, 1, 2, status="failed")
    sweep(lab, 3)
    said(capsys, "status=failed", "--keep", "newest=1", "--yes")
    assert left(lab) == [1, 2]


def test_the_run_says_which_way_is_better(lab, capsys):
    for value in (1.0, 2.0):
        stored(lab, metrics={"odd": MetricSummary(value, value, value)})
    with pytest.raises(UsageError, match="is the least odd the best, or the greatest") as caught:
        cli.command(["--keep", "best=1:odd", "--yes"])
    assert caught.value.hint == "write `--keep best=N:odd:min` or `--keep best=N:odd:max`"
    with pytest.raises(RunNotFound, match='none of 2 runs has a value of "od"'):
        cli.command(["--keep", "best=1:od", "--yes"])
    for name in lab.runs():
        changed(RunDirectory(lab.artifacts / name), best=vars(Best("odd", "max")))
    said(capsys, "--keep", "best=1:odd", "--yes")
    assert left(lab) == [1]


# -- checkpoints -----------------------------------------------------------------------------------


def test_of_a_run_only_its_best_checkpoint_stays(lab, capsys):
    run = with_checkpoints(lab)
    text = said(capsys, "--keep", "checkpoints=best", "--yes")
    assert "of these runs checkpoints go\n" in text
    assert "step-10, step-20, last  5.0 kB  best stays" in text
    assert text.endswith("deleted 3 checkpoints, 5.0 kB\n")
    assert names(run) == ["best"]
    assert listed(run.checkpoints) == ["best.ckpt", "step-10.ckpt"]
    assert not run.lock.exists()
    assert said(capsys, "--keep", "checkpoints=best", "--yes") == "nothing to delete\n"
    said(capsys, run.name, "--keep", "checkpoints=none", "--yes")
    assert names(run) == []
    assert listed(run.checkpoints) == []
    assert lab.runs() == [run.name]


def test_a_metric_that_is_no_number_is_no_change(lab, capsys):
    run = with_checkpoints(lab)
    entries = json.loads(run.record_file.read_text())["checkpoints"]
    changed(run, checkpoints=[each | {"metrics": {"loss": "NaN"}} for each in entries])
    text = said(capsys, "--keep", "checkpoints=best", "--yes")
    assert text.endswith("deleted 3 checkpoints, 5.0 kB\n")
    assert names(run) == ["best"]


def test_what_other_rules_keep_stays_whole(lab, capsys):
    old, new = with_checkpoints(lab), with_checkpoints(lab)
    said(capsys, "--keep", "newest=1", "--keep", "checkpoints=last,best", "--yes")
    assert names(old) == ["best", "last"]
    assert len(names(new)) == 4


def test_an_interrupted_run_keeps_its_last(lab, capsys):
    run = with_checkpoints(lab, status="aborted")
    stray = run.checkpoints / "step-30.ckpt"  # saved, but the record was not told any more
    stray.write_bytes(b"c")
    said(capsys, run.name, "--keep", "checkpoints=none", "--yes")
    assert names(run) == ["last"]
    assert listed(run.checkpoints) == ["last.ckpt", "step-20.ckpt", "step-30.ckpt"]
    said(capsys, run.name, "--keep", "checkpoints=none", "--yes", "--force")
    assert names(run) == []
    assert listed(run.checkpoints) == []


def test_the_checkpoint_that_another_run_started_from_stays(lab, capsys):
    run = with_checkpoints(lab, id="aa" * 16)
    stored(lab, parent=Parent("aa" * 16, run.name, "step-10"))
    said(capsys, run.name, "--keep", "checkpoints=last", "--yes")
    assert names(run) == ["step-10", "last"]


def test_a_misspelt_checkpoint(lab):
    run = with_checkpoints(lab)
    with pytest.raises(UsageError, match="no run has a checkpoint 'bets'") as caught:
        cli.command(["--keep", "checkpoints=bets", "--yes"])
    assert caught.value.hint == 'did you mean "best"?'
    assert len(names(run)) == 4


def test_what_the_record_names_outside_of_the_run_stays(lab, capsys, tmp_path):
    place = outside(tmp_path)
    run = with_checkpoints(lab)
    (run.path / "linked").symlink_to(place, target_is_directory=True)
    hostile = ["../../../outside/precious", str(place / "precious"), "linked/precious", ""]
    entries = [entry("x", "x") for _ in hostile]
    fields = [
        vars(each) | {"name": f"x{i}", "file": file}
        for i, (each, file) in enumerate(zip(entries, hostile, strict=True))
    ]
    changed(run, checkpoints=fields)
    said(capsys, run.name, "--keep", "checkpoints=none", "--yes")
    assert (place / "precious").read_text() == "data"
    assert names(run) == []


def test_a_checkpoint_that_is_a_folder(lab, capsys):
    run = with_checkpoints(lab)
    folder = run.checkpoints / "sharded.ckpt"
    folder.mkdir()
    (folder / "part").write_bytes(b"1")
    changed(run, checkpoints=[vars(entry("sharded", folder.name))])
    said(capsys, run.name, "--keep", "checkpoints=none", "--yes")
    assert not folder.exists()


def test_checkpoints_of_strange_runs_are_left_alone(lab, capsys, tmp_path):
    run, damaged = with_checkpoints(lab), with_checkpoints(lab)
    damaged.record_file.write_text("{")
    real = tmp_path / "real"
    run.path.rename(real)
    run.path.symlink_to(real, target_is_directory=True)
    text = said(capsys, "--keep", "checkpoints=none", "--yes")
    assert "it is a link: what it leads to is left alone" in text
    assert "its record is damaged" in text
    assert text.endswith("nothing to delete\n")
    assert len(listed(real / "checkpoints")) == 4


def test_a_run_that_saved_meanwhile_is_left_alone(lab):
    run = with_checkpoints(lab)
    choice = choose([run.name], parse_rules(["checkpoints=none"]), _settings(lab))
    changed(run, checkpoints=[vars(entry("last", "step-20.ckpt"))], resumes=[vars(Resume(1.0, 3))])
    done = carry_out(choice, 60)
    assert done.problems == [
        f"{run.name}: run {run.name} has changed meanwhile: its checkpoints were left alone"
    ]
    assert len(listed(run.checkpoints)) == 4


def test_a_file_with_two_names_counts_once(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 700)
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "d").hardlink_to(tmp_path / "a")
    assert sum(file_sizes([tmp_path]).values()) == 700
    assert sum(file_sizes([tmp_path / "a", tmp_path / "none"]).values()) == 700
