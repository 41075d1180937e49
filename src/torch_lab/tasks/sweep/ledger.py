"""A sweep's trials, as Optuna's storage keeps them.

Optuna's Study makes trials that belong to nobody for a moment, and samplers whose draws depend on
how often a process was started; so this goes through its storage in some places, and makes a
sampler for each trial.
"""

from __future__ import annotations

import hashlib
import json
import uuid
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch_lab.errors import UsageError
from torch_lab.tasks.sweep import proposing
from torch_lab.tasks.sweep.design import GRID, Design, made_pruner, made_sampler
from torch_lab.tasks.sweep.membership import Membership
from torch_lab.tasks.sweep.owners import OWNER, Owners
from torch_lab.tasks.sweep.storage import opened

KEY, OVERRIDES, RUN = "key", "overrides", "run"
REASON, DEATHS, _SURPLUS = "reason", "deaths", "surplus"
_COMBINATIONS = "combinations"  # which grid it is
_NUMBERS = {"min": 1, "max": 2}  # of Optuna's directions


class Trials:
    """The trials of one study, for the process that searches and for those that train."""

    def __init__(self, study: Any, design: Design, lost_after: float) -> None:
        self.study = study
        self.design = design
        self.owners = Owners(study, lost_after)
        self._storage = study._storage

    def all(self) -> list[Any]:
        """The trials that torch-lab has made, by number."""
        made = self._storage.get_all_trials(self.study._study_id, deepcopy=False)
        return [t for t in made if KEY in t.user_attrs and not t.user_attrs.get(_SURPLUS)]

    def get(self, trial: Any) -> Any:
        """A trial as it is now."""
        return self._storage.get_trial(trial._trial_id)

    def new(self, limit: int) -> Any | None:
        """One more trial, this process's own; None if there are as many as there should be."""
        from optuna.trial import TrialState, create_trial

        if len(self.all()) >= limit:
            return None
        template = create_trial(
            state=TrialState.RUNNING, user_attrs={OWNER: self.owners.claim(), KEY: uuid.uuid4().hex}
        )
        made = self._storage.create_new_trial(self.study._study_id, template)
        if self.rank(self._storage.get_trial(made)) < limit:
            return self._storage.get_trial(made)
        # Another process has made one at the same time.
        self._storage.set_trial_user_attr(made, _SURPLUS, True)
        self._storage.set_trial_state_values(made, TrialState.FAIL)
        return None

    def rank(self, trial: Any) -> int:
        """How many of the trials were made before this one."""
        return sum(each.number < trial.number for each in self.all())

    def proposal(self, trial: Any, combinations: Sequence[Mapping[str, Any]] | None) -> Any:
        """The trial for `sweep` to ask; what it has been told before it is told again.

        What is drawn depends on the seed, the trial's place, and the trials that are over: not on
        how often the search was started.
        """
        from optuna.exceptions import ExperimentalWarning

        rank = self.rank(trial)

        def sampler(name: str) -> Any:
            return made_sampler(self.design, _address(self.design, rank, name))

        self.study.sampler = sampler("")
        self.study._thread_local.cached_all_trials = None  # else samplers know the first ones only
        if combinations is not None:
            fixed = dict(combinations[rank])
            self._storage.set_trial_system_attr(trial._trial_id, "fixed_params", fixed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return proposing.proposal(self.study, trial._trial_id, self._asked_for(), sampler)

    def _asked_for(self) -> dict[str, Any]:
        """What `sweep` has asked for so far, by name."""
        found: dict[str, Any] = {}
        for trial in self.all():
            found = {**trial.distributions, **found}
        return found

    def be_grid(self, combinations: Sequence[Mapping[str, Any]]) -> None:
        """Refuse another grid than the one that trials were begun with: they would be mixed up."""
        text = json.dumps(combinations, default=repr)
        wanted = hashlib.sha256(text.encode()).hexdigest()[:16]
        before = self.study.user_attrs.get(_COMBINATIONS)
        if before not in (None, wanted) and any(OVERRIDES in t.user_attrs for t in self.all()):
            raise UsageError(
                f"the grid of the sweep {self.design.name} isn't the one that it was begun with",
                hint=proposing.ANOTHER,
            )
        if before != wanted:
            self.study.set_user_attr(_COMBINATIONS, wanted)

    def note(self, trial: Any, key: str, value: Any) -> None:
        """Keep something with a trial that is not finished."""
        self._storage.set_trial_user_attr(trial._trial_id, key, value)

    def tell(self, trial: Any, outcome: str, *, value: float | None = None, **notes: Any) -> bool:
        """Finish a trial: "complete", "pruned" or "fail"; False if another process has."""
        from optuna.trial import TrialState

        now = self.get(trial)
        if now.state.is_finished() or not self.owners.is_mine(now):
            return False
        try:
            for key, each in notes.items():
                self.note(trial, key, each)
            self.study.tell(trial.number, value, state=TrialState[outcome.upper()])
        except (RuntimeError, ValueError):
            if not self.get(trial).state.is_finished():
                raise
            return False
        return True

    def report(self, trial_id: int, value: float, step: int) -> bool:
        """Note what a trial has reached by now; whether it is no use to go on with it."""
        if step not in self._storage.get_trial(trial_id).intermediate_values:
            self._storage.set_trial_intermediate_value(trial_id, step, value)
        return bool(self.study.pruner.prune(self.study, self._storage.get_trial(trial_id)))

    def best(self) -> Any | None:
        """The best of those that are complete, of equal ones the first."""
        over = [t for t in self.all() if t.state.name == "COMPLETE"]
        return min(over, key=lambda t: self.design.sign * t.value, default=None)


def _address(design: Design, rank: int, name: str) -> int:
    """A seed for each trial's draws, all at once or of one name; a scrambled sequence has one."""
    if design.sampler == "qmc" and not name:
        return design.seed
    text = f"{design.seed}/{rank}" + (f"/{name}" if name else "")
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])


def begun(design: Design, place: str, lost_after: float) -> Trials:
    """The study of a design, made where there is none; UsageError if it is another kind's."""
    import optuna
    from optuna.study import StudyDirection

    study = optuna.create_study(
        storage=opened(place, lost_after),
        study_name=design.name,
        direction=StudyDirection(_NUMBERS[design.mode]),
        load_if_exists=True,
        pruner=made_pruner(design),
    )
    trials = Trials(study, design, lost_after)
    _be_one_kind(trials)
    return trials


def _be_one_kind(trials: Trials) -> None:
    """Refuse to mix what can't be compared; a first try that has come to nothing binds nobody."""
    study, design = trials.study, trials.design
    mode = {number: word for word, number in _NUMBERS.items()}[study.direction.value]
    known = {"mode": mode, **study.user_attrs}
    valued = any(t.value is not None or t.intermediate_values for t in trials.all())
    for key, wanted in _kind(design).items():
        begun_with = known.get(key, wanted)
        if begun_with != wanted and (valued or key != "metric"):
            raise UsageError(
                f"the sweep {design.name} was begun with {key} {begun_with!r}, not {wanted!r}",
                hint=proposing.ANOTHER,
            )
        if known.get(key) != wanted:
            study.set_user_attr(key, wanted)


def _kind(design: Design) -> dict[str, Any]:
    return {"metric": design.metric, "mode": design.mode, "grid": design.sampler == GRID}


def found(design: Design, place: str, lost_after: float) -> Trials | None:
    """The study of a design, to be looked at; None where there is none yet."""
    import optuna

    if "://" not in place and not Path(place).exists():
        return None
    try:
        study = optuna.load_study(storage=opened(place, lost_after), study_name=design.name)
    except KeyError:
        return None
    return Trials(study, design, lost_after)


def of_membership(mine: Membership) -> Trials:
    """The study of the trial that this process trains, with its pruner."""
    import optuna

    design = Design(
        mine.study, mine.metric, mine.mode, pruner=mine.pruner, pruner_kwargs=mine.pruner_kwargs
    )
    storage = opened(mine.storage, mine.lost_after)
    study = optuna.load_study(storage=storage, study_name=mine.study, pruner=made_pruner(design))
    return Trials(study, design, mine.lost_after)
