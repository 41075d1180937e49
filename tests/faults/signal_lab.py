"""A project that comes to a chosen point, says so, and stays there in a chosen way."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from e2e.tiny_project import Lab, Outcome, Started
from helpers import StoredRun, wait_for

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)

_EXPERIMENT = '''
import collections, ctypes, hashlib, itertools, multiprocessing, os, signal, subprocess, time
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

CONFIG = {}

def hold():
    """Python runs no other code, of any thread, until this returns, which it does not."""
    collections.deque(itertools.count(), maxlen=0)

def stuck():
    """The interpreter is free, but the main thread never comes back to it."""
    hashlib.pbkdf2_hmac("sha1", b"", b"", 2**31 - 1)

def rest():
    """Seconds in which Python's handlers run at once."""
    time.sleep(CONFIG["seconds"])

def meet(point):
    """Say once that this point is reached, and stay as was asked."""
    if CONFIG["point"] != point or Path(CONFIG["name"]).exists():
        return
    Path(CONFIG["name"] + ".tmp").write_text(str(os.getpid()))
    os.rename(CONFIG["name"] + ".tmp", CONFIG["name"])
    {"hold": hold, "stuck": stuck, "rest": rest}[CONFIG["how"]]()

class Data(Dataset):
    def __len__(self):
        return 16
    def __getitem__(self, i):
        if i == CONFIG["sample"] and torch.utils.data.get_worker_info():
            meet("sample")
        return torch.full((2,), i / 16)

class Stream(IterableDataset):
    def __iter__(self):
        return (Data()[i] for i in range(16))

class Module(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(2, 1)
    def on_train_start(self):
        if CONFIG["handler"]:
            self.previous = signal.signal(signal.SIGTERM, self.asked)
    def asked(self, signum, frame):
        Path("asked").open("a").write("x")
        if CONFIG["handler"] == "calls the one before":
            self.previous(signum, frame)
        if CONFIG["handler"] == "exits":
            raise SystemExit(3)
    def training_step(self, x, batch_idx):
        if self.trainer.global_step == 1:
            meet("step")
        return self.net(x).square().mean()
    def validation_step(self, x, batch_idx):
        meet("validation" if self.trainer.state.fn == "fit" else "baseline")
        self.log("loss", self.net(x).square().mean())
    def test_step(self, x, batch_idx):
        meet("test")
    def predict_step(self, x, batch_idx):
        meet("predict")
    def on_save_checkpoint(self, checkpoint):
        meet("save")
    def on_train_end(self):
        meet("end")
    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)

def loader(**kwargs):
    dataset = Stream() if CONFIG["stream"] else Data()
    return DataLoader(dataset, batch_size=4, num_workers=CONFIG["num_workers"], **kwargs)

def train_config(config):
    CONFIG.update(config)
    meet("configuration")
    return {
        "module": Module(),
        "train_dataloaders": loader(),
        "val_dataloaders": DataLoader(Data(), batch_size=4),
        "test_dataloaders": DataLoader(Data(), batch_size=4),
    }

def infer_config(config):
    CONFIG.update(config)
    return {"module": Module(), "predict_dataloaders": loader()}
'''

_HPARAMS = """
hparams = {
    "task": {"project_name": "tests"},
    "checkpoint": {"every_n_steps": 1, "keep": 100},
    "trainer": {
        "init": {"max_epochs": 2, "accelerator": "cpu", "enable_progress_bar": False},
    },
    "config": {
        "point": "", "name": "met", "how": "rest", "seconds": 60.0, "sample": 5,
        "num_workers": 0, "stream": False, "handler": "",
    },
}
"""


@dataclass(frozen=True)
class Met:
    """A command that has come to its point; `worker` is the process that did."""

    started: Started
    worker: int


@dataclass(frozen=True)
class SignalLab(Lab):
    """Commands of that project; several scripts of one experiment can be under way at once."""

    begun: list[Started] = field(default_factory=list)

    @classmethod
    def made(cls, lab: Lab) -> SignalLab:
        lab.write("tiny/experiments/00_tiny/__main__.py", _EXPERIMENT)
        return cls(lab.root, lab.zygote)

    def script(self, name: str) -> str:
        path = f"tiny/experiments/00_tiny/{name}.py"
        self.write(path, _HPARAMS)
        return path

    def stored(self, name: str) -> StoredRun:
        return self.run(f"00_tiny-{name}_v0")

    def to(
        self,
        name: str,
        point: str,
        *sets: str,
        verb: str = "train",
        env: Mapping[str, str] | None = None,
    ) -> Met:
        """Start a command and wait until it is at `point`; `name` is its own."""
        started = self.begin(name, point, *sets, verb=verb, env=env)
        wait_for((self.root / name).exists)
        return Met(started, int((self.root / name).read_text()))

    def begin(
        self,
        name: str,
        point: str,
        *sets: str,
        verb: str = "train",
        env: Mapping[str, str] | None = None,
    ) -> Started:
        """Start a command that is to come to `point`."""
        option = "-s" if verb == "train" else "--set"
        values = (f"point={point}", f"name={name}", *sets)
        words = [word for value in values for word in (option, value)]
        words += ["--checkpoint", "none"] if verb == "infer" else []
        started = self.start_one(verb, self.script(name), *words, env=env)
        self.begun.append(started)
        return started

    def end(self) -> None:
        """End what a test that failed has left."""
        for each in self.begun:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(each.pid, signal.SIGKILL)

    def signalled(self, met: Met, signum: int) -> Outcome:
        """Signal it once and wait for its end."""
        os.kill(met.started.pid, signum)
        return self.ended(met.started)


def batch_of(run: StoredRun) -> int:
    """The batch of the run's last checkpoint; 0 where there is none."""
    return max((each["batch"] for each in run.record["checkpoints"]), default=0)


def lives(process: int) -> bool:
    """Whether a process is there, and not only to be asked for its status."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def descendants(process: int) -> set[int]:
    """The processes that a process has started, and those that they have."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            found = re.fullmatch(r"(\d+) \(.*\) \w (\d+) .*", path.read_text().strip(), re.DOTALL)
        except (FileNotFoundError, ProcessLookupError):
            continue
        if found:
            parents[int(found[1])] = int(found[2])
    every, found_now = set(), {process}
    while found_now:
        found_now = {pid for pid, parent in parents.items() if parent in found_now}
        every |= found_now
    return every
