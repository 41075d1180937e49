"""How a run is laid out over nodes and tasks, and what sbatch is asked for.

On one node there is one task, whose process starts the others itself. Over several nodes there is
a task for each process: no process can start one on another machine.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch_lab.errors import SettingsError, UsageError
from torch_lab.settings import Settings
from torch_lab.tasks.plan import Plan
from torch_lab.utils import sbatch
from torch_lab.utils.paths import display
from torch_lab.utils.text import plural

WARNING = 120  # seconds before the limit: a step, a checkpoint and Slurm's own minute
_GPUS = ("gpus", "gpus-per-node", "gpus-per-task", "gres", "tres-per-task")
_COUNT = re.compile(r"(?:gpu(?::[^:,]+)?:|[^:,]+:)?(\d+)")


@dataclass(frozen=True)
class Layout:
    """What sbatch and srun are asked for."""

    options: Mapping[str, Any]
    tasks: tuple[str, ...] = ("--ntasks=1",)
    srun: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    requeue: bool = True
    warning: int = WARNING

    @property
    def directives(self) -> list[str]:
        """sbatch's options, but for those of one job."""
        again = "--requeue" if self.requeue else "--no-requeue"
        ours = ["--open-mode=append", f"--signal=USR1@{self.warning}", again, *self.tasks]
        return [*ours, *sbatch.directives(self.options)]


def nodes_override(plan: Plan, typed: Mapping[str, Any]) -> str | None:
    """What hparams are to be given so that the run uses the nodes that were asked for."""
    told, asked = _init(plan).get("num_nodes"), typed.get("nodes")
    if asked is None or told == asked or (told is None and asked == 1):
        return None
    if told is not None:
        raise UsageError(
            f"--nodes {asked}, and trainer.init.num_nodes is {told} in"
            f" {display(plan.experiment.script)}",
            hint="Leave one of them out: either gives the other.",
        )
    return f"trainer.init.num_nodes={asked}"


def layout(plan: Plan, typed: Mapping[str, Any]) -> Layout:
    """What a run needs: as typed, as its hyperparameters say, as the settings say."""
    told = dict(plan.settings.slurm)
    if any(key in typed for key in _GPUS):
        told = {key: value for key, value in told.items() if key not in _GPUS}
    own = {key: told.pop(key) for key in sbatch.OWN if key in told}
    options = told | dict(typed)
    nodes = int(_init(plan).get("num_nodes", 1))
    gpus = _gpus_per_node(options, nodes)
    if options.pop("gpus", None) is not None:
        options["gpus-per-node"] = gpus
    warning = int(own.get("warning", WARNING))
    _require_time(options.get("time"), warning, plan.settings)
    processes = _processes(plan, gpus)
    options.pop("nodes", None)
    options = {"nodes": nodes} | options
    srun = [*own.get("srun", ())]
    if "cpus-per-task" in options:  # since Slurm 22.05 srun doesn't take it from sbatch
        srun.insert(0, f"--cpus-per-task={options['cpus-per-task']}")
    tasks = ("--ntasks=1",) if nodes == 1 else (f"--ntasks-per-node={processes}",)
    setup = tuple(own.get("setup", ()))
    requeue = bool(own.get("requeue", True))
    return Layout(options, tasks, tuple(srun), setup, requeue, warning)


def _init(plan: Plan) -> Mapping[str, Any]:
    return plan.hparams.trainer.init


def _gpus_per_node(options: Mapping[str, Any], nodes: int) -> int | None:
    """How many GPUs each node has for the job; None where that isn't said."""
    whole = options.get("gpus")
    if whole is not None:
        if whole % nodes:
            raise UsageError(
                f"{plural(whole, 'GPU')} can't be shared equally by {nodes} nodes",
                hint="--gpus counts those of all nodes together.",
            )
        return int(whole) // nodes
    said = options.get("gpus-per-node")
    if said is None and str(options.get("gres", "")).startswith("gpu"):
        said = options["gres"]
    found = _COUNT.fullmatch(str(said)) if said is not None else None
    return int(found[1]) if found else None


def _processes(plan: Plan, gpus: int | None) -> int:
    """How many processes a node has, as Lightning will count them there."""
    init = _init(plan)
    devices = init.get("devices", "auto")
    if isinstance(devices, (list, tuple)):
        wanted = len(devices)
    elif str(devices).isdecimal():
        wanted = int(devices)
    else:  # "auto", -1: all GPUs there are
        return 1 if init.get("accelerator") == "cpu" else gpus or 1
    if gpus is not None and wanted > gpus and init.get("accelerator") != "cpu":
        raise UsageError(
            f"trainer.init.devices is {devices}, and each node is asked for {plural(gpus, 'GPU')}",
            hint="Ask for as many with --gpus, which counts those of all nodes, or change devices.",
        )
    return wanted


def _require_time(limit: object, warning: int, settings: Settings) -> None:
    """Raise where no time would be left between the warning and what comes before or after it."""
    if warning <= settings.grace_period:
        raise SettingsError(
            f"slurm.warning is {warning} s, and the grace period {settings.grace_period:g} s",
            hint="A run that is warned needs more than its grace period to be saved and requeued.",
        )
    length = math.inf if limit is None else sbatch.seconds(limit)
    if length is not None and length <= warning:
        raise UsageError(
            f"--time {limit} is {length:g} s, and the job is warned {warning} s before its end",
            hint="Ask for more: a number alone is minutes. [tool.torch-lab.slurm] has `warning`.",
        )
