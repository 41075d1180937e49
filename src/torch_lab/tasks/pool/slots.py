"""What the commands of a pool may use: a GPU each, or a share of the cores."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from torch_lab.errors import UsageError

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_CORES_EACH = 4  # where nobody says how many commands run at a time
_VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Slot:
    """Room for one command: its GPUs, None where none was named, and its CPU threads."""

    number: int
    gpus: tuple[int, ...] | None
    threads: int

    def words(self) -> tuple[str, ...]:
        """The options for a command here; it sees only its own GPUs, which begin at 0."""
        if self.gpus is None:
            return ()
        return ("-g", ",".join(map(str, range(len(self.gpus)))))

    def environment(self) -> dict[str, str]:
        """The variables for a command here; threads that the user has limited stay so."""
        threads = {name: str(self.threads) for name in _THREADS if not os.environ.get(name)}
        if self.gpus is None:
            return threads
        return threads | {_VISIBLE: ",".join(map(_as_system_names, self.gpus))}

    def __str__(self) -> str:
        if self.gpus is None:
            return f"slot {self.number}"
        return f"GPU {','.join(map(str, self.gpus))}"


def slots(gpus: Sequence[int] | None, jobs: int | None, *, most: int | None = None) -> list[Slot]:
    """A slot for each GPU, or `jobs` of them; `most`: no more are of use.

    Where neither is given: one for each GPU that there is, else one for every few cores.
    """
    if gpus is not None and jobs is not None:
        raise UsageError(
            "-g and -j can't be given together: with -g, one command runs on each of the GPUs",
            hint="Leave out -j, or -g to train without naming GPUs.",
        )
    if gpus is None and jobs is None:
        gpus = range(gpu_count()) or None
    cores = _cores()
    count = len(gpus) if gpus is not None else jobs or max(cores // _CORES_EACH, 1)
    count = min(count, most) if most is not None else count
    threads = max(cores // count, 1)
    named = [None] * count if gpus is None else [(gpu,) for gpu in gpus[:count]]
    return [Slot(number, own, threads) for number, own in enumerate(named)]


def gpu_count() -> int:
    """The GPUs that this process may use, as torch counts them; no context is made on any."""
    import torch

    return torch.cuda.device_count()


def _cores() -> int:
    from torch_lab.store.environment import usable_cores

    return max(int(usable_cores() or 1), 1)


def _as_system_names(gpu: int) -> str:
    """A GPU that this process knows by a number, as the variable names it."""
    visible = os.environ.get(_VISIBLE)
    if visible is None:
        return str(gpu)
    return [name.strip() for name in visible.split(",")][gpu]
