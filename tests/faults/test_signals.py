"""Every signal that ends a run, at every point of it; and nothing that outlives it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from signal_lab import SIGNALS, Met, SignalLab, batch_of, descendants, lives

from e2e.tiny_project import Lab, Outcome
from helpers import wait_for
from zygote import Zygote

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
SHORT = {"TORCH_LAB_GRACE_PERIOD": "1"}


@pytest.fixture
def lab(tmp_path: Path, zygote: Zygote) -> Iterator[SignalLab]:
    """The project; a test that fails in the middle leaves nothing that runs on."""
    made = SignalLab.made(Lab.copied(tmp_path / "project", zygote))
    yield made
    made.end()


def aborted(lab: SignalLab, name: str, outcome: Outcome, signum: int) -> None:
    assert outcome.status == 128 + signum, outcome.err
    assert "Traceback" not in outcome.err
    record = lab.stored(name).record
    assert (record["status"], record["reason"]) == ("aborted", signal.Signals(signum).name)
    assert outcome.out.endswith(f"next      train --resume {record['name']}\n")


def each_signal(
    lab: SignalLab,
    point: str,
    *sets: str,
    verb: str = "train",
    send: Callable[[int, int], None] = os.kill,
) -> list[Outcome]:
    """How a command ends that gets each of the signals at `point`; all at the same time."""
    names = [f"{point}{int(signum)}" for signum in SIGNALS]
    started = [lab.begin(name, point, *sets, verb=verb) for name in names]
    for one, signum, name in zip(started, SIGNALS, names, strict=True):
        wait_for((lab.root / name).exists)
        send(one.pid, signum)
    return [lab.ended(one) for one in started]


def waiting(lab: SignalLab, name: str, env: Mapping[str, str] | None = None) -> Met:
    """A training that waits for its second batch, which no worker will ever give it."""
    met = lab.to(name, "sample", "how=hold", "num_workers=2", env=env)
    wait_for((lab.stored(name).path / "checkpoints" / "step-1.ckpt").exists)
    return met


# -- when they act ---------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["configuration", "baseline", "test"])
def test_where_no_step_is_under_way_the_run_ends_at_once(lab: SignalLab, point: str) -> None:
    for outcome, signum in zip(each_signal(lab, point), SIGNALS, strict=True):
        aborted(lab, f"{point}{int(signum)}", outcome, signum)
        assert batch_of(lab.stored(f"{point}{int(signum)}")) == (8 if point == "test" else 0)


@pytest.mark.parametrize(
    ("point", "batch"), [("step", 2), ("save", 2), ("validation", 4), ("end", 8)]
)
def test_what_is_under_way_ends_and_is_saved(lab: SignalLab, point: str, batch: int) -> None:
    """A signal that comes while a batch is saved acts at the next one."""
    for outcome, signum in zip(each_signal(lab, point, "seconds=1"), SIGNALS, strict=True):
        name = f"{point}{int(signum)}"
        aborted(lab, name, outcome, signum)
        assert batch_of(lab.stored(name)) == batch
        assert "once more ends the run at once" in outcome.err


def test_a_prediction_ends_at_once(lab: SignalLab) -> None:
    for outcome, signum in zip(each_signal(lab, "predict", verb="infer"), SIGNALS, strict=True):
        assert (outcome.status, outcome.err) == (128 + signum, "")
    assert lab.runs() == []


def test_a_long_validation_is_not_waited_for(lab: SignalLab) -> None:
    met = lab.to("long", "validation", env={"TORCH_LAB_GRACE_PERIOD": "20"})
    sent = time.monotonic()
    outcome = lab.signalled(met, signal.SIGTERM)
    assert time.monotonic() - sent < 20
    aborted(lab, "long", outcome, signal.SIGTERM)
    assert "finishing this validation, then saving (at most 5 s;" in outcome.err
    assert batch_of(lab.stored("long")) == 3
    assert lab.do("train", "--resume", lab.stored("long").path.name).status == 0


# -- handlers of the experiment's own --------------------------------------------------------


@pytest.mark.parametrize("handler", ["returns", "calls the one before", "exits"])
def test_a_handler_of_the_experiments_runs_too(lab: SignalLab, handler: str) -> None:
    met = lab.to("own", "step", f"handler={handler}", "seconds=1")
    aborted(lab, "own", lab.signalled(met, signal.SIGTERM), signal.SIGTERM)
    assert (lab.root / "asked").read_text() == "x"
    assert batch_of(lab.stored("own")) == 2


# -- what does not end by itself -------------------------------------------------------------


@pytest.mark.parametrize(
    ("point", "how"),
    [("step", "hold"), ("step", "stuck"), ("step", "rest"), ("configuration", "hold")],
)
def test_what_does_not_end_is_ended(lab: SignalLab, point: str, how: str) -> None:
    met = lab.to("given_up", point, f"how={how}", "num_workers=1", env=SHORT)
    beside = descendants(met.started.pid)
    assert beside
    outcome = lab.signalled(met, signal.SIGTERM)
    run = lab.stored("given_up")
    assert outcome.status == 1
    assert "SIGTERM: not ended after 1 s, so it is ended by force" in outcome.err
    assert "(most recent call first)" in run.console
    assert f"in {how}" in run.console
    assert "lost" in lab.do("lab", "runs").out
    wait_for(lambda: not any(map(lives, beside)))
    assert lab.do("train", "--resume", run.path.name).status == 0


def test_a_prediction_that_does_not_end_is_ended(lab: SignalLab) -> None:
    met = lab.to("given_up", "predict", "how=hold", verb="infer", env=SHORT)
    outcome = lab.signalled(met, signal.SIGTERM)
    assert outcome.status == 1
    assert "in hold" in outcome.err


def test_a_loader_that_is_stuck_does_not_keep_the_run(lab: SignalLab) -> None:
    """The training waits for a batch that never comes; all its workers hold their interpreter."""
    met = waiting(lab, "given_up", env=SHORT)
    beside = descendants(met.started.pid)
    assert met.worker in beside
    assert lab.signalled(met, signal.SIGTERM).status == 1
    wait_for(lambda: not any(map(lives, beside)))


def test_a_second_signal_does_not_wait_for_stuck_workers(lab: SignalLab) -> None:
    met = waiting(lab, "twice")
    beside = descendants(met.started.pid)
    os.kill(met.started.pid, signal.SIGINT)
    wait_for(lambda: "once more ends" in met.started.err.read_text())
    time.sleep(0.3)  # what comes sooner is the same Ctrl-C
    outcome = lab.signalled(met, signal.SIGINT)
    aborted(lab, "twice", outcome, signal.SIGINT)
    wait_for(lambda: not any(map(lives, beside)))


# -- nothing outlives it ---------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["map", "iterable"])
@pytest.mark.parametrize("how", ["hold", "rest"])
def test_nothing_outlives_a_killed_run(lab: SignalLab, how: str, stream: bool) -> None:
    beside_it = {"TORCH_LAB_TENSORBOARD": "true", "TORCH_LAB_MACHINE_USE_SECONDS": "1"}
    sets = (f"how={how}", "num_workers=2", f"stream={stream}")
    met = lab.to("killed", "sample", *sets, env=beside_it)
    beside = descendants(met.started.pid)
    assert len(beside) >= 4  # two workers, the companion, the overseer
    assert met.worker in beside
    assert lab.signalled(met, signal.SIGKILL).status == -signal.SIGKILL
    wait_for(lambda: not any(map(lives, beside)))


@pytest.mark.parametrize("stream", [False, True], ids=["map", "iterable"])
def test_workers_do_not_end_before_the_step_that_needs_them(lab: SignalLab, stream: bool) -> None:
    """The whole group is told, as by Ctrl-C, `timeout` or a scheduler."""
    sets = ("seconds=1", "num_workers=1", f"stream={stream}")
    for outcome, signum in zip(
        each_signal(lab, "step", *sets, send=os.killpg), SIGNALS, strict=True
    ):
        aborted(lab, f"step{int(signum)}", outcome, signum)
        assert batch_of(lab.stored(f"step{int(signum)}")) == 2


def test_a_worker_that_is_told_to_end_does_not_end_the_training(lab: SignalLab) -> None:
    met: Met = lab.to("told", "sample", "seconds=1", "num_workers=2", env=SHORT)
    os.kill(met.worker, signal.SIGTERM)
    assert lab.ended(met.started).status == 0


_WAY = """
import os, sys, time
import torch
from torch_lab.data import DataLoader

class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 8
    def __getitem__(self, i):
        if i == 5:
            time.sleep(600)
        return torch.ones(1)

if __name__ == "__main__":
    loader = DataLoader(Data(), 1, num_workers=2, multiprocessing_context=sys.argv[1])
    batches = iter(loader)
    print(next(batches).item(), next(batches).item(), flush=True)
    open("met", "w").close()
    time.sleep(600)
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["spawn", "forkserver"])
def test_workers_that_are_not_forked_do_not_outlive_it_either(
    tmp_path: Path, zygote: Zygote, way: str
) -> None:
    script = tmp_path / "loads.py"
    script.write_text(_WAY)
    started = zygote.start_script(script, way, cwd=tmp_path, log=tmp_path / "log")
    wait_for((tmp_path / "met").exists, timeout=200)  # they import torch anew
    beside = descendants(started)
    os.kill(started, signal.SIGKILL)
    assert zygote.wait(started) == -signal.SIGKILL
    wait_for(lambda: not any(map(lives, beside)))
