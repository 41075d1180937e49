"""Which process, on which machine: what a lock says of its holder."""

from __future__ import annotations

import enum
import os
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path


class Liveness(enum.Enum):
    """What can be known of a process from here."""

    ALIVE = "alive"
    DEAD = "dead"
    RESTARTED = "restarted"  # a machine of its name has booted since: it, or a namesake
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Process:
    """A process, identified beyond its number, which is given out again after its death."""

    host: str
    boot_id: str
    pid: int
    pid_namespace: str
    started: str

    def liveness(self) -> Liveness:
        """Whether the process lives, as far as this machine can tell."""
        if self.host != hostname():
            return Liveness.UNKNOWN
        if self.boot_id != boot_id():
            return Liveness.RESTARTED
        if self.pid_namespace != pid_namespace():
            return Liveness.UNKNOWN
        return Liveness.ALIVE if self._runs() else Liveness.DEAD

    def is_suspended(self) -> bool:
        """Whether it lives here and was stopped, as by Ctrl-Z, so that it does nothing."""
        return self.liveness() is Liveness.ALIVE and _state(self.pid) in ("T", "t")

    def _runs(self) -> bool:
        if not _exists(self.pid):
            return False
        started = process_start(self.pid)
        return not started or not self.started or started == self.started


def hostname() -> str:
    """This machine's name."""
    return os.uname().nodename


def this_process() -> Process:
    """The process that asks."""
    pid = os.getpid()
    return Process(hostname(), boot_id(), pid, pid_namespace(), process_start(pid))


def process_start(pid: int) -> str:
    """When a process began, as a text to compare: "dead" for a zombie, empty where unknown."""
    if sys.platform != "linux":
        return _ask("ps", "-o", "lstart=", "-p", str(pid))
    fields = _stat(pid)
    if not fields:
        return ""
    return "dead" if fields[0] in "ZX" else fields[19]


def _state(pid: int) -> str:
    """What a process is doing, as a letter; empty where unknown."""
    if sys.platform != "linux":
        return _ask("ps", "-o", "state=", "-p", str(pid))[:1]
    return "".join(_stat(pid)[:1])


def _stat(pid: int) -> list[str]:
    """What Linux says of a process after its name; nothing where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return []
    # The command's name is in parentheses and may itself hold spaces and parentheses.
    return stat.rpartition(")")[2].split()


@cache
def boot_id() -> str:
    """Changes each time the machine starts; empty where it can't be known."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return _ask("sysctl", "-n", "kern.bootsessionuuid")


def pid_namespace() -> str:
    """Processes of two containers on one machine have numbers of their own."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _ask(*command: str) -> str:
    import subprocess  # where /proc has the answers it isn't needed

    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
