"""Trainings without a server: none configured, none wanted, none there, one that says nothing."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from e2e.tiny_project import HPARAMS, RUN
from helpers import wait_for
from mirror.mirrored_lab import MirroredLab, mirrored
from torch_lab.mirror import senders
from zygote import Zygote


@pytest.fixture
def address() -> Iterator[str]:
    """A place that takes connections and never says a word."""
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        yield f"http://127.0.0.1:{silent.getsockname()[1]}"


@pytest.fixture
def lab(tmp_path: Path, zygote: Zygote) -> Iterator[MirroredLab]:
    with mirrored(tmp_path / "tiny", zygote, {}) as made:
        yield made


def at(address: str) -> dict[str, str]:
    """A server that is configured there."""
    hosts = {f"CLEARML_{name}_HOST": address for name in ("API", "WEB", "FILES")}
    return hosts | {"CLEARML_API_ACCESS_KEY": "key", "CLEARML_API_SECRET_KEY": "secret"}


def closed() -> str:
    """An address at which nobody listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_without_a_server_nothing_is_said_of_one(lab: MirroredLab) -> None:
    outcome = lab.done("train", HPARAMS)
    assert outcome.err == ""
    assert "ClearML" not in outcome.out
    assert not (lab.artifacts / ".senders").exists()
    assert lab.run(RUN).record["sync"] is False


@pytest.mark.parametrize(
    ("words", "env"),
    [
        (["-o"], {}),
        (["--offline"], {"TORCH_LAB_REQUIRE_SERVER": "1"}),
        ([], {"TORCH_LAB_OFFLINE": "1"}),
        ([], {"CLEARML_OFFLINE_MODE": "1"}),
    ],
)
def test_offline_there_is_no_sender(
    lab: MirroredLab, words: list[str], env: dict[str, str]
) -> None:
    outcome = lab.done("train", HPARAMS, *words, env=at(closed()) | env)
    assert (outcome.err, "ClearML" in outcome.out) == ("", False)
    assert not (lab.artifacts / ".senders").exists()
    assert lab.run(RUN).record["sync"] is False


def test_a_project_can_be_offline(lab: MirroredLab) -> None:
    lab.write("pyproject.toml", "[tool.torch-lab]\noffline = true\n")
    lab.done("train", HPARAMS, env=at(closed()) | {"TORCH_LAB_OFFLINE": ""})
    assert not (lab.artifacts / ".senders").exists()


def test_a_dead_server_is_one_warning_and_a_whole_run(lab: MirroredLab) -> None:
    address = closed()
    outcome = lab.done("train", HPARAMS, "-s", "pause=0.1", env=at(address))
    warnings, pending = [], []
    for line in outcome.err.splitlines():
        (pending if line.startswith("pending for ClearML: ") else warnings).append(line)
    assert len(warnings) == 1
    assert warnings[0] == (
        f"warning: nothing is sent to ClearML: the ClearML server at {address} can't be reached:"
        " connection refused; this run is recorded locally, and sent later"
    )
    assert len(pending) == 1
    assert pending[0].endswith(f"; `lab sync {RUN}` finishes it")
    assert "completed after 8 batches" in outcome.out
    record = lab.run(RUN).record
    assert (record["status"], record["sync"]) == ("completed", True)


def test_a_silent_server_is_one_warning_and_a_whole_run(lab: MirroredLab, address: str) -> None:
    env = at(address) | {"TORCH_LAB_SYNC_WAIT": "1"}
    outcome = lab.done("train", HPARAMS, env=env)
    record = lab.run(RUN).record
    assert time.time() - record["ended"] < 10  # nobody waits until a silent server is given up
    assert record["status"] == "completed"
    assert outcome.err.count("pending for ClearML: ") == 1


def test_a_sender_can_be_told_to_end(lab: MirroredLab) -> None:
    env = at(closed()) | {"TORCH_LAB_SYNC_WAIT": "0", "TORCH_LAB_SYNC_PATIENCE": "300"}
    lab.done("train", HPARAMS, env=env)
    assert wait_for(lab.senders)
    lab.end_senders(signal.SIGTERM)


def test_a_sender_ends_when_nothing_is_trained_and_nothing_is_left(lab: MirroredLab) -> None:
    """A process that has ended and that nobody has waited for trains nothing."""
    with subprocess.Popen(["sleep", "60"]) as training:
        words = ["lab", "sync", "--follow", "--beside", str(training.pid)]
        sender = lab.start_one(*words, env=at(closed()))
        wait_for(lambda: senders.read_state(lab.artifacts).state == "unreachable")
        training.kill()
        assert lab.ended(sender).status == 0


def test_trained_with_a_dead_server_or_without_it_is_the_same(lab: MirroredLab) -> None:
    lab.done("train", HPARAMS, "-o")
    lab.done("train", HPARAMS, env=at(closed()) | {"TORCH_LAB_SYNC_WAIT": "0"})
    first, second = lab.run(RUN), lab.newest()
    assert first.rows() == second.rows()
    assert first.weights() == second.weights()


def test_a_sender_that_can_not_be_started_hurts_nobody(lab: MirroredLab) -> None:
    lab.write("data/artifacts/.senders", "in the way")
    outcome = lab.done("train", HPARAMS, env=at(closed()) | {"TORCH_LAB_SYNC_WAIT": "2"})
    assert lab.run(RUN).record["status"] == "completed"
    assert f"pending for ClearML: no sender can be started; `lab sync {RUN}`" in outcome.err


# -- a server that is required -------------------------------------------------------------------

REQUIRED = {"TORCH_LAB_REQUIRE_SERVER": "true"}


def test_required_and_dead(lab: MirroredLab) -> None:
    address = closed()
    outcome = lab.do("train", HPARAMS, env=at(address) | REQUIRED)
    assert outcome.status == 2
    assert outcome.err == (
        f"error: the ClearML server at {address} can't be reached: connection refused\n"
        "The setting require-server asks for one; without a server: --offline.\n"
    )
    assert outcome.out == ""
    assert not lab.artifacts.exists()


def test_required_and_not_configured(lab: MirroredLab) -> None:
    outcome = lab.do("train", HPARAMS, env=REQUIRED)
    assert outcome.status == 2
    assert outcome.err == (
        "error: no ClearML server is configured\n"
        "The setting require-server asks for one; without a server: --offline.\n"
    )
    assert not lab.artifacts.exists()


# -- a run that goes on --------------------------------------------------------------------------


def test_resumed_offline_it_is_left_alone_and_resumed_otherwise_not(lab: MirroredLab) -> None:
    here = at(closed()) | {"TORCH_LAB_SYNC_WAIT": "0"}
    synced = []
    for words, env in [([], here), (["-o"], here), ([], {}), ([], here), ([], {})]:
        verb = (
            ["train", HPARAMS, "-s", "fault=raises"] if not synced else ["train", "--resume", RUN]
        )
        assert lab.do(*verb, *words, env=env).status == 1
        synced.append(lab.run(RUN).record["sync"])
    assert synced == [True, False, False, True, True]
