"""`lab check --drill`: what people's code loses in a cut is found, and named after its owner."""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from helpers import Project, wait_for
from zygote import Zygote

PROJECT = Path(__file__).parents[1] / "projects" / "drill"
FOLDER = "drilled/experiments/00_drilled"

CUT = "not exact: resumed after batch 2, it differs from batch 3 on"
OWN = "the contents of the batch, after the state of generator OWN in drilled.experiments"

# What is planted: the verdict, the state that differs first, whose it is, what would mend it.
STATES = {
    "layer": (
        CUT,
        "  first         parameter net.3.weight",
        "  likely owner  module Module",
        "look at on_load_checkpoint() of module Module, on_train_start() of module Module.",
    ),
    "buffer": (CUT, "  first         buffer average", "registered with persistent=False"),
    "optimizer": (CUT, "  first         optimizer Counting: calls", "owner  optimizer Counting"),
    "scheduler": (CUT, "  first         scheduler Warm: heat", "owner  scheduler Warm"),
    "metric": (CUT, "  first         metric latest: last", "owner  metric latest"),
    "callback": (
        CUT,
        "  first         attribute rates of callback Cycled",
        "  likely owner  callback Cycled (drilled/experiments/00_drilled/__main__.py:",
        "), which has no state_dict()",
        "let state_dict() and load_state_dict(), or on_save_checkpoint()",
    ),
    "attribute": (CUT, "  first         attribute noise of module Module", "owner  module Module"),
    "variable": (
        CUT,
        "  first         variable STEPS in drilled.experiments",
        "No checkpoint has variables of modules",
    ),
    "broken": ("does not train: KeyError: 'workers'", "Traceback (most recent call last):"),
    "loading": (
        "killed in batch 3, it does not resume: KeyError: ",
        "  Traceback (most recent call last):\n    File ",
        "in on_load_checkpoint\n",
    ),
}
DATA = {
    "random": (CUT, "  first         the state of generator OWN in drilled.experiments"),
    "sampler": (
        CUT,
        "  first         the order of the data, after attribute order of sampler Forgetful",
        "  likely owner  sampler Forgetful",
    ),
    "dataset": (
        CUT,
        "  first         the contents of the batch, after attribute seen of dataset Points",
        "  likely owner  dataset Points",
    ),
    "generator": (CUT, f"  first         {OWN}", "owner  dataset Points", "which draws from it"),
    "workers": (CUT, f"  first         {OWN}", "owner  dataset Points", "which draws from it"),
    "stream": (
        CUT,
        "  first         the contents of the batch",
        "  likely owner  loader DataLoader",
        "It can't go on in mid-epoch: its dataset is iterable",
    ),
    "again": (
        "not exact: batches are as before only as long as no sample is loaded again",
        "  likely owner  dataset Points",
    ),
    "chance": (
        "not reproducible: two uninterrupted runs differ, first in the contents of the batch",
        "Something draws from time, the system's randomness",
    ),
    "sets": (
        "not reproducible: two uninterrupted runs differ, first in what the training step",
        "Sets of texts come in another order in each process: sort them",
    ),
}

# Nothing is wrong with it: of one epoch by two processes, and of two.
SOUND = {
    "two": ("exact: killed 3 times, it went on",),
    "hparams": (
        """
  killed in batch 3
  killed in the validation after batch 4
  killed after batch 4
  killed in batch 6
  killed in the validation after batch 8
  killed after batch 8
exact: killed 6 times, it went on with the same batches, losses and weights
""",
        "2 epochs of at most 4 batches\n  uninterrupted: 8 batches, ",
    ),
}


def planted(root: Path) -> Project:
    shutil.copytree(PROJECT, root, ignore=shutil.ignore_patterns("__pycache__"))
    project = Project(root)
    one = {"trainer.init.max_epochs": 1}
    for fault in (*STATES, *DATA):
        changes = {"config.fault": fault, **one}
        if fault == "workers":
            changes |= {"config.fault": "generator", "config.workers": 2}
        _extend(project, fault, changes)
    _extend(project, "two", {"trainer.init.devices": 2, "trainer.init.strategy": "ddp", **one})
    project.write(f"{FOLDER}/broken.py", 'hparams = {"config": {"fault": None}}\n')
    return project


def _extend(project: Project, name: str, changes: dict[str, Any]) -> None:
    text = f'from torch_lab.hparams import extend\n\nhparams = extend("hparams.py", {changes})\n'
    project.write(f"{FOLDER}/{name}.py", text)


def drilled(project: Project, zygote: Zygote, *words: str, status: int = 0, **env: str) -> str:
    """Drill scripts; what is said of them."""
    log = project.root.parent / "said.txt"
    errors = log.with_suffix(".err")
    command = ("lab", "check", *words, "--drill")
    pid = zygote.start(*command, cwd=project.root, log=log, errors=errors, env=env)
    found = zygote.wait(pid)
    assert found == status, f"exit {found}\n{log.read_text()}\n{errors.read_text()}"
    return log.read_text()


def left_behind(project: Project) -> list[str]:
    """Files that were not there before, but for Python's own."""
    return sorted(
        str(path.relative_to(project.root))
        for path in project.root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".py"
    )


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    "expected",
    [STATES | {"hparams": SOUND["hparams"]}, DATA | {"two": SOUND["two"]}],
    ids=["states", "data"],
)
def test_what_is_lost_is_named(
    tmp_path: Path, zygote: Zygote, expected: dict[str, tuple[str, ...]]
) -> None:
    project, temporary = planted(tmp_path / "project"), tmp_path / "tmp"  # too long for sockets
    temporary.mkdir()
    scripts = [f"{FOLDER}/{name}.py" for name in expected]  # one command: torch is imported once
    output = drilled(project, zygote, *scripts, status=1, TMPDIR=str(temporary))
    parts = re.split(r"^drill of 00_drilled/(\w+): (.*\n)", output, flags=re.MULTILINE)
    said = {
        name: f"{of}{text}"
        for name, of, text in zip(*(parts[n::3] for n in (1, 2, 3)), strict=True)
    }
    assert list(said) == list(expected)
    wrong = [(name, text) for name, texts in expected.items() for text in texts
             if text not in said[name]]  # fmt: skip
    assert not wrong, output
    assert not list(temporary.glob("torch-lab*"))
    assert left_behind(project) == ["pyproject.toml"]


def test_a_signal_ends_it_with_all_that_it_started(tmp_path: Path) -> None:
    project = planted(tmp_path / "project")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    words = ("lab", "check", f"{FOLDER}/hparams.py", "--drill")
    process = project.start(*words, env={"TMPDIR": str(temporary)})
    try:
        wait_for(lambda: process.poll() or list(temporary.glob("*/0/*/run.jsonl")), timeout=240)
        os.kill(process.pid, signal.SIGTERM)
        process.communicate(timeout=120)
        assert process.returncode == 128 + signal.SIGTERM
        assert not list(temporary.glob("torch-lab*"))
        wait_for(lambda: not _working_in(temporary), timeout=60)
    finally:
        process.kill()


def _working_in(folder: Path) -> list[str]:
    """Processes whose environment says that they belong to a drill there."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            if f"TMPDIR={folder}".encode() in (each / "environ").read_bytes():
                found.append(each.name)
        except OSError:  # it ended, or is another user's
            continue
    return found
