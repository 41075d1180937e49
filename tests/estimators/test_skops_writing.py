"""What is saved by the library's means, but faster, is what the library itself would save."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import numpy as np
import pytest
import skops.io
import skops.io._utils
from fitted import classes
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from torch_lab.estimators.formats import scikit

KINDS = {
    "stages": GradientBoostingClassifier(n_estimators=3),
    "histograms": HistGradientBoostingClassifier(max_iter=3),
    "forest": RandomForestClassifier(3),
    "search": GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression()), {"logisticregression__C": [1, 2]}
    ),
}


def contents(payload: bytes) -> tuple[Any, bytes]:
    """The schema, ids and file names counted as they come, and it as it was written."""
    with zipfile.ZipFile(io.BytesIO(payload)) as archive:
        text = archive.read("schema.json")
        assert len(archive.namelist()) == len(set(archive.namelist()))

        def numbered(node: dict[str, Any]) -> dict[str, Any]:
            node.pop("__id__", None)
            if node.get("type") == "numpy":
                node["file"] = np.load(io.BytesIO(archive.read(node["file"]))).tolist()
            return node

        return json.loads(text, object_hook=numbered), text


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_is_written(kind):
    estimator = KINDS[kind].fit(*classes())
    (found, text), (expected, of_skops) = map(
        contents, [scikit.pack(estimator).payload, skops.io.dumps(estimator)]
    )
    assert repr(found) == repr(expected)  # with gaps, which don't equal each other
    assert len(text) < 0.6 * len(of_skops)


def test_a_library_that_is_made_otherwise_writes_itself(monkeypatch):
    monkeypatch.delattr(skops.io._utils, "SaveContext")
    estimator = KINDS["forest"].fit(*classes())
    schema, text = contents(scikit.pack(estimator).payload)
    assert schema == contents(skops.io.dumps(estimator))[0]
    assert text.startswith(b"{\n")
