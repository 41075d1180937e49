"""sbatch's long options, as `lab submit` and [tool.torch-lab.slurm] take them, and our own."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch_lab.utils.text import shown, suggestion

_KNOWN = """
account acctg-freq batch bb bbf begin cluster-constraint clusters comment constraint container
contiguous core-spec cores-per-socket cpu-freq cpus-per-gpu cpus-per-task deadline delay-boot
dependency distribution exclude exclusive export export-file extra get-user-env gpu-bind
gpu-freq gpus gpus-per-node gpus-per-socket gpus-per-task gres gres-flags hint ignore-pbs input
licenses mail-type mail-user mcs-label mem mem-bind mem-per-cpu mem-per-gpu mincpus network nice
no-kill nodefile nodelist nodes overcommit oversubscribe partition power prefer priority profile
propagate qos reboot reservation sockets-per-node spread-job switches thread-spec
threads-per-core time time-min tmp tres-bind tres-per-task use-min-nodes wait-all-nodes wckey
"""
_SET = "array chdir error job-name no-requeue ntasks ntasks-per-node open-mode output signal wrap"
OPTIONS, OURS = frozenset(_KNOWN.split()), frozenset(_SET.split())
OWN = {
    "requeue": "true or false",
    "setup": "a list of lines of shell",
    "srun": "a list of options of srun",
    "warning": "a positive number of seconds",
}
COUNTS = ("nodes", "gpus")
_TIME = re.compile(
    r"(?:(?P<days>\d+)-(?P<hours>\d+)(?::(?P<minutes>\d+))?(?::(?P<seconds>\d+))?"
    r"|(?P<clock>\d+(?::\d+){0,2}))"
)
_UNLIMITED = ("infinite", "unlimited")


def problem(key: str, value: object) -> str | None:
    """What is wrong with an option and its value; None where nothing is known to be."""
    if key in OWN:
        return None if _is_own(key, value) else f"expected {OWN[key]}, got {shown(value)}"
    if key in OURS:
        return "`lab submit` sets it itself"
    if key not in OPTIONS:
        return f"unknown option of sbatch; {suggestion(key, sorted([*OPTIONS, *OWN]))}"
    if key in COUNTS:
        return None if _is_count(value) else f"expected a positive int, got {shown(value)}"
    if key == "time" and seconds(value) is None:
        return f"expected a time such as 90 (minutes), 04:00:00 or 2-12, got {shown(value)}"
    if isinstance(value, (str, int)) and "\n" not in str(value):
        return None
    return f"expected a string, an int or true, got {shown(value)}"


def seconds(limit: object) -> float | None:
    """The seconds that a value of --time means; None where it means nothing."""
    text = str(limit).strip()
    if text.lower() in _UNLIMITED:
        return math.inf
    found = _TIME.fullmatch(text)
    if found is None or isinstance(limit, bool):
        return None
    if found["clock"] is None:
        days, hours, minutes, rest = (
            int(found[name] or 0) for name in ("days", "hours", "minutes", "seconds")
        )
        return float(((days * 24 + hours) * 60 + minutes) * 60 + rest)
    parts = [int(part) for part in found["clock"].split(":")]
    if len(parts) == 3:
        return float((parts[0] * 60 + parts[1]) * 60 + parts[2])
    return float(parts[0] * 60 + (parts[1] if len(parts) == 2 else 0))


def directives(options: Mapping[str, Any]) -> Iterable[str]:
    """The options as words of a command line; those that are false or none are left out."""
    for key, value in options.items():
        if value is True:
            yield f"--{key}"
        elif value is not None and value is not False:
            yield f"--{key}={value}"


def _is_own(key: str, value: object) -> bool:
    if key == "requeue":
        return isinstance(value, bool)
    if key == "warning":
        return _is_count(value)
    return isinstance(value, (list, tuple)) and all(isinstance(each, str) for each in value)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
