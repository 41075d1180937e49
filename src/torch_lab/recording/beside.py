"""The training's side of its companion process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from torch_lab.recording.companion import DRAIN, Order
from torch_lab.utils.threads import leave_signals_to_main

_MORE = 2.0  # seconds, beyond what it is given, for its own start and end
_ROOT = Path(__file__).parents[2]
# Found like this wherever torch-lab lies, and whatever lies in the working directory.
_CODE = (
    "import sys; sys.path.append(sys.argv[1]);"
    " from torch_lab.recording.companion import main; main(sys.argv[2])"
)


class Companion:
    """A companion process; whatever becomes of it, training goes on."""

    def __init__(self, order: Order, say: Callable[[str], None]) -> None:
        self._say = say
        self._ending = False
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _CODE, str(_ROOT), order.words()],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,  # signals to the training's group are not for it
                cwd=order.run,
            )
        except OSError as error:
            self._missed(str(error))
            return
        self._watch = threading.Thread(target=self._wait, name="companion", daemon=True)
        self._watch.start()

    @property
    def pid(self) -> int | None:
        """The process's number, if it could be started."""
        return self._process.pid if self._process else None

    def end(self, patience: float = DRAIN) -> None:
        """Say that nothing more will come, and wait so many seconds until the rest is told."""
        if self._process is None or self._ending:
            return
        self._ending = True
        assert self._process.stdin is not None
        with suppress(OSError):
            os.write(self._process.stdin.fileno(), str(patience).encode())
        self._watch.join(patience + _MORE)
        if self._watch.is_alive():
            self._process.kill()
            self._watch.join(1)
        with suppress(OSError):
            self._process.stdin.close()

    def _wait(self) -> None:
        leave_signals_to_main()
        assert self._process is not None
        assert self._process.stderr is not None
        with self._process.stderr as errors:
            said = errors.read().decode(errors="replace").strip()
        status = self._process.wait()
        if status != 0 and not (self._ending and status < 0):
            self._missed(said.rpartition("\n")[2] or f"exit status {status}")

    def _missed(self, reason: str) -> None:
        self._say(
            f"warning: nothing more is written for TensorBoard and of machine use: {reason}"
            " (training goes on)"
        )
