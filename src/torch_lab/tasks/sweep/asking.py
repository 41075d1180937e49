"""From what `sweep(trial)` returns to the words of a command."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from torch_lab import experiment as experiments
from torch_lab import hparams as hyperparameters
from torch_lab.errors import UsageError
from torch_lab.experiment import Experiment
from torch_lab.utils.paths import display
from torch_lab.utils.text import shown


def texts_of(
    experiment: Experiment, values: object, given: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """The values as `--set` takes them, after the ones that are `given`.

    Checked with the script's hyperparameters, and that they are read as what they are.
    """
    where = f"{display(experiment.script)}: sweep(trial)"
    if not isinstance(values, Mapping) or not all(isinstance(key, str) for key in values):
        raise UsageError(
            f"{where} should return a dict of dotted keys, got {shown(values)}",
            hint='for instance {"config.learning_rate": trial.suggest_float(…)}',
        )
    config_type = experiments.config_type(experiment, "train_config")
    try:
        wanted = hyperparameters.load(
            experiment.script, overrides=given, values=values, config_type=config_type
        )
    except UsageError as error:
        raise UsageError(f"{where}: {error.message}", hint=error.hint) from None
    texts = (*given, *(f"{key}={_text(value)}" for key, value in values.items()))
    got = hyperparameters.load(experiment.script, overrides=texts, config_type=config_type)
    if got.as_dict() != wanted.as_dict():
        lost = [each for each in texts if each not in given]
        raise UsageError(
            f"{where}: not all of these values can be given to `train --set`: {', '.join(lost)}",
            hint="Numbers, texts, bools, and lists and dicts of them can; suggest a name, and let"
            " train_config make of it what it stands for.",
        )
    return texts


def _text(value: Any) -> str:
    return str(value) if isinstance(value, (str, PurePath)) else repr(value)
