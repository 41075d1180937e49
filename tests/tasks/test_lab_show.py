from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from torch_lab.errors import CheckpointNotFound
from torch_lab.mirror import state
from torch_lab.mirror.state import Mirror
from torch_lab.store import environment, find
from torch_lab.store.lock import Lock
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import (
    CheckpointEntry,
    MetricSummary,
    Parent,
    Progress,
    Record,
    RecordWriter,
    Resume,
)
from torch_lab.store.values import Opaque
from torch_lab.tasks import show as task

NOW = time.time()
PARENT = Parent("aa" * 16, "00_digits-hparams_v0", "best")
CHECKPOINTS = (
    CheckpointEntry("last", "checkpoints/last.ckpt", "full", 90, 90, 3, {}, "ff", 4_100),
    CheckpointEntry("best", "checkpoints/best.ckpt", "full", 60, 60, 2, {"loss/validate": 0.4}),
)


def store(artifacts: Path, root: Path, **fields) -> RunDirectory:
    directory = RunDirectory(artifacts / fields["name"])
    directory.path.mkdir(parents=True)
    lock = Lock.acquire(directory, lost_after=60)
    RecordWriter(directory, lock, Record(**fields)).update()
    environment.write(directory, root)
    lock.release()
    return directory


@pytest.fixture
def artifacts(project):
    store(
        project.artifacts,
        project.root,
        name="00_digits-hparams_v0",
        id="aa" * 16,
        status="completed",
    )
    directory = store(
        project.artifacts,
        project.root,
        name="00_digits-small_lr_v0",
        id="bb" * 16,
        experiment="00_digits",
        script="lab_project/experiments/00_digits/small_lr.py",
        status="failed",
        reason="ValueError: bad label",
        created=NOW - 100,
        started=NOW - 90,
        ended=NOW - 20,
        command=("train", "small_lr.py", "-s", "lr=1e-4"),
        overrides=("lr=1e-4",),
        hparams={"config": {"lr": 1e-4, "model": {"width": 8}}, "seed": 1},
        seed=1,
        host="box",
        parent=PARENT,
        metrics={"loss/validate": MetricSummary(0.5, 0.4, 2.0)},
        checkpoints=CHECKPOINTS,
        resumes=(Resume(NOW - 50, 30, ("train", "--resume", "x"), "box"),),
        progress=Progress(90, 90, 3),
    )
    directory.checkpoints.mkdir()
    (directory.checkpoints / "last.ckpt").write_bytes(b"x" * 4100)
    return project.artifacts


def view(artifacts, text, checkpoint=None):
    run, _ = find.resolve(text, artifacts)
    return task.View.of(run, find.runs(artifacts), checkpoint)


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_all_about_a_run(artifacts):
    text = task.describe(view(artifacts, "bbbb"), now=NOW)
    lines = rows(text)
    assert text.startswith("00_digits-small_lr_v0  failed\n")
    for expected in (
        "reason ValueError: bad label",
        f"id {'bb' * 16}",
        "script lab_project/experiments/00_digits/small_lr.py",
        "duration 1 min 10 s",
        "progress epoch 3, step 90, batch 90",
        "command train small_lr.py -s lr=1e-4",
        "host box",
        "seed 1",
        "parent 00_digits-hparams_v0 (aaaaaaaa), checkpoint best",
        "loss/validate 0.5 0.4 2",
        "last checkpoints/last.ckpt 4.1 kB 3 90 90",
        "best checkpoints/best.ckpt - 2 60 60 loss/validate 0.4",
        "config.lr 0.0001 (--set)",
        "config.model.width 8",
        "git no git repository here, or no git",
        "checkpoints/ 4.1 kB",
    ):
        assert expected.split() in lines, expected
    assert "after 30 batches" in text
    assert "(1 min 40 s ago)" in text
    assert ["files", "in", str(artifacts / "00_digits-small_lr_v0")] in lines
    assert any(line[:1] == ["torch"] for line in lines)


def test_children_are_named(artifacts):
    text = task.describe(view(artifacts, "aaaa"), now=NOW)
    assert ["child", "00_digits-small_lr_v0", "(bbbbbbbb)"] in rows(text)
    assert ["metrics"] not in rows(text)  # a section without rows is left out


@pytest.mark.parametrize(
    ("mirror", "said"),
    [
        (Mirror(page="http://web/t", done=True, ended=NOW - 20), "http://web/t (sent)"),
        (Mirror(page="http://web/t", done=True, ended=NOW - 60), "http://web/t (being sent)"),
        (Mirror(page="http://web/t", problem="no\nroom"), "http://web/t (pending: no room)"),
        (Mirror(problem="refused"), "pending: refused"),
    ],
    ids=["sent", "resumed", "pending", "no page"],
)
def test_what_was_sent_of_it(artifacts, mirror, said):
    assert "ClearML" not in task.describe(view(artifacts, "bbbb"))
    state.write(RunDirectory(artifacts / "00_digits-small_lr_v0"), mirror)
    assert ["ClearML", *said.split()] in rows(task.describe(view(artifacts, "bbbb")))


@pytest.mark.parametrize("fields", [{"status": "queued"}, {"status": "completed", "fetched": {}}])
def test_only_runs_that_began_here_are_sent(project, fields):
    run = store(project.artifacts, project.root, name="00_a-b_v0", id="cc" * 16, **fields)
    state.write(run, Mirror(page="http://web/t", done=True))
    assert "ClearML" not in task.describe(view(project.artifacts, "cccc"))


def test_a_mirror_of_a_newer_version_hides_no_run(artifacts):
    run = RunDirectory(artifacts / "00_digits-small_lr_v0")
    run.mirror_file.write_text('{"format": 9}')
    assert "ClearML" not in task.describe(view(artifacts, "bbbb"))


def test_one_checkpoint(artifacts):
    shown = view(artifacts, "bbbb", "best")
    assert [entry["name"] for entry in task.as_data(shown)["checkpoints"]] == ["best"]
    assert "last.ckpt" not in task.describe(shown)
    with pytest.raises(CheckpointNotFound, match='did you mean "best"'):
        view(artifacts, "bbbb", "bets")


def test_data_is_json_for_everyone(artifacts):
    data = json.loads(json.dumps(task.as_data(view(artifacts, "bbbb")), allow_nan=False))
    assert data["status"] == "failed"
    assert data["hparams"]["config"]["lr"] == 1e-4
    assert data["environment"]["python"]["version"]
    assert data["git"] == {"state": "no git repository here, or no git"}
    assert data["files"]["checkpoints/"] == 4100
    assert data["children"] == []
    assert data["resumes"][0]["batch"] == 30


def test_a_run_that_failed_early_lacks_files(artifacts):
    for name in ("environment.json", "git.diff"):
        (artifacts / "00_digits-small_lr_v0" / name).unlink()
    (artifacts / "00_digits-hparams_v0" / "environment.json").write_text("{")
    assert "environment" not in task.describe(view(artifacts, "bbbb"))
    assert task.as_data(view(artifacts, "aaaa"))["environment"] == {}


def test_the_status_has_its_color_where_it_is_wanted(artifacts):
    shown = view(artifacts, "bbbb")
    assert "\x1b[31mfailed\x1b[0m" in task.describe(shown, color=True)
    assert "\x1b[" not in task.describe(shown)


def test_the_command(project, artifacts):
    for name in ("bbb", "00_digits/small_lr", "data/artifacts/00_digits-small_lr_v0"):
        done = project.command("torch-lab", "show", name)
        assert done.stdout.startswith("00_digits-small_lr_v0  failed\n")
    data = json.loads(project.command("torch-lab", "show", "--json", "bbb:best").stdout)
    assert [entry["name"] for entry in data["checkpoints"]] == ["best"]
    failed = project.command("torch-lab", "show", "00_digits-hprams_v0", status=2)
    assert "Did you mean 00_digits-hparams_v0" in failed.stderr


def test_numbers_fit_the_terminal_and_texts_are_whole(artifacts):
    lines = task.describe(view(artifacts, "bbbb"), width=50, now=NOW).splitlines()
    best = next(line for line in lines if line.startswith("  best  "))
    assert len(best) == 50
    assert best.endswith("…")
    assert "  script      lab_project/experiments/00_digits/small_lr.py" in lines


def test_a_checkpoint_of_two_names_takes_its_size_once(artifacts):
    folder = artifacts / "00_digits-small_lr_v0" / "checkpoints"
    (folder / "best.ckpt").hardlink_to(folder / "last.ckpt")
    (folder / "elsewhere").symlink_to("/", target_is_directory=True)
    size = task.as_data(view(artifacts, "bbbb"))["files"]["checkpoints/"]
    assert 4100 <= size < 4200


def test_what_only_its_repr_was_kept_of_is_that_text(project, artifacts):
    hparams = {"config": {"act": Opaque("torch.nn.ReLU")}}
    fields = {"name": "x-y_v0", "id": "cc" * 16, "status": "completed", "hparams": hparams}
    store(artifacts, project.root, **fields)
    assert task.as_data(view(artifacts, "cccc"))["hparams"] == {"config": {"act": "torch.nn.ReLU"}}


def test_processes_and_machines(project):
    directory = store(
        project.artifacts, project.root, name="00_a-b_v0", id="cc" * 16, status="completed",
        ledger={"processes": 6},
    )  # fmt: skip
    lines = task.describe(view(project.artifacts, "cccc")).splitlines()
    assert "  processes   6" in lines
    first = json.loads(directory.environment_file.read_bytes())
    packages = dict.fromkeys(("apart", "beside", "torch", "under", "yonder"), "0.1")
    other = {"host": "box2", "gpus": [{"name": "H200"}] * 2, "packages": packages | {"z": "1"}}
    for node, changes in ((1, {"host": "box1"}), (2, other)):
        directory.environment_of(node).write_text(json.dumps({**first, "packages": {}} | changes))
    directory.environment_file.write_text(json.dumps({**first, "packages": {}}))
    lines = task.describe(view(project.artifacts, "cccc")).splitlines()
    assert "  processes   6 on 3 machines" in lines
    said = [line.split(maxsplit=2)[2] for line in lines if line.startswith("  machine ")]
    assert said == [
        "box1: otherwise as the first",
        "box2: gpus 2 x H200, apart 0.1, beside 0.1, torch 0.1, and 3 other packages",
    ]
    told = task.as_data(view(project.artifacts, "cccc"))["other_machines"]
    assert [each["host"] for each in told] == ["box1", "box2"]
