"""`lab export`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from torch_lab.cli.options import HELP, Option, Parsed, Reader, answered, option_lines
from torch_lab.cli.show import name_server
from torch_lab.cli.values import assignments, count
from torch_lab.errors import RunNotFound, UsageError

OPTIONS = (
    Option("--out", "FILE", "what to write; its ending says what it becomes"),
    Option(
        "--input",
        "FILE",
        "an example of the model's input, .npy or .pt, samples along the\n"
        "first axis; without it the first batch of the run's own data",
    ),
    Option("--batch-size", "N", "a .pt2 file that always takes N samples, not any number"),
    Option("--set", "KEY=VALUE", "give a value that the run's record lacks", repeats=True),
    Option("--trust", help="run the code of a run that was not made here"),
    Option("--json", help="what was written, for other programs"),
    HELP,
)

HELP_TEXT = f"""\
lab export RUN[:NAME] --out FILE      the trained model, for programs without this project

  lab export 00_digits/hparams --out digits.pt2              runs without the model's code
  lab export 00_digits-hparams_v3 --out digits.safetensors   the weights alone
  lab export 3f2a:last --out last.pt2                        another checkpoint than the best
  lab export 3f2a --out digits.pt2 --input example.npy       where the data are gone
  lab export 02_baselines/forest --out forest.skops          an estimator of scikit-learn
  lab export 02_baselines/xgb --out boosted.ubj              an estimator of XGBoost

{option_lines(OPTIONS)}

RUN is what `lab show` takes; without a NAME the best checkpoint, or the last where none is best.
The model is built from the run's own code and called with a batch of its data. What was written
is read back and compared with the module's outputs for 1, 2 and more samples before the file gets
its name. It says which run and checkpoint it is of. An output_transform is not part of it.

  model = torch.export.load("digits.pt2").module()                      torch alone is needed
  safetensors.torch.load_model(model, "digits.safetensors")             the model's class, too
  model = skops.io.load("forest.skops")                                 scikit-learn and skops
  model = xgboost.XGBClassifier(); model.load_model("boosted.ubj")      XGBoost
"""


def command(argv: Sequence[str]) -> int | None:
    """Export a run's model."""
    reader = Reader(argv, OPTIONS)
    parsed = reader.read(reader.refuse)
    if answered(parsed, HELP_TEXT):
        return 0
    _require_words(parsed)
    from torch_lab import settings
    from torch_lab.store import find
    from torch_lab.tasks.export.options import ExportOptions, out_file
    from torch_lab.utils.importing import importing
    from torch_lab.utils.paths import absolute

    (run,), given = parsed.words, parsed.one("--input")
    options = ExportOptions(
        run=run,
        out=out_file(parsed.one("--out") or "", run),
        input=None if given is None else absolute(given),
        samples=count("--batch-size", parsed.one("--batch-size")),
        overrides=assignments(parsed.all("--set")),
        trust=parsed.has("--trust"),
    )
    ours = settings.load(Path.cwd())
    try:
        if not run.endswith(".ckpt"):  # a misspelt name is told before torch is imported
            find.resolve(run, ours.artifacts, lost_after=ours.lost_after)
        with importing():
            from torch_lab.tasks.export import exporting, report
        done = exporting.export(options, ours, _say)
    except RunNotFound as error:
        name_server(error)
        raise
    if parsed.has("--json"):
        import json

        text = json.dumps(report.as_data(done), indent=2) + "\n"
    else:
        text = report.describe(done)
    sys.stdout.write(text)
    sys.stdout.flush()
    return 0


def _require_words(parsed: Parsed) -> None:
    if len(parsed.words) != 1:
        got = f", got {len(parsed.words)}" if parsed.words else ""
        raise UsageError(f"lab export takes one run{got}", hint="`lab runs` lists the runs")
    if parsed.one("--out") is None:
        written = f"lab export {parsed.words[0]} --out model.pt2"
        raise UsageError("lab export needs --out FILE", hint=f"for instance `{written}`")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
