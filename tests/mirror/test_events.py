from __future__ import annotations

import json
import math

import numpy as np
import pytest

from recording.recording_helpers import Training
from torch_lab.mirror import events, plots
from torch_lab.recording.machine import Sample
from torch_lab.store.console_times import Line
from torch_lab.store.journal import Row
from torch_lab.store.record import Best, MetricSummary, Record

TASK = "0123456789abcdef0123456789abcdef"


def row(step=50, t=1000.5, **values):
    return Row(t, 60, step, 2, values)


def scalars(*rows):
    said: set[str] = set()
    return [event for row in rows for event in events.scalars(TASK, row, said, "box")]


class Sent:
    """The events of what a training recorded; uploaded files by their path there."""

    def __init__(self, training, base="http://files/x/"):
        self.uploaded = {}
        self.base = base
        self.events = [
            event
            for item in training.items()
            for event in events.item(TASK, training.run, item, self.upload)
        ]

    def upload(self, path, name):
        self.uploaded[name] = path.read_bytes()
        return self.base + name

    def of(self, kind):
        return [event for event in self.events if event["type"] == kind]


@pytest.fixture
def training(tmp_path):
    return Training(tmp_path)


@pytest.fixture
def record(training):
    return training.recorder


PIXELS = np.zeros((8, 16, 3), np.uint8)


# -- numbers ----------------------------------------------------------------------------------


def test_a_number_has_its_true_step_and_time():
    assert scalars(row(**{"loss/train": 0.5})) == [
        {
            "type": "training_stats_scalar",
            "task": TASK,
            "timestamp": 1_000_500,
            "metric": "loss",
            "variant": "train",
            "iter": 50,
            "value": 0.5,
        }
    ]


@pytest.mark.parametrize(
    ("name", "metric", "variant"),
    [
        ("loss/train", "loss", "train"),
        ("accuracy/validate", "accuracy", "validate"),
        ("loss/train_step", "loss", "train_step"),
        ("loss (train)/mse", "loss (train)", "mse"),
        ("lr", "lr", "lr"),
        ("a/b/c", "a/b", "c"),
        ("/lr", "/lr", "/lr"),
        ("lr/", "lr/", "lr/"),
    ],
)
def test_names_are_series_of_a_graph(name, metric, variant):
    assert events.series(name) == (metric, variant)


def test_the_first_nan_of_a_name_is_told_in_the_log_and_all_are_left_out():
    found = scalars(
        row(1, 1.0, **{"loss/train": math.nan, "lr": 0.1}),
        row(2, 2.0, **{"loss/train": math.inf, "lr": -math.inf}),
        row(3, 3.0, **{"loss/train": 0.5, "huge": 1e39}),
    )
    numbers = [(e["metric"], e["iter"], e["value"]) for e in found if "value" in e]
    assert numbers == [("lr", 1, 0.1), ("loss", 3, 0.5)]
    told = [(e["timestamp"], e["level"], e["msg"].partition(";")[0]) for e in found if "msg" in e]
    assert told == [
        (1000, "WARNING", "loss/train is nan at step 1"),
        (2000, "WARNING", "lr is -inf at step 2"),
        (3000, "WARNING", "huge is 1e+39 at step 3"),
    ]


def test_a_run_is_summed_up():
    metrics = {
        "loss/validate": MetricSummary(0.3, 0.2, 0.9),
        "accuracy/validate": MetricSummary(0.7, 0.1, 0.8),
        "loss/train": MetricSummary(math.nan, 0.1, 0.2),
    }
    best = Best("accuracy/validate", "max")
    record = Record("a-b_v0", "0" * 32, "completed", ended=5.0, metrics=metrics, best=best)
    found = list(events.summary(TASK, record))
    assert {e["variant"]: e["value"] for e in found} == {
        "loss/validate": 0.3,
        "accuracy/validate": 0.7,
        "best accuracy/validate": 0.8,
    }
    assert {(e["metric"], e["iter"], e["timestamp"]) for e in found} == {
        ("Summary", -(2**31), 5000)
    }


def test_machine_use_goes_by_the_sdks_names_over_the_seconds():
    values = {
        "cpu_percent": 41.5,
        "memory_bytes": 2.0**31,
        "training_cpu_percent": 193.0,
        "training_memory_bytes": 2.0**30,
        "gpu0_percent": 97.0,
        "gpu0_memory_bytes": 2.0**30,
        "gpu1_celsius": 65.0,
        "gpu1_watts": 251.5,
    }
    found = list(events.machine(TASK, Sample(1010.7, values), 1000.0))
    assert {(e["iter"], e["timestamp"]) for e in found} == {(10, 1_010_700)}
    assert {(e["metric"], e["variant"]): e["value"] for e in found} == {
        (":monitor:machine", "cpu_usage"): 41.5,
        (":monitor:machine", "memory_used_gb"): 2.0,
        (":monitor:machine", "training_cpu_usage"): 193.0,
        (":monitor:machine", "training_memory_used_gb"): 1.0,
        (":monitor:gpu", "gpu_0_utilization"): 97.0,
        (":monitor:gpu", "gpu_0_mem_used_gb"): 1.0,
        (":monitor:gpu", "gpu_1_temperature"): 65.0,
        (":monitor:gpu", "gpu_1_power_draw"): 251.5,
    }


# -- items ------------------------------------------------------------------------------------


def test_an_image_is_a_debug_sample(training, record):
    record.image("val/prediction", PIXELS)
    sent = Sent(training)
    (event,) = sent.events
    (item,) = training.items()
    assert event["type"] == "training_debug_image"
    assert (event["metric"], event["variant"]) == ("val", "prediction")
    assert (event["iter"], event["timestamp"]) == (item.step, int(item.t * 1000))
    assert event["url"] == f"http://files/x/{item.file}"
    assert event["key"] == f"/x/{item.file}"
    assert sent.uploaded == {item.file: training.file(item).read_bytes()}


def test_images_of_one_call_are_told_apart_and_captions_are_shown(training, record):
    record.image("val", [PIXELS, PIXELS], caption=["a <cat>", ""])
    sent = Sent(training)
    assert [e["variant"] for e in sent.of("training_debug_image")] == ["val/0", "val/1"]
    (plot,) = sent.of("plot")
    assert (plot["metric"], plot["variant"]) == ("val", "val/0")
    layout = json.loads(plot["plot_str"])["layout"]
    assert layout["title"].endswith("<br><sup>a &lt;cat&gt;</sup>")
    assert layout["images"][0]["source"] == sent.of("training_debug_image")[0]["url"]
    assert layout["yaxis"]["range"] == [0, 320]


def test_items_of_one_name_and_step_do_not_replace_each_other(training, record):
    record.image("val", PIXELS)
    record.image("val", [PIXELS, PIXELS])
    training.batch += 1
    record.image("val", [PIXELS])
    record.image("val/more", PIXELS)
    found = [(e["metric"], e["variant"], e["iter"]) for e in Sent(training).events]
    assert found == [
        ("val", "val", 0),
        ("val", "val/1", 0),
        ("val", "val/2", 0),
        ("val", "val/0", 1),
        ("val", "more", 1),
    ]


def test_a_figure_of_matplotlib_is_a_plot(training, record):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2, 1))
    figure.add_subplot().plot([1, 2])
    record.figure("curves/roc", figure)
    sent = Sent(training)
    (plot,) = sent.events
    assert (plot["type"], plot["metric"], plot["variant"]) == ("plot", "curves", "roc")
    (uploaded,) = sent.uploaded
    assert json.loads(plot["plot_str"])["layout"]["images"][0]["source"].endswith(uploaded)


def test_images_that_no_browser_can_fetch_are_debug_samples(training, record):
    from matplotlib.figure import Figure

    record.figure("curve", Figure())
    record.image("image", PIXELS, caption="a cat")
    sent = Sent(training, base="s3://bucket/")
    assert [e["type"] for e in sent.events] == ["training_debug_image"] * 2


def test_a_figure_of_plotly_stays_interactive(training, record, monkeypatch):
    graph_objects = pytest.importorskip("plotly.graph_objects")
    record.figure("points", graph_objects.Figure(graph_objects.Scatter(y=[1, 2])))
    sent = Sent(training)
    (plot,) = sent.events
    assert json.loads(plot["plot_str"])["data"][0]["type"] == "scatter"
    assert sent.uploaded == {}
    monkeypatch.setattr(events, "_LARGEST_PLOT", 10)
    (sample,) = Sent(training).events
    assert sample["type"] == "training_debug_image"
    assert sample["url"].endswith(".json")


def test_a_table_is_a_plot(training, record):
    record.table("per class", [{"class": "cat", "f1": 0.5}, {"class": "dog", "f1": None}])
    sent = Sent(training)
    (plot,) = sent.events
    (data,) = json.loads(plot["plot_str"])["data"]
    assert data["type"] == "table"
    assert data["header"]["values"] == ["class", "f1"]
    assert data["cells"]["values"] == [["cat", "dog"], ["0.5", ""]]
    assert sent.uploaded == {}


def test_of_a_long_table_the_beginning_is_shown_and_the_file_linked(training, record):
    record.table("long", [{"i": i} for i in range(1500)])
    sent = Sent(training)
    (sample,), (plot,) = sent.of("training_debug_image"), sent.of("plot")
    (item,) = training.items()
    assert sample["url"].endswith(item.file)
    content = json.loads(plot["plot_str"])
    assert len(content["data"][0]["cells"]["values"][0]) == 1000
    assert item.file in content["layout"]["title"]


def test_a_wide_table_shows_its_head_alone(training, record, monkeypatch):
    monkeypatch.setattr(events, "_LARGEST_PLOT", 100)
    record.table("wide", [{"text": "x" * 200}])
    sent = Sent(training)
    (plot,) = sent.of("plot")
    assert json.loads(plot["plot_str"])["data"][0]["cells"]["values"] == []
    assert len(sent.uploaded) == 1


def test_a_text_is_a_file_to_open(training, record):
    record.text("answer", "forty-two")
    sent = Sent(training)
    (event,) = sent.events
    assert event["type"] == "training_debug_image"
    assert list(sent.uploaded.values()) == [b"forty-two"]


def test_artifacts_are_no_events(training, record, tmp_path):
    (tmp_path / "notes.md").write_text("x")
    record.artifact(tmp_path / "notes.md")
    assert Sent(training).events == []


def test_items_whose_file_is_gone_are_passed_over(training, record):
    record.text("answer", "forty-two")
    training.file(training.items()[0]).unlink()
    assert Sent(training).events == []


def test_an_empty_table_is_one():
    assert plots.table([], "a", "b")["data"][0]["header"]["values"] == []


# -- console ----------------------------------------------------------------------------------


def test_a_printed_line_is_a_log_event():
    assert events.console(TASK, Line(0, 4, 1234, "one"), "box") == {
        "type": "log",
        "task": TASK,
        "timestamp": 1234,
        "level": "INFO",
        "worker": "box",
        "msg": "one",
    }


def test_an_endless_line_is_cut():
    text = events.console(TASK, Line(0, 4, 1234, "x" * 150_000), "box")["msg"]
    assert text.endswith("x… (50,000 more characters)")
    assert len(text) < 100_100
