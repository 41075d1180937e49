"""The unmodified SDK, in processes of its own, writes to the server and reads it back."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

from clearml_server.fixture import ClearMLServer
from helpers import environment

HERE = Path(__file__).parent


def run(server: ClearMLServer, script: str, *words: str, cwd: Path) -> list[str]:
    try:
        return run_once(server, script, *words, cwd=cwd)
    except subprocess.TimeoutExpired:  # once, on a busy machine, its close() never returned
        return run_once(server, script, *words, cwd=cwd)


def run_once(server: ClearMLServer, script: str, *words: str, cwd: Path) -> list[str]:
    log = cwd / f"{script}.log"
    # Its reports from a thread: as a process they take ten seconds to end.
    settings = {"CLEARML__SDK__DEVELOPMENT__REPORT_USE_SUBPROCESS": "false", "HOME": str(cwd)}
    with log.open("w") as file:
        done = subprocess.run(
            [sys.executable, HERE / script, *words],
            env=environment(**server.environment, **settings),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, log.read_text()
    return log.read_text().splitlines()


def test_what_the_sdk_wrote_it_reads_back(clearml_server: ClearMLServer, tmp_path: Path) -> None:
    said = run(clearml_server, "sdk_writes.py", str(tmp_path), cwd=tmp_path)
    task = next(line.split()[1] for line in said if line.startswith("task "))
    found = json.loads(run(clearml_server, "sdk_reads.py", task, str(tmp_path), cwd=tmp_path)[-1])

    assert found["found"]
    assert found["status"] == "completed"
    assert found["tags"] == ["one", "two"]
    assert found["parameters"]["lr"] == "0.1"
    assert found["parameters"]["inner"] == {"name": "x"}
    assert found["configuration"] == {"a": 1}
    assert found["scalars"]["x"] == list(range(20))
    assert found["scalars"]["y"] == [1 / (step + 1) for step in range(20)]
    assert found["single"] == {"accuracy": 0.75}
    assert (found["plots"], found["images"]) == (2, 1)
    assert "a line of text" in found["console"]
    assert "a printed line" in found["console"]
    assert found["model"] == ["the model", "PyTorch", "3"]
    weights = hashlib.sha256((tmp_path / "weights.ckpt").read_bytes()).hexdigest()
    assert found["weights"] == weights
    assert found["artifact"] == {"a": [1, 2]}
    assert found["files"] == {"a.txt": "first"}

    # The same, as the server's own database has it.
    assert clearml_server.project(task) == "round/trip"
    assert len(clearml_server.scalars(task)["loss", "train"]) == 20
    assert any("a printed line" in line for line in clearml_server.logs(task))
    assert [each["framework"] for each in clearml_server.models(task)] == ["PyTorch"]
