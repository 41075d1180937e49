"""Helpers of torch-lab 1.x for people's own scripts; the rest of them is in test_scripts.py."""

from __future__ import annotations

import traceback
from pathlib import Path
from types import TracebackType

import pytest

from torch_lab.utils import compile_config


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "00_a" / "__main__.py"
    path.parent.mkdir()
    path.write_text("def train_config(config):\n    return 1 / config.get('x', 2)\n")
    return path


@pytest.mark.parametrize("wanted", [True, False])
def test_a_debugger_opens_where_it_failed(
    script: Path, monkeypatch: pytest.MonkeyPatch, wanted: bool
) -> None:
    opened: list[TracebackType] = []
    monkeypatch.setattr("pdb.post_mortem", opened.append)
    with pytest.raises(ZeroDivisionError):
        compile_config(script, {"config": {"x": 0}}, pdb=wanted)
    assert len(opened) == wanted
    if wanted:
        innermost = traceback.extract_tb(opened[0])[-1]
        assert (innermost.filename, innermost.lineno) == (str(script), 2)


def test_hparams_without_config(script: Path) -> None:
    assert compile_config(script, {}) == 0.5
