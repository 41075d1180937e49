"""Files that callbacks of an experiment's save, once the run is another process's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from torch_lab.engine.plugins import SafeCheckpointIO
from torch_lab.errors import LockLost


class Lock:
    """One that is lost after so many looks at it."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def __call__(self) -> None:
        if self.looks == 0:
            raise LockLost("it is another's")
        self.looks -= 1


@pytest.mark.parametrize("looks", [0, 1], ids=["before", "meanwhile"])
def test_nothing_is_saved(tmp_path: Path, looks: int) -> None:
    path = tmp_path / "deep" / "mine.ckpt"
    SafeCheckpointIO().save_checkpoint({"state_dict": {"w": torch.ones(1)}}, path)
    before = path.read_bytes()
    guarded = SafeCheckpointIO(before_saving=Lock(looks))
    with pytest.raises(LockLost):
        guarded.save_checkpoint({"state_dict": {"w": torch.zeros(1)}}, path)
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["mine.ckpt"]


def test_nothing_is_deleted(tmp_path: Path) -> None:
    path = tmp_path / "mine.ckpt"
    path.write_bytes(b"kept")
    with pytest.raises(LockLost):
        SafeCheckpointIO(before_saving=Lock(0)).remove_checkpoint(path)
    assert path.read_bytes() == b"kept"
    SafeCheckpointIO(before_saving=Lock(1)).remove_checkpoint(path)
    assert not path.exists()
