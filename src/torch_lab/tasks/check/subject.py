"""What the checks look at: an experiment planned, built, and tried with a batch or two."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from torch_lab.experiment import Configuration
from torch_lab.experiment.estimating import holds_estimator
from torch_lab.tasks.check.layers import Layer
from torch_lab.tasks.check.reading import Reads
from torch_lab.tasks.plan import Plan

Stage = Literal["train", "validate", "test", "predict"]


@dataclass
class Source:
    """One loader of a stage, and the batch of two samples that was made from it.

    `name` is how messages call it: `train_dataloaders`, `val_dataloaders[1]`. `loader` is as the
    experiment made it; only its first batch was asked for. `batch` is on the CPU, as collate
    returned it, and None where there is none. `samples` is what it was cut to; None: it was not.
    """

    stage: Stage
    name: str
    loader: Any
    batch: Any = None
    samples: int | None = 2
    refused: str | None = None  # what was raised with two samples, where all of a batch did
    survey: Any = None  # of more samples, where a check has asked for it: samples.py

    @property
    def dataset(self) -> Any:
        """The loader's dataset, or None."""
        return getattr(self.loader, "dataset", None)

    @property
    def length(self) -> int | None:
        """How many batches it has; None where it can't tell."""
        try:
            return len(self.loader)
        except Exception:  # noqa: BLE001  any: a __len__ of the user's, or none
            return None


@dataclass(frozen=True)
class Call:
    """A call that the trial saw, in the order of the calls.

    `name` is that of a loss or activation of torch (`cross_entropy`, `softmax`), `loss_function`
    of a TrainLabModule's, `update` of a metric's, `sub` and the like where two shapes differ;
    `owner` is the loss_function or metric. Tensors are detached; `place` is the user's line,
    `file:line`, if one led to it.
    """

    stage: Stage
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    place: str | None = None
    owner: Any = None
    result: Any = None
    made_by: tuple[str | None, ...] = ()  # what the first two arguments came from: provenance.py


@dataclass(frozen=True)
class Gradient:
    """What a parameter's gradient was when it was first complete."""

    largest: float  # of its absolute values
    finite: bool


@dataclass(frozen=True)
class Schedule:
    """A scheduler as training begins with it, a copy to play with, and how often it steps."""

    scheduler: Any
    interval: str
    frequency: int


@dataclass
class Memory:
    """Bytes that training holds on the device, measured with the batch of two samples."""

    parameters: int = 0
    gradients: int = 0
    optimizer: int = 0
    buffers: int = 0
    activations: int = 0  # what backward needs, of the cut batch
    batch: int = 0  # the cut batch itself
    scale: float = 1.0  # samples in a whole batch, over those in the cut one

    @property
    def fixed(self) -> int:
        """What is there whatever the batch."""
        return self.parameters + self.gradients + self.optimizer + self.buffers

    @property
    def of_batch(self) -> int:
        """What a whole batch takes, estimated."""
        return int((self.activations + self.batch) * self.scale)

    @property
    def total(self) -> int:
        """All together."""
        return self.fixed + self.of_batch


@dataclass
class Trial:
    """What was seen while a batch of each stage was trained, validated and tested."""

    sources: list[Source] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    done: set[Stage] = field(default_factory=set)  # stages that came to their end
    gradients: dict[str, Gradient] = field(default_factory=dict)  # by parameter; none: not there
    moved: set[str] = field(default_factory=set)  # parameters that optimizer steps changed
    losses: dict[Stage, Tensor] = field(default_factory=dict)  # what steps returned, detached
    optimizers: list[Optimizer] = field(default_factory=list)
    schedulers: list[Any] = field(default_factory=list)  # Lightning's lr_scheduler_configs
    logged: dict[str, float] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)
    device: str = "cpu"  # what it was tried on: cpu, cuda, mps
    checkpoint: int = 0  # bytes of one, about
    configured: Any = None  # what configure_optimizers returned
    schedules: list[Schedule] = field(default_factory=list)
    layers: dict[str, Layer] = field(default_factory=dict)  # those that were called in training
    called: set[str] = field(default_factory=set)  # modules of any kind, in training

    def of(self, stage: Stage) -> Iterator[Source]:
        """The loaders of a stage."""
        return (each for each in self.sources if each.stage == stage)


@dataclass
class Subject:
    """One script's experiment.

    `configuration` is what train_config returned. The trial was run with this very module, whose
    weights, buffers and mode were put back afterwards: checks may call it themselves. `reads` is
    what train_config and all that followed read of the config.
    """

    plan: Plan
    configuration: Configuration
    reads: Reads
    trial: Trial = field(default_factory=Trial)
    fitted: Any = None  # a copy of the estimator, where one is trained and could be
    way: str = ""  # how that is trained

    @property
    def module(self) -> Any:
        """The LightningModule itself, taken out of torch.compile's wrapper."""
        return getattr(self.configuration.module, "_orig_mod", self.configuration.module)

    @property
    def is_estimator(self) -> bool:
        """Whether an estimator is trained in place of a network."""
        return holds_estimator(self.configuration.module)

    @property
    def config(self) -> Any:
        """What train_config was given."""
        return self.configuration.config

    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """The module's parameters by name."""
        return dict(self.module.named_parameters())
