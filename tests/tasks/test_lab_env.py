from __future__ import annotations

import json
import os

from torch_lab.tasks import env as task

GPU_BOX = {
    "host": "box",
    "platform": "Linux",
    "python": {"version": "3.12.1", "executable": "/v/bin/python"},
    "cpu": {"model": "A CPU", "cores": 16, "usable": 4.0},
    "memory": {"total": 64_000_000_000, "available": 60_000_000_000, "limit": 8_000_000_000},
    "gpus": [
        {"index": "0", "name": "NVIDIA H200", "memory": 143_771 * 2**20, "driver": "570.1"},
        {"index": "1", "name": "Some GPU", "memory": None, "driver": "570.1"},
    ],
    "cuda": {"torch": "12.8", "driver": None},
    "slurm": {"SLURM_JOB_ID": "17", "SLURM_NTASKS": "2"},
    "variables": {"CUDA_VISIBLE_DEVICES": "0,1"},
    "packages": {"torch": "2.13.0", "numpy": "2.4.6", "zipp": "1"},
}


def rows(data) -> dict[str, str]:
    return dict(line.split(None, 1) for line in task.describe(data).splitlines())


def test_a_gpu_box():
    text = task.describe(GPU_BOX)
    for expected in (
        "gpu 0                 NVIDIA H200, 151 GB",
        "gpu 1                 Some GPU\n",
        "driver                570.1",
        "cuda                  12.8",
        "cpu                   A CPU, 16 cores, 4 of them usable",
        "memory                64 GB in all, 60 GB free, 8.0 GB allowed",
        "slurm                 job 17",
        "SLURM_NTASKS          2",
        "CUDA_VISIBLE_DEVICES  0,1",
        "torch                 2.13.0",
        "packages              3 in all",
    ):
        assert expected in text
    assert "zipp" not in text


def test_an_environment_that_says_little():
    found = rows({})
    assert found["gpu"] == "none found"
    assert found["cuda"] == "not in the installed torch"
    assert found["memory"] == "-"


def test_this_machine(project):
    found = rows(task.collect())
    assert f" {os.cpu_count()} core" in found["cpu"]
    data = json.loads(project.command("torch-lab", "env", "--json").stdout)
    assert data["cpu"]["cores"] == os.cpu_count()
    assert data["packages"]["torch"]
    assert "torch " in project.command("torch-lab", "env").stdout
