"""The line that an old name says, once, where it was used."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from torch_lab.utils import deprecation
from torch_lab.utils.deprecation import deprecated


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deprecation, "_said", set())


def test_once_per_name_and_where(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    for _ in range(2):
        deprecated("torch_lab.old", "use torch_lab.new")
    deprecated("torch_lab.older", "remove it")
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("test_deprecation.py:")
    assert first.endswith(": torch_lab.old is deprecated: use torch_lab.new")
    assert second.endswith(": torch_lab.older is deprecated: remove it")


def test_code_that_is_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    code = "from torch_lab.utils.deprecation import deprecated\ndeprecated('old', 'new')"
    exec(compile(code, "<stdin>", "exec"), {})
    assert capsys.readouterr().err == "old is deprecated: new\n"


@pytest.mark.parametrize("variable", ["RANK", "LOCAL_RANK"])
def test_other_ranks_are_silent(capsys, monkeypatch, variable: str) -> None:
    monkeypatch.setenv(variable, "1")
    deprecated("torch_lab.old", "use torch_lab.new")
    assert capsys.readouterr().err == ""


def test_workers_are_silent(capfd: pytest.CaptureFixture[str]) -> None:
    worker = multiprocessing.get_context("fork").Process(target=deprecated, args=("old", "new"))
    worker.start()
    worker.join()
    assert worker.exitcode == 0
    assert capfd.readouterr().err == ""
