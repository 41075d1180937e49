"""The trial that `sweep` asks: Optuna's, with words for what Optuna refuses."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch_lab.errors import UsageError

ANOTHER = 'Give it back, or begin another sweep: SWEEP = {"name": …}.'


def proposal(
    study: Any, trial_id: int, known: Mapping[str, Any], sampler: Callable[[str], Any]
) -> Any:
    """A trial that answers `suggest_float` and its kin; `known`: what was asked for before.

    Each hyperparameter is drawn by a sampler of its own: a trial that was cut off between two of
    them gets the second one as it would have been.
    """
    from optuna.trial import Trial

    class Proposal(Trial):  # type: ignore[misc, unused-ignore]
        """Optuna's trial, which refuses what the study can't hold before it is written there."""

        def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
            """One of the choices: what JSON gives back as it was."""
            _require_kept(name, choices)
            return super().suggest_categorical(name, choices)

        def _suggest(self, name: str, distribution: Any) -> Any:
            _require_same(name, {**known, **self.distributions}.get(name), distribution)
            self.study.sampler = sampler(name)
            return super()._suggest(name, distribution)

    made = Proposal(study, trial_id)
    _ = made.relative_params  # what is drawn all at once; later another sampler would draw it
    return made


def _require_kept(name: str, choices: Sequence[Any]) -> None:
    try:
        kept = json.loads(json.dumps(list(choices)))
    except (TypeError, ValueError):
        kept = None
    if kept != list(choices):
        given = ", ".join(map(repr, choices))
        raise UsageError(
            f"{name!r}: a sweep can't keep these choices: {given}",
            hint="Numbers, texts, bools, and lists and dicts of them can be chosen from.",
        )


def _require_same(name: str, before: Any, now: Any) -> None:
    """Refuse other choices, and another kind of value; the ends of a range may move."""
    from optuna.distributions import check_distribution_compatibility

    if before is None:
        return
    try:
        check_distribution_compatibility(before, now)
    except ValueError:
        was, becomes = _in_words(before), _in_words(now)
        raise UsageError(
            f"{name!r} was {was} in this sweep before, and is now to be {becomes}", hint=ANOTHER
        ) from None


def _in_words(distribution: Any) -> str:
    if hasattr(distribution, "choices"):
        return f"one of {', '.join(map(repr, distribution.choices))}"
    kind = "an int" if type(distribution).__name__.startswith("Int") else "a float"
    log = ", log=True" if distribution.log else ""
    return f"{kind} from {distribution.low} to {distribution.high}{log}"
