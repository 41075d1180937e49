"""`lab runs --best` and `--group-by`: which run, and which values, are the best."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path
from typing import Any

import pytest

from helpers import Project
from torch_lab.cli import runs as cli
from torch_lab.errors import RunNotFound, UsageError
from torch_lab.store import find
from torch_lab.store.find import StoredRun
from torch_lab.store.record import Best, MetricSummary, Record
from torch_lab.store.values import dumps
from torch_lab.tasks import runs as task
from torch_lab.tasks.runs.groups import grouped

LOSSES = {0.1: (0.5, 0.7), 0.01: (0.2, 0.4), 0.001: (0.9, math.nan)}


def store(artifacts: Path, number: int, seed: int, metrics: dict[str, Any], **config: Any) -> None:
    fields = dict(config.pop("fields", {}))
    record = Record(
        name=f"00_net-hparams_v{number}",
        id=f"{number:032x}",
        status="completed",
        experiment=fields.pop("experiment", "00_net"),
        script="lab/experiments/00_net/hparams.py",
        created=1000.0 + number,
        hparams={"task": {"tags": [f"run {number}"]}, "seed": seed, "config": config},
        seed=seed,
        metrics=metrics,
        **fields,
    )
    folder = artifacts / record.name
    folder.mkdir(parents=True)
    (folder / "run.json").write_bytes(dumps(record.as_json()))


@pytest.fixture
def project(project: Project) -> Project:
    """Three learning rates, two seeds of each; of the last run the loss was never a number."""
    runs = [(lr, seed, loss) for lr, losses in LOSSES.items() for seed, loss in enumerate(losses)]
    for number, (lr, seed, loss) in enumerate(runs):
        metrics = {
            "loss/validate": MetricSummary(loss + 0.05, loss, 3.0),
            "accuracy/validate": MetricSummary(0.5, 0.1, 1 - loss),
            "score": MetricSummary(number, number, number + 1.0),
        }
        store(project.artifacts, number, seed, metrics, lr=lr, model={"width": 8})
    return project


@pytest.fixture
def runs(project: Project) -> list[StoredRun]:
    return find.runs(project.artifacts)


@pytest.fixture
def lab_runs(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    """`lab runs …` in this process."""
    monkeypatch.chdir(project.root)

    def said(*words: str) -> str:
        assert cli.command(words) == 0
        return capsys.readouterr().out

    return said


def names(text: str) -> list[str]:
    return [line.split()[0].removeprefix("00_net-hparams_") for line in text.splitlines()[1:]]


def test_the_best_runs(lab_runs: Any) -> None:
    assert names(lab_runs("--best", "loss/validate")) == ["v2", "v3", "v0", "v1", "v4"]
    assert names(lab_runs("--best", "accuracy/validate")) == ["v2", "v3", "v0", "v1", "v4"]
    most = lab_runs("--best", "loss/validate", "--mode", "max")  # of equal ones the newer
    assert names(most) == ["v5", "v4", "v3", "v2", "v1", "v0"]
    assert names(lab_runs("--best", "loss/validate", "--limit", "3")) == ["v2", "v3", "v0"]
    assert names(lab_runs("lr>0.05", "--best", "loss/validate")) == ["v0", "v1"]
    assert names(lab_runs("--best", "score", "--mode", "max", "--limit", "1")) == ["v5"]
    assert names(lab_runs("--best", "score", "--mode", "min", "--limit", "1")) == ["v0"]
    found = json.loads(lab_runs("--best", "loss/validate", "--json"))
    assert [each["name"][-1] for each in found] == ["2", "3", "0", "1", "4"]
    assert len(json.loads(lab_runs("--best", "loss/validate", "--limit", "1", "--json"))) == 1
    assert lab_runs("lr>5", "--best", "loss/validate") == "none of 6 runs meets that\n"


def test_the_column_is_the_metric_that_was_asked_for(lab_runs: Any) -> None:
    header, line, *_ = lab_runs("--best", "score", "--mode", "max").splitlines()
    assert header.split()[3:5] == ["score", "best"]
    assert line.split()[3:5] == ["5", "6"]


def test_a_run_that_never_had_a_number_is_never_best(runs: list[StoredRun]) -> None:
    found = task.ranked(runs, "loss/validate", "min")
    assert [run.brief.name[-1] for run in found] == ["2", "3", "0", "1", "4"]
    assert [run.brief.name[-1] for run in task.ranked(runs, "score", "max")] == list("543210")
    with pytest.raises(RunNotFound, match='"loss/validate" was never a number in 1 run'):
        task.ranked([run for run in runs if run.brief.name[-1] == "5"], "loss/validate", "min")


def test_a_dev_run_is_never_best_where_there_are_others(project: Project, lab_runs: Any) -> None:
    metrics = {"loss/validate": MetricSummary(0.0, 0.0, 0.0)}
    store(project.artifacts, 8, 0, metrics, lr=1.0, fields={"dev_run": 2})
    assert "v8" not in names(lab_runs("--best", "loss/validate"))
    lines = lab_runs("--group-by", "lr", "--best", "loss/validate").splitlines()[2:]
    assert {line.split()[0] for line in lines} == {"0.1", "0.01", "0.001"}
    assert names(lab_runs("--best", "loss/validate", "lr=1.0")) == ["v8"]


def test_of_equal_runs_the_newer_comes_first(project: Project) -> None:
    store(project.artifacts, 9, 0, {"loss/validate": MetricSummary(0.2, 0.2, 0.2)})
    best = task.ranked(find.runs(project.artifacts), "loss/validate", "min")[0]
    assert best.brief.name == "00_net-hparams_v9"


def test_what_the_experiment_says_is_best_is(project: Project) -> None:
    for number, value in enumerate((0.3, 0.6), start=10):
        fields = {"best": Best("loss/odd", "max")}
        store(project.artifacts, number, 0, {"loss/odd": MetricSummary(0, 0, value)}, fields=fields)
    runs = find.runs(project.artifacts)
    assert task.mode_of(runs, "loss/odd") == "max"
    assert task.mode_of(runs, "loss/validate") == "min"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("--best", "score"),
            "is the least score the best, or the greatest?\nadd --mode min or --mode max",
        ),
        (("--best", "loss/validat"), 'value of "loss/validat"\ndid you mean "loss/validate"?'),
        (("--best", "loss/validate", "--mode", "least"), "--mode is min or max, not 'least'"),
        (("--mode", "min"), "--mode says which value is best\nadd --best METRIC"),
        (
            ("--best", "score", "--sort", "lr"),
            "--best and --sort each give an order\n"
            "leave one of them out: --best METRIC --limit N lists the best N",
        ),
        (("--group-by", " ,"), "--group-by needs a key\nfor instance --group-by lr"),
        (("--group-by", "lrr"), "no run has a 'lrr'\ndid you mean \"lr\"?"),
        (("--group-by", "lr", "--sort", "men"), "no group has a 'men'\ndid you mean \"mean\"?"),
        (("--group-by", "lr", "--best", "losses"), 'has a value of "losses"'),
    ],
)
def test_mistakes(lab_runs: Any, words: tuple[str, ...], said: str) -> None:
    with pytest.raises((UsageError, RunNotFound)) as caught:
        lab_runs(*words)
    assert said in str(caught.value)


def test_groups(lab_runs: Any) -> None:
    first, header, *lines = lab_runs("--group-by", "lr").splitlines()
    assert first == "loss/validate: the least of each run"
    assert header.split() == ["lr", "runs", "mean", "std", "best", "best", "run"]
    std = f"{statistics.stdev([0.2, 0.4]):.4g}"
    assert [line.split() for line in lines] == [
        ["0.01", "2", "0.3", std, "0.2", "00_net-hparams_v2"],
        ["0.1", "2", "0.6", std, "0.5", "00_net-hparams_v0"],
        ["0.001", "1", "of", "2", "0.9", "-", "0.9", "00_net-hparams_v4"],
    ]


def test_groups_as_data(lab_runs: Any) -> None:
    found = json.loads(lab_runs("--group-by", "lr,seed", "--json", "--sort", "-runs"))
    assert len(found) == 6
    found = json.loads(lab_runs("--group-by", "lr", "--best", "accuracy/validate", "--json"))
    assert found[0] == {
        "group": {"lr": 0.01},
        "metric": "accuracy/validate",
        "mode": "max",
        "runs": 2,
        "mean": pytest.approx(0.7),
        "std": pytest.approx(statistics.stdev([0.8, 0.6])),
        "best": 0.8,
        "with_metric": 2,
        "best_run": "00_net-hparams_v2",
        "names": ["00_net-hparams_v3", "00_net-hparams_v2"],
    }
    assert json.loads(lab_runs("lr>9", "--group-by", "lr", "--json")) == []
    assert lab_runs("lr>9", "--group-by", "lr") == "none of 6 runs meets that\n"


def order(text: str) -> list[str]:
    return [line.split()[0] for line in text.splitlines()[2:]]


def test_the_order_of_groups(lab_runs: Any) -> None:
    assert order(lab_runs("--group-by", "lr", "--sort", "lr")) == ["0.001", "0.01", "0.1"]
    assert order(lab_runs("--group-by", "lr", "--sort", "-lr", "--limit", "1")) == ["0.1"]
    by_score = lab_runs("--group-by", "lr", "--best", "score", "--mode", "max")
    assert order(by_score) == ["0.001", "0.01", "0.1"]
    assert order(lab_runs("--group-by", "lr", "--sort", "-best")) == ["0.001", "0.1", "0.01"]


def test_groups_of_what_is_the_same_but_for_the_seed(project: Project) -> None:
    metrics = {"loss/validate": MetricSummary(0.35, 0.35, 0.35)}
    store(project.artifacts, 6, 7, metrics, lr=0.01, model={"width": 16})
    runs = find.runs(project.artifacts)
    found = grouped(runs, ["hparams"])
    assert [(group.values["hparams"], len(group.runs)) for group in found.groups] == [
        ("lr=0.01 width=8", 2),
        ("lr=0.01 width=16", 1),
        ("lr=0.1 width=8", 2),
        ("lr=0.001 width=8", 2),
    ]
    alike = grouped([run for run in runs if run.brief.name[-1] in "23"], ["hparams"])
    assert [group.values for group in alike.groups] == [{"hparams": "all alike"}]
    fields = {"experiment": "01_other"}
    store(project.artifacts, 7, 7, metrics, lr=0.01, model={"width": 16}, fields=fields)
    several = grouped(find.runs(project.artifacts), ["hparams"]).groups
    assert len(several) == 5
    assert {group.values["experiment"] for group in several} == {"00_net", "01_other"}
    alone = next(group for group in several if group.values["experiment"] == "01_other")
    assert alone.values["hparams"] == "all alike"  # told apart within their experiment


def test_names_are_as_short_as_they_can_be(project: Project) -> None:
    store(project.artifacts, 8, 0, {}, lr=0.01, model={"width": 8}, head={"width": 4, "lr": 1})
    found = grouped(find.runs(project.artifacts), ["hparams"]).groups
    assert "lr=0.1 width=- head.lr=-" in {group.values["hparams"] for group in found}


def test_groups_fit_the_terminal(runs: list[StoredRun]) -> None:
    for width in (80, 40, 20):
        lines = grouped(runs, ["name", "lr"]).table(width=width).splitlines()[1:]
        assert max(map(len, lines)) <= width


def test_runs_that_are_judged_by_different_metrics_are_not_mixed(project: Project) -> None:
    store(project.artifacts, 9, 0, {"f1/validate": MetricSummary(0.2, 0.2, 0.2)}, lr=0.01)
    with pytest.raises(UsageError) as caught:
        grouped(find.runs(project.artifacts), ["lr"])
    assert str(caught.value) == (
        "these runs are judged by different metrics, or by none\nname one: --best loss/validate"
    )
    found = grouped(find.runs(project.artifacts), ["lr"], metric="f1/validate")
    assert [len(group.scores) for group in found.groups] == [1, 0, 0]


def test_values_that_are_the_same_are_one_group(project: Project) -> None:
    metrics = {"loss/validate": MetricSummary(0.3, 0.3, 0.3)}
    for number, width in enumerate((1, 1.0, True, "1", None), start=20):
        store(project.artifacts, number, 0, metrics, size=width)
    found = grouped(find.runs(project.artifacts), ["size"]).groups
    assert sorted(len(group.runs) for group in found) == [1, 1, 2, 7]


def test_infinite_values(project: Project) -> None:
    for number, loss in enumerate((math.inf, 1.0), start=30):
        metrics = {"loss/validate": MetricSummary(loss, loss, loss)}
        store(project.artifacts, number, number, metrics, lr=5)
    (group,) = grouped(
        [run for run in find.runs(project.artifacts) if run.facts.of_key("lr") == (5,)], ["lr"]
    ).groups
    assert (group.best, group.mean, group.std) == (1.0, math.inf, None)
