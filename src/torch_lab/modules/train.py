"""TrainLabModule: a model to train, validate and test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from torch_lab.errors import ConfigurationError
from torch_lab.metric_states import pristine_attributes
from torch_lab.modules import exact, optimizers, pairs
from torch_lab.modules.lab import LabModule, OutputTransform
from torch_lab.modules.merging import AnyMetric
from torch_lab.modules.notes import arguments
from torch_lab.modules.plots import Plots, closing_figures
from torch_lab.modules.stages import Stage
from torch_lab.modules.values import named_values
from torch_lab.utils.batches import batch_size
from torch_lab.utils.text import shown

_STAGES = ("train", "validate", "test")


class TrainLabModule(LabModule):
    """Trains `model` on batches `(x, md)` with the target in `md["y"]`.

    `loss_function(y_pred, y)` returns a loss, or a dict of losses, whose mean is trained on.
    `optimizer_config` has the keys optimizer (a class), optimizer_kwargs, scheduler (a class),
    scheduler_kwargs, monitor ("loss/validate"), interval ("epoch", or "step") and frequency (1).
    Of `metrics`, torchmetrics by name, each stage gets a copy.

    Logged are `loss/STAGE` and `METRIC/STAGE`, for the stages train, validate and test, at the end
    of each epoch: means over its samples. At the Trainer's logged steps `loss/train_step` is
    added, and `METRIC/train_step`, the value so far, of metrics that have `compute_on_batch=True`.
    What is a dict, of losses or as a metric's value, is logged as `NAME (STAGE)/KEY`. All can be
    monitored, also as `…_epoch`. A metric with a `plot` of its own, or one of torchmetrics whose
    value is no number (a confusion matrix, a curve), is drawn into the run's record.
    """

    def __init__(
        self,
        model: nn.Module,
        loss_function: Callable[[Any, Any], Any],
        optimizer_config: Mapping[str, Any],
        metrics: Mapping[str, AnyMetric] | None = None,
        output_transform: OutputTransform | None = None,
    ) -> None:
        super().__init__(model, output_transform)
        if isinstance(loss_function, type) or not callable(loss_function):
            raise ConfigurationError(
                f"loss_function must be a function of (y_pred, y), not {loss_function!r}",
                hint="Of a class of torch.nn give an instance: nn.CrossEntropyLoss().",
            )
        optimizers.check(optimizer_config)
        metrics = _checked({} if metrics is None else metrics)
        self.loss_function = loss_function
        self.optimizer_config = optimizer_config
        self._stages = {name: Stage(name, self._copied(metrics)) for name in _STAGES}
        # Registered, so that they move to the device with the module.
        self.metrics = nn.ModuleDict(
            {f"{name}_metrics": _module_dict(stage.metrics) for name, stage in self._stages.items()}
        )
        self._pristine = {
            name: pristine_attributes(stage.metrics) for name, stage in self._stages.items()
        }
        self._plots = Plots()

    def _copied(self, metrics: Mapping[str, AnyMetric]) -> dict[str, AnyMetric]:
        """A copy of each metric for itself, but of the model or loss that one refers to."""
        parts = [part for child in self.children() for part in child.modules()]
        own = {id(each): each for each in [*parts, *self.parameters(), *self.buffers()]}
        copies = {name: deepcopy(metric, dict(own)) for name, metric in metrics.items()}
        for parameter in nn.ModuleList(copies.values()).parameters():
            if id(parameter) not in own:
                parameter.requires_grad_(False)  # a metric's own network is not trained
        return copies

    def configure_optimizers(self) -> Any:
        """The optimizer and scheduler of optimizer_config."""
        trained = (parameter for parameter in self.parameters() if parameter.requires_grad)
        return optimizers.build(self.optimizer_config, trained)

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """One batch: `loss`, `y_pred`, `md`, and `out` if there is an output_transform."""
        x, md = pairs.to_train_on(batch)
        y_pred = self(x)
        loss, parts = self._loss(y_pred, md)
        self._record("train", x, y_pred, md, loss, parts)
        step = {"loss": loss, "y_pred": y_pred, "md": md}
        if self.output_transform is not None:
            # A copy: what a transform does in place must not reach the gradients.
            step["out"], step["md"] = self.output_transform(y_pred.detach().clone(), md)
        return step

    def validation_step(
        self,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> dict[str, Any]:
        """One batch, as in training_step; several dataloaders are validated as one."""
        return self._evaluate("validate", batch)

    def test_step(
        self,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> dict[str, Any]:
        """One batch, as in validation_step."""
        return self._evaluate("test", batch)

    def _evaluate(self, stage: str, batch: Any) -> dict[str, Any]:
        x, md = pairs.to_train_on(batch)
        y_pred = self(x)
        loss, parts = self._loss(y_pred, md)
        self._record(stage, x, y_pred, md, loss, parts)
        return self._with_out({"loss": loss, "y_pred": y_pred, "md": md})

    def _loss(self, y_pred: Any, md: Any) -> tuple[Tensor, Mapping[str, Tensor]]:
        try:
            y = md["y"]
        except KeyError:
            raise ConfigurationError(
                f'no "y" in the metadata of a batch: it has {", ".join(map(repr, md)) or "no key"}',
                hint='Put the target into md["y"]; BaseDataset has it from get_raw_label.',
            ) from None
        try:
            loss = self.loss_function(y_pred, y)
        except Exception as error:  # any: it is raised again, and now says what it was given
            error.add_note(f"in loss_function: {arguments(y_pred, y)}")
            raise
        if isinstance(loss, Tensor) and loss.dim() == 0:
            return loss, {}
        return _combined(loss)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _record(
        self,
        name: str,
        x: Any,
        y_pred: Any,
        md: Any,
        loss: Tensor,
        parts: Mapping[str, Tensor],
    ) -> None:
        self._record_loss(name, loss, parts, _batch_size(md["y"], x))
        self._record_output(name, y_pred, md["y"])

    def _record_loss(self, name: str, loss: Tensor, parts: Mapping[str, Tensor], size: int) -> None:
        loss = loss.detach()
        if parts:
            parts = {key: value.detach() for key, value in parts.items()}
        self._stages[name].add_loss(loss, parts, size)
        if name == "train" and self._logs_this_step():
            shown = {f"loss (train)/{key}": value for key, value in parts.items()}
            self._log_step({"loss/train": loss, **shown})

    def _record_output(self, name: str, y_pred: Any, y: Any) -> None:
        stage = self._stages[name]
        stage.add_output(y_pred, y)
        if stage.eager and name == "train" and self._logs_this_step():
            for key, metric in stage.eager.items():
                self._log_step(dict(named_values(key, "train", metric.compute())))

    def _logs_this_step(self) -> bool:
        try:
            trainer = self.trainer
        except RuntimeError:  # a step called by hand, without a Trainer
            return False
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        return bool(every) and (trainer.global_step + 1) % every == 0

    def _log_step(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            self.log(f"{name}_step", value, on_step=True, on_epoch=False)

    # Steps of one's own are made of these; the names are those of torch-lab 1.x.

    def get_stage(self) -> str:
        """Which stage the Trainer is in: train, validate, test, predict or sanity_check."""
        stage = self.trainer.state.stage
        return "" if stage is None else str(stage.value)

    def loss_calculate_and_log(self, y_pred: Any, md: Any) -> Tensor:
        """The loss of a batch, which is added to its stage's."""
        loss, parts = self._loss(y_pred, md)
        self._own_step(self._record_loss, loss, parts, _batch_size(md["y"], y_pred))
        return loss

    def metrics_update_and_log(self, y_pred: Any, md: Any) -> None:
        """Add a batch to the metrics of its stage."""
        self._own_step(self._record_output, y_pred, md["y"])

    def metrics_compute_and_log(self) -> None:
        """Log what the stage has gathered, and begin anew; the hooks of an epoch's end do it."""
        self._log_epoch(self._own_stage())

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _own_step(self, record: Callable[..., None], *args: Any) -> None:
        record(self._own_stage(), *args)

    def _own_stage(self) -> str:
        stage = self.get_stage()
        return "validate" if stage == "sanity_check" else stage

    def leave_out_metric(self, name: str) -> bool:
        """Go on without a metric, in all stages; whether there was one of that name."""
        found = [stage.leave_out(name) for stage in self._stages.values()]
        return any(found)

    @property
    def last_loss(self) -> Tensor | None:
        """The loss of the last training batch, without graph and where it was computed."""
        return self._stages["train"].last_loss

    def on_train_epoch_start(self) -> None:
        """Begin the epoch's means and metrics, unless a restored state already has."""
        if not self._stages["train"].resumed:
            self._stages["train"].reset()

    def on_train_epoch_end(self) -> None:
        """Log the epoch's means and metrics."""
        self._log_epoch("train")

    def on_validation_epoch_start(self) -> None:
        """Begin the validation's means and metrics."""
        self._stages["validate"].reset()

    def on_validation_epoch_end(self) -> None:
        """Log the validation's means and metrics."""
        self._log_epoch("validate")

    def on_test_epoch_start(self) -> None:
        """Begin the test's means and metrics."""
        self._stages["test"].reset()

    def on_test_epoch_end(self) -> None:
        """Log the test's means and metrics."""
        self._log_epoch("test")

    def _log_epoch(self, name: str) -> None:
        with closing_figures():
            self._log_results(name)
            if not self.trainer.sanity_checking:
                stage = self._stages[name]
                self._plots.show(name, stage.metrics, stage.values)
        self._stages[name].reset()

    def _log_results(self, name: str) -> None:
        # All processes hold the same value by now; "max" leaves it as it is, and saying so keeps
        # Lightning from advising sync_dist.
        log = partial(self.log, on_epoch=True, reduce_fx="max", sync_dist=True)
        for key, value in self._stages[name].results(self.device):
            on_device = value.to(self.device)  # some metrics compute on the CPU
            log(key, on_device)
            log(f"{key}_epoch", on_device, logger=False)

    def exact_state(self) -> dict[str, Any]:
        """What the stages hold in the midst of an epoch, as plain data on the CPU."""
        return {
            name: exact.stage_state(stage, self._pristine[name])
            for name, stage in self._stages.items()
        }

    def load_exact_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `exact_state` was called."""
        for name, stage in self._stages.items():
            stage.reset()
            if name in state:
                exact.restore_stage(stage, state[name], self.device)


def _combined(loss: Any) -> tuple[Tensor, Mapping[str, Tensor]]:
    """The loss to train on and its parts, from what a loss_function returned."""
    if isinstance(loss, Tensor) and loss.numel() == 1:
        return loss.reshape(()), {}
    if isinstance(loss, Mapping) and loss:
        parts = {str(key): _combined(part)[0] for key, part in loss.items()}
        return torch.stack(list(parts.values())).mean(), parts
    kind = f" of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f": {loss!r}"
    raise ConfigurationError(
        f"loss_function returned a {type(loss).__name__}{kind}",
        hint="It must return a tensor with a single value, or a dict of such.",
    )


def _batch_size(y: Any, x: Any) -> int:
    if isinstance(y, Tensor) and y.dim():
        return y.shape[0]
    return batch_size(x if isinstance(x, Tensor) else y, y, x) or 1


def _checked(metrics: Mapping[str, AnyMetric]) -> dict[str, AnyMetric]:
    if not isinstance(metrics, Mapping | MetricCollection):
        raise ConfigurationError(f"metrics must be a dict of torchmetrics, not {shown(metrics)}")
    for name, metric in metrics.items():
        if not isinstance(metric, (Metric, MetricCollection)):
            raise ConfigurationError(
                f"metric {name!r} must be a torchmetrics.Metric, not {shown(metric)}",
                hint=_metric_hint(metric),
            )
        if name == "loss":
            raise ConfigurationError('no metric can be named "loss": the loss is logged so')
    return dict(metrics.items())


def _metric_hint(given: Any) -> str:
    if isinstance(given, type) and issubclass(given, (Metric, MetricCollection)):
        return f"That is a class; give an instance: {given.__name__}(…)."
    if isinstance(given, Mapping):
        return "A torchmetrics.MetricCollection(…) makes one metric of a dict of them."
    if isinstance(given, nn.ModuleList):
        return "Give the metric that is in it: its values of all epochs are in the run's record."
    return "torch_lab.metrics.PooledMean(fn) makes one from a function of (y_pred, y)."


def _module_dict(metrics: Mapping[str, AnyMetric]) -> nn.ModuleDict:
    modules = nn.ModuleDict()
    for i, (name, metric) in enumerate(metrics.items()):
        # Some names that are good to log are none a module can go by.
        modules[f"metric_{i}" if "." in name or not name or hasattr(modules, name) else name] = (
            metric
        )
    return modules
