"""The entry points: `train`, `infer`, `lab VERB`, and `torch-lab VERB` for all of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import NoReturn

from torch_lab.cli.exit import MISTAKE, leave
from torch_lab.cli.options import version
from torch_lab.errors import UsageError

Command = Callable[[Sequence[str]], "int | None"]

LAB_VERBS = {
    "init": "a new project that trains at once, with its first experiment",
    "clone": "the next numbered experiment, from an existing one or from a run's code",
    "check": "what is wrong with an experiment, before it costs GPU time",
    "preview": "look at the data: a picture of one batch, sizes, ranges, classes",
    "submit": "hand runs to Slurm, with their code as it is now",
    "sweep": "search hyperparameters; each trial is an ordinary run",
    "runs": "the runs, newest first, filtered and sorted",
    "show": "one run: hparams, metrics, checkpoints …; or one script: its fields, its runs",
    "diff": "what differs between two runs, scripts or experiments",
    "plot": "the curves of runs over each other: a page for a browser, or a picture",
    "export": "the trained model: safetensors, torch.export (.pt2), skops, UBJ",
    "rm": "delete runs",
    "sync": "send to the ClearML server what it does not have yet",
    "pull": "fetch a run that only the server knows",
    "env": "the machine as training sees it",
    "completion": "TAB for bash, zsh and fish",
}
VERBS = {
    "train": "train an experiment with one set of hyperparameters",
    "infer": "predict with what was trained",
    **LAB_VERBS,
}


def main() -> NoReturn:
    """`torch-lab VERB`."""
    leave(lambda: _dispatch("torch-lab", VERBS, sys.argv[1:]))


def main_lab() -> NoReturn:
    """`lab VERB`."""
    leave(lambda: _dispatch("lab", LAB_VERBS, sys.argv[1:]))


def main_train() -> NoReturn:
    """`train`."""
    leave(lambda: _command("train")(sys.argv[1:]))


def main_infer() -> NoReturn:
    """`infer`."""
    leave(lambda: _command("infer")(sys.argv[1:]))


def _dispatch(program: str, verbs: Mapping[str, str], argv: Sequence[str]) -> int | None:
    if not argv:
        sys.stderr.write(_help(program, verbs))
        return MISTAKE
    verb, *rest = argv
    if verb in {"-h", "--help"}:
        print(_help(program, verbs), end="")
        return 0
    if verb == "--version":
        print(version())
        return 0
    if verb not in verbs:
        raise _unknown(program, verbs, verb)
    return _command(verb)(rest)


def _unknown(program: str, verbs: Mapping[str, str], verb: str) -> UsageError:
    if verb in VERBS:
        return UsageError(f"{verb} is a command of its own", hint=f"type `{verb} …`")
    from torch_lab.utils.text import suggestion

    what = "option" if verb.startswith("-") else "verb"
    known = ("--help", "--version") if what == "option" else tuple(verbs)
    return UsageError(f"{program} has no {what} {verb!r}", hint=suggestion(verb, known))


def _command(verb: str) -> Command:
    command: Command = import_module(f"torch_lab.cli.{verb}").command
    return command


def _help(program: str, verbs: Mapping[str, str]) -> str:
    width = max(map(len, verbs)) + 2
    lines = "\n".join(f"  {program} {verb:<{width}}{what}" for verb, what in verbs.items())
    return f"{program} VERB …\n\n{lines}\n\n`{program} VERB --help` shows how each is used.\n"
