"""Files of estimators: what they hold, what they are refused for, and names of recorded code."""

from __future__ import annotations

import importlib
import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from xgboost import XGBRegressor

from torch_lab.errors import ConfigurationError, ExportError, UsageError
from torch_lab.estimators.naming import full_name_of
from torch_lab.estimators.preparing import no_gpus
from torch_lab.tasks.export import estimators
from torch_lab.utils import recorded

X = np.arange(24.0).reshape(8, 3) % 7
Y = X[:, 0] - X[:, 2]
OWN = """\
from sklearn.base import BaseEstimator, TransformerMixin


class Halved(TransformerMixin, BaseEstimator):
    def fit(self, x, y=None):
        self.seen_ = len(x)
        return self

    def transform(self, x):
        return x / 2
"""


class Odd(TransformerMixin, BaseEstimator):
    def fit(self, x, y=None):
        self.change_ = lambda values: values + 1
        return self

    def transform(self, x):
        return self.change_(x)


def test_files_hold_what_they_are_made_for() -> None:
    estimators.require_fitting(".skops", Ridge(), "r")
    estimators.require_fitting(".ubj", XGBRegressor(), "r")
    estimators.require_fitting(".pt2", None, "r")
    with pytest.raises(ExportError) as caught:
        estimators.require_fitting(".skops", None, "00_digits-hparams_v0")
    assert str(caught.value) == (
        "run 00_digits-hparams_v0 has trained a network, which no .skops file can hold\n"
        "--out FILE.safetensors or FILE.pt2 can."
    )


def test_what_skops_cannot_hold_is_told() -> None:
    fitted = make_pipeline(Odd(), Ridge()).fit(X, Y)
    with pytest.raises(ExportError) as caught:
        estimators.written(".skops", fitted, "{}", "r")
    message, hint = str(caught.value).splitlines()
    assert message.startswith("run r can't be exported: no .skops file can hold its Pipeline: ")
    assert hint == "torch_lab.runs() gives it to Python: run.load_estimator()."


def test_a_library_that_is_absent_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skops.io", None)
    with pytest.raises(ConfigurationError, match=r"a \.skops file needs skops.*\npip install"):
        estimators.written(".skops", Ridge().fit(X, Y), "{}", "r")


def test_recorded_code_goes_by_the_names_that_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "halving_of_a_test.py").write_text(OWN)
    recorded.register(tmp_path, "e" * 32)
    module = importlib.import_module(f"{recorded.__name__}.r{'e' * 32}.halving_of_a_test")
    fitted = make_pipeline(module.Halved(), Ridge()).fit(X, Y)
    done = estimators.written(".skops", fitted, '{"run": "r"}', "r")
    assert done.trusted == ("halving_of_a_test.Halved",)
    with zipfile.ZipFile(io.BytesIO(done.content)) as archive:
        assert archive.read("torch-lab.json") == b'{"run": "r"}'
        assert b"recorded" not in archive.read("schema.json")
    line = estimators.loading(tmp_path / "x.skops", done, fitted)
    assert line == 'skops.io.load("x.skops", trusted=["halving_of_a_test.Halved"])'
    monkeypatch.syspath_prepend(tmp_path)
    import skops.io

    loaded = skops.io.loads(done.content, trusted=list(done.trusted))
    assert np.array_equal(loaded.predict(X), fitted.predict(X))
    assert type(loaded[0]).__module__ == "halving_of_a_test"


def test_classes_go_by_the_name_that_they_are_imported_by() -> None:
    assert full_name_of(Ridge()) == "sklearn.linear_model.Ridge"
    assert full_name_of(XGBRegressor()) == "xgboost.XGBRegressor"
    assert full_name_of(Odd()) == f"{__name__}.Odd"


def test_an_estimator_is_given_one_gpu_at_most_which_it_has_no_use_for() -> None:
    no_gpus(None)
    no_gpus((3,))
    with pytest.raises(UsageError) as caught:
        no_gpus((0, 1))
    assert str(caught.value) == (
        "--gpu-devices 0,1: an estimator is trained by one process, on the CPU"
    )
