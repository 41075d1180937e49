"""What `lab preview` does: build the data, fetch a batch, describe and draw it."""

from __future__ import annotations

import importlib.util
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from torch_lab import experiment as experiments
from torch_lab import hparams as hyperparameters
from torch_lab.engine import trainer as trainers
from torch_lab.engine.translation import misconfiguration
from torch_lab.errors import UsageError
from torch_lab.experiment import Configuration, Experiment
from torch_lab.hparams import Hparams
from torch_lab.store.failures import store_error
from torch_lab.tasks.plan import say
from torch_lab.tasks.preview import cells, drawing, labels, looks
from torch_lab.tasks.preview.batches import Leaf, leaves
from torch_lab.tasks.preview.cells import Group
from torch_lab.tasks.preview.labels import Classes
from torch_lab.tasks.preview.sources import FUNCTIONS, Fetched, Sources, Stream
from torch_lab.utils.at_hand import at_hand
from torch_lab.utils.files import write_atomic

_USUAL = 16  # samples in a picture


@dataclass(frozen=True)
class Asked:
    """One call of `lab preview`; `args` are for infer_config."""

    script: Path
    split: str = "train"
    args: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    count: int | None = None
    out: Path | None = None


@dataclass(frozen=True)
class Part:
    """A loader's first batch: what it holds, which part is data and which label, how it looks."""

    name: str
    leaves: list[Leaf]
    label: Leaf | None
    classes: Classes | None
    names: dict[Any, str]
    batches: int
    samples: int
    group: Group


@dataclass(frozen=True)
class Preview:
    """What was found; `write` makes the picture."""

    experiment: Experiment
    split: str
    seed: int
    streams: list[Stream]
    parts: list[Part]
    file: Path

    @property
    def title(self) -> str:
        """What the picture is of."""
        script = f"{self.experiment.name}/{self.experiment.script_name}"
        batches = self.parts[0].batches
        which = "first batch" if batches == 1 else f"first {batches} batches"
        return f"{script} · {self.split} · {which}"

    def write(self) -> None:
        """Draw the picture and put it where it belongs, in place of an earlier one."""
        if importlib.util.find_spec("matplotlib") is None:
            raise UsageError(
                "the picture is drawn by matplotlib, which is not installed",
                hint="pip install 'torch-lab[plot]' installs it.",
            )
        data = drawing.png(self.title, [part.group for part in self.parts])
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self.file, data, durable=False)
        except OSError as error:
            raise store_error("write", self.file, error) from error


def preview(asked: Asked) -> Preview:
    """Look at the data of a script's split; nothing is trained, and nothing written."""
    experiment = experiments.find(asked.script)
    function = FUNCTIONS.get(asked.split, "train_config")
    hparams = hyperparameters.load(
        experiment.script,
        overrides=asked.overrides,
        config_type=experiments.config_type(experiment, function),
    )
    for notice in hparams.notices:
        say(notice)
    seed = random.SystemRandom().randrange(2**32) if hparams.seed is None else hparams.seed
    with trainers.quiet(), misconfiguration(), tempfile.TemporaryDirectory() as nowhere:
        pl.seed_everything(seed, verbose=False)
        configuration = _configuration(experiment, hparams, asked)
        with at_hand(configuration=configuration, hparams=hparams.as_dict()):
            sources = Sources(configuration, hparams, seed, asked.split, Path(nowhere))
            fetched = sources.fetched(asked.count)
            parts = [_part(each, asked.count or _USUAL) for each in fetched]
            streams = sources.streams()
    file = _file(experiment, asked)
    return Preview(experiment, asked.split, seed, streams, parts, file)


def _configuration(experiment: Experiment, hparams: Hparams, asked: Asked) -> Configuration:
    if asked.split in FUNCTIONS:
        for remark in experiments.require_arguments(experiment, asked.args):
            say(remark)
        return experiments.infer_configuration(experiment, hparams.config, asked.args)
    return experiments.train_configuration(experiment, hparams.config)


def _part(fetched: Fetched, count: int) -> Part:
    found = leaves(fetched.batches)
    x = looks.data_of(found)
    label = labels.label_of(found, x)
    dataset = getattr(fetched.stream.loader, "dataset", None)
    names = labels.class_names(dataset)
    samples = len(x.values) if x is not None else 0
    shown = min(count, samples)
    look = looks.look_of(x) if x is not None else looks.Look("other")
    name = fetched.stream.name
    group = cells.group(name, found, (x, label), look, names, shown)
    classes = labels.classes(dataset, label)
    return Part(name, found, label, classes, names, len(fetched.batches), samples, group)


def _file(experiment: Experiment, asked: Asked) -> Path:
    if asked.out is not None:
        return asked.out
    name = f"{experiment.run_prefix}-{asked.split}.png"
    return experiment.root / "data" / "previews" / name
