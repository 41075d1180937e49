"""A real command on a terminal of its own, and somebody who types there."""

from __future__ import annotations

import os
import pty
import select
import time
from collections.abc import Mapping
from pathlib import Path

from zygote import Zygote

CTRL_C = "\x03"


class Terminal:
    """Starts a command; `said` is what its screen has got so far."""

    def __init__(
        self, *words: str | Path, cwd: Path, zygote: Zygote, env: Mapping[str, str] | None = None
    ) -> None:
        self.said = ""
        self._read_to = 0
        self._zygote = zygote
        self._screen, inside = pty.openpty()
        device = Path(os.ttyname(inside))
        variables = {"TERM": "xterm", **(env or {})}
        self.pid = zygote.start(*words, cwd=cwd, log=device, stdin=device, env=variables)
        self._inside = inside

    def wait_for(self, text: str, timeout: float = 60) -> str:
        """Wait until the text appears behind what was waited for before; returns what preceded."""
        end = time.monotonic() + timeout
        while (found := self.said.find(text, self._read_to)) < 0:
            if time.monotonic() > end or not self._read(0.1):
                raise AssertionError(f"not said: {text!r}\n{self.said}")
        before, self._read_to = self.said[self._read_to : found], found + len(text)
        return before

    def type(self, text: str) -> None:
        """Type, as a person would: a line, or a key such as CTRL_C."""
        os.write(self._screen, (text if text == CTRL_C else f"{text}\n").encode())

    def interrupt(self, answer: str, attempts: int = 10) -> None:
        """Press Ctrl-C until it is answered: one at the very start of a prompt can be lost."""
        for left in reversed(range(attempts)):
            self.type(CTRL_C)
            try:
                self.wait_for(answer, timeout=3)
                return
            except AssertionError:
                if not left:
                    raise

    def ask(self, text: str, prompt: str = "(Pdb) ") -> str:
        """Type a line at a prompt; returns what is said until the next."""
        self.type(text)
        return self.wait_for(prompt).partition("\n")[2]

    def ended(self) -> int:
        """Wait for the end; the exit status, -N for signal N."""
        while not self.said:  # it has the terminal open by then
            self._read(0.1)
        os.close(self._inside)
        while self._read(0.1):
            pass
        os.close(self._screen)
        return self._zygote.wait(self.pid)

    def _read(self, timeout: float) -> bool:
        """Take what was said; False when there will be no more."""
        if not select.select([self._screen], [], [], timeout)[0]:
            return True
        try:
            data = os.read(self._screen, 65536)
        except OSError:  # how Linux says that the other side is closed
            return False
        self.said += data.decode(errors="replace").replace("\r\n", "\n")
        return bool(data)
