"""`lab check` as a command: several scripts, processes that die, what is printed, the server."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_project import EXPERIMENT, HPARAMS, MAIN, Lab

from clearml_server.fixture import ClearMLServer
from helpers import wait_for


def variant(lab: Lab, name: str, text: str) -> str:
    path = f"{EXPERIMENT}/{name}.py"
    lab.write(
        path, f'from torch_lab.hparams import extend\n\nhparams = extend("hparams.py", {text})'
    )
    return path


def files(lab: Lab) -> set[str]:
    skipped = {"__pycache__", "said"}
    return {str(p) for p in lab.root.rglob("*") if skipped.isdisjoint(p.parts)}


def test_scripts_one_after_another_and_nothing_left(lab: Lab, tmp_path: Path) -> None:
    wrong = variant(lab, "wrong", '{"trainer.init.limit_train_batches": 0.01}')
    lab.append('\nprint("a word of the experiment")\n')
    before, folder = files(lab), tmp_path / "temporary"
    folder.mkdir()
    scripts = [f"{EXPERIMENT}/__main__.py", HPARAMS, wrong, "none.py"]
    done = lab.do("lab", "check", *scripts, env={"TMPDIR": str(folder)})
    assert done.status == 2
    assert f"left out, as they hold no hyperparameters: {EXPERIMENT}/__main__.py\n" in done.err
    first, second, third = done.out.split("\n\n")
    assert first.startswith(f"{HPARAMS}: nothing found\n  tried on ")
    assert second.startswith(f"{wrong}: 1 error\n  error (limit): trainer.init.limit_train_batches")
    assert f"    at {wrong}:3\n" in second
    assert third.startswith("none.py: 1 error\n  error (hparams): ")
    assert "a word of the experiment" in done.err
    assert "a word" not in done.out
    assert files(lab) == before
    assert list(folder.iterdir()) == []


def test_json_and_set(lab: Lab) -> None:
    done = lab.do("lab", "check", HPARAMS, "--json", "-s", "trainer.init.max_steps=0")
    assert done.status == 0
    (report,) = json.loads(done.out)
    assert report["script"] == HPARAMS
    (found,) = report["findings"]
    assert found["level"] == "warning"
    assert found["place"] == "--set trainer.init.max_steps=0"
    assert report["facts"]["stages"][0] == "train"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "was ended by SIGSEGV"),
        ("os._exit(3)", "the process that tried it ended with 3"),
        ("raise SystemExit('no more')", "no more"),
    ],
)
def test_a_script_that_ends_its_process_ends_no_other(lab: Lab, line: str, words: str) -> None:
    lab.append(f"\nimport os, signal\nif os.environ.get('DIE'):\n    {line}\n")
    lab.write("other/experiments/00_other/__main__.py", (lab.root / MAIN).read_text())
    done = lab.do("lab", "check", HPARAMS, "none.py", env={"DIE": "1"})
    assert done.status == 2
    first, second = done.out.split("\n\n")
    assert words in first
    assert second.startswith("none.py: 1 error")


def test_processes_that_an_experiment_leaves_are_ended_and_not_waited_for(lab: Lab) -> None:
    lab.append(
        "\nimport multiprocessing\n"
        "shared = multiprocessing.get_context('fork').Manager().dict()\n"
        "Path('left').write_text(str(multiprocessing.active_children()[0].pid))\n"
    )
    done = lab.do("lab", "check", HPARAMS)
    assert done.status == 0, done.err
    left = int((lab.root / "left").read_text())
    wait_for(lambda: not Path(f"/proc/{left}").exists() if sys.platform == "linux" else True)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_who_ends_it_ends_the_experiment_too(
    lab: Lab, tmp_path: Path, signum: signal.Signals
) -> None:
    line = "import os, time; Path('started').write_text(str(os.getpid())); time.sleep(600)"
    lab.append(f"\ndef train_config(config):\n    {line}\n")
    folder = tmp_path / "temporary"
    folder.mkdir()
    started = lab.start_one("lab", "check", HPARAMS, env={"TMPDIR": str(folder)})
    pid = int(wait_for(lambda: (p := lab.root / "started").exists() and p.read_text()))
    os.kill(started.pid, signum)
    assert lab.ended(started).status == 128 + signum
    wait_for(lambda: not Path(f"/proc/{pid}").exists() if sys.platform == "linux" else True)
    assert list(folder.iterdir()) == []


@pytest.fixture
def dead_server(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of somebody whose ClearML server is gone."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there
        host = f"http://127.0.0.1:{taken.getsockname()[1]}"
        yield {
            "TORCH_LAB_OFFLINE": "false",
            "CLEARML_API_HOST": host,
            "CLEARML_API_ACCESS_KEY": "key",
            "CLEARML_API_SECRET_KEY": "secret",
            "CLEARML_CONFIG_FILE": os.devnull,
        }


def test_a_server_that_is_gone(lab: Lab, dead_server: dict[str, str]) -> None:
    done = lab.do("lab", "check", HPARAMS, env=dead_server)
    assert done.status == 0
    assert f"{HPARAMS}: 1 warning\n  warning (server): " in done.out
    assert "The run is recorded here, and sent later." in done.out
    needed = dead_server | {"TORCH_LAB_REQUIRE_SERVER": "true"}
    done = lab.do("lab", "check", HPARAMS, env=needed)
    assert done.status == 2
    assert f"{HPARAMS}: 1 error\n  error (server): " in done.out


def test_a_server_that_answers(lab: Lab, shared_clearml_server: ClearMLServer) -> None:
    online = shared_clearml_server.environment | {"TORCH_LAB_OFFLINE": "false"}
    done = lab.do("lab", "check", HPARAMS, env=online)
    assert done.out.startswith(f"{HPARAMS}: nothing found\n")
