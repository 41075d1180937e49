"""`lab env`: the machine as training sees it, found without importing what trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch_lab.store import environment
from torch_lab.tasks.table import MISSING, columns, plain
from torch_lab.utils.text import format_size, plural

# What decides how training goes; the rest is in --json.
PACKAGES = (
    "torch-lab",
    "torch",
    "pytorch-lightning",
    "lightning",
    "torchmetrics",
    "torchvision",
    "numpy",
    "clearml",
)


def collect() -> dict[str, Any]:
    """The machine, its GPUs and packages, as every run records them."""
    data: dict[str, Any] = plain(environment.collect())
    return data


def describe(data: Mapping[str, Any]) -> str:
    """The machine for a reader."""
    rows = [*facts(data), *_variables(data)]
    return "\n".join(columns(rows, indent="")) + "\n"


def facts(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The machine in a few lines; what an environment.json does not say is left out."""
    yield "host", str(data.get("host") or MISSING)
    yield "platform", str(data.get("platform") or MISSING)
    python = data.get("python") or {}
    yield "python", f"{python.get('version', MISSING)} ({python.get('executable', MISSING)})"
    yield "cpu", _cpu(data.get("cpu") or {})
    yield "memory", _memory(data.get("memory") or {})
    yield from _gpus(data)
    slurm = data.get("slurm") or {}
    if slurm:
        yield "slurm", f"job {slurm.get('SLURM_JOB_ID', MISSING)}"
    packages = data.get("packages") or {}
    for name in PACKAGES:
        if name in packages:
            yield name, str(packages[name])
    yield "packages", f"{len(packages)} in all"


def _cpu(cpu: Mapping[str, Any]) -> str:
    cores, usable = cpu.get("cores"), cpu.get("usable")
    limited = f", {usable:g} of them usable" if usable is not None and usable != cores else ""
    return f"{cpu.get('model') or 'unknown'}, {plural(cores or 0, 'core')}{limited}"


def _memory(memory: Mapping[str, Any]) -> str:
    parts = [
        f"{format_size(memory[key])} {what}"
        for key, what in (("total", "in all"), ("available", "free"), ("limit", "allowed"))
        if memory.get(key) is not None
    ]
    return ", ".join(parts) or MISSING


def _gpus(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    gpus = data.get("gpus") or []
    for gpu in gpus:
        size = gpu.get("memory")
        memory = f", {format_size(size)}" if size else ""
        yield f"gpu {gpu.get('index')}", f"{gpu.get('name')}{memory}"
    if not gpus:
        yield "gpu", "none found"
    cuda = data.get("cuda") or {}
    driver = cuda.get("driver") or next((gpu.get("driver") for gpu in gpus), None)
    if driver:
        yield "driver", str(driver)
    yield "cuda", str(cuda["torch"]) if cuda.get("torch") else "not in the installed torch"


def _variables(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for kind in ("slurm", "variables"):
        yield from ((name, str(value)) for name, value in (data.get(kind) or {}).items())
