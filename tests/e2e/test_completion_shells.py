"""TAB in real shells: what is typed, completed and then run is what the command gets."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from helpers import SRC, Project, environment
from store.store_helpers import new_run, write_record
from torch_lab.store.record import CheckpointEntry

SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(lab completion bash)"'),
    "zsh": (
        ["zsh", "-f", "-i"],
        'autoload -Uz compinit; compinit -u -D; eval "$(lab completion zsh)"',
    ),
    "fish": (["fish", "--no-config", "-i"], "lab completion fish | source"),
}
EXPERIMENT = "lab_project/experiments/00_net"
HPARAMS = f"{EXPERIMENT}/hparams.py"
RUN = "00_net-hparams_v1"

# A shell reads lines only from the terminal that controls it.
CONTROLS = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
# `train` and `infer` say what they get; `lab` answers the shell, and else does so too.
SAYS = """#!/bin/sh
printf 'GOT'
for word in "$@"; do printf '<%s>' "$word"; done
echo
"""
ANSWERS = f"""#!/bin/sh
[ "$1" = completion ] && PYTHONPATH={SRC} exec {sys.executable} -m torch_lab "$@"
"""


class Shell:
    """An interactive shell on a terminal of its own."""

    def __init__(self, argv: list[str], cwd: Path, env: dict[str, str]) -> None:
        self.said = ""
        self._screen, inside = pty.openpty()
        ends = {"stdin": inside, "stdout": inside, "stderr": inside}
        words = [sys.executable, "-c", CONTROLS, *argv]
        self._process = subprocess.Popen(words, cwd=cwd, env=env, start_new_session=True, **ends)
        os.close(inside)

    def type(self, keys: str) -> None:
        os.write(self._screen, keys.encode())

    def wait_for(self, pattern: str, timeout: float = 60) -> str:
        """Wait for a text that matches; what came before is not looked at again."""
        end = time.monotonic() + timeout
        while (found := re.search(pattern, self.said)) is None:
            if time.monotonic() > end or not self._read():
                raise AssertionError(f"not said: {pattern!r}\n{self.said!r}")
        self.said = self.said[found.end() :]
        return found.group()

    def got(self, keys: str) -> list[str]:
        """The words that a command got when these keys and Enter had been typed."""
        self.type(f"{keys}\n")
        return re.findall(r"<(.*?)>", self.wait_for(r"GOT(<[^\n]*>)?\r?\n"))

    def close(self) -> None:
        os.close(self._screen)  # the shell gets SIGHUP
        self._process.wait(60)

    def _read(self) -> bool:
        if select.select([self._screen], [], [], 0.2)[0]:
            data = b""
            with suppress(OSError):  # how Linux says that the other side is closed
                data = os.read(self._screen, 65536)
            self.said += data.decode(errors="replace")
            return bool(data)
        return True


@pytest.fixture(params=list(SHELLS))
def shell(request, project: Project, tmp_path: Path) -> Iterator[Shell]:
    """A shell that has been told of the commands, in a project with an experiment and two runs."""
    argv, told = SHELLS[request.param]
    if shutil.which(argv[0]) is None:
        pytest.skip(f"{argv[0]} is not installed here")
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    for name, text in {"train": SAYS, "infer": SAYS, "lab": ANSWERS + SAYS}.items():
        (bin_ / name).write_text(text)
        (bin_ / name).chmod(0o755)
    project.write(f"{EXPERIMENT}/__main__.py", "")
    project.write(f"{EXPERIMENT}/hparams.py", 'hparams = {"config": {"learning_rate": 1}}\n')
    project.write("my data/first part.csv", "")
    best = CheckpointEntry("best", "checkpoints/step-3.ckpt", "auto", 3, 3, 1)
    for number in range(2):
        write_record(
            new_run(project.artifacts, "00_net-hparams"), created=number, checkpoints=(best,)
        )
    own = {"HOME": str(tmp_path), "TERM": "xterm", "PS1": "$ ", "COLUMNS": "300"}
    env = environment(**own) | {"PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}"}
    made = Shell(argv, project.root, env)
    made.type(f"{told}; echo rea''dy\n")
    made.wait_for("ready")
    yield made
    made.close()


def test_tab_completes_what_a_command_then_gets(shell: Shell):
    assert shell.got("train lab\t") == [HPARAMS]
    assert shell.got(f"train {HPARAMS} --se\tlear\t5") == [HPARAMS, "--set", "learning_rate=5"]
    assert shell.got(f"infer x.py --checkpoint={RUN}:b\t") == ["x.py", f"--checkpoint={RUN}:best"]
    assert shell.got("lab sho\t00_net-hparams_v1:\t") == ["show", f"{RUN}:best"]
    assert shell.got("infer x.py my\tfir\t") == ["x.py", "my data/first part.csv"]
    assert shell.got('infer x.py "my data/f\t') == ["x.py", "my data/first part.csv"]


def test_a_command_named_by_its_path_asks_the_lab_beside_it(
    shell: Shell, project: Project, tmp_path: Path
):
    beside = tmp_path / "other bin"
    shutil.copytree(tmp_path / "bin", beside)
    (beside / "lab").write_text("#!/bin/sh\necho pulled\n")
    assert shell.got(r"../other\ bin/train p" + "\t") == ["pulled"]
