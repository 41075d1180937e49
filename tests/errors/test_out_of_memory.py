"""Memory that runs out: what took it, by kind, and what to try; DeviceMemory draws its curve."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from said import HPARAMS, LINES, MAIN, Lab
from torch import nn

from torch_lab.callbacks.memory import Memory, kinds_of, memory_of
from torch_lab.engine import outofmemory

TEXT = "CUDA out of memory. Tried to allocate 20.00 MiB."
RAISING = """\
class Full(pl.Callback):
    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if batch_idx == 1:
            raise ERROR
def train_config(config):
    trained = TrainLabModule(nn.Linear(2, 250), Loss(), {"optimizer": torch.optim.Adam})
    return {"module": trained, "train_dataloaders": loader(), "callbacks": [Full()]}
class Loss(nn.MSELoss):
    def forward(self, y_pred, y):
        return y_pred.mean()
"""


@pytest.mark.parametrize(
    "error",
    [
        f'torch.OutOfMemoryError("{TEXT}")',
        'RuntimeError("CUDA error: out of memory")',
        'MemoryError("no room")',
    ],
    ids=["torch", "cuda", "python"],
)
def test_in_training(lab: Lab, error: str) -> None:
    lab.append(RAISING.replace("ERROR", error))
    said = lab.failure("train", HPARAMS)
    kind, text = error.rstrip(')"').split('("')
    said = re.sub(r"(activations and the rest|peak) +[\d.]+ [kMG]B", r"\1 …", said)
    kind = kind.replace("torch.Out", "torch.Out")
    assert said == (
        "Traceback (most recent call last):\n"
        f'  File "ROOT/{MAIN}", line {LINES + 5}, in on_train_batch_end\n'
        f"    raise {error}\n"
        f"{kind}: {text}\n"
        "in callback Full.on_train_batch_end\n"
        "in training, epoch 1, batch 2, samples 4, 5, 6, 7\n"
        "memory of cpu when it ran out:\n"
        "  weights                    3.0 kB\n"
        "  gradients                  3.0 kB\n"
        "  optimizer state            6.0 kB\n"
        "  activations and the rest …\n"
        "  peak …\n"
        "  the batch: (4, 2) float32, y (4, 1) float32\n"
        "what to try:\n"
        "  - fewer loader workers (num_workers), or a dataset that keeps less: each has its own\n"
        "  - half the batch size; with trainer.init.accumulate_grad_batches 2 a step is made of as"
        " many samples as now\n"
        "  - activation checkpointing (torch.utils.checkpoint): layers compute again in the"
        " backward pass what they would have kept\n"
        '  - an optimizer that keeps less, or strategy "fsdp" to share its state among GPUs\n'
        "  - tensors that are kept from step to step: .detach() what is stored or logged"
    )


def test_on_the_cpu_itself(lab: Lab) -> None:
    lab.append("Points.__getitem__ = lambda self, i: torch.ones(10**15)\n")
    said = lab.failure("train", HPARAMS, "-s", "trainer.validate=None")
    assert "DefaultCPUAllocator: can't allocate memory" in said
    assert "while loading sample 0 of Points\nin training, epoch 1, batch 1\nmemory of cpu" in said


class TestOnADevice:
    """What a GPU would say, as numbers: there is none in most tests."""

    def advice(self, memory: Memory, *, training: bool = True, **kinds: int) -> list[str]:
        device = torch.device("cuda", 0)
        trainer: Any = SimpleNamespace(
            accumulate_grad_batches=2,
            precision="32-true",
            training=training,
            lightning_module=SimpleNamespace(device=device),
        )
        sizes = {"weights": 4, "gradients": 4, "optimizer state": 4} | kinds
        return list(outofmemory._advice(trainer, sizes, memory))

    def test_half_precision_and_half_a_batch(self) -> None:
        first, second, *rest = self.advice(Memory(90, 100, 95, 100))
        assert "accumulate_grad_batches 4" in first
        assert second == 'trainer.init.precision "bf16-mixed": activations take half of it'
        assert not any("PYTORCH_CUDA_ALLOC_CONF" in each for each in rest)

    def test_memory_in_pieces(self) -> None:
        said = self.advice(Memory(50, 100, 95, 100))
        assert any(
            each.startswith("PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True") for each in said
        )

    def test_outside_of_training(self) -> None:
        assert self.advice(Memory(50, 100, 95, 100), training=False) == [
            "a smaller batch size: what is computed stays the same"
        ]

    def test_what_is_shown(self) -> None:
        kinds = {"weights": 1000, "gradients": 1000, "optimizer state": 2000}
        assert list(outofmemory._table(kinds, Memory(9000, 20000, 10000, 40000))) == [
            "  weights                    1.0 kB",
            "  gradients                  1.0 kB",
            "  optimizer state            2.0 kB",
            "  activations and the rest   6.0 kB",
            "  peak                        10 kB",
            "  reserved but unused         11 kB",
            "  the device has              40 kB",
        ]


class Tied(nn.Module):
    """Two names of one storage, a frozen weight and a buffer."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(4, 4, bias=False)
        self.other = nn.Linear(4, 4, bias=False)
        self.other.weight = self.one.weight
        self.frozen = nn.Linear(4, 4, bias=False).requires_grad_(False)
        self.register_buffer("scale", torch.ones(4))


def test_kinds_of_memory() -> None:
    module: Any = Tied()
    optimizer = torch.optim.Adam(module.one.parameters())
    before = kinds_of(module, [optimizer])
    assert before == {"weights": 64 + 64 + 16, "gradients": 0, "optimizer state": 0}
    module.one(torch.ones(1, 4)).sum().backward()
    assert kinds_of(module, [optimizer])["gradients"] == 64
    optimizer.step()
    optimizer.zero_grad()
    after = kinds_of(module, [optimizer])
    assert after["gradients"] == 64  # none are there now, but at the peak they were
    assert after["optimizer state"] == 64 + 64 + 4


def test_the_process_tells_for_the_cpu() -> None:
    memory = memory_of(torch.device("cpu"))
    assert memory.peak is not None
    assert memory.peak > 10**7
    assert memory.reserved is None
    assert memory_of(torch.device("meta")) == Memory()


@pytest.mark.parametrize(("argument", "steps"), [("", [2, 4, 6]), ("every_n_steps=3", [3, 6])])
def test_device_memory_is_logged(lab: Lab, argument: str, steps: list[int]) -> None:
    lab.append(
        f"""\
        from torch_lab.callbacks import DeviceMemory
        def train_config(config):
            return {{"module": module(), "train_dataloaders": DataLoader(Points(), batch_size=2),
                    "callbacks": [DeviceMemory({argument})]}}
        """
    )
    options = ["-s", "trainer.init.max_epochs=1", "-s", "trainer.init.log_every_n_steps=2"]
    assert lab.says("train", HPARAMS, *options).status == 0
    run = lab.run("00_net-hparams_v0")
    metrics = run.record["metrics"]
    assert metrics["memory/peak"]["last"] > 0.01  # in gigabytes: Python and torch are that large
    if Path("/proc/self/statm").exists():
        assert metrics["memory/allocated"]["last"] > 0.01
    assert "memory/reserved" not in metrics
    rows = [step for _, step, _, values in run.rows() if "memory/peak" in values]
    assert rows == [*steps, 6]
