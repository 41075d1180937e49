"""EstimatorModule: an estimator that Lightning's Trainer trains, validates and tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from torch_lab.errors import ConfigurationError
from torch_lab.estimators import losses, naming, scoring
from torch_lab.estimators.arrays import rows
from torch_lab.estimators.collecting import require_targets
from torch_lab.estimators.fitting import Fitter
from torch_lab.estimators.model import EstimatorModel
from torch_lab.modules import TrainLabModule, pairs
from torch_lab.modules.lab import OutputTransform
from torch_lab.modules.merging import AnyMetric
from torch_lab.modules.plots import Plots

_PAUSE = 50  # times what drawing takes: a round can be far shorter
_LOADERS = {
    "train": "train_dataloaders",
    "validate": "val_dataloaders",
    "test": "test_dataloaders",
}


class _Steps(Optimizer):
    """Counts the steps of training, which the estimator takes by itself."""

    def __init__(self, _: Iterable[nn.Parameter]) -> None:
        super().__init__([nn.Parameter(torch.zeros(()))], {})

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change nothing."""
        return None if closure is None else closure()


class EstimatorModule(TrainLabModule):
    """Trains an estimator on batches `(x, md)` with the target in `md["y"]`.

    Without `loss_function(y_pred, y)` the loss is the cross-entropy of the probabilities, the
    share of wrong classes where there are none, or the mean squared error.
    """

    model: EstimatorModel

    def __init__(
        self,
        estimator: Any,
        loss_function: Callable[[Any, Any], Any] | None = None,
        metrics: Mapping[str, AnyMetric] | None = None,
        output_transform: OutputTransform | None = None,
    ) -> None:
        super().__init__(
            EstimatorModel(estimator),
            losses.natural if loss_function is None else loss_function,
            {"optimizer": _Steps},
            scoring.seen_by(metrics, naming.name_of(estimator)),
            output_transform,
        )
        self.automatic_optimization = False
        self._plots = Plots(pause=_PAUSE)
        self._fitter: Fitter | None = None
        self._around: Callable[[], AbstractContextManager[Any]] = nullcontext

    def begin_with(
        self, fitter: Fitter, around: Callable[[], AbstractContextManager[Any]] | None = None
    ) -> None:
        """Be trained by `fitter`, each step of it within `around`."""
        self._fitter, self._around = fitter, around or nullcontext

    def require_counted(self, y: Any) -> None:
        """Refuse targets that a metric of classes doesn't count."""
        if self.model.task == "classifier":
            scoring.require_counted(self._stages["train"].metrics, y)

    @property
    def way(self) -> str:
        """How the estimator is trained, in words; nothing before that is known."""
        return "" if self._fitter is None else self._fitter.line

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Train on a batch, then see what the estimator makes of it."""
        x, md = pairs.to_train_on(batch)
        if self._fitter is None:
            raise ConfigurationError(
                "an estimator's data are collected before a Trainer gets them: `train` does that"
            )
        with self._around():
            ended = self._fitter.step(x, md, self.current_epoch)
        self.model.changed()
        self.optimizers().step()  # type: ignore[union-attr]
        if ended:
            self.trainer.should_stop = True
        return self._evaluate("train", batch)

    def on_train_epoch_end(self) -> None:
        """Log the epoch's means and metrics; of the last, draw what comes too soon after others."""
        super().on_train_epoch_end()
        if self.trainer.should_stop or self.current_epoch + 1 == self.trainer.max_epochs:
            self._plots.catch_up()

    def on_train_end(self) -> None:
        """Draw the last epoch's where nobody knew that it was: EarlyStopping comes after it."""
        self._plots.catch_up()

    def _evaluate(self, stage: str, batch: Any) -> dict[str, Any]:
        x, md = pairs.to_train_on(batch)
        if "y" in md:
            self.model.meet(md["y"])
        y_pred = self(x)
        step: dict[str, Any] = {"y_pred": y_pred, "md": md}
        if "y" in md:
            self._compare(stage, x, y_pred, md, step)
        elif naming.needs_targets(self.model.estimator):
            require_targets(self.model.estimator, x, md, _LOADERS[stage])
        elif (loss := losses.of_none(self.model.estimator, x)) is not None:
            step["loss"] = loss
            self._record_loss(stage, loss, {}, rows(x))
        return self._with_out(step)

    def _compare(self, stage: str, x: Any, y_pred: Tensor, md: Any, step: dict[str, Any]) -> None:
        """Losses and metrics of predictions, beside their targets."""
        y = self.model.targets(md["y"])
        if y.shape != y_pred.shape and y.numel() == y_pred.numel():  # (N, 1) and (N,)
            y = y.reshape(y_pred.shape)
        loss, parts = self._found(x, y_pred, y)
        if loss is not None:
            step["loss"] = loss
            self._record_loss(stage, loss, parts, rows(x))
        self._record_output(stage, y_pred, y)

    def _found(self, x: Any, y_pred: Tensor, y: Tensor) -> tuple[Any, Mapping[str, Tensor]]:
        if self.model.task == "other" and self.loss_function is losses.natural:
            return losses.of_none(self.model.estimator, x), {}  # clusters are no classes
        return self._loss(y_pred, {"y": y})
