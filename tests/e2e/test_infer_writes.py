"""`infer` with a PredictionWriter: complete or not there, on one device or several."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import torch

import forked_ranks
from helpers import Project, wait_for
from zygote import Zygote

SCRIPT = "lab_project/experiments/00_net/hparams.py"
HPARAMS = """\
hparams = {
    "trainer": {"init": {"accelerator": "cpu", "devices": 1}},
    "config": {"n": 11, "pause": 0.0, "largest": 0, "shuffle": False, "fails": -1, "stream": False},
}
"""
MAIN = """\
import os, resource, time, warnings
from pathlib import Path

import torch

from torch_lab.callbacks import PredictionWriter
from torch_lab.datasets import BaseDataset
from torch_lab.modules import LabModule


class Data(BaseDataset):
    def __init__(self, config):
        super().__init__()
        self.config = config

    def __len__(self):
        return self.config["n"]

    def get_raw_data(self, md):
        time.sleep(self.config["pause"])
        if md["index"] == self.config["fails"]:
            raise RuntimeError("unreadable")
        return torch.tensor([md["index"] / 7])


class Stream(torch.utils.data.IterableDataset):
    # Each process takes every other sample, as its author has to see to.

    def __iter__(self):
        dist = torch.distributed
        rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        for n in range(rank, 11, world):
            yield torch.tensor([n / 7]), {"index": n}


def infer_config(config, path: Path = Path("out/predictions.csv")):
    warnings.warn("seen")
    if config["largest"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (config["largest"],) * 2)
    data = Stream() if config["stream"] else Data(config)
    loader = torch.utils.data.DataLoader(data, batch_size=2, shuffle=config["shuffle"])
    return {
        "module": LabModule(torch.nn.Linear(1, 200)),
        "predict_dataloaders": loader,
        "callbacks": [PredictionWriter(path)],
    }
"""


@pytest.fixture
def net(project: Project) -> Project:
    project.write("lab_project/experiments/00_net/__main__.py", MAIN)
    project.write(SCRIPT, HPARAMS)
    return project


def words(*more: str) -> tuple[str, ...]:
    return ("infer", SCRIPT, "--checkpoint", "none", *more)


def out(net: Project) -> Path:
    return net.root / "out" / "predictions.csv"


def table(path: Path) -> torch.Tensor:
    rows = [line.split(",") for line in path.read_text().splitlines()[1:]]
    return torch.tensor([[float(cell) for cell in row] for row in rows])


def on_two(net: Project, zygote: Zygote, *more: str, status: int = 0) -> tuple[str, str]:
    """Infer on two devices; what was said on standard output, and on standard error."""
    said, errors = net.root / "said.txt", net.root / "errors.txt"
    given = words("--set", "trainer.init.devices=2", *more)
    forked = {forked_ranks.WANTED: str(net.root / "ranks.txt")}
    found = zygote.wait(zygote.start(*given, cwd=net.root, log=said, errors=errors, env=forked))
    assert found == status, errors.read_text()
    return said.read_text(), errors.read_text()


def litter(net: Project) -> list[str]:
    return [path.name for path in out(net).parent.glob(".*")]


def test_two_devices_make_the_same_file(net: Project, zygote: Zygote, tmp_path: Path) -> None:
    log = tmp_path / "log"
    zygote.run(*words(), cwd=net.root, log=log)
    expected = table(out(net))
    assert expected.shape == (11, 201)
    assert log.read_text().count("11 predictions written to out/predictions.csv") == 1
    said, errors = on_two(net, zygote, "--set", "shuffle=True", "2.csv")
    assert torch.allclose(table(net.root / "2.csv"), expected)
    assert said.count("11 predictions written to 2.csv") == 1
    assert errors.count("UserWarning: seen") == 1
    assert litter(net) == []
    assert not net.artifacts.exists()


def test_more_devices_than_samples(net: Project, zygote: Zygote) -> None:
    on_two(net, zygote, "--set", "n=1")
    assert len(out(net).read_text().splitlines()) == 2


def test_streams_of_two_devices_take_turns(net: Project, zygote: Zygote) -> None:
    on_two(net, zygote, "--set", "stream=True")
    assert table(out(net))[:, 0].tolist() == list(range(11))


def test_two_devices_say_once_what_is_wrong(net: Project, zygote: Zygote) -> None:
    net.write("out", "in the way")
    _, errors = on_two(net, zygote, status=2)
    error = "error: can't write predictions to out/predictions.csv: out is no folder\n"
    assert errors.count(error) == 1
    assert "Traceback" not in errors


def test_killed_in_the_middle(net: Project, zygote: Zygote, tmp_path: Path) -> None:
    log = tmp_path / "log"
    net.write("out/predictions.csv", "from before")
    pid = zygote.start(*words("--set", "pause=0.05", "--set", "n=400"), cwd=net.root, log=log)
    wait_for(lambda: list(out(net).parent.glob(".predictions.csv.*.tmp/rows")))
    time.sleep(0.2)
    os.killpg(pid, signal.SIGKILL)
    assert zygote.wait(pid) == -signal.SIGKILL
    assert out(net).read_text() == "from before"
    assert len(litter(net)) == 1
    zygote.run(*words(), cwd=net.root, log=log)
    assert litter(net) == []
    assert len(out(net).read_text().splitlines()) == 12


@pytest.mark.slow
def test_killed_at_any_moment(net: Project, zygote: Zygote, tmp_path: Path) -> None:
    log = tmp_path / "log"
    begin = time.monotonic()
    zygote.run(*words("--set", "shuffle=True"), cwd=net.root, log=log)
    took, whole = time.monotonic() - begin, out(net).read_bytes()
    found = set()
    for n in range(20):
        out(net).unlink(missing_ok=True)
        pid = zygote.start(*words("--set", "shuffle=True"), cwd=net.root, log=log)
        time.sleep(took * n / 15)
        os.kill(pid, signal.SIGKILL)  # one that has ended is there until it is waited for
        zygote.wait(pid)
        found.add(out(net).read_bytes() if out(net).exists() else b"")
    assert found - {whole} == {b""}  # a machine that has become slower may end none in time
    zygote.run(*words(), cwd=net.root, log=log)
    assert litter(net) == []


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing(net: Project, zygote: Zygote, tmp_path: Path, signum: int) -> None:
    log = tmp_path / "log"
    pid = zygote.start(*words("--set", "pause=0.05", "--set", "n=400"), cwd=net.root, log=log)
    wait_for(lambda: list(out(net).parent.glob(".predictions.csv.*.tmp/rows")))
    os.kill(pid, signum)
    assert zygote.wait(pid) == 128 + signum
    assert list(out(net).parent.iterdir()) == []


@pytest.mark.parametrize(
    ("sets", "status", "said"),
    [
        (
            "largest=20000",
            1,
            "error: can't write predictions to out/predictions.csv: File too large\n"
            "What was there under that name is as it was.\n",
        ),
        ("fails=7", 1, "RuntimeError: unreadable"),
    ],
    ids=["full disk", "exception"],
)
def test_failures(
    net: Project, zygote: Zygote, tmp_path: Path, sets: str, status: int, said: str
) -> None:
    log = tmp_path / "log"
    net.write("out/predictions.csv", "from before")
    options = ("--set", sets, "--set", "n=100")
    zygote.run(*words(*options), cwd=net.root, log=log, status=status)
    assert log.read_text().count(said) == 1
    assert [path.name for path in out(net).parent.iterdir()] == ["predictions.csv"]
    assert out(net).read_text() == "from before"
