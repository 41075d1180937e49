from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import pytest
from recording_helpers import Training, pixels

from torch_lab.errors import ConfigurationError

mpl.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture
def training(tmp_path: Path) -> Iterator[Training]:
    yield Training(tmp_path)
    plt.close("all")


def test_matplotlib_figures_and_axes_are_images(training: Training) -> None:
    figure, axes = plt.subplots(figsize=(2, 1), dpi=50)
    axes.plot([1, 2])
    training.recorder.figure("a", figure)
    training.recorder.figure("b", axes)
    first, second = training.items()
    assert first.size == second.size == (100, 50)
    assert (pixels(training.file(first)) == pixels(training.file(second))).all()
    assert plt.get_fignums(), "whoever made a figure closes it"


def test_plotly_figures_are_pages_that_share_a_script(training: Training) -> None:
    go = pytest.importorskip("plotly.graph_objects")
    for name in ("curve", "deep/er/curve"):
        training.recorder.figure(name, go.Figure(go.Scatter(y=[1, 3, 2])))
    (script,) = training.run.media.glob("plotly-*.min.js")
    assert script.stat().st_size > 1_000_000
    for item in training.items():
        page = training.file(item)
        assert page.stat().st_size < 100_000
        (source,) = [word for word in page.read_text().split('"') if word.endswith(script.name)]
        assert (page.parent / source).resolve() == script.resolve()
        assert item.data is not None
        data = json.loads((training.run.path / item.data).read_text())
        assert data["data"][0]["y"] == [1, 3, 2]


def test_what_is_no_figure_is_said(training: Training) -> None:
    with pytest.raises(ConfigurationError, match=r"can't draw \[1, 2\] \(list\)") as caught:
        training.recorder.figure("x", [1, 2])
    assert "arrays go to .image()" in str(caught.value)
