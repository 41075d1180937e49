"""Pictures of curves: what stands in them."""

from __future__ import annotations

import io
import os
from itertools import islice
from pathlib import Path

import pytest

from plotted_runs import searched, stored, write_run
from torch_lab.tasks.plot.charts import charts
from torch_lab.tasks.plot.comparison import PlottedRun, colors, plotted
from torch_lab.tasks.plot.picture import picture
from torch_lab.tasks.table import cut

PIL = pytest.importorskip("PIL.Image")
PICTURES = Path(__file__).parents[2] / "docs" / "pictures"


def many(artifacts: Path, count: int, name: str = "00_digits-hparams") -> list[PlottedRun]:
    for number in range(count):
        write_run(artifacts, f"{name}_v{number}", searched(number)[0], number=number)
    return plotted([stored(artifacts, f"{name}_v{number}") for number in range(count)])


def drawn(runs: list[PlottedRun], ending: str = ".png", **options) -> bytes:
    found = charts([run.curves for run in runs], main="loss/validate")
    title = runs[0].name if len(runs) == 1 else f"{len(runs)} runs of 00_digits"
    return picture(runs, found, ending=ending, title=title, **options)


def rgb(color: str) -> tuple[int, ...]:
    return tuple(int(color[i : i + 2], 16) for i in (1, 3, 5))


@pytest.mark.parametrize("count", [1, 3, 12])
def test_each_run_is_in_the_picture_in_its_color(tmp_path: Path, count: int) -> None:
    content = drawn(many(tmp_path, count), smooth=0.05 if count > 1 else 0.0)
    image = PIL.open(io.BytesIO(content)).convert("RGB")
    assert image.width >= 900
    pixels = {color: count for count, color in image.getcolors(1 << 24)}
    seen = [pixels.get(rgb(color), 0) for color in islice(colors(), max(count, 2))]
    assert min(seen) > 100  # of one run, training and validation have a color each
    if os.environ.get("TORCH_LAB_PICTURES") == "1" and count == 3:
        (PICTURES / "plot.png").write_bytes(content)


@pytest.mark.parametrize("axis", ["step", "epoch", "time"])
def test_names_are_texts_whatever_they_hold(tmp_path: Path, axis: str) -> None:
    runs = many(tmp_path, 2, "_$a$ <b> & b_-x")
    text = drawn(runs, ".svg", axis=axis).decode()
    for run in runs:
        assert run.name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") in text
    assert {"step": "step", "epoch": "epoch", "time": "time (min)"}[axis] in text
    assert ">validate<" in text
    assert ">accuracy<" in text


def test_values_that_are_no_numbers_are_gaps(tmp_path: Path) -> None:
    rows = [(i, 0, {"loss": "nan" if i % 3 else 1.0, "all": "nan"}) for i in range(2000)]
    write_run(tmp_path, "00_a-hparams_v0", rows)
    runs = plotted([stored(tmp_path, "00_a-hparams_v0")])
    assert drawn(runs, ".pdf", smooth=0.1).startswith(b"%PDF")
    assert drawn(runs, ".svg").count(b"NaN or inf throughout") == 1


def test_a_value_between_two_that_are_no_numbers_is_seen(tmp_path: Path) -> None:
    rows = [(i, 0, {"loss": 1.0 if i == 50 else "nan"}) for i in range(100)]
    write_run(tmp_path, "00_a-hparams_v0", rows)
    run = plotted([stored(tmp_path, "00_a-hparams_v0")])[0]
    with PIL.open(io.BytesIO(drawn([run]))) as image:
        assert rgb(run.color) in {color for _, color in image.convert("RGB").getcolors(1 << 24)}


def test_a_long_name_does_not_push_the_others_apart(tmp_path: Path) -> None:
    runs = [*many(tmp_path, 3), *many(tmp_path, 1, name="00_digits-" + "very_" * 30 + "long")]
    text = drawn(runs, ".svg").decode()
    assert cut(runs[-1].name, 44) in text
    assert "very_" * 10 not in text
