"""Whom the system has killed because memory ran out, as the kernel counts it."""

from __future__ import annotations

import re

from torch_lab.store.asking import contents

_COUNT = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)
_ROOT = "/sys/fs/cgroup"


def kills() -> int:
    """How many processes were killed so far, in this process's group and on the whole machine.

    A container may be told of its own only, and a machine counts those of all of them: what
    matters is whether the number has grown.
    """
    return sum(int(count) for file in _files() for count in _COUNT.findall(contents(file)))


def _files() -> list[str]:
    files = ["/proc/vmstat", f"{_ROOT}/memory.events"]
    for line in contents("/proc/self/cgroup").splitlines():
        _, controllers, group = [*line.split(":", 2), "", ""][:3]
        if group.strip("/") and not controllers:
            files.append(f"{_ROOT}{group}/memory.events")
        elif "memory" in controllers.split(","):
            files.append(f"{_ROOT}/memory{group.rstrip('/')}/memory.oom_control")
    return files
