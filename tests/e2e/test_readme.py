"""What README.md and the pages in docs/ show is done here, and comes true."""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

import forked_ranks
from clearml_server.fixture import ClearMLServer
from forked_starters import FORKED
from helpers import wait_for
from pages import Block, Command, blocks, commands
from torch_lab.mirror.senders import read_state
from zygote import Zygote

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
GUIDE = ROOT / "docs" / "example.md"
EXPERIMENTS = ROOT / "docs" / "experiments.md"
LATER = tuple(ROOT / "docs" / name for name in ("hparams.md", "library.md"))  # on its project
MOVING = ROOT / "docs" / "moving.md"
CLEARML = ROOT / "docs" / "clearml.md"
RELIABILITY = ROOT / "docs" / "reliability.md"
VERBS = tuple(
    ROOT / "docs" / f"{name}.md"
    for name in ("starting", "checking", "comparing", "keeping", "scale", "sweeps", "frameworks")
)
PAGES = (README, GUIDE, EXPERIMENTS, *LATER, MOVING, CLEARML, RELIABILITY, *VERBS)
BIN = Path(sys.executable).parent
Variables = Mapping[str, str]
# Tried elsewhere: what `make demo` runs is compared below, `make test` runs this.
NOT_HERE = ("make demo", "source .venv/bin/activate", "pip install .")


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A project's folder with nothing in it but what makes it one."""
    if not (BIN / "train").exists():
        pytest.skip("torch-lab is not installed here: make test")
    root = tmp_path / "torch lab"
    root.mkdir()
    (root / "pyproject.toml").write_text('[project]\nname = "mine"\nversion = "0"\n')
    return root


@pytest.fixture
def copy(empty: Path) -> Path:
    """The example project as a clone has it, with nothing made yet."""
    root = empty
    shutil.copy(ROOT / "pyproject.toml", root)
    shutil.copytree(ROOT / "data" / "raw", root / "data" / "raw")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "example_project", root / "example_project", ignore=ignored)
    for script, epochs in (("hparams", 4), ("small_lr", 12), ("finetune", 2)):
        shorten(root / "example_project" / "experiments" / "00_digits" / f"{script}.py", epochs)
    return root


def shorten(script: Path, epochs: int) -> None:
    """Fewer epochs say the same, but for numbers, in less time."""
    text, count = re.subn(r'(max_epochs": )\d+', rf"\g<1>{epochs}", script.read_text())
    assert count == 1
    script.write_text(text)


def environment(variables: Variables = MappingProxyType({})) -> dict[str, str]:
    """A user's shell after `source .venv/bin/activate`; without a ClearML server, unless told."""
    leaking = ("TORCH_LAB_", "PYTEST_", "CLEARML_", "TRAINS_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(leaking)}
    kept.pop("PYTHONPATH", None)
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    # One thread: several that wait for each other take minutes where other tests run beside them.
    kept |= {"PATH": path, "COLUMNS": "120", "OMP_NUM_THREADS": "1", "TORCH_LAB_OFFLINE": "true"}
    return kept | variables


# `lab` imports torch for some of them.
HEAVY = ("check", "preview", "export", "show", "diff", "submit", "sweep")
ASKS_STATUS = '; echo "exit status $?"'
Typing = Callable[[str, Path, Variables], tuple[int, str]]


def typed(text: str, root: Path, variables: Variables) -> tuple[int, str]:
    """Type a command; its exit status and what it says."""
    done = subprocess.run(
        ["bash", "-c", text],
        cwd=root,
        env=environment(variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.returncode, done.stdout


@pytest.fixture
def quickly(zygote: Zygote, tmp_path: Path) -> Typing:
    """Type a command; those that import torch are forked, with a pool's, and so is code."""
    log = tmp_path / "said.txt"

    def typed_quickly(text: str, root: Path, variables: Variables) -> tuple[int, str]:
        entered = re.match(r"cd (\S+) && ", text)
        if entered:
            root, text = root / entered.group(1), text.removeprefix(entered.group())
        command, asks, _ = text.partition(ASKS_STATUS)
        words = shlex.split(command)
        env = {**variables, **FORKED, forked_ranks.WANTED: str(log.with_name("ranks.txt"))}
        fails = words[0] == "!"
        del words[:fails]
        while "=" in words[0]:
            name, _, env[name] = words.pop(0).partition("=")
        heavy = words[0] == "lab" and words[1] in HEAVY
        code = as_code(words)
        if words[0] not in ("train", "infer") and not heavy and code is None:
            return typed(text, root, variables)
        log.unlink(missing_ok=True)
        if code is not None:
            script = log.with_name("block.py")
            script.write_text(code)
            pid = zygote.start_script(script, cwd=root, log=log, env=env)
        else:
            pid = zygote.start(*words, cwd=root, log=log, env=env)
        status = zygote.wait(pid)
        said = log.read_text()
        if not asks:
            return int(not status) if fails else status, said
        return 0, f"{said}exit status {status if status >= 0 else 128 - status}\n"

    return typed_quickly


def as_code(words: list[str]) -> str | None:
    """What `python …` would do, where that imports torch, in a process that has done so."""
    program, *rest = words
    if program == "python" and rest[0] == "-c":
        return f"import sys; sys.path.insert(0, '')\n{rest[1]}"
    if program == "python" and rest[0].endswith(".py"):
        run = f"run_path({rest[0]!r}, run_name='__main__')"
    elif program == "python" and rest[:2] == ["-m", "pytest"]:
        rest, run = rest[1:], "run_module('pytest', run_name='__main__', alter_sys=True)"
    else:
        return None
    return f"import runpy, sys; sys.path.insert(0, ''); sys.argv = {rest!r}\nrunpy.{run}\n"


@pytest.fixture
def first_really(quickly: Typing) -> Typing:
    """Type a command; the first one of `train` and of `infer` as installed, further ones forked."""
    seen: set[str] = set()

    def typed_really_at_first(text: str, root: Path, variables: Variables) -> tuple[int, str]:
        program = text.split()[0]
        how = quickly if program in seen or program == "lab" else typed
        seen.add(program)
        return how(text, root, variables)

    return typed_really_at_first


def run(command: Command, root: Path, variables: Variables, how: Typing) -> None:
    """A command succeeds and says what is shown."""
    status, said = how(command.text, root, variables)
    assert status == 0, f"$ {command.text}\n{said}"
    assert not command.missing(said), f"$ {command.text}\n{said}"


def follow(
    block: Block,
    root: Path,
    variables: Variables = MappingProxyType({}),
    how: Typing = typed,
) -> None:
    """Do what a block says: save the file, run what is no file, type the commands."""
    if block.language == "python" and block.file is not None:
        (root / block.file).parent.mkdir(parents=True, exist_ok=True)
        (root / block.file).write_text(block.text)
    elif block.language == "python":
        status, said = how(shlex.join(("python", "-c", block.text)), root, variables)
        assert status == 0, f"{block.text}\n{said}"
    elif block.language == "console":
        for command in block.commands:
            if command.text.startswith("cd ") and "&&" not in command.text:
                root /= command.text.removeprefix("cd ")
            elif command.text not in NOT_HERE:
                run(command, root, variables, how)


def cut(script: str, root: Path, zygote: Zygote) -> None:
    """Begin to train, and kill it in the midst."""
    process = zygote.start("train", script, cwd=root, log=root / "cut.txt")
    artifacts = root / "data" / "artifacts"
    wait_for(lambda: list(artifacts.glob("*small_lr_v0/checkpoints/step-*.ckpt")), timeout=240)
    os.killpg(process, signal.SIGKILL)
    assert zygote.wait(process) == -signal.SIGKILL


def write_mnist(folder: Path) -> None:
    """Files in the form of MNIST's, with few images."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for prefix, count in (("train", 300), ("t10k", 50)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        for array, name in ((images, "images-idx3"), (labels, "labels-idx1")):
            header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            path = folder / f"{prefix}-{name}-ubyte.gz"
            path.write_bytes(gzip.compress(header + array.tobytes()))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_readme_comes_true(copy: Path, first_really: Typing, zygote: Zygote) -> None:
    for block in blocks(README):
        if "--resume auto" in block.text:
            cut("example_project/experiments/00_digits/small_lr.py", copy, zygote)
        follow(block, copy, how=first_really)
    runs = sorted(path.name for path in (copy / "data" / "artifacts").iterdir())
    assert [name for name in runs if not name.startswith(".")] == [
        "00_digits-hparams_v0",
        "00_digits-hparams_v1",
        "00_digits-small_lr_v0",
        "00_sine-wide_v0",
    ]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_guide_comes_true(copy: Path, quickly: Typing) -> None:
    write_mnist(copy / "data" / "processed" / "mnist")
    for block in blocks(GUIDE):
        follow(block, copy, how=quickly)
    assert (copy / "data" / "predictions" / "00_digits.csv").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_page_on_experiments_comes_true(empty: Path, quickly: Typing) -> None:
    for block in blocks(EXPERIMENTS):
        follow(block, empty, how=quickly)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", LATER, ids=lambda page: page.name)
def test_the_pages_after_it_come_true(page: Path, empty: Path, quickly: Typing) -> None:
    (empty / "moons").mkdir()
    (empty / "moons" / "__init__.py").touch()
    for block in blocks(EXPERIMENTS):
        if block.file is not None:
            follow(block, empty)
    for block in blocks(page):
        follow(block, empty, how=quickly)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_page_on_moving_comes_true(empty: Path, quickly: Typing) -> None:
    for block in blocks(MOVING):
        follow(block, empty, how=quickly)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_page_on_reliability_comes_true(empty: Path, quickly: Typing) -> None:
    for block in blocks(RELIABILITY):
        follow(block, empty, how=quickly)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", VERBS, ids=lambda page: page.name)
def test_the_pages_on_verbs_come_true(page: Path, copy: Path, quickly: Typing) -> None:
    for block in blocks(page):
        follow(block, copy, how=quickly)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_page_on_clearml_comes_true(
    copy: Path, clearml_server: ClearMLServer, quickly: Typing
) -> None:
    try:
        for block in blocks(CLEARML):
            follow(block, copy, clearml_server.environment, quickly)
    finally:
        end_sender(copy / "data" / "artifacts")
    states = {task["name"]: task["status"] for task in clearml_server.tasks()}
    assert states == {
        "00_digits-hparams_v0": "completed",
        "00_digits-hparams_v1": "queued",
        "00_digits-small_lr_v0": "completed",
        "03_sdk-hparams_v0": "completed",
        "dev_00_digits-hparams_v0": "completed",
        "dev_00_digits-small_lr_v0": "completed",
        "digits": "completed",  # the Dataset
    }


def end_sender(artifacts: Path) -> None:
    """End what a training has left to send in the background."""
    news = read_state(artifacts)
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        if b"--follow" in Path(f"/proc/{news.pid}/cmdline").read_bytes():
            os.kill(news.pid, signal.SIGKILL)


def make(*words: str) -> str:
    """What `make` prints, not as a part of the `make test` that may run this."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(["make", *words], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_make_demo_runs_what_the_readme_shows() -> None:
    lines = [
        line.removeprefix(".venv/bin/") for line in make("-n", "demo", "VENV=.venv").splitlines()
    ]
    ours = re.compile(r"(train|infer|lab|python -m example_project)\b")
    ran = [line for line in lines if ours.match(line)]
    assert len(ran) == 4
    shown = iter(commands(README))
    assert all(command in shown for command in ran), "not shown, or in another order"


def test_make_lists_the_targets_that_the_readme_names() -> None:
    listed = re.findall(r"^  ([a-z-]+) ", make(), re.MULTILINE)
    named = re.findall(r"(?:`|\$ )make ([a-z-]+)", README.read_text())
    assert {"demo", "test"} <= set(named) <= set(listed)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_on_a_page_is_code(page: Path) -> None:
    for block in blocks(page):
        assert block.language in ("console", "python", "text", "toml"), "what kind of block is it?"
        if block.language == "python":
            compile(block.text, block.file or page.name, "exec")
        if block.language == "toml":
            tomllib.loads(block.text)


@pytest.mark.parametrize("page", [*PAGES, *ROOT.glob("docs/*.md")], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target
