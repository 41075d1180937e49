"""Every fault of a server in every phase of a run: training is as ever, and nothing is lost.

The phases: before training, in it, at its end, and in `lab sync`. When the server is well again,
one `lab sync` brings it to what the records say, and the next has nothing to send.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clearml_server.fixture import ClearMLServer
from e2e.tiny_project import Started
from helpers import StoredRun, wait_for
from mirror import talkative
from mirror.agreement import agree
from mirror.mirrored_lab import MirroredLab, mirrored
from mirror.talkative import SCRIPT
from zygote import Zygote

FAULTS: dict[str, dict[str, Any]] = {
    "refuses connections": {"kind": "refuse"},
    "hangs": {"kind": "hang"},
    "fails": {"kind": "error", "status": 500},
    "is under maintenance": {"kind": "error", "status": 503},
    "loses its answers": {"kind": "drop", "done": True},
    "answers nonsense": {"kind": "garbage", "done": True},
    "has lost its files part": {"kind": "files"},
    "cuts uploads": {"kind": "cut"},
    "is slow": {"kind": "slow", "seconds": 0.2},
}
# What is asked for only when a run ends.
LAST_CALLS = {"endpoints": ["tasks.completed"]}
LAST_FILES = {"endpoints": ["files.POST"], "after": 4}
NEVER_TWICE = ("tasks.create", "models.create", "events.add_batch", "files.POST")
HURRY = {"TORCH_LAB_SYNC_WAIT": "1", "TORCH_LAB_SYNC_PATIENCE": "1"}


@pytest.fixture
def lab(tmp_path: Path, zygote: Zygote, clearml_server: ClearMLServer) -> Iterator[MirroredLab]:
    with mirrored(tmp_path / "lab", zygote, clearml_server.environment | HURRY) as made:
        talkative.add_to(made)
        yield made


def newest(lab: MirroredLab) -> StoredRun:
    return lab.run(f"01_talkative-hparams_v{len(lab.runs()) - 1}")


def at_the_end(fault: dict[str, Any]) -> dict[str, Any]:
    """The same fault when most is done."""
    of_files = fault["kind"] in ("files", "cut")
    kind = "error" if fault["kind"] == "files" else fault["kind"]
    return {**fault, "kind": kind, **(LAST_FILES if of_files else LAST_CALLS)}


def trained(lab: MirroredLab, *words: str) -> StoredRun:
    """A run that ends well, whatever becomes of its mirror."""
    return ended(lab, lab.start_one("train", SCRIPT, *words))


def ended(lab: MirroredLab, training: Started) -> StoredRun:
    """People are told of the server once at most, and in the end of what is pending."""
    outcome = lab.ended(training)
    assert outcome.status == 0, outcome
    assert outcome.err.count("warning") <= 1
    assert "Traceback" not in outcome.err
    run = newest(lab)
    last = outcome.err.splitlines()[-1:]
    if run.record["sync"]:
        sent = last[0].startswith("sent to ClearML: ")
        assert sent or last[0].startswith("pending for ClearML: "), outcome.err
        assert lab.mirror(run.path.name).done or not sent
    return run


def trained_while_it_breaks(
    lab: MirroredLab, server: ClearMLServer, fault: dict[str, Any]
) -> StoredRun:
    name = f"01_talkative-hparams_v{len(lab.runs())}"
    training = lab.start_one("train", SCRIPT, "-s", "pause=0.1")
    wait_for(lambda: lab.mirror(name).positions)
    server.fault(**fault)
    return ended(lab, training)


def synced_while_it_breaks(lab: MirroredLab, server: ClearMLServer, fault: dict[str, Any]) -> None:
    server.fault(**fault)
    sync = lab.start_one("lab", "sync")
    time.sleep(1.5)
    server.heal()
    outcome = lab.ended(sync)
    assert outcome.status in (0, 1, 2), outcome
    assert "Traceback" not in outcome.err
    if outcome.status:
        lab.done("lab", "sync")


@pytest.mark.parametrize("name", FAULTS)
def test_a_server_that(name: str, lab: MirroredLab, clearml_server: ClearMLServer) -> None:
    fault = FAULTS[name]
    offline = trained(lab, "-o")

    clearml_server.fault(**fault)
    before = trained(lab)
    assert fault["kind"] == "slow" or not lab.mirror(before.path.name).done
    clearml_server.heal()
    during = trained_while_it_breaks(lab, clearml_server, fault)
    assert fault["kind"] == "slow" or not lab.mirror(during.path.name).done
    clearml_server.heal()
    clearml_server.fault(**at_the_end(fault))
    after = trained(lab)
    clearml_server.heal()
    synced_while_it_breaks(lab, clearml_server, fault)

    runs = [offline, before, during, after]
    assert {run.weights() for run in runs} == {offline.weights()}
    agree(clearml_server, runs, lab.root / "sdk")
    counted = clearml_server.counts()
    lab.done("lab", "sync")
    again = clearml_server.counts()
    assert {each: again[each] for each in NEVER_TWICE} == {
        each: counted[each] for each in NEVER_TWICE
    }
