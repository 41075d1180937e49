"""How many samples a batch has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from torch_lab.utils.batches import batch_size

THREE = torch.zeros(3, 2)


@pytest.mark.parametrize(
    ("parts", "size"),
    [
        ((THREE,), 3),
        ((np.zeros((3, 2)),), 3),
        ((None, THREE), 3),
        (([THREE, THREE],), 3),  # columns, as torch's collate function makes them of tuples
        (((THREE, (THREE, THREE)),), 3),
        (({"a": THREE, "b": THREE},), 3),
        (([{"boxes": torch.zeros(7, 4)}, {"boxes": torch.zeros(1, 4)}],), 2),  # samples
        ((["a cat", "a dog"],), 2),
        (([["a cat", "the cat", "cat"], ["a dog"]],), 2),
        (([1, 2, 3],), 3),
        ((range(4),), 4),
        (([torch.zeros(5, 2)] * 2, torch.zeros(2, 8)), 2),  # a tensor tells before a list does
        ((torch.tensor(1.0), THREE), 3),
        ((torch.tensor(1.0), "text", None), 1),
        ((torch.zeros(0, 2),), 0),
        (([], []), 0),
    ],
)
def test_batch_size(parts: tuple[Any, ...], size: int) -> None:
    assert batch_size(*parts) == size
