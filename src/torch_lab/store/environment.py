"""environment.json: the machine as training sees it, without importing what trains."""

from __future__ import annotations

import fnmatch
import json
import os
import platform
import re
import sys
import time
from pathlib import Path
from typing import Any

from torch_lab.store.asking import ask, contents
from torch_lab.store.failures import storing
from torch_lab.store.git import git_state
from torch_lab.store.host import hostname
from torch_lab.store.paths import RunDirectory
from torch_lab.store.secrets import mask
from torch_lab.store.values import decode, dumps, encode
from torch_lab.utils.files import write_atomic

FORMAT = 1
_VARIABLES = (
    "SLURM_*",
    "CUDA_*",
    "CUBLAS_*",
    "NVIDIA_VISIBLE_DEVICES",
    "NCCL_*",
    "OMP_*",
    "MKL_*",
    "OPENBLAS_*",
    "PYTORCH_*",
    "TORCH_*",
    "TORCHINDUCTOR_*",
    "PL_*",
    "PYTHONHASHSEED",
    "RANK",
    "LOCAL_RANK",
    "NODE_RANK",
    "GROUP_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
)
_GPU_FIELDS = ("index", "name", "memory.total", "driver_version", "uuid")


def write(run: RunDirectory, root: Path) -> None:
    """Write environment.json, and git.diff where it isn't there, of a run of the project `root`."""
    with storing("write", run.environment_file):
        write_atomic(run.environment_file, dumps(encode(collect())))
    if not run.git_diff.exists():  # a queued run has that of the machine where it was queued
        write_git(run, root)


def write_node(run: RunDirectory, node: int) -> None:
    """Write environment.N.json of another machine of the run's."""
    file = run.environment_of(node)
    with storing("write", file):
        write_atomic(file, dumps(encode(collect())))


def read(run: RunDirectory, node: int = 0) -> dict[str, Any]:
    """What environment.json says, or that of another machine; where it is damaged, nothing."""
    file = run.environment_of(node) if node else run.environment_file
    try:
        content = decode(json.loads(file.read_bytes()))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def write_git(run: RunDirectory, root: Path) -> None:
    """Write git.diff of a run whose project is at `root`."""
    diff = git_state(root).encode(errors="surrogateescape")
    with storing("write", run.git_diff):
        write_atomic(run.git_diff, diff)


def collect() -> dict[str, Any]:
    """Machine, Python, packages, GPUs, CUDA, CPU, memory and Slurm; what can't be found is None."""
    slurm, others = _variables()
    return {
        "format": FORMAT,
        "time": round(time.time(), 3),
        "host": hostname(),
        "platform": platform.platform(),
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "executable": sys.executable,
        },
        "cpu": _cpu(),
        "memory": memory(),
        "gpus": _gpus(),
        "cuda": {"torch": _torch_cuda(), "driver": _driver()},
        "slurm": slurm,
        "variables": others,
        "packages": installed_packages(),
    }


def installed_packages() -> dict[str, str]:
    """Version by package name (as PyPI normalizes it).

    Read from the names of the metadata folders: opening each one's METADATA takes a hundred times
    longer, and this runs while training starts.
    """
    found: dict[str, str] = {}
    for place in dict.fromkeys(sys.path):
        for name in _entries(Path(place or ".")):
            match = re.fullmatch(r"(.+?)-([^-]+?)(?:-.*)?\.(?:dist|egg)-info", name)
            if match:
                found.setdefault(re.sub(r"[-_.]+", "-", match[1]).lower(), match[2])
    return dict(sorted(found.items()))


def _entries(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208  names alone: a Path each would cost as much again
    except OSError:
        return []


def _cpu() -> dict[str, Any]:
    return {"model": _cpu_model(), "cores": os.cpu_count(), "usable": usable_cores()}


def _cpu_model() -> str | None:
    if sys.platform == "darwin":
        return ask("sysctl", "-n", "machdep.cpu.brand_string")
    match = re.search(r"^model name\s*:\s*(.+)$", contents("/proc/cpuinfo"), re.MULTILINE)
    return match[1] if match else platform.processor() or platform.machine() or None


def usable_cores() -> float | None:
    """What the scheduler and the container leave to this process."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count()
    cores = len(os.sched_getaffinity(0))
    quota = contents("/sys/fs/cgroup/cpu.max").split()
    if len(quota) == 2 and quota[0].isdigit():
        return min(cores, int(quota[0]) / int(quota[1]))
    return cores


def memory() -> dict[str, int | None]:
    """Bytes: in the machine, free for use, and the container's limit."""
    if sys.platform == "darwin":
        total = ask("sysctl", "-n", "hw.memsize")
        return {"total": int(total) if total else None, "available": None, "limit": None}
    kilobytes = dict(re.findall(r"^(\w+):\s+(\d+) kB", contents("/proc/meminfo"), re.MULTILINE))
    limit = contents("/sys/fs/cgroup/memory.max").strip()
    return {
        "total": _bytes(kilobytes.get("MemTotal")),
        "available": _bytes(kilobytes.get("MemAvailable")),
        "limit": int(limit) if limit.isdigit() else None,
    }


def _bytes(kilobytes: str | None) -> int | None:
    return None if kilobytes is None else int(kilobytes) * 1024


def _gpus() -> list[dict[str, Any]]:
    fields = ",".join(_GPU_FIELDS)
    answer = ask("nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits")
    gpus = []
    for line in (answer or "").splitlines():
        values = [value.strip() for value in line.split(",")]
        if len(values) == len(_GPU_FIELDS):
            index, name, memory, driver, uuid = values
            size = int(memory) * 2**20 if memory.isdigit() else None
            gpus.append(
                {"index": index, "name": name, "memory": size, "driver": driver, "uuid": uuid}
            )
    return gpus


def _driver() -> str | None:
    match = re.search(r"Module\s+([\d.]+)", contents("/proc/driver/nvidia/version"))
    return match[1] if match else None


def _torch_cuda() -> str | None:
    """The CUDA version that the installed torch was built with, read from its source."""
    for place in sys.path:
        match = re.search(
            r"^cuda\b.*=\s*['\"]([\d.]+)['\"]", contents(f"{place}/torch/version.py"), re.MULTILINE
        )
        if match:
            return match[1]
    return None


def _variables() -> tuple[dict[str, str], dict[str, str]]:
    """Slurm's, and the few others that training depends on; the rest stays private."""
    chosen = {
        name: value
        for name, value in sorted(os.environ.items())
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in _VARIABLES)
    }
    slurm = {name: value for name, value in chosen.items() if name.startswith("SLURM_")}
    others = {name: value for name, value in chosen.items() if name not in slurm}
    return mask(slurm), mask(others)
