"""Metrics with plots: what is drawn into the record, and what is said where nothing can be."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import matplotlib
import plotly.graph_objects as go
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import (
    BinaryROC,
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassPrecisionRecallCurve,
    MulticlassROC,
    MultilabelConfusionMatrix,
)
from torchmetrics.wrappers import ClasswiseWrapper

from test_modules import loader, module, trainer
from torch_lab.metrics import MetricWrapper, PooledMean
from torch_lab.modules.plots import Plots
from torch_lab.recording import recorder

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*have no `val_dataloader`"),
    pytest.mark.filterwarnings("ignore:No (positive|negative) samples in targets"),
    # What numpy says of the tensors that torchmetrics hands to matplotlib.
    pytest.mark.filterwarnings("ignore:__array__ implementation"),
]


class Kept:
    """A recorder that keeps what it is given."""

    def __init__(self) -> None:
        self.figures: dict[str, Any] = {}
        self.texts: dict[str, str] = {}

    def figure(self, name: str, figure: Any, *, every: Any = None) -> None:
        if isinstance(figure, Figure):
            figure.canvas.draw()  # closed figures can't
        self.figures[name] = figure

    def text(self, name: str, text: str, *, every: Any = None) -> None:
        self.texts[name] = text


@pytest.fixture
def kept() -> Iterator[Kept]:
    made = Kept()
    recorder.set_current(made)  # type: ignore[arg-type]
    yield made
    recorder.set_current(None)


class Drawn(MulticlassConfusionMatrix):
    """In the style of 1.x: computed for its plot alone."""

    def __init__(self, result: Any = None) -> None:
        super().__init__(3)
        self.result = result

    def compute(self) -> None:
        super().compute()

    def plot(self) -> Any:  # type: ignore[override]
        return self.result(self) if self.result else go.Figure(go.Heatmap(z=self.confmat.numpy()))


class Odd(Metric):
    """A metric that returns what it is told to."""

    full_state_update = False

    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result

    def update(self, y_pred: Tensor, y: Tensor) -> None: ...

    def compute(self) -> Any:
        return self.result() if callable(self.result) else self.result


def validated(metrics: dict[str, Any], **changes: Any) -> dict[str, float]:
    fit, _ = trainer(**changes)
    (values,) = fit.validate(module(metrics=metrics), loader(), verbose=False)
    return values


def with_axes(metric: Any) -> Any:
    figure, axes = plt.subplots()
    axes.imshow(metric.confmat)
    return figure, axes


def test_what_is_drawn_of_torchmetrics(kept: Kept) -> None:
    metrics = {
        "matrix": MulticlassConfusionMatrix(3),
        "roc": MulticlassROC(3),
        "accuracy": MulticlassAccuracy(3),
        "classes": MulticlassAccuracy(3, average=None),
        "named": ClasswiseWrapper(MulticlassAccuracy(3, average=None)),
        "wrapped": MetricWrapper(lambda y_pred, y: (y_pred[:, 0], y == 0), BinaryROC(9)),
        "labels": MetricWrapper(
            lambda y_pred, y: (y_pred, y_pred > 0), MultilabelConfusionMatrix(3)
        ),
        "both": MetricCollection(
            {"curve": MulticlassPrecisionRecallCurve(3, 9), "accuracy": MulticlassAccuracy(3)}
        ),
    }
    values = validated(metrics)
    assert kept.figures.keys() == {
        "matrix/validate",
        "roc/validate",
        "classes/validate",
        "wrapped/validate",
        "labels/validate",
        "both (validate)/curve",
    }
    assert all(isinstance(each, Figure) for each in kept.figures.values())
    assert len(kept.figures["labels/validate"].axes) >= 3
    assert {"accuracy/validate", "both (validate)/accuracy"} <= values.keys()
    assert not any(name.startswith(("matrix", "roc", "classes")) for name in values)
    assert plt.get_fignums() == []


def test_many_classes(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """A number in each of 40 x 40 cells can't be read; plots of 1000 classes take minutes."""
    drawn = {
        "some": torch.ones(40, 40),
        "few": torch.ones(3, 3),
        "points": (torch.rand(500), torch.rand(500), torch.rand(500)),
    }
    metrics: dict[str, Any] = {
        "some": MulticlassConfusionMatrix(40),
        "few": MulticlassConfusionMatrix(3),
        "points": BinaryROC(),
        "many": MulticlassConfusionMatrix(1000),
        "curves": MulticlassROC(101),
    }
    curves = tuple([torch.rand(5)] * 101 for _ in range(3))
    Plots().show("train", metrics, {**drawn, "many": torch.ones(1000, 1000), "curves": curves})
    assert kept.figures.keys() == {f"{name}/train" for name in drawn}
    texts = {name: len(figure.axes[0].texts) for name, figure in kept.figures.items()}
    assert (texts["some/train"], texts["few/train"]) == (0, 9)
    assert capsys.readouterr().err.splitlines() == [
        "metric 'many' is not drawn: it has 1000 classes or curves",
        "metric 'curves' is not drawn: it has 101 classes or curves",
    ]
    plt.close("all")


def test_plots_of_one_s_own(kept: Kept) -> None:
    matrix: list[Tensor] = []

    class Curve(MulticlassAccuracy):
        """A scalar with a plot of its own, in the way that torchmetrics' documentation shows."""

        def plot(self, val: Any = None, ax: Any = None) -> Any:
            return self._plot(val, ax)

    metrics = {
        "plotly": Drawn(),
        "axes": Drawn(with_axes),
        "alone": Drawn(lambda metric: with_axes(metric)[1]),
        "left": Drawn(lambda metric: with_axes(metric) and None),
        "several": Drawn(lambda metric: [with_axes(metric)[0], go.Figure()]),
        "none": Drawn(lambda metric: matrix.append(metric.confmat.clone())),
        "wrapped": MetricWrapper(lambda y_pred, y: (y_pred, y), Drawn()),
        "scalar": Curve(3),
        "computed": Odd(go.Figure),
        "pair": Odd(plt.subplots),
    }
    validated(metrics)
    assert kept.figures.keys() == {
        *(f"{name}/validate" for name in metrics if name != "none"),
        "several/validate 2",
    }
    assert isinstance(kept.figures["plotly/validate"], go.Figure)
    assert isinstance(kept.figures["left/validate"], Figure)
    assert isinstance(kept.figures["computed/validate"], go.Figure)
    assert matrix[0].sum() == 10
    assert plt.get_fignums() == []


def test_each_epoch_but_not_the_sanity_check(kept: Kept) -> None:
    calls: list[float] = []
    metric = Drawn(lambda metric: calls.append(metric.confmat.sum().item()))
    fit, _ = trainer(num_sanity_val_steps=1)
    fit.fit(module(metrics={"m": metric}), loader(10), loader(7, 3))
    assert calls == [7, 10, 7, 10]


def test_nothing_is_drawn_without_a_record() -> None:
    calls: list[Any] = []
    validated({"m": Drawn(calls.append)})
    assert calls == []


def test_figures_and_backend_of_others_are_left_alone(kept: Kept) -> None:
    mine = plt.figure()
    before = matplotlib.get_backend()
    validated({"matrix": MulticlassConfusionMatrix(3), "axes": Drawn(with_axes)})
    assert plt.get_fignums() == [mine.number]
    assert plt.gcf() is mine
    assert matplotlib.get_backend() == before
    plt.close(mine)


def test_figures_do_not_pile_up(kept: Kept) -> None:
    """pyplot would warn at the twenty-first that is open."""
    open_figures: list[int] = []
    metrics = {
        str(i): Drawn(
            lambda metric: with_axes(metric) and open_figures.append(len(plt.get_fignums()))
        )
        for i in range(22)
    }
    Plots().show("train", metrics, dict.fromkeys(metrics))
    assert open_figures == [1] * 22
    assert len(kept.figures) == 22


def test_a_failing_plot_is_said_once(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    def fails(metric: Any) -> None:
        raise KeyError("colour")

    fit, _ = trainer()
    fit.fit(module(metrics={"m": Drawn(fails), "n": Drawn()}), loader(), loader())
    (line,) = [each for each in capsys.readouterr().err.splitlines() if "metric" in each]
    assert line.startswith("metric 'm' can't be plotted: KeyError: 'colour' (")
    assert "test_plots.py:" in line
    assert "n/train" in kept.figures


def test_without_matplotlib(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    def missing(metric: Any) -> None:
        raise ModuleNotFoundError("No module named 'matplotlib'")

    validated({"m": Drawn(missing), "n": Drawn(missing)})
    assert [each for each in capsys.readouterr().err.splitlines() if "plot" in each] == [
        "metric 'm' can't be plotted: No module named 'matplotlib'",
        "pip install 'torch-lab[plot]' installs what draws",
    ]


def test_texts_and_what_has_no_place(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = {
        "report": Odd("all is well"),
        "none": Odd(None),
        "empty": Odd([]),
        "vector": Odd(torch.ones(3)),
        "scalar": Odd(torch.tensor(1j)),
        "parts": Odd({"a": torch.tensor(1.0), "b": torch.ones(2, 2), "deep": {"c": 2}, "d": None}),
        "pooled": PooledMean(lambda y_pred, y: 0.5),
    }
    fit, logger = trainer(max_epochs=2)
    fit.fit(module(metrics=metrics), loader(), loader())
    assert kept.texts == dict.fromkeys(("report/train", "report/validate"), "all is well")
    assert kept.figures == {}
    said = [each for each in capsys.readouterr().err.splitlines() if "metric" in each]
    assert sorted(said) == sorted(
        f"metric {name!r}: {key} is not logged: {shape} is no number, and there is no plot of it"
        for stage in ("train", "validate")
        for name, key, shape in (
            ("vector", f"vector/{stage}", "float32 (3,)"),
            ("parts", f"parts ({stage})/b", "float32 (2, 2)"),
            ("scalar", f"scalar/{stage}", "complex64 ()"),
        )
    )
    assert logger.values("parts (train)/deep/c") == [2.0, 2.0]
    assert logger.values("parts (validate)/a") == [1.0, 1.0]


def test_pyplot_is_not_imported_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot")
    Plots().show("train", {"m": Odd(1)}, {"m": 1})
    assert "matplotlib.pyplot" not in sys.modules


def test_those_that_pause_are_drawn_as_they_were(kept: Kept) -> None:
    def found(plots: Plots, own: Drawn, curve: MetricCollection, count: int) -> None:
        own.update(torch.arange(3).repeat(count), torch.arange(3).repeat(count))
        curve.update(torch.eye(3), torch.arange(3))
        plots.show("train", {"own": own, "curve": curve}, {"own": None, "curve": {}})
        own.reset()
        curve.reset()

    metrics = Drawn(), MetricCollection({"matrix": MulticlassConfusionMatrix(3)})
    plots = Plots(pause=1e6)
    for count in (1, 2, 3):
        found(plots, *metrics, count)
        assert kept.figures["own/train"].data[0].z.tolist() == torch.eye(3).tolist()
    kept.figures.clear()
    plots.catch_up()
    assert kept.figures.keys() == {"own/train", "curve (train)/matrix"}
    assert kept.figures["own/train"].data[0].z.tolist() == (3 * torch.eye(3)).tolist()
    assert plt.get_fignums() == []
    kept.figures.clear()
    plots.catch_up()
    assert not kept.figures
