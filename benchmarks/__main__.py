"""python -m benchmarks [NAME…] [--markdown]."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from importlib import import_module

from benchmarks import report
from benchmarks.report import Line
from benchmarks.subjects import THREADS

# A name, the function that measures it, and what it says.
BENCHMARKS = {
    "startup": ("startup:run", "`train --help`, `infer --help`"),
    "listing": ("listing:run", "`lab runs`, `show`, `diff`, with 1,000 and 10,000 runs"),
    "pool": ("pool:run", "several scripts in one `train`"),
    "sweep": ("sweep:run", "the trials of a sweep"),
    "processes": ("processes:run", "two processes of one run against one"),
    "whole": ("whole:run", "the whole of `train`"),
    "estimators": ("estimators:run", "`train` of an estimator, beside calling fit by hand"),
    "step": ("steps:run", "one step of a tiny network"),
    "growth": ("steps:growth", "a step late in a long epoch"),
    "journal": ("rows:run", "a row of the journal"),
    "exactness": ("exactness:run", "a batch of the exact DataLoader"),
    "ledger": ("ledger:run", "what the ledger of batches costs a step"),
    "saving": ("saving:run", "a checkpoint of 200 MB"),
    "mirror": ("mirroring:run", "training beside a ClearML server"),
    "sync": ("mirroring:sync", "100,000 scalars sent to a ClearML server"),
    "predictions": ("predictions:run", "ten million predictions to a file"),
}


def main() -> int:
    names = "\n".join(f"  {name:<12} {what}" for name, (_, what) in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        epilog=f"names:\n{names}\n\nAll of them take about half an hour.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these")
    parser.add_argument("--markdown", action="store_true", help="the table for RESULTS.md")
    chosen = parser.parse_args()
    unknown = [name for name in chosen.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}: there are {', '.join(BENCHMARKS)}")
    lines = _measured(chosen.names or list(BENCHMARKS))
    print(f"{report.about()}\n")
    print(report.markdown(lines) if chosen.markdown else report.table(lines))
    return 0


def _measured(names: list[str]) -> list[Line]:
    os.environ.update(THREADS)  # before torch is imported
    lines = []
    for name in names:
        print(f"{name} …", file=sys.stderr)
        module, function = BENCHMARKS[name][0].split(":")
        measure: Callable[[], list[Line]] = getattr(import_module(f"benchmarks.{module}"), function)
        lines += measure()
    return lines


if __name__ == "__main__":
    sys.exit(main())
