"""What `lab preview` sees of `train_data=(X, y)`: the whole table's classes, sparse samples."""

from __future__ import annotations

import numpy as np
import scipy.sparse
import torch

from torch_lab.estimators import table_loader
from torch_lab.tasks.preview import batches, labels, looks


def test_classes_are_those_of_the_whole_table() -> None:
    y = np.arange(2500) % 3
    loader = table_loader(np.zeros((2500, 4)), {"y": torch.from_numpy(y)})
    found = batches.leaves([next(iter(loader))])
    x = looks.data_of(found)
    counted = labels.classes(loader.dataset, labels.label_of(found, x))
    assert counted is not None
    assert (counted.total, counted.source) == (2500, "y")
    assert counted.counts == {0: 834, 1: 833, 2: 833}


def test_a_sparse_matrix_has_samples_and_a_range() -> None:
    x = scipy.sparse.csr_matrix(np.eye(6, 3) * 5)
    (leaf,) = batches.leaves([next(iter(table_loader(x, {})))])
    assert (leaf.path, leaf.shape, leaf.type) == ("x", (6, 3), "float64")
    seen = batches.statistics(leaf)
    assert seen is not None
    assert (seen.low, seen.high) == (0.0, 5.0)
