"""What is chosen for the machine, and how the launcher's layout becomes the Trainer's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.accelerators import CUDAAccelerator
from pytorch_lightning.utilities.model_helpers import is_overridden

from torch_lab.data import DataLoader
from torch_lab.engine import hardware, placement
from torch_lab.engine.hardware import Hardware
from torch_lab.engine.trainer import build
from torch_lab.errors import ConfigurationError
from torch_lab.utils.launched import Launch

DATA = torch.utils.data.TensorDataset(torch.zeros(64, 2))
LAUNCH = Launch("torchrun", 1, 4, 1, 2, 0, 2, "127.0.0.1", 29500)


def trainer(tmp_path: Path, **init: Any) -> Any:
    return build({"accelerator": "cpu", "devices": 1, **init}, [], directory=tmp_path, logger=None)


def gpus(count: int) -> Any:
    """As much of a Trainer on GPUs as is looked at here."""
    return SimpleNamespace(
        accelerator=CUDAAccelerator(),
        num_devices=count,
        world_size=count,
        accumulate_grad_batches=1,
        precision="32-true",
    )


@pytest.fixture
def sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "usable_cores", lambda: 16.0)
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("sixteen")
def test_cores_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [hardware.cores(count) for count in (1, 3, 40)] == [16, 5, 1]
    monkeypatch.setattr(hardware, "usable_cores", lambda: 2.5)  # a container's quota
    assert hardware.cores(1) == 2


@pytest.mark.usefixtures("sixteen")
def test_cores_of_a_task_of_slurms(monkeypatch: pytest.MonkeyPatch) -> None:
    srun = Launch("srun", 0, 4, 0, 4, 0, 1, "localhost", 15000)
    assert hardware.cores(4, srun) == 4
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "64")  # bound to its own cores: none are shared
    assert hardware.cores(4, srun) == 16
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "6")
    assert hardware.cores(4, srun) == 6


@pytest.mark.usefixtures("sixteen")
def test_loaders_are_told_what_they_leave_open() -> None:
    open_, given = DataLoader(DATA, 4), DataLoader(DATA, 4, num_workers=0, pin_memory=False)
    short, plain = DataLoader(DATA, 32), torch.utils.data.DataLoader(DATA)
    Hardware(gpus(2), None).settle([open_, {"a": given, "b": plain}, short])
    found = [(e.num_workers, e.pin_memory, e.persistent_workers) for e in (open_, given, short)]
    if hardware._forks():
        assert found == [(7, True, True), (0, False, False), (2, True, True)]
    else:
        assert found == [(0, True, False), (0, False, False), (0, True, False)]
    assert (plain.num_workers, plain.pin_memory) == (0, False)


def test_an_iterable_dataset_is_not_given_workers() -> None:
    class Stream(torch.utils.data.IterableDataset[int]):
        def __iter__(self) -> Any:
            return iter(range(4))

    loader = DataLoader(Stream())
    loader.settle(num_workers=4, pin_memory=True)
    assert (loader.num_workers, loader.pin_memory) == (0, True)


@pytest.mark.parametrize("keep", [True, False])
def test_workers_that_were_asked_to_stay_or_go(keep: bool) -> None:
    loader = DataLoader(DATA, 4, num_workers=1, persistent_workers=keep)
    loader.settle(num_workers=4, pin_memory=True)
    assert (loader.num_workers, loader.persistent_workers) == (1, keep)


def test_on_the_cpu_everything_stays(tmp_path: Path) -> None:
    found = Hardware(trainer(tmp_path), None)
    before = torch.get_float32_matmul_precision()
    found.prepare()
    found.settle(loader := DataLoader(DATA, 4))
    assert (loader.num_workers, loader.pin_memory) == (0, False)
    assert torch.get_float32_matmul_precision() == before
    assert found.line(loader) is None


def test_the_batch_of_an_update_is_said_where_it_is_no_loaders(tmp_path: Path) -> None:
    accumulating = Hardware(trainer(tmp_path, accumulate_grad_batches=3), None)
    assert accumulating.line(DataLoader(DATA, 4)) == (
        "on the CPU, 12 samples an update (4 x 3 accumulated)"
    )
    assert accumulating.line([DataLoader(DATA, 4), DataLoader(DATA, 8)]) is None
    several = Hardware(trainer(tmp_path, devices=2, strategy="ddp"), None)
    assert several.line(DataLoader(DATA, 4)) == (
        "on the CPU, 2 processes, 8 samples an update (4 x 2 processes)"
    )


def test_an_iterable_dataset_is_given_to_each_process(tmp_path: Path) -> None:
    class Stream(torch.utils.data.IterableDataset[int]):
        def __iter__(self) -> Any:
            return iter(range(4))

    several = Hardware(trainer(tmp_path, devices=2, strategy="ddp"), None)
    for kind in (DataLoader, torch.utils.data.DataLoader):
        assert several.remark([kind(Stream())]) == (
            "the data has no indices: each of the 2 processes is given all of it, unless its"
            " __iter__ chooses by torch.distributed.get_rank()"
        )
    assert several.remark(DataLoader(DATA, 4)) is None
    assert Hardware(trainer(tmp_path), None).remark(DataLoader(Stream())) is None


def test_threads_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr(hardware, "usable_cores", lambda: 2.0)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    hardware.share_threads(2, None)
    assert torch.get_num_threads() == before
    monkeypatch.delenv("OMP_NUM_THREADS")
    try:
        torch.set_num_threads(2)
        hardware.share_threads(2, None)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu(tmp_path: Path) -> None:
    before = torch.get_float32_matmul_precision()
    made = build({"accelerator": "gpu", "devices": 1}, [], directory=tmp_path, logger=None)
    found = Hardware(made, None)
    try:
        found.prepare()
        found.settle(loader := DataLoader(DATA, 4))
        assert torch.get_float32_matmul_precision() == "high"
        assert (found.line(loader) or "").startswith(f"on 1 GPU ({torch.cuda.get_device_name()})")
    finally:
        torch.set_float32_matmul_precision(before)


# -- the launcher's layout -------------------------------------------------------------------


def test_the_launcher_says_how_many() -> None:
    assert placement.settle({"accelerator": "cpu"}, LAUNCH) == {
        "accelerator": "cpu",
        "devices": 2,
        "num_nodes": 2,
        "strategy": "ddp",
    }
    asked = {"devices": [1, 3], "num_nodes": 2, "strategy": "fsdp"}
    assert placement.settle(asked, LAUNCH) == asked


def test_each_its_own_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    found = placement.settle({"devices": 2}, LAUNCH)
    assert (found["devices"], found["num_nodes"]) == (1, 4)


def test_machines_with_different_numbers_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning multiplies machines by devices: each process is a machine to it."""
    uneven = replace(LAUNCH, world=3, even=False)
    found = placement.settle({"accelerator": "cpu"}, uneven)
    assert (found["devices"], found["num_nodes"]) == (1, 3)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert placement.settle({}, uneven)["devices"] == [1]
    with pytest.raises(ConfigurationError, match=r"has started 2 processes on this machine"):
        placement.settle({"devices": 1}, uneven)


def test_data_is_fetched_once_on_each_machine() -> None:
    class Fetching(pl.LightningDataModule):
        def prepare_data(self) -> None:
            fetched.append(self)

    fetched: list[object] = []
    uneven = replace(LAUNCH, world=3, even=False)
    for launch in (LAUNCH, replace(uneven, local_rank=0), uneven):
        placement.prepare_once(launch, data := Fetching(), plain := pl.LightningDataModule(), None)
        data.prepare_data()
        assert not is_overridden("prepare_data", plain)
    assert len(fetched) == 2


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"devices": 4},
            "trainer.init.devices: 4, but torchrun has started 2 processes on each machine\n"
            "Leave it out: it follows torchrun, or start them with torchrun --nproc-per-node 4.",
        ),
        (
            {"devices": "0,1,2"},
            "trainer.init.devices: '0,1,2', but torchrun has started 2 processes on each machine\n"
            "Leave it out: it follows torchrun, or start them with torchrun --nproc-per-node 3.",
        ),
        (
            {"num_nodes": 1},
            "trainer.init.num_nodes: 1, but torchrun runs on 2 machines\n"
            "Leave it out: it follows torchrun, or start them with torchrun --nnodes 1.",
        ),
    ],
)
def test_what_contradicts_the_launcher(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        placement.settle(asked, LAUNCH)
    assert str(caught.value) == message
