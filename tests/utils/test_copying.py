"""Copies of the user's values."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger

from torch_lab.utils.copying import plain_copy


class Service(CSVLogger):
    """Begins something when it is copied, as the logger for W&B does."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Service:
        raise AssertionError


def test_containers_are_new_and_loggers_the_same(tmp_path: Path) -> None:
    service = Service(tmp_path)
    before = {"logger": [service], "more": {"values": [1, {2}]}}
    after = plain_copy(before)
    assert after == before
    assert after["more"]["values"] is not before["more"]["values"]
    assert after["logger"][0] is service


def test_what_cannot_be_copied_is_shared() -> None:
    lock = threading.Lock()
    before = {"lock": lock, "list": [1]}
    after = plain_copy(before)
    assert after["lock"] is lock
    assert after["list"] is not before["list"]
