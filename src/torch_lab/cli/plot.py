"""`lab plot`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch_lab.cli.options import HELP, Option, Parsed, Reader, answered, option_lines
from torch_lab.cli.values import count
from torch_lab.errors import UsageError

if TYPE_CHECKING:
    from torch_lab.tasks.plot.drawing import Wanted

OPTIONS = (
    Option(
        "--out",
        "FILE",
        "a page (.html), or a picture (.png, .svg, .pdf);\nwhat is there is replaced",
    ),
    Option(
        "--metric",
        "GLOB",
        "only metrics that are like this; may be given again",
        repeats=True,
    ),
    Option("--x", "step|epoch|time", "what the curves are over; a page can change it"),
    Option(
        "--smooth",
        "SHARE",
        "means over this share of the axis: 0.05 is a twentieth;\na page can change it",
    ),
    Option("--sort", "KEY", "by this key, least first; `-KEY`: greatest first"),
    Option("--limit", "N", "the first N only"),
    HELP,
)

HELP_TEXT = f"""\
lab plot RUN… --out FILE [options]        the curves of runs over each other
lab plot FILTER… --out FILE [options]     those that meet filters, as `lab runs` takes them

  lab plot 00_digits-hparams_v3 00_digits-hparams_v4 --out curves.html
  lab plot 00_digits/hparams 00_digits/small_lr --out curves.png     the newest of two scripts
  lab plot '00_digits-*' --metric 'loss/*' --out losses.png
  lab plot experiment=00_digits 'lr<1e-2' --sort loss/validate --limit 10 --out best.html
  lab plot 3f2a --x time --smooth 0.05 --out losses.pdf

{option_lines(OPTIONS)}

RUN is a run as in `lab show`, a pattern of names, or a filter as in `lab runs`: filters together
choose all runs that meet each of them.

A page is one file with everything in it, for a browser without a network: choose runs at its side,
change axes and smoothing, see the hyperparameters that differ beside what came out, and the images
and figures that were recorded. Of curves with very many values it shows means, with the least and
the greatest around them.
"""


def command(argv: Sequence[str]) -> int | None:
    """Draw the curves of runs."""
    reader = Reader(argv, OPTIONS)
    parsed = reader.read(reader.refuse)
    if answered(parsed, HELP_TEXT):
        return 0
    from torch_lab import settings
    from torch_lab.tasks.plot import choosing, drawing

    limit = count("--limit", parsed.one("--limit"))
    wanted = wanted_of(parsed)
    drawing.check(wanted)
    cwd = Path.cwd()
    runs = choosing.chosen(
        parsed.words, settings.load(cwd), cwd=cwd, sort=parsed.one("--sort"), limit=limit
    )
    first, *notes = drawing.draw(runs, wanted)
    sys.stdout.write(f"{first}\n")
    sys.stdout.flush()
    for note in notes:
        sys.stderr.write(f"{note}\n")
    return 0


def wanted_of(parsed: Parsed) -> Wanted:
    """What the options ask for."""
    from torch_lab.tasks.plot.drawing import Wanted

    out = parsed.one("--out")
    if not out:
        raise UsageError(
            "lab plot needs the name of the file to write: --out FILE",
            hint="`--out curves.html` makes a page, `--out curves.png` a picture",
        )
    return Wanted(
        out=Path(out).expanduser(),
        metrics=parsed.all("--metric"),
        axis=parsed.one("--x") or "step",
        smooth=_share(parsed.one("--smooth")),
    )


def _share(text: str | None) -> float:
    """The share of the axis that curves are smoothed over."""
    if text is None:
        return 0.0
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise UsageError(
            f"--smooth takes a number from 0 to 1, got {text!r}",
            hint="write `--smooth 0.05` for means over a twentieth of the axis",
        )
    return share
