"""What the machine says of itself: the kernel's text files, and other programs' answers."""

from __future__ import annotations

import subprocess
from pathlib import Path

TIMEOUT = 10.0  # seconds


def contents(path: str) -> str:
    """The contents of a file, empty where there is none."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def ask(*command: str, timeout: float = TIMEOUT) -> str | None:
    """What a command prints; None where it is missing, fails or takes too long."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
