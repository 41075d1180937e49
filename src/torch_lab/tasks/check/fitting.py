"""An estimator tried: a copy of it fitted to some of the data, validated, tested, saved."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

from pytorch_lightning.utilities.model_helpers import is_overridden

from torch_lab.engine import trainer as trainers
from torch_lab.engine.logger import RunLogger
from torch_lab.errors import TorchLabError
from torch_lab.estimators import EstimatorModule, table_loader
from torch_lab.estimators.arrays import rows
from torch_lab.estimators.preparing import Circumstances, prepared
from torch_lab.modules import pairs
from torch_lab.tasks.check import cutting, measuring
from torch_lab.tasks.check.findings import Finding, note
from torch_lab.tasks.check.observing import Observer
from torch_lab.tasks.check.samples import has_indices, indices, spread, survey
from torch_lab.tasks.check.subject import Source, Stage
from torch_lab.tasks.check.trainer import TrialTrainer, trial_init
from torch_lab.tasks.check.trial import HOOKS, Rehearsal
from torch_lab.utils.batches import batch_size
from torch_lab.utils.text import plural

_MANY = 2048  # samples, where those of a survey were too few, perhaps
_OF_NUMBERS = re.compile(
    r"n_samples|samples|members|n_splits|neighbors|number of classes|one class|[Ii]nvalid classes"
)
_DOING = ("step", "setup", "data", "epoch-end", "checkpoint")


class Fitting(Rehearsal):
    """The trial of an estimator. What the subject's own module holds stays as it was built.

    `module` is the copy that was fitted in the last attempt.
    """

    module: EstimatorModule | None = None

    def _run(self) -> None:
        self._try("train", self._fit_and_test)
        if "train" in self.trial.done:
            self.module = self._module
            self.subject.fitted = self._module.model.estimator

    def _fit_and_test(self) -> None:
        loaders = {stage: self._loaders(stage) for stage in cutting.NAMES}
        configuration = replace(
            self.subject.configuration,
            module=self._module,
            datamodule=None,
            **{cutting.NAMES[stage]: each for stage, each in loaders.items()},
        )
        if not self._validates:
            configuration = replace(configuration, val_dataloaders=None)
        self.stage, self.phase = "train", "setup"
        hparams = self.subject.plan.hparams
        now = Circumstances(
            seed=hparams.seed or 0,
            fitted=False,
            trust=False,
            say=self._hear,
            uninterrupted=nullcontext,
        )
        with prepared(configuration, hparams, now) as (made, settled):
            self.subject.way = self._module.way
            self._train(made, settled.trainer.init)

    def _train(self, made: Any, init: dict[str, Any]) -> None:
        trainer = self._trainer_of(init)
        trainer.fit(self._module, made.train_dataloaders, made.val_dataloaders)
        self.trial.logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if made.val_dataloaders is not None:
            self.trial.done.add("validate")
        if made.test_dataloaders is not None:
            self.stage, self.phase = "test", "step"
            trainer.test(self._module, made.test_dataloaders, verbose=False)
            self.trial.done.add("test")

    def _trainer_of(self, init: dict[str, Any]) -> TrialTrainer:
        built = trainers.build(
            trial_init(init, "cpu"),
            [*self._callbacks, Observer(self)],
            directory=self._folder,
            logger=RunLogger(self._folder, None),
            kind=TrialTrainer,
        )
        assert isinstance(built, TrialTrainer)
        built.planned = self._planned
        return built

    def _hear(self, said: str) -> None:
        """What is said of how it is trained is a fact; that loading will need trust a finding."""
        if "--trust" in said and all(said != each.message for each in self.findings):
            self.findings.append(note("unsafe", said))

    # -- some of the data --------------------------------------------------------------------

    def _loaders(self, stage: Stage) -> Any:
        if not self._has(stage):
            return None
        self.stage, self.phase = stage, "data"
        owner = self._owner
        if owner is None:
            name = cutting.NAMES[stage]
            return self._cut(getattr(self.subject.configuration, name), stage, name)
        owner.prepare_data()
        owner.setup("test" if stage == "test" else "fit")
        return getattr(owner, HOOKS[stage])() if is_overridden(HOOKS[stage], owner) else None

    def _cut(self, loaders: Any, stage: Stage, name: str) -> Any:
        """Loaders with one batch each: of samples from all over their data."""
        cutting.cut(loaders, stage, name, self.trial.sources, self._loading)
        made = [_some(each) for each in self.trial.of(stage)]
        made = [each for each in made if each is not None]
        return made if len(made) > 1 else next(iter(made), None)

    # -- attempts ----------------------------------------------------------------------------

    @contextmanager
    def _hooked(self) -> Iterator[None]:
        """Each attempt begins with an estimator, and metrics, that have seen nothing yet."""
        self._module = deepcopy(self.subject.module)
        with super()._hooked():
            yield

    def _goes_on_after(self, error: BaseException) -> bool:
        if not isinstance(error, TorchLabError):
            return super()._goes_on_after(error)
        self.findings.append(self._told(error))
        return self._drop_metric(error) or self._drop_callback(error)

    def _with_whole_batches(self, stage: Stage) -> bool:
        """Whether more of the training data may make it good."""
        parts = [each for each in self.trial.sources if each.samples is not None]
        if not any(_is_part(each) for each in parts):
            return False
        for each in cutting.NAMES:
            self._take_samples(each, None)
        return True

    def _told(self, error: BaseException) -> Finding:
        found = super()._told(error)
        if found.code not in _DOING:
            return found
        seen = next((rows(pairs.to_train_on(each.batch)[0]) for each in self._tried()), 0)
        if seen and any(map(_is_part, self._tried())) and _OF_NUMBERS.search(found.message):
            few = f"{plural(seen, 'sample')} were tried, which may be too few."
            return replace(found, code="estimator", level="note", hint=few)
        return replace(found, code="estimator")

    def _tried(self) -> list[Source]:
        return [each for each in self.trial.of("train") if each.batch is not None]

    def _drop_metric(self, error: BaseException) -> bool:
        before, self._module = self._module, self.subject.module
        try:
            return super()._drop_metric(error)
        finally:
            self._module = before

    def trained(self, batch: Any) -> None:
        """Measure what all of the data take that it is fitted to at once."""
        memory = self.trial.memory
        memory.batch = measuring.size(batch)
        whole = sum(filter(None, map(_length, self.trial.of("train"))))
        memory.scale = max(whole / max(batch_size(batch), 1), 1.0)


def _some(source: Source) -> Any:
    """A loader of one batch; None where there is none."""
    if source.batch is None:
        fill: Callable[[Source], Any] = _more if source.samples is None else _surveyed
        source.batch = fill(source)
    if source.batch is None:
        return None
    x, md = pairs.to_train_on(source.batch)
    return table_loader(x, md, whole=True)


def _surveyed(source: Source) -> Any:
    """The samples that all checks look at; the first batch where they can't be had singly."""
    try:
        source.batch = cutting.first_batch(source)
    except StopIteration:
        return None
    found = survey(source)
    return source.batch if found.batch is None else found.batch


def _more(source: Source) -> Any:
    loader = source.loader
    if not (cutting.can_be_cut(loader) and has_indices(loader)):
        return _surveyed(source)
    chosen = spread(indices(loader), _MANY)
    many = getattr(loader.dataset, "__getitems__", partial(_one_by_one, loader.dataset))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return loader.collate_fn(many(chosen))


def _one_by_one(dataset: Any, chosen: list[int]) -> list[Any]:
    return [dataset[index] for index in chosen]


def _length(source: Source) -> int | None:
    """How many samples there are; None where nobody knows."""
    if has_indices(source.loader) and cutting.can_be_cut(source.loader):
        return len(indices(source.loader))
    return None


def _is_part(source: Source) -> bool:
    """Whether there are more samples than the batch that is tried has."""
    if source.batch is None:
        return False
    whole = _length(source)
    return whole is None or whole > rows(pairs.to_train_on(source.batch)[0])
