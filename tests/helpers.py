"""What tests share: a project in a temporary folder, and the real commands run in it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SRC = Path(__file__).parent.parent / "src"


def environment(**changes: str) -> dict[str, str]:
    """The environment of a command: this one's, without what would leak into it."""
    leaking = ("TORCH_LAB_", "PYTEST_", "CLEARML_", "TRAINS_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(leaking)}
    kept |= {"OMP_NUM_THREADS": "1", "COLUMNS": "120", "PYTHONPATH": str(SRC)}
    # No process beside each of the hundreds of trainings; tests/recording/ has it.
    kept |= {"TORCH_LAB_TENSORBOARD": "false", "TORCH_LAB_MACHINE_USE_SECONDS": "0"}
    # Nor a sender for a clearml.conf of whoever runs the tests; tests/mirror/ has it.
    kept |= {"TORCH_LAB_OFFLINE": "true"}
    return kept | changes


def argv(*words: str | Path) -> list[str]:
    """The command as a process of this Python, so that no installation is needed."""
    verb, *rest = map(str, words)
    head = [verb] if verb in ("train", "infer") else []
    return [sys.executable, "-m", "torch_lab", *head, *rest]


def command(
    *words: str | Path,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    status: int | None = 0,
    timeout: float = 120,
    stdin: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `train …`, `infer …`, `lab …` or `torch-lab …` and check its exit status."""
    done = subprocess.run(
        argv(*words),
        cwd=cwd,
        env=environment(**(env or {})),
        capture_output=True,
        text=True,
        timeout=timeout,
        input=stdin,
        check=False,
    )
    if status is not None and done.returncode != status:
        shown = f"exit {done.returncode}, expected {status}\n{done.stdout}\n{done.stderr}"
        raise AssertionError(f"{' '.join(map(str, words))}: {shown}")
    return done


def start(
    *words: str | Path, cwd: Path, env: Mapping[str, str] | None = None, **kwargs: Any
) -> subprocess.Popen[str]:
    """Start a command in a process group of its own."""
    return subprocess.Popen(
        argv(*words),
        cwd=cwd,
        env=environment(**(env or {})),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        **kwargs,
    )


def kill(process: subprocess.Popen[str], signum: int = signal.SIGKILL) -> str:
    """Signal the whole group, wait, and return what was printed."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signum)
    return process.communicate(timeout=60)[0]


def wait_for(condition: Any, *, timeout: float = 60, every: float = 0.01) -> Any:
    """Wait until `condition()` is true and return what it gave."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(every)
    raise AssertionError(f"not within {timeout} s: {condition}")


@dataclass(frozen=True)
class StoredRun:
    """A run directory as a test reads it."""

    path: Path

    @property
    def record(self) -> dict[str, Any]:
        return json.loads((self.path / "run.json").read_text())

    @property
    def console(self) -> str:
        return (self.path / "console.log").read_text()

    def rows(self) -> list[tuple[int, int, int, dict[str, float]]]:
        """The journal's counting rows, without times."""
        from torch_lab.store.journal import rows
        from torch_lab.store.paths import RunDirectory

        return [(r.batch, r.step, r.epoch, r.values) for r in rows(RunDirectory(self.path))]

    def checkpoint(self, name: str = "last") -> dict[str, Any]:
        import torch

        entry = next(each for each in self.record["checkpoints"] if each["name"] == name)
        return torch.load(self.path / entry["file"], weights_only=True)

    def weights(self, name: str = "last") -> str:
        """A digest of the checkpoint's weights and optimizer state."""
        contents = self.checkpoint(name)
        return digest([contents["state_dict"], contents["optimizer_states"]])


def digest(value: Any) -> str:
    """A digest of nested plain data with tensors, bit for bit."""
    import torch

    found = hashlib.sha256()

    def feed(each: Any) -> None:
        if isinstance(each, torch.Tensor):
            found.update(each.contiguous().flatten().view(torch.uint8).numpy().tobytes())
        elif isinstance(each, Mapping):
            for key in sorted(each, key=str):
                found.update(str(key).encode())
                feed(each[key])
        elif isinstance(each, (list, tuple)):
            for item in each:
                feed(item)
        else:
            found.update(repr(each).encode())

    feed(value)
    return found.hexdigest()[:16]


def cut(whole: StoredRun, batch: int, into: Path) -> StoredRun:
    """The run as it was on disk when it had been killed right after saving at `batch`."""
    shutil.copytree(whole.path, into)
    run = StoredRun(into)
    record = run.record
    saved = [each for each in record["checkpoints"] if each["name"].startswith("step-")]
    kept = [each for each in saved if each["batch"] <= batch]
    best = [each for each in record["checkpoints"] if each["name"] == "best"]
    record["checkpoints"] = [*kept, kept[-1] | {"name": "last"}]
    record["checkpoints"] += [each for each in best if each["batch"] <= batch]
    record["status"] = "running"
    (into / "run.json").write_text(json.dumps(record))
    for each in saved:
        if each not in kept:
            (into / each["file"]).unlink()
    return run


@dataclass(frozen=True)
class Project:
    """A project made for a test."""

    root: Path

    @property
    def artifacts(self) -> Path:
        return self.root / "data" / "artifacts"

    def write(self, path: str, text: str) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
        return file

    def run(self, name: str) -> StoredRun:
        return StoredRun(self.artifacts / name)

    def runs(self) -> list[str]:
        if not self.artifacts.is_dir():
            return []
        return sorted(p.name for p in self.artifacts.iterdir() if not p.name.startswith("."))

    def begun(self) -> list[str]:
        """The runs that have a record; a claim may be killed before it has one."""
        return [name for name in self.runs() if (self.artifacts / name / "run.json").exists()]

    def command(self, *words: str | Path, **kwargs: Any) -> subprocess.CompletedProcess[str]:
        return command(*words, cwd=self.root, **kwargs)

    def start(self, *words: str | Path, **kwargs: Any) -> subprocess.Popen[str]:
        return start(*words, cwd=self.root, **kwargs)


def names(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of a record's checkpoints."""
    return [entry["name"] for entry in entries]
