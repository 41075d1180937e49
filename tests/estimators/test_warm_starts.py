"""What a warm start has found, the next one doesn't look for again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fitted import classes, trained
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.ensemble._hist_gradient_boosting import gradient_boosting

from torch_lab.estimators.fitting.warm_starts import WarmStarts


@pytest.fixture
def binned(monkeypatch) -> list[int]:
    """How many samples were binned, each time that bins were found."""
    found, own = [], gradient_boosting._BinMapper.fit_transform

    def spied(self, x, *args, **kwargs):
        found.append(len(x))
        return own(self, x, *args, **kwargs)

    monkeypatch.setattr(gradient_boosting._BinMapper, "fit_transform", spied)
    return found


@pytest.mark.parametrize(
    ("options", "names"),
    [({}, None), ({"class_weight": "balanced"}, None), ({}, np.array(["a", "b", "c"]))],
    ids=["weights", "class_weight", "texts"],
)
def test_bins_are_found_once_for_all_rounds(tmp_path, binned, options, names):
    x, y = classes()
    y = y if names is None else names[y]
    weights = np.random.default_rng(0).random(len(y)).astype(np.float32)
    made = HistGradientBoostingClassifier(max_iter=6, random_state=0, **options)
    expected = made.fit(x, y, sample_weight=weights).predict_proba(x)
    assert binned == [len(y)]
    made = HistGradientBoostingClassifier(max_iter=6, random_state=0, **options)
    module = trained(tmp_path, made, train_data=(x, {"y": y, "sample_weight": weights}))
    assert binned == [len(y)] * 2
    assert np.array_equal(module.model.estimator.predict_proba(x), expected)
    assert "_bin_data" not in vars(module.model.estimator)


def test_samples_that_have_changed_are_binned_anew(binned):
    x, y = map(torch.from_numpy, classes())
    made, warm = HistGradientBoostingClassifier(warm_start=True), WarmStarts()

    def grown(rounds: int, *of: torch.Tensor) -> int:
        with warm.kept(made, *of):
            made.set_params(max_iter=rounds).fit(x, y)
        return len(binned)

    assert [grown(1, x, y), grown(2, x, y)] == [1, 1]
    x[0] += 1
    assert [grown(3, x, y), grown(4, x, y)] == [2, 2]
    assert grown(5, x.clone(), y) == 3
