"""A small project, real commands in it, and what they say with the paths replaced."""

from __future__ import annotations

import json
import re
import textwrap
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from helpers import Project
from zygote import Zygote

FOLDER = "lab_project/experiments/00_net"
HPARAMS = f"{FOLDER}/hparams.py"
MAIN = f"{FOLDER}/__main__.py"
RUN = "00_net-hparams_v0"
_WHERE = re.compile(
    r"\nrun directory: (?P<run>data/artifacts/\S+)\nconsole log:   (?P=run)/console\.log\n\Z"
)
# Python points at the part of a line that failed, in another way in each version.
_POINTERS = set(" ~^")

CONFIGURATION = """\
import pytorch_lightning as pl
import torch
from torch import nn

from torch_lab.data import DataLoader
from torch_lab.modules import TrainLabModule


class Points(torch.utils.data.Dataset):
    def __len__(self):
        return 12

    def __getitem__(self, i):
        return torch.full((2,), i / 12), {"y": torch.ones(1)}


def loader(config=None, **kwargs):
    return DataLoader(Points(), batch_size=4, **kwargs)


def module(**kwargs):
    return TrainLabModule(
        nn.Linear(2, 1), nn.MSELoss(), {"optimizer": torch.optim.Adam}, **kwargs
    )


def train_config(config):
    return {"module": module(), "train_dataloaders": loader(), "val_dataloaders": loader()}


def infer_config(config):
    return {"module": module(), "predict_dataloaders": loader()}
"""
LINES = CONFIGURATION.count("\n")
HYPERPARAMETERS = """\
hparams = {
    "trainer": {
        "init": {
            "max_epochs": 2,
            "accelerator": "cpu",
            "enable_progress_bar": False,
            "log_every_n_steps": 1,
        },
    },
    "config": {"lr": 0.01, "width": 4, "name": "net", "sizes": [1, 2]},
}
"""


@dataclass(frozen=True)
class Said:
    """How a command ended and what it said."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Lab(Project):
    """The project; what is appended to its configuration begins on line LINES + 2."""

    zygote: Zygote

    @classmethod
    def made(cls, project: Project, zygote: Zygote) -> Lab:
        lab = cls(project.root, zygote)
        lab.write(HPARAMS, HYPERPARAMETERS)
        lab.write(MAIN, CONFIGURATION)
        return lab

    def append(self, text: str, path: str = MAIN) -> None:
        """Add to a script, after an empty line."""
        before = (self.root / path).read_text()
        (self.root / path).write_text(f"{before}\n{textwrap.dedent(text)}")

    def says(self, *words: str | Path, env: Mapping[str, str] | None = None) -> Said:
        """Run a command; its words with the project's folder called ROOT."""
        folder = self.root / ".said" / uuid.uuid4().hex
        folder.mkdir(parents=True)
        out, err = folder / "out", folder / "err"
        pid = self.zygote.start(*words, cwd=self.root, log=out, errors=err, env=env)
        status = self.zygote.wait(pid)
        return Said(status, self.read(out), self.read(err))

    def read(self, path: Path) -> str:
        lines = path.read_text().replace(str(self.root), "ROOT").splitlines(keepends=True)
        return "".join(line for line in lines if set(line.rstrip()) - _POINTERS or line == "\n")

    def mistake(self, *words: str | Path, env: Mapping[str, str] | None = None) -> str:
        """What a command says that ends with status 2, without its "error: ".

        If a run had been made by then, it says where that is.
        """
        said = self.says(*words, env=env)
        assert said.status == 2, said
        assert said.err.startswith("error: "), said
        return _WHERE.sub("", said.err.removeprefix("error: ")).rstrip("\n")

    def failure(self, *words: str | Path, env: Mapping[str, str] | None = None) -> str:
        """The traceback of a command that ends with status 1, and says where its run is."""
        said = self.says(*words, env=env)
        assert said.status == 1, said
        trace, _, where = said.err.rpartition("\n\n")
        log = f"data/artifacts/{RUN}"
        assert where == f"run directory: {log}\nconsole log:   {log}/console.log\n", said
        return trace

    def reason(self) -> str:
        """Why the run failed, as its record tells."""
        text = (self.artifacts / RUN / "run.json").read_text()
        return str(json.loads(text)["reason"]).replace(str(self.root), "ROOT")
