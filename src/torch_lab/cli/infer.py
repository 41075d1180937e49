"""`infer`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from torch_lab.cli.options import DEBUG, Option, Parsed, Reader, answered, option_lines
from torch_lab.cli.values import assignments, gpu_list
from torch_lab.errors import UsageError
from torch_lab.tasks.options import InferOptions

OPTIONS = (
    Option(
        "--checkpoint",
        "RUN[:NAME]",
        "the weights: a run, or a checkpoint of it (last where no NAME\n"
        'is given), or a .ckpt file; "none" for the module as built',
    ),
    Option("--set", "KEY=VALUE", "change one hyperparameter; may be repeated", repeats=True),
    Option("--gpu-devices", "0,1", "the GPUs to use"),
    Option("--trust", help="load a checkpoint that could run code; only if you know its source"),
    DEBUG,
    Option("--help", help="show this and exit"),
)
_FIRST = (*OPTIONS, Option("--version", help="show the version and exit"))

HELP_TEXT = f"""\
infer HPARAMS [ARGS…] [options]      predict with what infer_config(config, *ARGS) returns

  infer my_project/experiments/00_digits/hparams.py --checkpoint 00_digits-hparams_v3:best
  infer hparams.py --checkpoint 00_digits/hparams          this script's newest run
  infer hparams.py scans/ --threshold=0.3                  both reach infer_config
  infer hparams.py --checkpoint none -- --checkpoint       behind `--` everything does

{option_lines(_FIRST)}

`--name=value` gives a value to a keyword-only parameter of infer_config, one behind `*`; all
other words go to its other parameters as they are and in their order. Without --checkpoint the
`checkpoint` section of the hyperparameters says where the weights come from.
"""


def command(argv: Sequence[str]) -> int | None:
    """Predict."""
    parsed = read(argv)
    if answered(parsed, HELP_TEXT):
        return 0
    options = infer_options(parsed)
    from torch_lab.cli.debugger import post_mortem
    from torch_lab.tasks.infer import infer

    with post_mortem(wanted=parsed.has("--debug")):
        infer(options)
    return 0


def read(argv: Sequence[str]) -> Parsed:
    """Sort the words: options of ours, HPARAMS, and what goes to `infer_config`."""
    first = argv[0] if argv else ""
    if first in {"-h", "--version"}:
        return Parsed(values={"--help" if first == "-h" else first: [""]})
    reader = Reader(argv, OPTIONS)

    def unknown(word: str) -> None:
        if not reader.parsed.words:
            reader.refuse(word)
        _warn_if_misspelt(word)
        reader.parsed.words.append(word)

    return reader.read(unknown)


def infer_options(parsed: Parsed) -> InferOptions:
    """What the words of a command line ask for."""
    if not parsed.words:
        raise UsageError("which hyperparameter script?", hint="type `infer HPARAMS`")
    script, *args = parsed.words
    checkpoint = parsed.one("--checkpoint")
    if checkpoint is not None and not checkpoint.strip():  # a shell's variable that holds nothing
        raise UsageError("--checkpoint is empty", hint="write `--checkpoint RUN[:NAME]`")
    return InferOptions(
        script=Path(script),
        args=tuple(args),
        checkpoint=checkpoint,
        gpus=gpu_list(parsed.one("--gpu-devices")),
        overrides=assignments(parsed.all("--set")),
        trust=parsed.has("--trust"),
    )


def _warn_if_misspelt(word: str) -> None:
    from difflib import get_close_matches

    name = word.partition("=")[0]
    names = [option.name for option in OPTIONS]
    for meant in get_close_matches(name, names, n=1, cutoff=0.85):
        sys.stderr.write(f"note: {name} goes to infer_config; was {meant} meant?\n")
