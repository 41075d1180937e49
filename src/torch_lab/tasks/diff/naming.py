"""What a word of `lab diff` names: a script, an experiment or a run."""

from __future__ import annotations

import os
import re
from pathlib import Path

from torch_lab.errors import RunNotFound, UsageError
from torch_lab.experiment.finding import CONFIGURATION
from torch_lab.experiment.listing import experiments
from torch_lab.settings import Settings
from torch_lab.store import find
from torch_lab.store.find import StoredRun
from torch_lab.tasks.diff.sides import Side, of_experiment, of_run, of_script
from torch_lab.utils.text import nearest

_NAME = re.compile(r"\w+")
_ID = re.compile(r"[0-9a-f]+")


def named(word: str, settings: Settings) -> Side:
    """The side that a word names; RunNotFound where it names nothing."""
    path = Path(word)
    if word.endswith(".py") and os.path.isfile(word):  # noqa: PTH113  Path.is_file can raise
        script = path.absolute()
        return of_experiment(script.parent) if path.name == CONFIGURATION else of_script(script)
    if _is_experiment(path):
        return of_experiment(path.absolute())
    folder = _experiment_named(word, settings.root)
    return of_experiment(folder) if folder else of_run(run_named(word, settings))


def run_named(word: str, settings: Settings) -> StoredRun:
    """The run that a word names."""
    try:
        run, checkpoint = find.resolve(word, settings.artifacts, lost_after=settings.lost_after)
    except RunNotFound as error:
        names = [each.name for each in experiments(settings.root)]
        match = nearest(word, names) if error.unknown else None
        if match is not None:
            error.hint = f"{error.hint}\nThere is the experiment {match}, too."
        raise
    if checkpoint is not None:
        raise UsageError(
            f"lab diff compares whole runs, not checkpoints: {word}",
            hint=f"Leave the :{checkpoint} out.",
        )
    return run


def _experiment_named(word: str, root: Path) -> Path | None:
    """The project's experiment of that name, looked for only where it can be one.

    Names of runs have a "-" in them, which an experiment's can't; ids have nothing but digits.
    """
    if not _NAME.fullmatch(word) or _ID.fullmatch(word):
        return None
    return next((each for each in experiments(root) if each.name == word), None)


def _is_experiment(path: Path) -> bool:
    configured = os.path.isfile(path / CONFIGURATION)  # noqa: PTH113  as above
    return configured and not (path / "run.json").is_file()
