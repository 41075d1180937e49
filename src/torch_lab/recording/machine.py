"""How much of the machine training uses, read from outside of it."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from torch_lab.store.asking import ask, contents
from torch_lab.store.paths import RunDirectory
from torch_lab.store.segments import parsed, segments

_PATIENCE = 5.0  # seconds for one answer of nvidia-smi or ps
_ATTEMPTS = 3
_GPU_FIELDS = ("index", "uuid", "utilization.gpu", "memory.used", "temperature.gpu", "power.draw")
_GPU_NAMES = ("percent", "memory_bytes", "celsius", "watts")


class Sample(NamedTuple):
    """What was in use at one moment."""

    t: float
    values: dict[str, float]


def samples(run: RunDirectory) -> Iterator[Sample]:
    """All samples of a run, oldest first; machine time that was used is never superseded."""
    for segment in segments(run.machine):
        yield from parsed(segment, parse)


def began(run: RunDirectory) -> float | None:
    """When the first sample was taken, from which others count their seconds."""
    return next((sample.t for sample in samples(run)), None)


def parse(content: dict[str, Any]) -> Sample | None:
    """The sample that a line's content is, if it is one."""
    try:
        values = {str(name): float(value) for name, value in content["values"].items()}
        return Sample(float(content["t"]), values)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


class Process(NamedTuple):
    """One line of the table of processes."""

    parent: int
    cpu: float  # seconds
    memory: int  # bytes


class Machine:
    """Asked now and then, says what was used since the last time."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._gpus = _Gpus()
        self._moment = time.monotonic()
        self._busy = _busy_seconds()
        self._processes = self._tree()

    def sample(self) -> dict[str, float]:
        """Percent of all cores, and of one core for the training's processes; bytes; watts."""
        now = time.monotonic()
        elapsed, self._moment = max(now - self._moment, 1e-3), now
        values = {**self._cpu(elapsed), **_memory(), **self._training(elapsed)}
        return {**values, **self._gpus.sample()}

    def _cpu(self, elapsed: float) -> dict[str, float]:
        before, self._busy = self._busy, _busy_seconds()
        if before is None or self._busy is None:
            return {}
        share = (self._busy - before) / elapsed / (os.cpu_count() or 1)
        return {"cpu_percent": round(min(max(100 * share, 0.0), 100.0), 1)}

    def _training(self, elapsed: float) -> dict[str, float]:
        before, self._processes = self._processes, self._tree()
        if not self._processes:
            return {}
        # A worker that has ended since takes what it used with it; a new one used it all since.
        used = sum(
            each.cpu - (before[pid].cpu if pid in before else 0.0)
            for pid, each in self._processes.items()
        )
        return {
            "training_cpu_percent": round(max(100 * used / elapsed, 0.0), 1),
            "training_memory_bytes": sum(each.memory for each in self._processes.values()),
        }

    def _tree(self) -> dict[int, Process]:
        return descendants(_processes(), self._pid, without=os.getpid())


def descendants(table: dict[int, Process], root: int, *, without: int) -> dict[int, Process]:
    """A process and those it started, and these, but for one and what that one started."""
    children: dict[int, list[int]] = {}
    for pid, process in table.items():
        children.setdefault(process.parent, []).append(pid)
    found: dict[int, Process] = {}
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        if pid in table and pid not in found and pid != without:
            found[pid] = table[pid]
            waiting += children.get(pid, [])
    return found


def _processes() -> dict[int, Process]:
    if sys.platform == "linux":
        return dict(_from_proc(Path("/proc")))
    return dict(_from_ps(ask("ps", "-axo", "pid=,ppid=,time=,rss=", timeout=_PATIENCE) or ""))


def _from_proc(folder: Path) -> Iterator[tuple[int, Process]]:
    tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    for entry in os.scandir(folder):
        if entry.name.isdigit():
            try:
                text = Path(entry.path, "stat").read_text(errors="replace")
            except OSError:  # it has just ended
                continue
            # The command's name is in parentheses and may itself hold spaces and parentheses.
            fields = text.rpartition(")")[2].split()
            cpu = (int(fields[11]) + int(fields[12])) / tick
            yield int(entry.name), Process(int(fields[1]), cpu, int(fields[21]) * page)


def _from_ps(text: str) -> Iterator[tuple[int, Process]]:
    for line in text.splitlines():
        fields = line.split()
        if len(fields) == 4 and fields[0].isdigit() and fields[3].isdigit():
            pid, parent, clock, kilobytes = fields
            yield int(pid), Process(int(parent), _seconds(clock), int(kilobytes) * 1024)


def _seconds(clock: str) -> float:
    """The seconds in `[[days-]hours:]minutes:seconds`."""
    days, _, rest = clock.rpartition("-")
    seconds = 0.0
    for part in rest.split(":"):
        seconds = 60 * seconds + float(part)
    return seconds + 86400 * int(days or 0)


def _busy_seconds() -> float | None:
    """CPU seconds that all processes of the machine have used, in sum."""
    if sys.platform != "linux":
        table = _processes()
        return sum(each.cpu for each in table.values()) if table else None
    fields = contents("/proc/stat").partition("\n")[0].split()[1:]
    if len(fields) < 8:
        return None
    user, nice, system, _, _, irq, softirq, steal = map(int, fields[:8])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _memory() -> dict[str, float]:
    """What is in use: of the container where that has a limit, else of the machine."""
    limit = contents("/sys/fs/cgroup/memory.max").strip()
    used = contents("/sys/fs/cgroup/memory.current").strip()
    if limit.isdigit() and used.isdigit():
        cache = re.search(
            r"^inactive_file (\d+)$", contents("/sys/fs/cgroup/memory.stat"), re.MULTILINE
        )
        return {"memory_bytes": max(int(used) - int(cache[1] if cache else 0), 0)}
    kilobytes = dict(re.findall(r"^(\w+):\s+(\d+) kB", contents("/proc/meminfo"), re.MULTILINE))
    if "MemTotal" not in kilobytes or "MemAvailable" not in kilobytes:
        return {}
    return {"memory_bytes": (int(kilobytes["MemTotal"]) - int(kilobytes["MemAvailable"])) * 1024}


class _Gpus:
    """What nvidia-smi says, as long as it answers."""

    def __init__(self) -> None:
        self._attempts = _ATTEMPTS
        self._visible = os.environ.get("CUDA_VISIBLE_DEVICES")

    def sample(self) -> dict[str, float]:
        if self._attempts == 0 or self._visible in ("", "-1"):
            return {}
        fields = ",".join(_GPU_FIELDS)
        query = f"--query-gpu={fields}"
        answer = ask("nvidia-smi", query, "--format=csv,noheader,nounits", timeout=_PATIENCE)
        self._attempts = _ATTEMPTS if answer else self._attempts - 1
        return gpu_values((answer or "").splitlines(), self._visible)


def gpu_values(lines: Iterable[str], visible: str | None) -> dict[str, float]:
    """Use by GPU, of those that CUDA_VISIBLE_DEVICES leaves; what isn't known is left out."""
    table = [[field.strip() for field in line.split(",")] for line in lines]
    table = [fields for fields in table if len(fields) == len(_GPU_FIELDS)]
    chosen = [name.strip() for name in (visible or "").split(",") if name.strip()]
    ours = [
        fields
        for fields in table
        if fields[0] in chosen or any(fields[1].startswith(name) for name in chosen)
    ]
    values: dict[str, float] = {}
    for fields in ours or table:
        for name, number in zip(_GPU_NAMES, fields[2:], strict=True):
            if re.fullmatch(r"\d+(\.\d+)?", number):  # else "[N/A]"
                scale = 2**20 if name == "memory_bytes" else 1
                values[f"gpu{fields[0]}_{name}"] = float(number) * scale
    return values
