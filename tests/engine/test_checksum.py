"""What a weight's checksum counts: each byte, wherever in its storage the weight begins."""

from __future__ import annotations

import pytest
import torch

from torch_lab.engine.lightning.loops import _checksum


@pytest.mark.parametrize("length", [1, 7, 8, 9, 16, 31])
def test_every_byte_counts(length: int) -> None:
    storage = torch.arange(64, dtype=torch.uint8)
    for first in range(12):
        part = storage[first : first + length]
        before = _checksum(part)
        for each in range(length):
            part[each] += 1
            assert _checksum(part) != before
            part[each] -= 1
        assert _checksum(part) == before


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.bool, torch.complex64])
def test_of_any_kind_and_shape(kind: torch.dtype) -> None:
    weight = torch.zeros(13, 3).to(kind)
    for part in (weight, weight[1:, 1:], weight[0, 0]):
        before = _checksum(part)
        part.fill_(1)
        assert _checksum(part) != before
        part.zero_()
    assert _checksum(weight[:0]) == 0
