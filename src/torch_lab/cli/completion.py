"""`lab completion`."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from torch_lab.cli.options import HELP, Reader, answered, option_lines
from torch_lab.errors import UsageError
from torch_lab.utils.streams import point_at_nothing

OPTIONS = (HELP,)
SHELLS = ("bash", "zsh", "fish")
_ASK = "--words"  # how the scripts ask; no option, for all that follows is the line's
_ABOUT = 60  # letters of what is said of a candidate
_PATIENCE = 4.0  # seconds: a prompt that hangs is worse than one without answers

HELP_TEXT = f"""\
lab completion SHELL      TAB for train, infer, lab: prints the script for bash, zsh or fish

  lab completion bash > ~/.torch-lab.bash      and in ~/.bashrc: source ~/.torch-lab.bash
  lab completion zsh > ~/.torch-lab.zsh        and in ~/.zshrc: source ~/.torch-lab.zsh
  lab completion fish > ~/.config/fish/conf.d/torch-lab.fish

{option_lines(OPTIONS)}

TAB completes verbs, options and their values, runs (newest first) and their checkpoints,
EXPERIMENT/SCRIPT, hyperparameter scripts, the keys of --set, filters and metrics. None of your
code is run for that. With the commands in a virtual environment, activate it first, or type
their path: the `lab` beside them answers.
"""


def command(argv: Sequence[str]) -> int | None:
    """Print a shell's script; or, asked by one, the answers."""
    if argv[1:2] == [_ASK]:
        _answer(argv[0], argv[2:])
        return 0
    reader = Reader(argv, OPTIONS)
    parsed = reader.read(reader.refuse)
    if answered(parsed, HELP_TEXT):
        return 0
    sys.stdout.write(script(_shell(parsed.words)))
    return 0


def script(shell: str) -> str:
    """The script that teaches a shell to ask."""
    return (Path(__file__).parent / "completing" / f"torch-lab.{shell}").read_text()


def _shell(words: Sequence[str]) -> str:
    if len(words) != 1:
        own = Path(os.environ.get("SHELL", "")).name
        guess = own if own in SHELLS else "bash"
        raise UsageError(
            f"lab completion takes the name of a shell: {', '.join(SHELLS)}",
            hint=f"type `lab completion {guess}`; `lab completion --help` says how it is installed",
        )
    if words[0] not in SHELLS:
        from torch_lab.utils.text import suggestion

        raise UsageError(f"no completion for {words[0]}", hint=suggestion(words[0], SHELLS))
    return words[0]


def _answer(shell: str, words: Sequence[str]) -> None:
    """Say what the word under the cursor could become; of what is wrong nothing, at a prompt."""
    # The shell goes on when nothing can come any more; an index of many runs is still finished.
    signal.signal(signal.SIGALRM, lambda *_: point_at_nothing(sys.__stdout__ or sys.stdout))
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE)
    with contextlib.suppress(Exception):  # whatever is wrong: the command itself will say it
        sys.stdout.write("".join(f"{line}\n" for line in _lines(shell, words)))


def _lines(shell: str, words: Sequence[str]) -> list[str]:
    from torch_lab.cli.completing import line
    from torch_lab.cli.completing.answers import answers
    from torch_lab.cli.main import LAB_VERBS, VERBS

    if shell == "zsh":  # takes its own quotes off
        read = line.Line(list(words))
    elif shell == "fish":
        read = line.read("\n".join(words), "")
    else:
        read = line.read(*words)
    said = _without_variables(read.words)
    program = Path(said[0]).name
    found = answers(said, VERBS if program == "torch-lab" else LAB_VERBS)
    if program in ("lab", "torch-lab") or program in VERBS:
        if shell == "bash":
            return list(read.replies(found))
        return [f"{each.text}\t{_short(each.about)}" for each in found]
    return []


def _short(about: str) -> str:
    if len(about) <= _ABOUT:
        return about
    return about[: _ABOUT - 1].rpartition(" ")[0] + " …"


def _without_variables(words: Sequence[str]) -> list[str]:
    """`CUDA_VISIBLE_DEVICES=0 train …` is a `train` all the same."""
    first = next((n for n, word in enumerate(words) if "=" not in word.partition(" ")[0]), 0)
    return list(words[first:])
