"""A server that forgets its database at any time: it gets everything anew, once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clearml_server.fixture import ClearMLServer
from helpers import wait_for
from mirror import talkative
from mirror.agreement import agree
from mirror.mirrored_lab import MirroredLab, mirrored
from mirror.talkative import SCRIPT
from zygote import Zygote

FIRST, SECOND = "01_talkative-hparams_v0", "01_talkative-hparams_v1"


@pytest.fixture
def lab(tmp_path: Path, zygote: Zygote, clearml_server: ClearMLServer) -> Iterator[MirroredLab]:
    with mirrored(tmp_path / "lab", zygote, clearml_server.environment) as made:
        talkative.add_to(made)
        yield made


def test_in_training_and_at_its_end(lab: MirroredLab, clearml_server: ClearMLServer) -> None:
    training = lab.start_one("train", SCRIPT, "-s", "pause=0.15")
    wait_for(lambda: lab.mirror(FIRST).positions)
    clearml_server.forget()
    second = wait_for(lambda: [task["id"] for task in clearml_server.tasks()])
    # And again when nearly all is there.
    wait_for(lambda: lab.run(FIRST).record["status"] == "completed")
    clearml_server.forget()
    assert lab.ended(training).status == 0
    lab.done("lab", "sync")
    if not clearml_server.tasks():  # it was complete already: nobody looks after it any more
        lab.done("lab", "sync", FIRST)
    agree(clearml_server, [lab.run(FIRST)], lab.root / "sdk")
    assert [task["id"] for task in clearml_server.tasks()] != second


def test_what_was_sent_is_sent_again_only_by_name(
    lab: MirroredLab, clearml_server: ClearMLServer
) -> None:
    for _ in range(2):
        lab.done("train", SCRIPT, "-o")
    assert lab.do("lab", "sync").out.count(": sent ") == 2
    clearml_server.forget()
    said = lab.done("lab", "sync").out
    assert f"{FIRST}: was sent, but its task is gone from the server" in said
    assert clearml_server.tasks() == []
    lab.done("lab", "sync", SECOND)
    agree(clearml_server, [lab.run(SECOND)], lab.root / "sdk")


def test_while_it_is_synced(lab: MirroredLab, clearml_server: ClearMLServer) -> None:
    """Between any two calls: here when the first model has been made."""
    lab.done("train", SCRIPT, "-o")
    clearml_server.fault("slow", seconds=0.1)
    sync = lab.start_one("lab", "sync")
    wait_for(lambda: clearml_server.counts().get("models.create"))
    clearml_server.forget()
    clearml_server.heal()
    outcome = lab.ended(sync)
    assert outcome.status == 0, outcome
    agree(clearml_server, [lab.run(FIRST)], lab.root / "sdk")
