"""`lab check`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch_lab.cli.options import HELP, Option, Reader, answered, option_lines
from torch_lab.cli.values import assignments
from torch_lab.errors import UsageError

OPTIONS = (
    Option(
        "--drill",
        help="train a short copy, kill it at several moments, resume it, and\n"
        "say whether it goes on exactly, or what is lost and who keeps it",
    ),
    Option(
        "--set",
        "KEY=VALUE",
        "change one hyperparameter, as for train; may be repeated",
        short="-s",
        repeats=True,
    ),
    HELP,
)

HELP_TEXT = f"""\
lab check HPARAMS… --drill [options]      does a run of it go on exactly when it is killed?

  lab check my_project/experiments/00_digits/hparams.py --drill
  lab check hparams.py --drill -s num_workers=4

{option_lines(OPTIONS)}

The copy trains a few batches of the same data, twice: once through, and once killed and resumed.
It records no run and leaves nothing behind; its files are in the folder that TMPDIR says.

Exit status: 0 exact, 1 not exact or not resumed, 2 a mistake in what was asked.
"""


def command(argv: Sequence[str]) -> int | None:
    """Check experiments."""
    reader = Reader(argv, OPTIONS)
    parsed = reader.read(reader.refuse)
    if answered(parsed, HELP_TEXT):
        return 0
    if not parsed.words:
        raise UsageError("which hyperparameter script?", hint="type `lab check HPARAMS --drill`")
    if not parsed.has("--drill"):
        words = " ".join(parsed.words)
        raise UsageError(
            "lab check does nothing but --drill in this version",
            hint=f"type `lab check {words} --drill`",
        )
    from torch_lab.tasks.drill import drill

    return drill([Path(word) for word in parsed.words], assignments(parsed.all("--set")))
