from __future__ import annotations

import json
import math
import time
from pathlib import Path

import pytest

from torch_lab.errors import UsageError
from torch_lab.store import find
from torch_lab.store.lock import Lock
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import (
    Best,
    CheckpointEntry,
    MetricSummary,
    Parent,
    Progress,
    Record,
    RecordWriter,
    Resume,
)
from torch_lab.tasks import runs as task
from torch_lab.tasks.table import columns, cut, flatten, layout, plain, rough

NOW = time.time()


def store(artifacts: Path, name: str, **fields) -> None:
    """A run that has ended, written as runs are."""
    directory = RunDirectory(artifacts / name)
    directory.path.mkdir(parents=True)
    experiment, _, rest = name.partition("-")
    script = f"lab/experiments/{experiment}/{rest.rpartition('_v')[0]}.py"
    known = {"name": name, "status": "completed", "experiment": experiment, "script": script}
    lock = Lock.acquire(directory, lost_after=60)
    RecordWriter(directory, lock, Record(**(known | fields))).update()
    lock.release()


@pytest.fixture
def artifacts(tmp_path):
    folder = tmp_path / "data" / "artifacts"
    loss = "loss/validate"
    store(
        folder,
        "00_digits-hparams_v0",
        id="aa" * 16,
        created=NOW - 7200,
        started=NOW - 7200,
        ended=NOW - 7080,
        seed=0,
        hparams={
            "task": {"tags": ["a"]},
            "config": {"lr": 1e-2, "model": {"width": 8}, "shape": (2, 3)},
        },
        metrics={
            loss: MetricSummary(0.5, 0.4, 2.0),
            "accuracy/validate": MetricSummary(0.9, 0.1, 0.95),
        },
        progress=Progress(90, 90, 3),
        checkpoints=(
            CheckpointEntry("best", "a.ckpt", "training", 60, 60, 2, {"accuracy/validate": 0.95}),
        ),
        ledger={"ended": "max_epochs=5"},
        host="box",
        extra={"newer": {"sweep": "s1"}},
    )
    store(
        folder,
        "00_digits-small_lr_v0",
        id="bb" * 16,
        created=NOW - 3600,
        started=NOW - 3600,
        ended=NOW - 3595,
        status="failed",
        reason="ValueError: bad label",
        seed=1,
        hparams={
            "config": {"lr": 1e-4, "augment": True, "name": None, "rate": 0.5, "weight_decay": 0},
            "task": {"words": ["one", "two"], "kinds": {1, 2}},
        },
        ledger={"ended": None, "stopped": {"by": "EarlyStopping", "why": ""}},
        slurm={"job": "17", "restarts": 0},
        resumes=(Resume(NOW, 9),),
        overrides=("lr=1e-4",),
        host="box",
        metrics={loss: MetricSummary(math.nan, 0.3, 0.9)},
        parent=Parent("aa" * 16, "00_digits-hparams_v0", "best"),
    )
    store(
        folder,
        "01_wider-hparams_v0",
        id="cc" * 16,
        created=NOW - 60,
        status="running",
        seed=2,
        hparams={"config": {"lr": 1e-3, "lr_gamma": 0.1}, "trainer": {"init": {"max_epochs": 5}}},
    )
    return folder


@pytest.fixture
def runs(artifacts):
    return find.runs(artifacts)


def selected(runs, *texts, **options):
    chosen = task.select(runs, [task.parse_filter(text) for text in texts], **options)
    return [run.record.id[0] for run in chosen]


def test_newest_first(runs):
    assert selected(runs) == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("texts", "ids"),
    [
        (["status=failed"], "b"),
        (["status=lost"], "c"),  # it says "running", and nobody works on it
        (["status!=failed"], "ca"),
        (["experiment=00_digits"], "ba"),
        (["script=hparams"], "ca"),
        (["script=hparams.py"], "ca"),
        (["script~small"], "b"),
        (["name~DIGITS"], "ba"),
        (["reason~label"], "b"),
        (["lr<1e-3"], "b"),
        (["lr<=1e-3"], "cb"),
        (["lr>1e-4", "lr<1e-2"], "c"),
        (["lr >= 0.01"], "a"),
        (["lr==0.01"], "a"),
        (["lr=1e-2"], "a"),
        (["config.lr=0.0001"], "b"),
        (["config.model.width=8"], "a"),
        (["width>4"], "a"),
        (["max_epochs=5"], "c"),
        (["augment=true"], "b"),
        (["augment!=True"], "ca"),
        (["config.name=none"], "b"),
        (["tags~a"], "a"),
        (["loss/validate<1"], "a"),
        (["loss/validate=nan"], "b"),
        (["accuracy/validate>0.8"], "a"),
        (["parent=00_digits-hparams_v0"], "b"),
        (["seed>0"], "cb"),
        (["epoch=3"], "a"),
        (["duration<10"], "b"),
        (["created>2001-01-01"], "cba"),
        (["created<2001"], ""),
        (["lr<abc"], ""),
        (["loss/validate.min<0.35"], "b"),
        (["loss/validate.max>1"], "a"),
        (["checkpoints.best.epoch=2"], "a"),
        (["best.accuracy/validate>0.9"], "a"),
        (["ledger.ended=max_epochs=5"], "a"),
        (["stopped.by=EarlyStopping"], "b"),
        (["slurm.job=17"], "b"),
        (["host=box"], "ba"),
        (["resumes>0"], "b"),
        (["overrides~lr"], "b"),
        (["tags=a"], "a"),
        (["tags=b"], ""),
        (["shape=[2, 3]"], "a"),
        (["shape=(2,3)"], "a"),
        (["shape=2,3"], "a"),
        (["shape=2"], "a"),
        (["shape=[2]"], ""),
        (["shape!=2,3"], "cb"),
        (["words=one, two"], "b"),
        (["words~ONE"], "b"),
        (["words=[one"], ""),
        (["kinds={1, 2}"], "b"),
        (["newer.sweep=s1"], "a"),
        (["rate=0.5"], "b"),  # a hyperparameter: no run is under way
        (["left>0"], ""),
    ],
)
def test_filters(runs, texts, ids):
    assert "".join(selected(runs, *texts)) == ids


@pytest.mark.parametrize(
    ("sort", "ids"),
    [
        ("lr", "bca"),
        ("-lr", "acb"),
        ("loss/validate", "acb"),  # NaN and no value at all come last, either way
        ("-loss/validate", "acb"),
        ("name", "abc"),
        ("-created", "cba"),
        ("duration", "bac"),
    ],
)
def test_sorting(runs, sort, ids):
    assert "".join(selected(runs, sort=sort)) == ids


def test_limit(runs):
    assert selected(runs, limit=2) == ["c", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("digits", "name~digits"),
        ("=3", "is no filter"),
        ("lrr<1", 'did you mean "lr"?'),
        ("loss/validat<1", 'did you mean "loss/validate"?'),
        ("best.epochs=1", 'did you mean "best.epoch"?'),
        ("leger.ended~x", 'did you mean "ledger.ended"?'),
        ("wd=0", 'did you mean "weight_decay"?'),
    ],
)
def test_mistakes_in_filters(runs, text, message):
    with pytest.raises(UsageError) as caught:
        selected(runs, text)
    assert message in str(caught.value)


def test_an_unknown_key_to_sort_by(runs):
    with pytest.raises(UsageError, match="loss/validate"):
        selected(runs, sort="loss/valid")


def test_no_runs_have_no_unknown_keys():
    assert selected([], "lr<1", sort="lr") == []


def test_the_table(runs):
    text = task.table(runs, ["lr", "status"], now=NOW)
    assert [" ".join(line.split()) for line in text.splitlines()] == [
        "name id status lr loss/validate best duration age",
        "01_wider-hparams_v0 cccccccc lost 0.001 - - - 1 min",
        "00_digits-small_lr_v0 bbbbbbbb failed 0.0001 nan 0.3 5 s 1 h",
        "00_digits-hparams_v0 aaaaaaaa completed 0.01 0.5 0.4 2 min 2 h",
    ]


@pytest.mark.parametrize("width", [200, 100, 80, 60, 40, 20, 5])
def test_the_table_fits_the_terminal(runs, width):
    lines = task.table(runs, ["lr"], width=width, now=NOW).splitlines()
    assert max(map(len, lines)) <= max(width, 16)
    if width >= 40:
        assert "cccccccc" in lines[1]
    assert lines[2].split()[0].endswith("v0")


def test_statuses_have_colors_where_they_are_wanted(runs):
    text = task.table(runs, color=True, now=NOW)
    assert "\x1b[31mfailed   \x1b[0m" in text
    assert "\x1b[" not in task.table(runs, now=NOW)


def test_runs_judged_by_different_metrics_say_which(artifacts):
    store(
        artifacts, "02_a-b_v0", id="dd" * 16, metrics={"f1/validate": MetricSummary(0.5, 0.1, 0.75)}
    )
    text = task.table(find.runs(artifacts), now=NOW)
    assert "f1/validate 0.5" in text
    assert "loss/validate nan" in text
    assert "0.75" in text


@pytest.mark.parametrize(
    ("names", "headline"),
    [
        ("lr-AdamW lr-AdamW/pg1 memory/cpu train_loss", "train_loss"),
        ("lr val_loss_step val_acc train_loss val_loss", "val_loss"),
        ("train_loss val_acc val_bce_loss val_bce_loss_step", "val_bce_loss"),
        ("train_loss value_loss val/accuracy lr", "val/accuracy"),
        ("accuracy/validate loss/validate", "loss/validate"),
        ("accuracy/train loss(train)/a loss/test loss/train", "loss/train"),
        ("lr accuracy", "accuracy"),
        ("lr-SGD epoch step", "metric"),
    ],
)
def test_the_metric_that_a_run_is_judged_by(tmp_path, names, headline):
    metrics = {name: MetricSummary(3.0, 1.0, 9.0) for name in names.split()}
    store(tmp_path, "a-b_v0", id="dd" * 16, metrics=metrics)
    header = task.table(find.runs(tmp_path), now=NOW).splitlines()[0]
    assert header.split()[3:] == [headline, "best", "duration", "age"]


@pytest.mark.parametrize(("mode", "best"), [("min", "1"), ("max", "9")])
def test_the_metric_that_the_best_checkpoint_is_chosen_by_comes_first(tmp_path, mode, best):
    metrics = {name: MetricSummary(3.0, 1.0, 9.0) for name in ("loss/validate", "score")}
    store(tmp_path, "a-b_v0", id="dd" * 16, metrics=metrics, best=Best("score", mode))
    lines = [line.split() for line in task.table(find.runs(tmp_path), now=NOW).splitlines()]
    assert lines[0][3] == "score"
    assert lines[1][3:5] == ["3", best]


def test_a_monitor_that_was_never_logged_is_passed_over(tmp_path):
    metrics = {"val_loss": MetricSummary(3.0, 1.0, 9.0)}
    store(tmp_path, "a-b_v0", id="dd" * 16, metrics=metrics, best=Best("score", "max"))
    assert " val_loss " in task.table(find.runs(tmp_path), now=NOW)


def test_data_is_json_for_everyone(runs):
    data = json.loads(json.dumps(task.as_data(runs, now=NOW), allow_nan=False))
    assert [run["id"][0] for run in data] == ["c", "b", "a"]
    assert data[0]["status"] == "lost"
    assert data[1]["metrics"]["loss/validate"]["last"] == "NaN"
    assert data[1]["parent"]["checkpoint"] == "best"
    assert data[1]["duration"] == pytest.approx(5)
    assert data[2]["hparams"]["config"]["model"] == {"width": 8}
    assert data[2]["directory"].endswith("00_digits-hparams_v0")


def test_a_damaged_record_is_listed_as_such(artifacts):
    (artifacts / "00_digits-hparams_v0" / "run.json").write_text("{")
    runs = find.runs(artifacts)
    assert "damaged" in task.table(runs, now=NOW)
    assert task.as_data(runs, now=NOW)[-1]["reason"]


def test_the_command(project, artifacts, tmp_path):
    artifacts.rename(project.root / "data-artifacts")
    (project.root / "data").mkdir()
    (project.root / "data-artifacts").rename(project.artifacts)
    done = project.command("torch-lab", "runs", "lr<1e-3", "--sort", "-lr")
    assert "00_digits-small_lr_v0" in done.stdout
    assert "00_digits-hparams_v0" not in done.stdout
    assert project.command("torch-lab", "runs", "lr>5").stdout == "none of 3 runs meets that\n"
    data = json.loads(project.command("torch-lab", "runs", "--json", "--limit", "1").stdout)
    assert [run["name"] for run in data] == ["01_wider-hparams_v0"]


def test_cutting_keeps_both_ends():
    assert cut("00_digits-hparams_v3", 12) == "00_dig…ms_v3"
    assert cut("short", 12) == "short"


def test_layout_without_limit_and_with_one():
    rows = [["name", "b"], ["a long name", "c"]]
    assert layout(rows, width=None) == [["name       ", "b"], ["a long name", "c"]]
    assert layout(rows, width=10, least=4) == [["name   ", "b"], ["a l…ame", "c"]]
    assert columns([]) == []


def test_flatten_keeps_empty_dicts():
    assert flatten({"a": {"b": 1, "c": {}}, "d": 2}) == {"a.b": 1, "a.c": {}, "d": 2}


def test_plain_values():
    values = {1: (math.inf, -math.inf), "path": Path("a"), "set": {1}, "other": complex(1, 2)}
    assert plain(values) == {
        "1": ["Infinity", "-Infinity"],
        "path": "a",
        "set": [1],
        "other": "(1+2j)",
    }


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.04, "0.0 s"), (59, "59 s"), (61, "1 min"), (7300, "2 h"), (200_000, "2 d")],
)
def test_rough_durations(seconds, text):
    assert rough(seconds) == text
