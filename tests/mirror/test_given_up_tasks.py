"""A task that the server itself has stopped, since it heard nothing of it for too long."""

from __future__ import annotations

from pathlib import Path

from clearml_server.fixture import ClearMLServer
from e2e.tiny_project import HPARAMS, RUN
from helpers import wait_for
from mirror.mirrored_lab import mirrored
from zygote import Zygote

GIVEN_UP = "Forced stop (non-responsive)"  # as the server's watchdog says it, after two hours


def test_is_no_abort_and_goes_on(
    tmp_path: Path, zygote: Zygote, shared_clearml_server: ClearMLServer
) -> None:
    server = shared_clearml_server
    with mirrored(tmp_path / "tiny", zygote, server.environment) as lab:
        training = lab.start_one("train", HPARAMS, "-s", "pause=1.0")
        task = wait_for(lambda: lab.mirror(RUN).task_id)
        assert task is not None
        wait_for(lambda: server.task(task)["status"] == "in_progress", every=0.1)
        server.call(
            "tasks.stopped", task=task, status_reason=GIVEN_UP, status_message=GIVEN_UP, force=True
        )
        assert server.task(task)["status"] == "stopped"
        wait_for(lambda: server.task(task)["status"] == "in_progress", every=0.1)
        outcome = lab.ended(training)
        assert outcome.status == 0, outcome
        assert server.task(task)["status"] == "completed"
        assert lab.mirror(RUN).abort is None
