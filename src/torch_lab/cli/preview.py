"""`lab preview`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch_lab.cli.options import HELP, Option, Parsed, Reader, answered, option_lines
from torch_lab.cli.values import assignments, count
from torch_lab.errors import UsageError

if TYPE_CHECKING:
    from torch_lab.tasks.preview import Asked

SPLITS = ("train", "val", "test", "predict")
MOST = 256

OPTIONS = (
    Option("--split", "|".join(SPLITS), "which data: train unless said otherwise"),
    Option(
        "--samples",
        "N",
        "draw so many samples, from more than one batch if need be\n"
        "(without it the first 16 of one batch)",
        short="-n",
    ),
    Option("--out", "FILE", "the picture, a .png; what is there is replaced"),
    Option(
        "--set",
        "KEY=VALUE",
        "change one hyperparameter, as for train; may be repeated",
        short="-s",
        repeats=True,
    ),
    Option("--json", help="the numbers, for other programs"),
    HELP,
)

HELP_TEXT = f"""\
lab preview HPARAMS [ARGS…] [options]      look at the data, as training sees it

  lab preview my_project/experiments/00_digits/hparams.py
  lab preview hparams.py --split val -n 40 --out digits.png
  lab preview hparams.py -s degrees=45                   what does that do to the images?
  lab preview hparams.py --split predict scans/          ARGS are those of infer_config

{option_lines(OPTIONS)}

A batch is loaded, transformed, collated and given to the hooks on_before_batch_transfer and
on_after_batch_transfer, on the CPU: it is the first batch of a run with these hyperparameters.
Images are drawn in a grid with their labels, signals as lines, all else as a table. Shapes,
types, ranges, NaN and the balance of classes are said here. Nothing is trained or recorded.

Without --out the picture is data/previews/EXPERIMENT-SCRIPT-SPLIT.png in the project.
"""


def command(argv: Sequence[str]) -> int | None:
    """Preview data."""
    reader = Reader(argv, OPTIONS)
    parsed = reader.read(reader.refuse)
    if answered(parsed, HELP_TEXT):
        return 0
    _check(parsed)
    from torch_lab.utils.importing import importing

    with importing():
        from torch_lab.tasks.preview import preview, report
    found = preview(_asked(parsed))
    if parsed.has("--json"):
        found.write()
        sys.stdout.write(json.dumps(report.as_data(found), indent=2) + "\n")
        return 0
    from torch_lab.utils.streams import terminal_width

    sys.stdout.write(report.describe(found, width=terminal_width(sys.stdout)) + "\n")
    sys.stdout.flush()
    found.write()
    sys.stdout.write(report.written(found))
    return 0


def _check(parsed: Parsed) -> None:
    """What can be said before anything is imported."""
    split = parsed.one("--split") or "train"
    if split not in SPLITS:
        from torch_lab.utils.text import suggestion

        raise UsageError(f"--split {split}: no such split", hint=suggestion(split, SPLITS))
    if not parsed.words:
        raise UsageError("which hyperparameter script?", hint="type `lab preview HPARAMS`")
    if parsed.words[1:] and split != "predict":
        raise UsageError(
            f"lab preview takes one script, got {', '.join(parsed.words)}",
            hint="only with --split predict there may be more words, for infer_config",
        )
    wanted = count("--samples", parsed.one("--samples"))
    if wanted is not None and wanted > MOST:
        raise UsageError(f"--samples takes {MOST} at most, got {wanted}")
    _check_out(parsed.one("--out"))


def _check_out(out: str | None) -> None:
    if out is None:
        return
    if not out.lower().endswith(".png"):
        hint = f"write `--out {Path(out).with_suffix('.png')}`" if Path(out).name else None
        raise UsageError(f"--out takes a .png file, got {out}", hint=hint)
    if Path(out).is_dir():
        raise UsageError(f"--out {out}: this is a folder")


def _asked(parsed: Parsed) -> Asked:
    from torch_lab.tasks.preview import Asked

    script, *args = parsed.words
    out = parsed.one("--out")
    return Asked(
        script=Path(script),
        split=parsed.one("--split") or "train",
        args=tuple(args),
        overrides=assignments(parsed.all("--set")),
        count=count("--samples", parsed.one("--samples")),
        out=None if out is None else Path(out).absolute(),
    )
