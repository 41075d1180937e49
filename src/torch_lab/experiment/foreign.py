"""Objects of `lightning.pytorch` in what a configuration function returned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch_lab.experiment.finding import Experiment
from torch_lab.utils import twins


def foreign_problems(experiment: Experiment, result: dict[Any, Any]) -> list[str]:
    """One problem that names the imports to change, if a returned object is from the twin."""
    culprits = [key for key, value in _objects(result) if twins.is_twin(value)]
    if not culprits:
        return []
    values = [value for _, value in _objects(result)]
    return [twins.problem(", ".join(culprits), values, [experiment.configuration])]


def _objects(result: dict[Any, Any]) -> Iterator[tuple[str, object]]:
    for key, value in result.items():
        if key == "callbacks":
            for index, callback in enumerate(value if isinstance(value, (list, tuple)) else ()):
                yield f"callbacks[{index}]", callback
        else:
            yield str(key), getattr(value, "_orig_mod", value)
