"""What is compared of an environment.json and of a git.diff: what stays as it is between runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from torch_lab.utils.text import format_size

# Of Slurm's variables most are of one job; these are of how it was asked for.
_SLURM = ("SLURM_JOB_PARTITION", "SLURM_JOB_NUM_NODES", "SLURM_NTASKS", "SLURM_GPUS_ON_NODE")
# Others differ between two runs for no reason that matters: Lightning's are what hparams say,
# torch-lab's are where and how a run is kept, and libraries set some themselves on being imported.
_PASSING = (
    "MASTER_ADDR",
    "MASTER_PORT",
    "PL_GLOBAL_SEED",
    "PL_SEED_WORKERS",
    "PYTORCH_NVML_BASED_CUDA_CHECK",
    "TORCHINDUCTOR_CACHE_DIR",
    "TORCH_LAB_",
)


def comparable(environment: Mapping[str, Any]) -> dict[str, Any]:
    """The machine, Python and the variables that training depends on, by names for people."""
    return {name: value for name, value in _facts(environment) if value is not None}


def of_git(facts: Mapping[str, str]) -> dict[str, Any]:
    """The commit and its branch; uncommitted changes are seen in the code itself."""
    return {name: facts.get(name) for name in ("commit", "branch")}


def _facts(environment: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "host", environment.get("host")
    yield "platform", environment.get("platform")
    yield "python", _part(environment, "python").get("version")
    cpu = _part(environment, "cpu")
    yield "cpu", cpu.get("model")
    yield "cores", cpu.get("usable")
    memory = _part(environment, "memory").get("total")
    yield "memory", format_size(memory) if isinstance(memory, int) else None
    gpus = [gpu for gpu in environment.get("gpus") or () if isinstance(gpu, Mapping)]
    yield "gpus", _counted(gpus)
    cuda = _part(environment, "cuda")
    yield "cuda", cuda.get("torch")
    yield "driver", cuda.get("driver") or next((gpu.get("driver") for gpu in gpus), None)
    slurm = _part(environment, "slurm")
    yield from ((name, slurm.get(name)) for name in _SLURM)
    for name, value in _part(environment, "variables").items():
        if not name.startswith(_PASSING):
            yield name, value


def _counted(gpus: list[Mapping[str, Any]]) -> str | None:
    names = Counter(str(gpu.get("name")) for gpu in gpus)
    return ", ".join(f"{count} x {name}" for name, count in names.items()) or None


def _part(environment: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = environment.get(name)
    return part if isinstance(part, Mapping) else {}
