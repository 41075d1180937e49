"""Calls that look for the ClearML task of a run, found in the project's imported modules."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType

import pytest

from helpers import Project
from torch_lab.experiment import clearml_calls

Code = Callable[..., str | None]


@pytest.fixture
def remark(project: Project, monkeypatch: pytest.MonkeyPatch) -> Code:
    """What is said of a project whose modules have these sources."""
    monkeypatch.chdir(project.root)

    def said(**sources: str) -> str | None:
        for name, text in sources.items():
            file = project.write(f"lab_project/{name}.py", text)
            module = ModuleType(f"lab_project.{name}")
            module.__file__ = str(file)
            monkeypatch.setitem(sys.modules, module.__name__, module)
        return clearml_calls.remark(project.root)

    return said


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("from clearml import Task\nTask.current_task().id", "Task.current_task()"),
        ("from clearml import Task as T\nT.current_task()", "T.current_task()"),
        ("import clearml\nclearml.Task.current_task()", "clearml.Task.current_task()"),
        ("import clearml as c\nc.Logger.current_logger()", "c.Logger.current_logger()"),
        ("\ndef hook(self, trainer):\n    trainer.logger.task.id", "trainer.logger.task"),
    ],
)
def test_what_is_found(remark: Code, text: str, call: str) -> None:
    line = text.count("\n") + 1
    assert remark(callbacks=text) == (
        f"no ClearML task is open in this process for {call} at lab_project/callbacks.py:{line};"
        " torch_lab.record() takes scalars, images, figures, tables, texts and files,"
        ' and "task": {"sdk": True} in hparams has ClearML\'s SDK open the run\'s task'
    )


@pytest.mark.parametrize(
    "text",
    [
        "from clearml import Dataset\nDataset.get(dataset_id='x')",
        "import asyncio\nasyncio.current_task()  # clearml",
        "from clearml import Task\nTask.init(project_name='x')\nTask.current_task()",
        "from clearml import Task\nTask.current_task(",
    ],
    ids=["dataset", "another's", "a task of its own", "edited meanwhile"],
)
def test_what_is_not(remark: Code, text: str) -> None:
    assert remark(callbacks=text) is None


def test_many_are_counted(remark: Code) -> None:
    text = "from clearml import Task\n" + "Task.current_task()\n" * 4
    said = remark(callbacks=text, models="from clearml import Task\nTask.current_task()")
    assert said is not None
    assert "callbacks.py:4 and 2 more;" in said
