"""Processes that torchrun or srun has started: one run, that fails and is stopped as one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from exact_runs import SCRIPT, Outcome, Trial, kill_group, outcome
from launching import Several, by_srun, by_torchrun, free_port
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # C++ gives it

from helpers import environment, wait_for
from torch_lab.engine.ranks import meeting
from torch_lab.engine.ranks.channel import Channel
from torch_lab.errors import RankLost, StoreError
from torch_lab.store.paths import RunDirectory
from torch_lab.tasks import other_machines
from torch_lab.utils.launched import Launch
from zygote import Zygote

DDP = ["trainer.init.devices=2", "trainer.init.strategy=ddp"]
SET = ["num_workers=1", "pause=0.01"]  # time to be stopped in
TRAINING = "fit.on_train_batch_start:4"
Told = Callable[..., dict[str, str]]


@pytest.fixture
def trial(tmp_path: Path, zygote: Zygote) -> Trial:
    return Trial(tmp_path / "project", zygote, SET)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, zygote: Zygote) -> Outcome:
    """The run of two processes that rank 0 has started itself."""
    return outcome(Trial(tmp_path_factory.mktemp("whole") / "project", zygote, SET + DDP).finish())


def start(trial: Trial, told: Told = by_torchrun, world: int = 2, **env: str) -> Several:
    port, on_each = free_port(), 1 if told is by_srun else 2
    places = [told(rank, world, port, on_each=on_each) for rank in range(world)]
    return Several(trial, places, **env)


@pytest.mark.parametrize("told", [by_torchrun, by_srun])
def test_they_are_one_run(trial: Trial, whole: Outcome, told: Told) -> None:
    assert start(trial, told).ended() == [0, 0], trial.said()
    run = trial.finish()
    assert outcome(run) == whole
    assert len(trial.project.runs()) == 1
    assert (run.path / "console.1.log").exists()
    described = {path.name for path in run.path.glob("environment*.json")}
    machines = {"environment.json"} | ({"environment.1.json"} if told is by_srun else set())
    assert described == machines


def test_machines_with_different_numbers_of_processes(trial: Trial) -> None:
    """One and two: each sample is trained on once, and the second machine describes itself."""
    port = free_port()
    told = [by_torchrun(rank, 3, port) for rank in range(3)]
    for rank, (node, local) in enumerate([(0, 0), (1, 0), (1, 1)]):
        here = {"LOCAL_RANK": local, "LOCAL_WORLD_SIZE": node + 1, "GROUP_RANK": node}
        told[rank] |= {name: str(number) for name, number in here.items()}
        told[rank]["GROUP_WORLD_SIZE"] = "2"
    assert Several(trial, told).ended() == [0, 0, 0], trial.said()
    run = trial.finish()
    ledger = run.record["ledger"]
    assert ledger["processes"] == 3
    assert [each["samples"] for each in ledger["epochs"]] == [72]
    described = {path.name for path in run.path.glob("environment*.json")}
    assert described == {"environment.json", "environment.1.json"}


def test_killed_and_resumed(trial: Trial, whole: Outcome) -> None:
    several = start(trial)
    wait_for(lambda: list(trial.project.artifacts.glob("*/checkpoints/step-3.ckpt")))
    for pid in several.pids:
        kill_group(pid)
    assert [trial.zygote.wait(pid) for pid in several.pids] == [-signal.SIGKILL] * 2
    assert start(trial).ended() == [0, 0], trial.said()
    assert outcome(trial.finish()) == whole


def test_started_again_by_torchrun(trial: Trial, whole: Outcome) -> None:
    """Its store has still what the processes of the first attempt told each other there."""
    agents = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    shared = {"TORCHELASTIC_USE_AGENT_STORE": "True"}
    for attempt in (0, 1):
        told = [by_torchrun(rank, 2, agents.port) for rank in range(2)]
        several = Several(trial, told, TORCHELASTIC_RESTART_COUNT=str(attempt), **shared)
        if attempt == 0:
            wait_for(lambda: list(trial.project.artifacts.glob("*/checkpoints/step-2.ckpt")))
            for pid in several.pids:
                kill_group(pid)
            assert [trial.zygote.wait(pid) for pid in several.pids] == [-signal.SIGKILL] * 2
    assert several.ended() == [0, 0], trial.said()
    assert outcome(trial.finish()) == whole


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (f"1:{TRAINING}:raises", "ValueError: a bad rank (in rank 1)"),
        ("1:config:0:raises", "ValueError: a bad rank (in rank 1)"),
        (f"0:{TRAINING}:raises", "ValueError: a bad rank"),
        (f"1:{TRAINING}:SIGKILL", "RankLost: rank 1 on "),
    ],
)
def test_one_fails(trial: Trial, tmp_path: Path, fault: str, reason: str) -> None:
    """What it failed with is said, though SIGTERM is sent to the others at once."""
    word = tmp_path / "word"
    several = start(trial, RANK_FAULT=fault, TORCHELASTIC_ERROR_FILE=str(word))
    statuses = several.ended()
    assert statuses[0] == 1, trial.said()
    record = trial.run().record
    assert record["status"] == "failed", trial.said()
    assert record["reason"].startswith(reason), trial.said()
    if "in rank 1" in reason:
        assert trial.said().count("ValueError: a bad rank\n") == 1
    if "a bad rank" in reason:
        assert json.loads(word.read_text())["message"]["message"] == "ValueError: a bad rank"


def test_a_signal_to_one_stops_all(trial: Trial, whole: Outcome) -> None:
    several = start(trial)
    wait_for(lambda: list(trial.project.artifacts.glob("*/checkpoints/step-2.ckpt")))
    several.signal(signal.SIGTERM, several.pids[1:])
    assert several.ended() == [128 + signal.SIGTERM] * 2, trial.said()
    record = trial.run().record
    assert (record["status"], record["reason"]) == ("aborted", "SIGTERM")
    assert start(trial).ended() == [0, 0], trial.said()
    assert outcome(trial.finish()) == whole


def test_another_number_of_processes_is_told(trial: Trial) -> None:
    several = start(trial)
    wait_for(lambda: list(trial.project.artifacts.glob("*/checkpoints/step-2.ckpt")))
    several.signal(signal.SIGTERM, several.pids)
    assert several.ended() == [128 + signal.SIGTERM] * 2, trial.said()
    trial.ended(trial.start())
    assert "warning: the run was cut with 2 processes and goes on with 1: not as" in trial.said()


# -- infer ---------------------------------------------------------------------------------


PREDICTING = """
import torch
from torch_lab.callbacks import PredictionWriter
from torch_lab.modules import LabModule

class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 11

    def __getitem__(self, i):
        return torch.full((1,), float(i)), {"index": i}

def infer_config(config):
    return {
        "module": LabModule(torch.nn.Identity()),
        "predict_dataloaders": torch.utils.data.DataLoader(Data(), batch_size=2),
        "callbacks": [PredictionWriter("predictions.csv")],
    }
"""


@pytest.fixture
def predicting(trial: Trial) -> Trial:
    folder = "exact_project/experiments/01_predicting"
    trial.project.write(f"{folder}/__main__.py", PREDICTING)
    trial.project.write(
        f"{folder}/hparams.py", 'hparams = {"trainer": {"init": {"accelerator": "cpu"}}}'
    )
    trial.begin = ["infer", f"{folder}/hparams.py", "--checkpoint", "none"]
    return trial


def test_they_predict_as_one(predicting: Trial) -> None:
    assert start(predicting).ended() == [0, 0], predicting.said()
    rows = (predicting.project.root / "predictions.csv").read_text().splitlines()[1:]
    assert [float(row.split(",")[-1]) for row in rows] == list(range(11))
    assert predicting.said().count("11 predictions written to predictions.csv") == 1


def test_a_mistake_in_infer_is_said_once(predicting: Trial) -> None:
    predicting.begin[-1] = "nothing"
    statuses = start(predicting).ended()
    assert statuses[0] == 2, predicting.said()
    assert statuses[1] != 0
    assert predicting.said().count("error: ") == 1


# -- before there is a run -------------------------------------------------------------------


def test_a_mistake_is_said_once(trial: Trial) -> None:
    trial.begin += ["-s", "trainer.init.devices=3"]
    statuses = start(trial).ended()
    assert statuses[0] == 2
    assert statuses[1] != 0  # its own, or by the signal of torchrun's that follows at once
    said = (
        "error: trainer.init.devices: 3, but torchrun has started 2 processes\n"
        "Leave it out: it follows torchrun, or start them with torchrun --nproc-per-node 3.\n"
    )
    assert trial.said().count(said) == 1


def test_hyperparameters_are_checked_before_the_others_are_waited_for(trial: Trial) -> None:
    trial.begin += ["-s", "trainer.init.max_epoch=3"]
    statuses = start(trial).ended()
    assert statuses[0] == 2
    assert statuses[1] != 0
    assert trial.said().count("trainer.init.max_epoch: unknown key") == 1
    assert trial.project.runs() == []


def test_machines_that_never_join(trial: Trial) -> None:
    told = by_srun(0, 6, port := free_port())
    several = Several(trial, [told], TORCH_LAB_JOIN_TIMEOUT="1")
    assert several.ended() == [1]
    assert trial.said() == (
        "error: rank 1 (node1) and ranks 2, 3 (node2) and ranks 4, 5 (node3) did not join within"
        " 1 s: 1 of 6 processes are here\n"
        f"Look at what they say, and whether they reach 127.0.0.1:{port} from there."
        " TORCH_LAB_JOIN_TIMEOUT says for how long to wait.\n"
    )
    assert trial.project.runs() == []


def test_rank_0_never_joins(trial: Trial) -> None:
    told = by_torchrun(1, 2, port := free_port())
    several = Several(trial, [told], TORCH_LAB_JOIN_TIMEOUT="1")
    assert several.ended() == [1]
    host = socket.gethostname()
    assert (
        f"error: rank 1 on {host} does not reach rank 0 at 127.0.0.1:{port} within 1 s\n"
        "Look at what rank 0 says, and at MASTER_ADDR and firewalls between machines.\n"
    ) in trial.said()


def test_the_port_is_in_use(trial: Trial) -> None:
    with socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True) as taken:
        port = taken.getsockname()[1]
        assert Several(trial, [by_torchrun(0, 2, port)]).ended() == [2]
    assert (
        f"error: rank 0 can't meet the other processes at 127.0.0.1:{port}: the port is in use\n"
        "MASTER_PORT (torchrun: --master-port) names another port, MASTER_ADDR the machine of"
        " rank 0.\n"
    ) in trial.said()


def test_several_do_not_hand_over_one_run(trial: Trial) -> None:
    trial.begin += ["--queue", "gpu"]
    assert Several(trial, [by_torchrun(0, 2, 1)]).ended() == [2]
    assert (
        "error: --queue gpu hands over one run: torchrun has started 2 processes to do so\n"
        "Start it once, by itself.\n"
    ) in trial.said()


def test_one_ends_before_the_run_begins() -> None:
    launch = Launch("torchrun", 0, 3, 0, 3, 0, 1, "127.0.0.1", free_port())
    with meeting.opened(launch, 30) as opened, ThreadPoolExecutor(1) as other:
        other.submit(_come_and_go, replace(launch, rank=2, local_rank=2))
        with pytest.raises(RankLost, match=r"rank 2 on \w.* has ended before the run began"):
            opened.gather()
        opened.close()


def _come_and_go(launch: Launch) -> None:
    """What `meeting.join` does, but for waiting."""
    rooms = meeting._rooms(meeting._store(launch, 30), launch)
    port, word, _ = json.loads(rooms.get(meeting._WHERE))
    connection = meeting._connection(socket.create_connection(("127.0.0.1", port)))
    Channel(connection).send(word=word, rank=launch.rank, host=socket.gethostname())
    connection.close()


def test_a_machine_that_does_not_see_the_artifacts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(other_machines, "_PATIENCE", 0.0)
    launch = Launch("srun", 1, 2, 0, 1, 1, 2, "node1", 15000)
    with pytest.raises(StoreError) as caught:
        other_machines.join(RunDirectory(tmp_path / "00_x_v0"), launch)
    assert str(caught.value) == (
        f"rank 1 on {socket.gethostname()} finds no run in {tmp_path / '00_x_v0'}\n"
        "The machines of a run share one artifacts folder: `artifacts` in [tool.torch-lab], or"
        " TORCH_LAB_ARTIFACTS, can name one on a file system that all of them have."
    )


# -- torchrun itself -------------------------------------------------------------------------


@pytest.mark.slow
def test_two_agents(trial: Trial, whole: Outcome) -> None:
    """As on two machines; one is told to end, and all end as the run that is begun again."""
    agents = _agents(trial)
    wait_for(lambda: list(trial.project.artifacts.glob("*/checkpoints/step-2.ckpt")), timeout=200)
    agents[0].terminate()
    _end(agents)
    assert trial.run().record["status"] == "aborted", trial.said()
    assert start(trial).ended() == [0, 0], trial.said()
    assert outcome(trial.finish()) == whole


def _agents(trial: Trial) -> list[subprocess.Popen[bytes]]:
    port = free_port()
    words = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--master-port"]
    words += [str(port), "--master-addr", "127.0.0.1", "--nproc-per-node", "1", "--node-rank"]
    sets = [word for each in SET for word in ("-s", each)]
    with trial.log.open("ab") as log:
        return [
            subprocess.Popen(
                [*words, str(node), "-m", "torch_lab", "train", SCRIPT, *sets],
                cwd=trial.project.root,
                env=environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            for node in (0, 1)
        ]


def _end(agents: list[subprocess.Popen[bytes]]) -> list[int]:
    try:
        return [agent.wait(200) for agent in agents]
    finally:
        for agent in agents:
            if agent.poll() is None:
                os.killpg(agent.pid, signal.SIGKILL)
