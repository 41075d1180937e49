"""What is drawn of a journal: places on the axes, fewer points, curves without noise."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from plotted_runs import BEGUN, falling, stored, write_run, write_segment
from torch_lab.tasks.plot.curves import Curve, curves, span
from torch_lab.tasks.plot.thinning import smoothed, thin


def curve(values, places=None) -> Curve:
    value = np.asarray(values, dtype=np.float64)
    at = np.arange(len(value), dtype=np.float64) if places is None else np.asarray(places)
    return Curve(at, at / 10, at * 2, value)


def test_places_on_each_axis(tmp_path: Path) -> None:
    write_run(tmp_path, "00_a-hparams_v0", falling(0.5, epochs=2, batches=4))
    found = curves(stored(tmp_path, "00_a-hparams_v0"))
    validated = found["loss/validate"]
    assert validated.step.tolist() == [0, 3, 7]
    assert validated.epoch.tolist() == [0, 1, 2]
    assert validated.time.tolist() == [0, 4, 8]
    assert found["loss/train"].epoch.tolist() == [0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2]
    assert span([validated, found["loss/train"]], "time") == 8
    assert span([], "time") == 0


@pytest.mark.parametrize(
    ("ledger", "done"),
    [(None, 1.0), ({"open": {"epoch": 0, "planned": 10, "batches": 5}, "epochs": []}, 0.5)],
)
def test_an_epoch_under_way_is_as_long_as_it_was_planned(tmp_path: Path, ledger, done) -> None:
    rows = [(batch, 0, {"loss": 1.0}) for batch in range(1, 6)]
    write_run(tmp_path, "00_a-hparams_v0", rows, ledger=ledger)
    found = curves(stored(tmp_path, "00_a-hparams_v0"))["loss"]
    assert found.epoch[-1] == done


def test_an_epoch_under_way_is_as_long_as_the_one_before(tmp_path: Path) -> None:
    rows = [(batch, (batch - 1) // 4, {"loss": 1.0}) for batch in range(1, 7)]
    write_run(tmp_path, "00_a-hparams_v0", rows)
    assert curves(stored(tmp_path, "00_a-hparams_v0"))["loss"].epoch[-1] == 1.5


def test_a_run_that_went_on_from_another_counts_from_there(tmp_path: Path) -> None:
    rows = [(batch, 12 + (batch - 121) // 10, {"loss": 1.0}) for batch in range(121, 141)]
    write_run(tmp_path, "00_a-hparams_v0", [(120, 12, {"loss": 1.0}), *rows])
    found = curves(stored(tmp_path, "00_a-hparams_v0"))["loss"].epoch
    assert (found[0], found[1], found[-1]) == (12, 12.1, 14)


def test_only_rows_that_count_and_only_time_that_was_trained(tmp_path: Path) -> None:
    folder = write_run(
        tmp_path,
        "00_a-hparams_v0",
        [(batch, 0, {"loss": float(batch)}) for batch in range(1, 8)],
        resumes=[{"time": BEGUN + 5000, "batch": 4}],
    )
    later = [(batch, 0, {"loss": 10.0 * batch}) for batch in range(5, 9)]
    write_segment(folder, 1, later, after=4, begun=BEGUN + 5000)
    found = curves(stored(tmp_path, "00_a-hparams_v0"))["loss"]
    assert found.value.tolist() == [1, 2, 3, 4, 50, 60, 70, 80]
    assert found.time.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]


def test_values_that_are_no_numbers(tmp_path: Path) -> None:
    rows = [(1, 0, {"loss": 1.0, "bad": "nan"}), (2, 0, {"loss": "nan"}), (3, 0, {"loss": "inf"})]
    write_run(tmp_path, "00_a-hparams_v0", rows)
    found = curves(stored(tmp_path, "00_a-hparams_v0"))
    assert (found["loss"].last, found["loss"].least) == (math.inf, 1.0)
    assert math.isnan(found["bad"].least)
    assert math.isnan(found["bad"].greatest)


def test_rows_without_a_step(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "00_a-hparams_v0")
    row = '{"t":1790000001.0,"batch":3,"step":null,"epoch":null,"values":{"loss":1.0}}\n'
    with (folder / "metrics" / "0000.jsonl").open("a") as file:
        file.write(row)
    assert curves(stored(tmp_path, "00_a-hparams_v0"))["loss"].step.tolist() == [3]


def test_few_values_stay_as_they_are() -> None:
    line = thin(curve([1, 2, math.nan, 4]), 4)
    assert not line.thinned
    assert line.mean.tolist()[:2] == [1, 2]
    assert line.count.tolist() == [1, 1, 1, 1]


def test_many_values_become_means_and_no_spike_is_lost() -> None:
    values = np.ones(100_003)
    values[77_777], values[5] = 50.0, -3.0
    line = thin(curve(values), 1000)
    assert line.thinned
    assert len(line.mean) == len(line.places["step"]) == 1000
    assert (line.high.max(), line.low.min()) == (50, -3)
    assert line.count.sum() == len(values)
    assert (line.mean * line.count).sum() == pytest.approx(values.sum())
    assert (line.places["step"][0], line.places["step"][-1]) == (0, 100_002)
    assert (np.diff(line.places["time"]) > 0).all()


def test_values_that_are_no_numbers_leave_gaps() -> None:
    values = np.ones(1000)
    values[100:200] = math.nan
    values[300:310:2] = math.nan
    line = thin(curve(values), 100)
    gaps = np.isnan(line.mean)
    assert gaps.tolist() == [10 <= i < 20 for i in range(100)]
    assert np.isnan(line.low).tolist() == np.isnan(line.high).tolist() == gaps.tolist()
    assert line.count[30] == 5


def test_smoothing_keeps_what_is_constant_and_passes_over_gaps() -> None:
    values = np.array([2.0, 2.0, math.nan, 2.0])
    made = smoothed(values, np.arange(4.0), np.ones(4), 3.0)
    assert made[[0, 1, 3]].tolist() == pytest.approx([2, 2, 2])
    assert math.isnan(made[2])
    assert smoothed(values, np.arange(4.0), np.ones(4), 0.0) is values


def test_after_a_window_a_value_counts_a_twentieth() -> None:
    made = smoothed(np.array([1.0, 0.0]), np.array([0.0, 10.0]), np.ones(2), 10.0)
    assert made[1] == pytest.approx(math.exp(-3) / (1 + math.exp(-3)))


def test_thinned_curves_are_smoothed_like_whole_ones() -> None:
    places = np.arange(20_000.0)
    values = np.exp(-places / 6000) + np.random.default_rng(0).normal(0, 0.3, 20_000)
    whole = smoothed(values, places, np.ones(20_000), 2000.0)
    line = thin(curve(values, places), 500)
    thinned = smoothed(line.mean, line.places["step"], line.count, 2000.0)
    at = line.places["step"].astype(int)
    assert np.abs(whole[at][20:] - thinned[20:]).max() < 0.02
