"""clearml-agent's daemon takes a task from a queue of the server and runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clearml_server.fixture import ClearMLServer
from helpers import environment, wait_for

AGENT = Path(sys.executable).with_name("clearml-agent")
SCRIPT = """
import os
from clearml import Task
task = Task.init()
print("run by the agent:", task.id == os.environ["CLEARML_TASK_ID"])
"""


@pytest.mark.slow
@pytest.mark.skipif(not AGENT.exists(), reason="clearml-agent is not installed")
def test_the_agent_runs_a_queued_task(clearml_server: ClearMLServer, tmp_path: Path) -> None:
    project = clearml_server.call("projects.create", name="queued")["id"]
    script = {"entry_point": "queued.py", "working_dir": ".", "diff": SCRIPT, "binary": "python"}
    task = clearml_server.call(
        "tasks.create", name="by agent", type="training", project=project, script=script
    )["id"]
    clearml_server.call("tasks.enqueue", task=task, queue=clearml_server.queue("tests"))
    settings = {
        "CLEARML_AGENT_SKIP_PIP_VENV_INSTALL": sys.executable,
        "CLEARML_AGENT_SKIP_PYTHON_ENV_INSTALL": "1",
        "CLEARML__SDK__DEVELOPMENT__REPORT_USE_SUBPROCESS": "false",
        "HOME": str(tmp_path),
    }
    log = tmp_path / "agent.log"
    with log.open("w") as file:
        agent = subprocess.Popen(
            [AGENT, "daemon", "--queue", "tests", "--foreground", "--cpu-only"],
            env=environment(**clearml_server.environment, **settings),
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        ended = ("completed", "failed", "stopped")
        wait_for(lambda: clearml_server.task(task)["status"] in ended, timeout=200, every=0.3)
    finally:
        os.killpg(agent.pid, signal.SIGKILL)
        agent.wait()
    said = "".join(clearml_server.logs(task))
    assert clearml_server.task(task)["status"] == "completed", said + log.read_text()
    assert "run by the agent: True" in said
    assert clearml_server.call("queues.get_all", name="tests")["queues"][0]["entries"] == []
