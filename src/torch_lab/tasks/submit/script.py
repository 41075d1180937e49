"""The batch script: what Slurm runs, the first time and whenever it starts the job again."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from torch_lab import __version__
from torch_lab.store.paths import RunDirectory
from torch_lab.tasks.slurm import SUBMITTED
from torch_lab.tasks.submit.layout import Layout

_REDIRECT = '"slurm-${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID.log"'


def batch_script(
    runs: Sequence[tuple[RunDirectory, str]],
    layout: Layout,
    *,
    array: bool,
    inside: Path,
    words: Sequence[str] = (),
) -> str:
    """The script for one run, or for those of an array; `runs` are directories and ids.

    `inside` is where in the project the commands begin, `words` are options for `train`.
    """
    first = runs[0][0]
    parts = [
        ["#!/bin/bash", *(f"#SBATCH {_quoted(each)}" for each in _directives(runs, layout, array))],
        [f"# Written by `lab submit` of torch-lab {__version__}.", *_which(runs, array)],
        [
            f"export TORCH_LAB_ARTIFACTS={shlex.quote(str(first.path.parent))}",
            f'export {SUBMITTED}="$id"  # tells `train` that this job may begin the run',
        ],
        list(layout.setup),
        [f'cd "$TORCH_LAB_ARTIFACTS/$run/code"{_below(inside)} || exit', _command(layout, words)],
    ]
    return "\n\n".join("\n".join(lines) for lines in parts if lines) + "\n"


def _directives(runs: Sequence[tuple[RunDirectory, str]], layout: Layout, array: bool) -> list[str]:
    first = runs[0][0]
    if not array:
        log = _literal(first.path / "slurm")
        return [f"--job-name={first.name}", f"--output={log}-%j.log", *layout.directives]
    # Slurm can't name the run's folder here: the script sends what is printed there.
    ours = [f"--job-name={first.name}", "--output=/dev/null", f"--array=0-{len(runs) - 1}"]
    return [*ours, *layout.directives]


def _which(runs: Sequence[tuple[RunDirectory, str]], array: bool) -> list[str]:
    """The lines that say which run it is."""
    said = [f"run={shlex.quote(run.name)} id={number}" for run, number in runs]
    if not array:
        return said
    cases = [f"  {index}) {each} ;;" for index, each in enumerate(said)]
    folder = shlex.quote(str(runs[0][0].path.parent))
    redirected = f'exec >>{folder}/"$run"/{_REDIRECT} 2>&1'
    return ['case "$SLURM_ARRAY_TASK_ID" in', *cases, "esac", redirected]


def _command(layout: Layout, words: Sequence[str]) -> str:
    train = [sys.executable, "-uP", "-m", "torch_lab", "train", "--resume"]
    return f'{shlex.join(["srun", *layout.srun, *train])} "$run"{_joined(words)}'


def _joined(words: Sequence[str]) -> str:
    return "".join(f" {shlex.quote(word)}" for word in words)


def _below(inside: Path) -> str:
    return "" if inside == Path() else f"/{shlex.quote(str(inside))}"


def _literal(path: Path) -> str:
    """A path in which Slurm replaces nothing."""
    return str(path).replace("%", "%%")


def _quoted(directive: str) -> str:
    """A directive as sbatch reads it: words apart at spaces, quotes taken away."""
    name, equals, value = directive.partition("=")
    plain = not any(each in value for each in " \t\"'\\#")
    if plain:
        return directive
    inner = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{name}{equals}"{inner}"'
