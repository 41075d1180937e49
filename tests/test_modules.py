"""LabModule and TrainLabModule: every number against a loop written by hand."""

from __future__ import annotations

import io
import json
import pickle
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytorch_lightning as pl
import torch
import torch.distributed
from pytorch_lightning.loggers.logger import Logger
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import ExponentialLR, ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader, Dataset, IterableDataset
from torchmetrics import Metric, MetricCollection, MetricTracker, MinMaxMetric
from torchmetrics.classification import (
    BinaryAccuracy,
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassPrecision,
)
from torchmetrics.regression import MeanSquaredError, PearsonCorrCoef
from torchmetrics.retrieval import RetrievalMRR

from torch_lab.errors import CheckpointMismatch, ConfigurationError
from torch_lab.metrics import MetricWrapper, PooledMean
from torch_lab.modules import LabModule, TrainLabModule, load_weights, model_weights, stages
from torch_lab.modules.stages import FLUSH_EVERY
from zygote import Zygote

pytestmark = [
    # What Lightning and torch say about themselves, or about loaders as small as these.
    pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated"),
    pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.* is deprecated"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*have no `val_dataloader`"),
]

SGD_CONFIG = {"optimizer": SGD, "optimizer_kwargs": {"lr": 0.1}}


class Samples(Dataset[Any]):
    def __init__(self, count: int, seed: int, classes: int = 3) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.x = torch.randn(count, 4, generator=generator)
        self.y = torch.randint(classes, (count,), generator=generator)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> Any:
        return self.x[i], {"y": self.y[i], "index": i}


class Memory(Logger):
    """A logger that keeps what it is given."""

    name, version = "memory", "0"

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        assert step is not None
        self.rows.append((step, dict(metrics)))

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None: ...

    def values(self, name: str) -> list[float]:
        return [row[name] for _, row in self.rows if name in row]

    def steps(self, name: str) -> list[int]:
        return [step for step, row in self.rows if name in row]


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def module(**changes: Any) -> TrainLabModule:
    arguments: dict[str, Any] = {
        "model": model(),
        "loss_function": nn.CrossEntropyLoss(),
        "optimizer_config": SGD_CONFIG,
    }
    return TrainLabModule(**{**arguments, **changes})


def trainer(**changes: Any) -> tuple[pl.Trainer, Memory]:
    logger = Memory()
    defaults: dict[str, Any] = {
        "max_epochs": 2,
        "accelerator": "cpu",
        "devices": 1,
        "logger": logger,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
    }
    return pl.Trainer(**{**defaults, **changes}), logger


def loader(count: int = 10, batch_size: int = 4, seed: int = 1) -> DataLoader[Any]:
    return DataLoader(Samples(count, seed), batch_size=batch_size)


def by_hand(net: nn.Module, train: DataLoader[Any], validate: DataLoader[Any]) -> list[dict]:
    """Two epochs of plain SGD and what should have been logged."""
    optimizer, epochs = SGD(net.parameters(), lr=0.1), []
    for _ in range(2):
        rows: dict[str, list[tuple[Tensor, Tensor]]] = {"train": [], "validate": []}
        for x, md in train:
            y_pred = net(x)
            nn.functional.cross_entropy(y_pred, md["y"]).backward()
            rows["train"].append((y_pred.detach(), md["y"]))
            optimizer.step()
            optimizer.zero_grad()
        with torch.no_grad():
            rows["validate"] = [(net(x), md["y"]) for x, md in validate]
        epochs.append({stage: _over_samples(pairs) for stage, pairs in rows.items()})
    return epochs


def _over_samples(pairs: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
    y_pred, y = (torch.cat(column) for column in zip(*pairs, strict=True))
    loss = nn.functional.cross_entropy(y_pred, y)
    return {"loss": loss.item(), "accuracy": (y_pred.argmax(1) == y).double().mean().item()}


def accuracy() -> MulticlassAccuracy:
    return MulticlassAccuracy(3, average="micro")


class TestNumbers:
    def test_epochs_are_means_over_samples_per_stage(self) -> None:
        train, validate = loader(10), loader(7, 3, seed=2)
        lab = module(metrics={"accuracy": accuracy()})
        fit, logger = trainer()
        fit.fit(lab, train, validate)
        net = model()
        expected = by_hand(net, train, validate)
        for stage in ("train", "validate"):
            for name in ("loss", "accuracy"):
                values = [epoch[stage][name] for epoch in expected]
                assert logger.values(f"{name}/{stage}") == pytest.approx(values, abs=1e-6)
        for ours, theirs in zip(lab.model.parameters(), net.parameters(), strict=True):
            assert torch.equal(ours, theirs)

    def test_only_agreed_names_reach_loggers(self) -> None:
        fit, logger = trainer()
        fit.fit(module(metrics={"accuracy": accuracy()}), loader(), loader())
        fit.test(module(metrics={"accuracy": accuracy()}), loader(), verbose=False)
        names = {name for _, row in logger.rows for name in row}
        stages = ("train", "validate", "test")
        assert names == {
            "epoch",
            "loss/train_step",
            *(f"{name}/{stage}" for name in ("loss", "accuracy") for stage in stages),
        }

    def test_variants_can_be_monitored(self) -> None:
        fit, _ = trainer()
        fit.fit(module(metrics={"accuracy": accuracy()}), loader(), loader())
        metrics = fit.callback_metrics
        assert {"loss/train_step", "loss/train_epoch", "loss/validate_epoch"} <= metrics.keys()
        for name in ("loss/train", "accuracy/train", "loss/validate", "accuracy/validate"):
            assert torch.equal(metrics[name], metrics[f"{name}_epoch"])

    def test_validate_and_test_return_the_values(self) -> None:
        lab, data = module(metrics={"accuracy": accuracy()}), loader(7, 3)
        with torch.no_grad():
            expected = _over_samples([(lab(x), md["y"]) for x, md in data])
        for verb, stage in (("validate", "validate"), ("test", "test")):
            fit, _ = trainer()
            (values,) = getattr(fit, verb)(lab, data, verbose=False)
            wanted = {f"{name}/{stage}": value for name, value in expected.items()}
            assert values == pytest.approx(wanted, abs=1e-6)

    def test_several_validation_loaders_are_one(self) -> None:
        lab, parts = module(), [loader(7, 3), loader(5, 2, seed=9)]
        with torch.no_grad():
            expected = _over_samples([(lab(x), md["y"]) for part in parts for x, md in part])
        fit, _ = trainer()
        fit.validate(lab, parts, verbose=False)
        assert fit.callback_metrics["loss/validate"].item() == pytest.approx(expected["loss"])

    def test_a_second_fit_begins_anew(self) -> None:
        lab = module(optimizer_config={"optimizer": SGD, "optimizer_kwargs": {"lr": 0.0}})
        for x, md in loader(4):
            lab.training_step((x, md), 0)  # what a fit that failed may leave
        fit, logger = trainer(max_epochs=1)
        fit.fit(lab, loader(10))
        with torch.no_grad():
            expected = _over_samples([(lab(x), md["y"]) for x, md in loader(10)])
        assert logger.values("loss/train") == pytest.approx([expected["loss"]])

    def test_sanity_check_leaves_no_trace(self) -> None:
        with_check, without = (trainer(num_sanity_val_steps=n) for n in (1, 0))
        for fit, _ in (with_check, without):
            fit.fit(module(metrics={"accuracy": accuracy()}), loader(), loader(7, 3))
        assert with_check[1].rows == without[1].rows

    def test_mid_epoch_validation_does_not_disturb_training(self) -> None:
        often, once = trainer(val_check_interval=1), trainer()
        for fit, _ in (often, once):
            fit.fit(module(metrics={"accuracy": accuracy()}), loader(), loader(7, 3))
        for name in ("loss/train", "accuracy/train"):
            assert often[1].values(name) == once[1].values(name)
        assert len(often[1].values("loss/validate")) == 6

    def test_accumulation_keeps_the_means(self) -> None:
        still = {"optimizer": SGD, "optimizer_kwargs": {"lr": 0.0}}
        fit, logger = trainer(accumulate_grad_batches=2, max_epochs=1)
        lab = module(optimizer_config=still, metrics={"accuracy": accuracy()})
        fit.fit(lab, loader(10))
        with torch.no_grad():
            batches = [(lab(x), md["y"]) for x, md in loader(10)]
        expected = _over_samples(batches)
        assert logger.values("loss/train") == pytest.approx([expected["loss"]])
        assert logger.values("accuracy/train") == pytest.approx([expected["accuracy"]])
        stepped = [_over_samples([batches[i]])["loss"] for i in (1, 2)]
        assert logger.values("loss/train_step") == pytest.approx(stepped)

    def test_steps_are_logged_as_often_as_the_trainer_says(self) -> None:
        fit, logger = trainer(log_every_n_steps=4)
        fit.fit(module(), loader(20, 2))
        assert logger.steps("loss/train_step") == [3, 7, 11, 15, 19]
        fit, logger = trainer(log_every_n_steps=0)
        fit.fit(module(), loader(20, 2))
        assert logger.steps("loss/train_step") == []
        assert len(logger.values("loss/train")) == 2

    def test_steps_of_losses_or_outputs_alone(self) -> None:
        class Parted(TrainLabModule):
            def training_step(self, batch: Any, batch_idx: int) -> Any:
                return self.loss_calculate_and_log(self(batch[0]), batch[1])

            def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:  # type: ignore[override]
                self.metrics_update_and_log(self(batch[0]), batch[1])

        lab = Parted(model(), nn.CrossEntropyLoss(), SGD_CONFIG, {"accuracy": accuracy()})
        fit, logger = trainer(max_epochs=1)
        fit.fit(lab, loader(), loader())
        names = {name for _, row in logger.rows for name in row}
        assert names == {"epoch", "loss/train", "loss/train_step", "accuracy/validate"}

    def test_last_loss(self) -> None:
        lab = module()
        assert lab.last_loss is None
        step = lab.training_step(next(iter(loader())), 0)
        assert lab.last_loss is not None
        assert torch.equal(lab.last_loss, step["loss"])
        assert not lab.last_loss.requires_grad

    def test_sums_are_as_exact_as_doubles(self) -> None:
        class Loss(nn.Module):
            def forward(self, y_pred: Tensor, y: Tensor) -> Tensor:
                return 0 * y_pred.sum() + 0.1

        lab, batch = module(loss_function=Loss()), (torch.zeros(3, 4), {"y": torch.zeros(3)})
        for _ in range(3000):
            lab.validation_step(batch, 0)
        values = dict(lab._stages["validate"].results(torch.device("cpu")))
        assert values["loss/validate"].item() == torch.tensor(0.1).item()


class TestLosses:
    @staticmethod
    def parts(y_pred: Tensor, y: Tensor) -> dict[str, Tensor]:
        return {"ce": nn.functional.cross_entropy(y_pred, y), "l2": y_pred.square().mean()}

    def test_a_dict_is_logged_part_by_part_and_averaged(self) -> None:
        lab, data = module(loss_function=self.parts), loader(7, 3)
        with torch.no_grad():
            y_pred = torch.cat([lab(x) for x, _ in data])
            y = torch.cat([md["y"] for _, md in data])
            ce, l2 = (value.item() for value in self.parts(y_pred, y).values())
        fit, _ = trainer()
        (values,) = fit.validate(lab, data, verbose=False)
        expected = {
            "loss/validate": (ce + l2) / 2,
            "loss (validate)/ce": ce,
            "loss (validate)/l2": l2,
        }
        assert values == pytest.approx(expected, abs=1e-6)

    def test_training_uses_the_mean_of_the_parts(self) -> None:
        def averaged(y_pred: Tensor, y: Tensor) -> Tensor:
            return torch.stack(list(self.parts(y_pred, y).values())).mean()

        runs = [module(loss_function=self.parts), module(loss_function=averaged)]
        loggers = []
        for lab in runs:
            fit, logger = trainer()
            fit.fit(lab, loader())
            loggers.append(logger)
        assert loggers[0].values("loss/train") == loggers[1].values("loss/train")
        assert {"loss (train)/ce", "loss (train)/ce_step"} <= loggers[0].rows[-2][1].keys() | (
            loggers[0].rows[-1][1].keys()
        )
        for one, other in zip(runs[0].parameters(), runs[1].parameters(), strict=True):
            assert torch.equal(one, other)

    def test_one_element_is_as_good_as_a_scalar(self) -> None:
        lab = module(loss_function=lambda y_pred, y: y_pred.mean().reshape(1))
        assert lab.training_step(next(iter(loader())), 0)["loss"].shape == ()

    def test_one_that_raises_says_what_it_was_given(self) -> None:
        lab = module(loss_function=nn.L1Loss())
        x, md = next(iter(loader()))
        md["y"] = {"a": md["y"], "b": [torch.zeros(4), "c"]}
        with pytest.raises(AttributeError) as caught:
            lab.training_step((x, md), 0)
        assert caught.value.__notes__ == [
            "in loss_function: y_pred float32 (4, 3),"
            " y {a: int64 (4,) of 0 to 2, b: list (2) of float32 (4,), …}"
        ]

    @pytest.mark.parametrize("loss", [torch.zeros(2), {}, 1.5, None])
    def test_others_are_refused(self, loss: Any) -> None:
        lab = module(loss_function=lambda y_pred, y: loss)
        with pytest.raises(ConfigurationError, match="loss_function returned"):
            lab.training_step(next(iter(loader())), 0)

    def test_a_batch_without_target(self) -> None:
        with pytest.raises(ConfigurationError, match=r"no \"y\".*it has 'index'"):
            module().training_step((torch.zeros(2, 4), {"index": torch.arange(2)}), 0)

    def test_parameters_of_the_loss_are_trained(self) -> None:
        class Weighted(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.scale = nn.Parameter(torch.ones(()))

            def forward(self, y_pred: Tensor, y: Tensor) -> Tensor:
                return nn.functional.cross_entropy(self.scale * y_pred, y)

        lab = module(loss_function=Weighted())
        fit, _ = trainer(max_epochs=1)
        fit.fit(lab, loader())
        assert lab.loss_function.scale.item() != 1.0


def learning_rates(config: dict[str, Any], **changes: Any) -> list[float]:
    class Watch(pl.Callback):
        def __init__(self) -> None:
            self.rates: list[float] = []

        def on_train_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
            self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    watch = Watch()
    fit, _ = trainer(callbacks=[watch], **changes)
    fit.fit(module(optimizer_config={**SGD_CONFIG, **config}), loader(), loader(7, 3))
    return watch.rates


class TestSchedulers:
    def test_by_epoch(self) -> None:
        config = {"scheduler": ExponentialLR, "scheduler_kwargs": {"gamma": 0.5}}
        assert learning_rates(config, max_epochs=3) == pytest.approx(
            3 * [0.1] + 3 * [0.05] + 3 * [0.025]
        )

    def test_by_step_and_frequency(self) -> None:
        config = {
            "scheduler": ExponentialLR,
            "scheduler_kwargs": {"gamma": 0.5},
            "interval": "step",
        }
        assert learning_rates(config) == pytest.approx([0.1 * 0.5**i for i in range(6)])
        config["frequency"] = 2
        # Lightning counts a step's frequency within the epoch.
        assert learning_rates(config, max_epochs=1) == pytest.approx([0.1, 0.1, 0.05])

    def test_by_epoch_with_frequency(self) -> None:
        config = {"scheduler": StepLR, "scheduler_kwargs": {"step_size": 1}, "frequency": 2}
        assert learning_rates(config, max_epochs=3) == pytest.approx(6 * [0.1] + 3 * [0.01])

    def test_plateau_follows_the_validation_loss(self) -> None:
        config = {
            "scheduler": ReduceLROnPlateau,
            "scheduler_kwargs": {"patience": 0, "threshold": 10.0, "threshold_mode": "abs"},
        }
        rates = learning_rates(config, max_epochs=3)
        assert rates == pytest.approx(6 * [0.1] + 3 * [0.01])

    def test_plateau_monitors_what_it_is_told(self) -> None:
        config = {
            "scheduler": ReduceLROnPlateau,
            "scheduler_kwargs": {"patience": 0, "threshold": 10.0, "threshold_mode": "abs"},
            "monitor": "loss/train_epoch",
        }
        assert learning_rates(config, max_epochs=3)[-1] == pytest.approx(0.01)

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ({"optimiser": SGD}, 'did you mean "optimizer"'),
            ({}, 'no "optimizer"'),
            ({"optimizer": "adam"}, "must be a class"),
            ({"optimizer": SGD, "optimizer_kwargs": {"learning_rate": 1}}, "'learning_rate'"),
            ({"optimizer": SGD, "optimizer_kwargs": {"momentun": 1}}, 'did you mean "momentum"'),
            ({"optimizer": SGD, "optimizer_kwargs": [1]}, "must be a dict"),
            ({"optimizer": SGD, "scheduler": StepLR}, "step_size"),
            ({"optimizer": SGD, "interval": "batch"}, '"epoch" or "step"'),
            ({"optimizer": SGD, "frequency": 0}, "positive int"),
            ({"optimizer": SGD, "monitor": 3}, "metric's name"),
            (SGD, "must be a dict"),
        ],
    )
    def test_mistakes(self, config: Any, message: str) -> None:
        with pytest.raises(ConfigurationError, match=message):
            module(optimizer_config=config)

    def test_all_mistakes_at_once(self) -> None:
        with pytest.raises(ConfigurationError) as caught:
            module(optimizer_config={"optimizer": SGD, "inteval": "step", "frequency": -1})
        assert "inteval" in str(caught.value)
        assert "frequency" in str(caught.value)


class Odd(Metric):
    """A metric that returns what it is told to."""

    full_state_update = False

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value

    def update(self, y_pred: Tensor, y: Tensor) -> None: ...

    def compute(self) -> Any:
        return self.value


def mean_output(y_pred: Tensor, y: Tensor) -> Tensor:
    return y_pred.mean()


class Counting(MulticlassAccuracy):
    """An accuracy that remembers its updates; of a class not known to take many batches at once."""

    seen: list[int]

    def update(self, y_pred: Tensor, y: Tensor) -> None:
        self.seen = [*getattr(self, "seen", []), len(y)]
        super().update(y_pred, y)


class TestMetrics:
    def test_what_is_logged_of_unusual_values(self) -> None:
        metrics = {
            "dict": Odd({"a": torch.tensor(1), "b": torch.ones(2), "c": 2.5}),
            "none": Odd(None),
            "matrix": MulticlassConfusionMatrix(3),
            "number": Odd(4),
            "acc@0.5": accuracy(),
            "items": accuracy(),
        }
        fit, _ = trainer()
        (values,) = fit.validate(module(metrics=metrics), loader(), verbose=False)
        assert values.keys() == {
            "loss/validate",
            "dict (validate)/a",
            "dict (validate)/c",
            "number/validate",
            "acc@0.5/validate",
            "items/validate",
        }
        assert values["dict (validate)/a"] == 1.0
        assert values["number/validate"] == 4.0

    def test_a_collection_is_logged_by_its_keys(self) -> None:
        collection = MetricCollection({"f1": MulticlassF1Score(3), "p": MulticlassPrecision(3)})
        lab = module(metrics={"all": collection})
        fit, _ = trainer()
        (values,) = fit.validate(lab, loader(), verbose=False)
        assert {"all (validate)/f1", "all (validate)/p"} <= values.keys()
        lab = module(metrics=collection)
        (values,) = fit.validate(lab, loader(), verbose=False)
        assert {"f1/validate", "p/validate"} <= values.keys()

    def test_the_given_metrics_are_left_alone(self) -> None:
        metric = accuracy()
        lab = module(metrics={"accuracy": metric})
        fit, _ = trainer()
        fit.fit(lab, loader(), loader())
        assert metric.update_count == 0
        assert lab.metrics["train_metrics"]["accuracy"] is not metric

    def test_values_at_logged_steps(self) -> None:
        metric = accuracy()
        metric.compute_on_batch = True
        still = {"optimizer": SGD, "optimizer_kwargs": {"lr": 0.0}}
        lab = module(optimizer_config=still, metrics={"accuracy": metric})
        fit, logger = trainer(log_every_n_steps=2, max_epochs=1)
        fit.fit(lab, loader(20, 4))
        with torch.no_grad():
            batches = [(lab(x), md["y"]) for x, md in loader(20, 4)]
        expected = [_over_samples(batches[:n])["accuracy"] for n in (2, 4)]
        assert logger.values("accuracy/train_step") == pytest.approx(expected)
        assert logger.steps("accuracy/train_step") == [1, 3]

    def test_updates_are_buffered_by_batch_number(self) -> None:
        lab = module(metrics={"n": Counting(3)})
        counting = lab.metrics["train_metrics"]["n"]
        batches = list(loader(2 * (FLUSH_EVERY + 3), 2))
        for i, batch in enumerate(batches):
            lab.training_step(batch, i)
            assert len(getattr(counting, "seen", [])) == (
                FLUSH_EVERY if i + 1 >= FLUSH_EVERY else 0
            )
        dict(lab._stages["train"].results(lab.device))
        assert counting.seen == [2] * len(batches)

    def test_large_outputs_are_not_kept(self) -> None:
        metric = PooledMean(lambda y_pred, y: y_pred.mean())
        lab = module(model=nn.Identity(), metrics={"m": metric}, loss_function=nn.MSELoss())
        x = torch.ones(4, 200_000)
        lab.validation_step((x, {"y": x}), 0)
        assert lab._stages["validate"].buffer == []
        assert lab.metrics["validate_metrics"]["m"].update_count == 1

    def test_what_is_written_into_an_output_later_does_not_count(self) -> None:
        def transform(y_pred: Tensor, md: Any) -> Any:
            md["y"].zero_()
            return y_pred.zero_(), md

        data, plain = loader(), module(metrics={"accuracy": accuracy()})
        changed = module(metrics={"accuracy": accuracy()}, output_transform=transform)
        values = []
        for lab in (plain, changed):
            fit, _ = trainer()
            values += fit.validate(lab, data, verbose=False)
        assert values[0] == values[1]

    def test_outputs_that_are_no_tensors(self) -> None:
        class Twice(nn.Module):
            def forward(self, x: Tensor) -> dict[str, Tensor]:
                return {"logits": x[:, :3], "other": x}

        metric = PooledMean(lambda y_pred, y: (y_pred["logits"].argmax(1) == y).float().mean())
        lab = module(
            model=Twice(),
            loss_function=lambda y_pred, y: nn.functional.cross_entropy(y_pred["logits"], y),
            metrics={"accuracy": metric},
        )
        fit, _ = trainer()
        (values,) = fit.validate(lab, loader(7, 3), verbose=False)
        data = Samples(7, 1)
        expected = (data.x[:, :3].argmax(1) == data.y).float().mean().item()
        assert values["accuracy/validate"] == pytest.approx(expected)

    @pytest.mark.parametrize("low", [-3.0, 0.1, -0.02])
    def test_buffered_values_are_those_of_single_updates(self, low: float) -> None:
        """At -0.02 some batches of scores look like probabilities, and others don't."""
        generator = torch.Generator().manual_seed(3)
        batches = [
            (low + torch.rand(n, generator=generator) * 0.9, torch.randint(2, (n,)))
            for n in [4] * FLUSH_EVERY + [4, 4, 1]
        ]
        single, squared = BinaryAccuracy(threshold=0.3), MeanSquaredError()
        lab = module(
            model=nn.Identity(),
            loss_function=lambda y_pred, y: y_pred.mean(),
            metrics={"accuracy": single, "mse": squared},
        )
        for y_pred, y in batches:
            lab.validation_step((y_pred, {"y": y}), 0)
            single.update(y_pred, y)
            squared.update(y_pred, y)
        values = dict(lab._stages["validate"].results(torch.device("cpu")))
        assert torch.equal(values["accuracy/validate"], single.compute())
        assert torch.allclose(values["mse/validate"], squared.compute())

    @pytest.mark.parametrize(
        ("metrics", "message"),
        [
            ({"a": MulticlassAccuracy}, r"give an instance: MulticlassAccuracy\(…\)"),
            ({"a": {"b": MeanSquaredError()}}, r"MetricCollection\(…\) makes one"),
            ({"a": MetricTracker(MeanSquaredError())}, "in the run's record"),
            ({"a": lambda y_pred, y: 0}, "PooledMean"),
            ({"loss": MeanSquaredError()}, 'no metric can be named "loss"'),
            ([MeanSquaredError()], "must be a dict"),
        ],
    )
    def test_mistakes(self, metrics: Any, message: str) -> None:
        with pytest.raises(ConfigurationError, match=message):
            module(metrics=metrics)

    def test_an_error_says_which_metric(self) -> None:
        fit, _ = trainer()
        lab = module(metrics={"wrong": BinaryAccuracy()})
        with pytest.raises(RuntimeError, match="same shape") as caught:
            fit.validate(lab, loader(), verbose=False)
        assert caught.value.__notes__ == [
            "in metric 'wrong' (validate), batch 1: y_pred float32 (4, 3), y int64 (4,) of 0 to 2"
        ]

    def test_an_error_says_which_of_many_batches(self) -> None:
        """They are added at once; the one before the wrong one is not at fault."""
        both = MetricCollection({"auroc": MulticlassAUROC(3), "accuracy": MulticlassAccuracy(3)})
        both["auroc"].validate_args = False
        lab = module(metrics={"both": both}, loss_function=mean_output)
        batches = list(loader(20, 4))
        batches[3][1]["y"][2] = 3
        for i, batch in enumerate(batches):
            lab.validation_step(batch, i)
        with pytest.raises(RuntimeError) as caught:
            dict(lab._stages["validate"].results(lab.device))
        (note,) = caught.value.__notes__
        assert note.startswith("in metric 'both', its 'accuracy' (validate), batch 4: y_pred ")
        assert note.endswith("y int64 (4,) of 0 to 3")
        assert caught.value.__context__ is None

    def test_an_error_after_a_resume_counts_on(self) -> None:
        lab, other = (
            module(metrics={"accuracy": accuracy()}, loss_function=mean_output) for _ in range(2)
        )
        for i, batch in enumerate(loader(20, 4)):
            lab.training_step(batch, i)
        state = lab.exact_state()
        other.load_exact_state(stored(state))
        other.training_step((torch.zeros(2, 4), {"y": torch.zeros(2, 1, dtype=torch.long)}), 5)
        with pytest.raises(ValueError, match="shape") as caught:
            dict(other._stages["train"].results(other.device))
        assert "in metric 'accuracy' (train), batch 6: " in caught.value.__notes__[0]

    def test_an_error_in_compute_says_which_metric(self) -> None:
        class Failing(Odd):
            def compute(self) -> Any:
                raise ZeroDivisionError("no samples")

        fit, _ = trainer()
        with pytest.raises(ZeroDivisionError) as caught:
            fit.validate(module(metrics={"f": Failing(0)}), loader(), verbose=False)
        told = "in metric 'f' (validate), computed at the epoch's end"
        assert told in caught.value.__notes__

    def test_wrong_arguments(self) -> None:
        class Three(Odd):
            def update(self, y_pred: Tensor, y: Tensor, index: Tensor) -> None: ...  # type: ignore[override]

        lab = module(metrics={"three": Three(0)})
        lab.validation_step(next(iter(loader())), 0)
        with pytest.raises(TypeError, match="index") as caught:
            dict(lab._stages["validate"].results(lab.device))
        assert "MetricWrapper(preprocessor, metric)" in caught.value.__notes__[1]

    def test_outputs_keep_their_kind(self) -> None:
        class Output(NamedTuple):
            logits: Tensor
            words: list[str]

        @dataclass
        class Target:
            classes: Tensor
            name: str = "target"

        class Kinds(PooledMean):
            def __init__(self) -> None:
                super().__init__(self.check)

            @staticmethod
            def check(y_pred: Any, y: Any) -> float:
                assert isinstance(y_pred, Output)
                assert isinstance(y, Target)
                assert not y_pred.logits.requires_grad
                assert (y.name, y_pred.words) == ("target", ["a"])
                return 1.0

        lab = module(
            model=nn.Linear(4, 3),
            loss_function=lambda y_pred, y: y_pred.logits.mean(),
            metrics={"kinds": Kinds()},
        )
        lab.forward = lambda x: Output(lab.model(x), ["a"])  # type: ignore[method-assign]
        x, md = next(iter(loader()))
        lab.training_step((x, {"y": Target(md["y"])}), 0)
        lab.validation_step((x, {"y": Target(md["y"])}), 0)
        assert lab.metrics["train_metrics"]["kinds"].count == 4

    def test_metrics_that_share_a_part_count_each_for_itself(self) -> None:
        matrix = MulticlassConfusionMatrix(3)
        total = PooledMean(lambda y_pred, y: 1.0)
        lab = module(metrics={"m": matrix, "twice": 2 * matrix, "t": total, "more": total + 1})
        lab.validation_step(next(iter(loader())), 0)
        stage = lab._stages["validate"]
        dict(stage.results(lab.device))
        assert stage.values["m"].sum() == 4
        assert stage.values["twice"].sum() == 8
        assert stage.metrics["t"].count == 4

    def test_a_model_that_a_metric_refers_to_is_the_model(self) -> None:
        """Not a copy with the weights of the start; a metric's own network is not trained."""
        net = model()
        own = MetricWrapper(nn.Bilinear(3, 1, 1), PooledMean(lambda y_pred: y_pred.mean()))
        decode = MetricWrapper(net.forward, accuracy())
        whole = MetricWrapper(net, accuracy())
        lab = module(model=net, metrics={"decode": decode, "whole": whole, "own": own})
        for stage in ("train", "validate"):
            metrics = lab.metrics[f"{stage}_metrics"]
            assert metrics["decode"].preprocessor.__self__ is lab.model
            assert metrics["whole"].preprocessor is lab.model
            assert metrics["own"].preprocessor is not own.preprocessor
        trained = lab.configure_optimizers()["optimizer"].param_groups[0]["params"]
        assert {id(each) for each in trained} == {id(each) for each in net.parameters()}
        assert all(each.requires_grad for each in own.parameters())

    @pytest.mark.parametrize(
        ("y", "weight"), [(["a", "b"], 2), ([{"boxes": torch.zeros(5, 4)}] * 2, 2)]
    )
    def test_losses_of_other_targets_weigh_by_samples(self, y: Any, weight: int) -> None:
        lab = module(loss_function=lambda y_pred, y: torch.tensor(1.0))
        lab.validation_step((torch.zeros(weight, 4), {"y": y}), 0)
        lab.model = nn.Identity()
        lab.validation_step(([[0], [0]], {"y": y}), 1)
        assert lab._stages["validate"].means["loss/validate"].count == 2 * weight


def exact_module() -> TrainLabModule:
    average = accuracy()
    average.compute_on_batch = True
    return module(
        metrics={
            "accuracy": accuracy(),
            "eager": average,
            "auroc": MulticlassAUROC(3),
            "pooled": PooledMean(lambda y_pred, y: y_pred.square().mean()),
            "both": MetricCollection([MulticlassF1Score(3), MulticlassPrecision(3)]),
            "range": MinMaxMetric(accuracy()),
        },
        loss_function=TestLosses.parts,
    )


def epoch_values(lab: TrainLabModule) -> dict[str, Tensor]:
    values = dict(lab._stages["train"].results(torch.device("cpu")))
    lab._stages["train"].reset()
    return values


def stored(state: dict[str, Any]) -> Any:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def resumed_values(state: dict[str, Any], batches: list[Any]) -> dict[str, Tensor]:
    lab = exact_module()
    lab.load_exact_state(state)
    for i, batch in enumerate(batches):
        lab.training_step(batch, i)
    return epoch_values(lab)


def assert_equal(values: dict[str, Tensor], expected: dict[str, Tensor], cut: int = -1) -> None:
    assert values.keys() == expected.keys()
    for name, value in values.items():
        assert torch.equal(value, expected[name]), (cut, name)


class TestExactState:
    @pytest.mark.parametrize("every", [4, 1])
    def test_cut_at_every_batch(self, every: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(stages, "FLUSH_EVERY", every)
        self.cut(list(loader(3 * 11 - 1, 3)), range(12))

    def test_cut_around_a_flush(self) -> None:
        self.cut(list(loader(3 * 54 - 1, 3)), (1, 49, 50, 51, 53, 54))

    @staticmethod
    def cut(batches: list[Any], cuts: Iterable[int]) -> None:
        whole, states = exact_module(), []
        for i, batch in enumerate(batches):
            states.append(stored(whole.exact_state()))
            whole.training_step(batch, i)
        states.append(stored(whole.exact_state()))
        expected = epoch_values(whole)
        for cut in cuts:
            assert_equal(resumed_values(states[cut], batches[cut:]), expected, cut)

    def test_cut_again_and_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(stages, "FLUSH_EVERY", 4)
        batches = list(loader(3 * 11 - 1, 3))
        state = exact_module().exact_state()
        expected = resumed_values(state, batches)
        for i, batch in enumerate(batches):
            lab = exact_module()
            lab.load_exact_state(state)
            lab.training_step(batch, i)
            state = stored(lab.exact_state())
        assert_equal(resumed_values(state, []), expected)

    def test_what_lives_longer_than_an_epoch(self) -> None:
        batches = list(loader(30, 3))
        whole = exact_module()
        for i, batch in enumerate(batches[:5]):
            whole.training_step(batch, i)
        epoch_values(whole)
        resumed = exact_module()
        resumed.load_exact_state(stored(whole.exact_state()))
        for lab in (whole, resumed):
            lab.on_train_epoch_start()
            for i, batch in enumerate(batches[5:]):
                lab.training_step(batch, i)
        assert_equal(epoch_values(resumed), epoch_values(whole))

    def test_a_restored_epoch_goes_on(self) -> None:
        batches = list(loader(12, 3))
        whole = exact_module()
        whole.training_step(batches[0], 0)
        resumed = exact_module()
        resumed.load_exact_state(whole.exact_state())
        resumed.on_train_epoch_start()
        assert torch.equal(epoch_values(resumed)["loss/train"], epoch_values(whole)["loss/train"])

    def test_between_epochs_there_is_nothing_to_hold(self) -> None:
        lab = exact_module()
        empty = str(stored(lab.exact_state()))
        fit, _ = trainer(max_epochs=1)
        fit.fit(lab, loader(), loader(7, 3))
        state = stored(lab.exact_state())
        for stage in state.values():
            for parts in stage["metrics"].values():
                for part in parts.values():
                    part["attributes"] = {}  # MinMaxMetric's survive an epoch
        assert str(state) == empty
        lab.load_exact_state(state)

    def test_the_state_is_a_copy(self) -> None:
        lab = exact_module()
        lab.training_step(next(iter(loader())), 0)
        state = lab.exact_state()
        before = stored(state)
        lab.training_step(next(iter(loader(4, seed=5))), 1)
        epoch_values(lab)
        assert str(stored(state)) == str(before)

    def test_settings_come_from_the_code(self) -> None:
        """A threshold changed since the save is the new one: only what updates changed is kept."""

        def lab(threshold: float) -> TrainLabModule:
            return module(metrics={"accuracy": BinaryAccuracy(threshold=threshold)})

        changed = lab(0.7)
        changed.load_exact_state(stored(lab(0.5).exact_state()))
        assert changed.metrics["train_metrics"]["accuracy"].threshold == 0.7

    def test_full_state_metrics(self) -> None:
        def lab() -> TrainLabModule:
            return module(
                model=nn.Flatten(0),
                loss_function=nn.MSELoss(),
                metrics={"pearson": PearsonCorrCoef(), "mse": MeanSquaredError()},
            )

        batches = [(torch.randn(n, 1), {"y": torch.randn(n)}) for n in [4] * 60 + [3]]
        whole, states = lab(), []
        for i, batch in enumerate(batches):
            states.append(stored(whole.exact_state()))
            whole.validation_step(batch, i)
        expected = dict(whole._stages["validate"].results(torch.device("cpu")))
        for cut in (1, 10, 49, 50, 51, 60):
            resumed = lab()
            resumed.load_exact_state(states[cut])
            for i, batch in enumerate(batches[cut:]):
                resumed.validation_step(batch, i)
            values = dict(resumed._stages["validate"].results(torch.device("cpu")))
            assert_equal(values, expected, cut)


class Convolution(nn.Module):
    """A model with a part named `model`, buffers and a batch norm."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.model = nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width))
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.model(x))


def checkpoint(lab: pl.LightningModule) -> dict[str, Any]:
    saved = {"state_dict": lab.state_dict()}
    lab.on_save_checkpoint(saved)
    return saved


def restore(lab: pl.LightningModule, saved: dict[str, Any]) -> None:
    lab.on_load_checkpoint(saved)
    lab.load_state_dict(saved["state_dict"])


def weighted(net: nn.Module, weight: float = 2.0) -> TrainLabModule:
    loss = nn.BCEWithLogitsLoss(pos_weight=torch.full((3,), weight))
    return module(model=net, loss_function=loss, metrics={"accuracy": accuracy()})


def equal(one: nn.Module, other: nn.Module) -> bool:
    ours, theirs = model_weights(one), model_weights(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


class TestCheckpoints:
    def test_the_keys_are_the_model_s_own(self) -> None:
        lab = weighted(Convolution())
        saved = checkpoint(lab)
        assert list(saved["state_dict"]) == list(Convolution().state_dict())
        assert list(saved["module_state"]) == ["loss_function.pos_weight"]
        Convolution().load_state_dict(saved["state_dict"])
        assert stored(saved)["state_dict"].keys() == saved["state_dict"].keys()

    def test_module_and_loss_come_back(self) -> None:
        lab, other = weighted(Convolution(), 2.0), weighted(Convolution(), 5.0)
        nn.init.zeros_(lab.model.head.weight)
        restore(other, stored(checkpoint(lab)))
        assert equal(lab, other)
        assert other.loss_function.pos_weight[0] == 2.0

    def test_versions_of_parts_are_kept(self) -> None:
        saved = stored(checkpoint(weighted(Convolution())))
        assert saved["state_dict"]._metadata["model.1"] == {"version": 2}
        lab = weighted(Convolution())
        lab.on_load_checkpoint(saved)
        assert saved["state_dict"]._metadata["model.model.1"] == {"version": 2}

    @pytest.mark.parametrize("from_compiled", [True, False])
    @pytest.mark.parametrize("to_compiled", [True, False])
    @pytest.mark.parametrize("part", [True, False])
    def test_compiled_models(self, from_compiled: bool, to_compiled: bool, part: bool) -> None:
        def lab(compiled: bool) -> TrainLabModule:
            net: Any = Convolution()
            if compiled and part:
                net.model = torch.compile(net.model)
            return weighted(torch.compile(net) if compiled and not part else net)

        one, other = lab(from_compiled), lab(to_compiled)
        nn.init.zeros_(one.model.head.weight)
        saved = checkpoint(one)
        assert list(saved["state_dict"]) == list(Convolution().state_dict())
        restore(other, stored(saved))
        assert equal(one, other)

    def test_checkpoints_of_1_x(self) -> None:
        """Those hold the model's own names, and the loss's beside them."""
        lab, other = weighted(Convolution(), 2.0), weighted(Convolution(), 5.0)
        nn.init.zeros_(lab.model.head.weight)
        state = {name.removeprefix("model."): v for name, v in lab.state_dict().items()}
        restore(other, {"state_dict": state})
        assert equal(lab, other)
        assert other.loss_function.pos_weight[0] == 2.0

    def test_names_that_begin_with_model(self) -> None:
        for net in (Convolution, model):
            lab, other = weighted(net(), 2.0), weighted(net(), 5.0)
            nn.init.zeros_(next(lab.model.parameters()))
            restore(other, {"state_dict": dict(lab.state_dict())})
            assert equal(lab, other)
            assert other.loss_function.pos_weight[0] == 2.0

    def test_another_architecture(self) -> None:
        saved = checkpoint(weighted(Convolution(3)))
        saved["state_dict"]["extra"] = torch.zeros(1)
        del saved["state_dict"]["head.bias"]
        with pytest.raises(CheckpointMismatch) as caught:
            restore(weighted(Convolution(5)), saved)
        message = str(caught.value)
        assert "not in the checkpoint (1):\n    head.bias\n" in message
        assert "only in the checkpoint (1):\n    extra\n" in message
        assert "head.weight: (3, 3) in the checkpoint, (3, 5) in the model" in message
        assert "doesn't fit Convolution" in message

    def test_long_lists_are_cut(self) -> None:
        saved = checkpoint(module())
        saved["state_dict"] = {f"layer{i}": torch.zeros(1) for i in range(25)}
        with pytest.raises(CheckpointMismatch, match=r"only in the checkpoint \(25\)") as caught:
            restore(module(), saved)
        assert "… and 15 more" in str(caught.value)
        assert "layer10" not in str(caught.value)

    def test_strict_loading_can_be_off(self) -> None:
        lab = module()
        lab.strict_loading = False
        saved = checkpoint(module())
        del saved["state_dict"]["0.bias"]
        lab.on_load_checkpoint(saved)
        lab.load_state_dict(saved["state_dict"], strict=False)

    def test_hooks_of_the_model_that_rename_are_asked(self) -> None:
        class Renamed(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.new = nn.Linear(4, 3)
                self.register_load_state_dict_pre_hook(self.rename)

            @staticmethod
            def rename(own: Any, state: dict[str, Any], prefix: str, *args: Any) -> None:
                for part in ("weight", "bias"):
                    state[f"{prefix}new.{part}"] = state.pop(f"{prefix}old.{part}")

        lab = module(model=Renamed())
        state = {"old.weight": torch.ones(3, 4), "old.bias": torch.ones(3)}
        restore(lab, {"state_dict": dict(state), "module_state": {}})
        assert lab.model.new.bias[0] == 1.0
        assert load_weights(module(model=Renamed()), state) == []

    def test_through_lightning(self, tmp_path: Any) -> None:
        lab = weighted(model())
        lab.loss_function = nn.CrossEntropyLoss(torch.tensor([1.0, 2.0, 3.0]))
        fit, _ = trainer(max_epochs=1)
        fit.fit(lab, loader())
        path = tmp_path / "a.ckpt"
        fit.save_checkpoint(path)
        model().load_state_dict(torch.load(path, weights_only=True)["state_dict"])
        other = module(loss_function=nn.CrossEntropyLoss(torch.ones(3)))
        fit, _ = trainer(max_epochs=2)
        fit.fit(other, loader(), ckpt_path=path)
        assert other.loss_function.weight.tolist() == [1.0, 2.0, 3.0]
        loaded = LabModule.load_from_checkpoint(path, model=model())
        assert equal(loaded, lab)

    def test_state_of_persistent_metrics_stays_out(self) -> None:
        metric = accuracy()
        metric.persistent(True)
        lab = module(metrics={"accuracy": metric})
        lab.metrics["train_metrics"]["accuracy"].persistent(True)
        assert any(name.startswith("metrics.") for name in lab.state_dict())
        saved = checkpoint(lab)
        assert saved["module_state"] == {}
        restore(lab, saved)


class TestLoadWeights:
    def test_into_modules_and_models(self) -> None:
        source = Convolution()
        nn.init.zeros_(source.head.weight)
        full = {f"model.{name}": value for name, value in source.state_dict().items()}
        full["loss_function.pos_weight"] = torch.ones(3)
        one_x = {**source.state_dict(), "loss_function.pos_weight": torch.ones(3)}
        for state in (source.state_dict(), full, one_x):
            for target in (LabModule(Convolution()), weighted(Convolution()), Convolution()):
                assert load_weights(target, state) == []
                assert equal(target, source)
        compiled = LabModule(torch.compile(Convolution()))
        assert load_weights(compiled, full) == []
        assert equal(compiled, source)

    def test_into_another_s_lightning_module(self) -> None:
        class Theirs(pl.LightningModule):
            def __init__(self) -> None:
                super().__init__()
                self.model = model()

        theirs, source = Theirs(), model()
        nn.init.zeros_(source[0].weight)
        assert load_weights(theirs, source.state_dict()) == []
        assert equal(theirs.model, source)
        assert load_weights(theirs, Theirs().state_dict()) == []
        assert not equal(theirs.model, source)

    def test_what_does_not_fit(self) -> None:
        state = Convolution(5).state_dict()
        state["extra"] = torch.zeros(1)
        del state["head.bias"]
        lab = LabModule(Convolution(3))
        before = lab.model.head.bias.clone()
        with pytest.raises(CheckpointMismatch):
            load_weights(lab, state)
        lines = load_weights(lab, state, strict=False)
        assert "    head.bias" in lines
        assert "    extra" in lines
        assert "    head.weight: (3, 5) in the checkpoint, (3, 3) in the model" in lines
        assert torch.equal(lab.model.head.bias, before)

    def test_what_fits_is_loaded(self) -> None:
        state = Convolution(3).state_dict()
        state["head.bias"] = torch.full((3,), 7.0)
        state["head.weight"] = torch.zeros(9, 9)
        lab = LabModule(Convolution(3))
        assert len(load_weights(lab, state, strict=False)) == 2
        assert lab.model.head.bias.tolist() == [7.0, 7.0, 7.0]


class TestSteps:
    @pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # dynamo's
    def test_a_compiled_lightning_module(self) -> None:
        loggers = []
        for wrap in (lambda lab: lab, lambda lab: torch.compile(lab, backend="eager")):
            fit, logger = trainer(max_epochs=1)
            fit.fit(wrap(module(metrics={"accuracy": accuracy()})), loader(), loader(7, 3))
            loggers.append(logger)
        assert loggers[0].rows == loggers[1].rows

    def test_training_step_returns(self) -> None:
        batch = next(iter(loader()))
        step = module().training_step(batch, 0)
        assert step.keys() == {"loss", "y_pred", "md"}
        assert step["loss"].requires_grad
        lab = module(output_transform=lambda y_pred, md: (y_pred.softmax(1).numpy(), md))
        assert lab.training_step(batch, 0).keys() == {"loss", "y_pred", "md", "out"}

    def test_evaluation_steps_return(self) -> None:
        batch = next(iter(loader()))
        lab = module(output_transform=lambda y_pred, md: (y_pred.argmax(1), {**md, "more": 1}))
        for step in (lab.validation_step(batch, 0), lab.test_step(batch, 0, 1)):
            assert step.keys() == {"loss", "y_pred", "md", "out"}
            assert torch.equal(step["out"], step["y_pred"].argmax(1))
            assert step["md"]["more"] == 1

    def test_predictions(self) -> None:
        class Unlabelled(Samples):
            def __getitem__(self, i: int) -> Any:
                return self.x[i], {"index": i}

        for kind in (LabModule, module):
            lab = kind(model=model(), output_transform=lambda y_pred, md: (y_pred.argmax(1), md))
            fit, _ = trainer(logger=False)
            predictions = fit.predict(lab, DataLoader(Unlabelled(7, 1), batch_size=3))
            assert predictions is not None
            assert [len(each["out"]) for each in predictions] == [3, 3, 1]
            assert predictions[2]["md"] == {"index": torch.tensor([6])}
        assert LabModule(model()).predict_step((torch.zeros(1, 4), {}), 0).keys() == {
            "y_pred",
            "md",
        }

    def test_the_model_is_a_module(self) -> None:
        with pytest.raises(ConfigurationError, match="model must be"):
            LabModule(nn.Linear)  # type: ignore[arg-type]

    def test_the_loss_is_no_class(self) -> None:
        with pytest.raises(ConfigurationError, match=r"nn\.CrossEntropyLoss\(\)"):
            module(loss_function=nn.CrossEntropyLoss)


class PerRank(IterableDataset[Any]):
    """Samples that differ, and differ in number, between two processes."""

    def __init__(self, seed: int, counts: tuple[int, int]) -> None:
        self.data, self.counts = Samples(sum(counts), seed), counts

    def __iter__(self) -> Iterator[Any]:
        rank = torch.distributed.get_rank()
        start = sum(self.counts[:rank])
        return (self.data[i] for i in range(start, start + self.counts[rank]))


def uneven_loss(y_pred: Tensor, y: Tensor) -> dict[str, Tensor]:
    loss = nn.functional.cross_entropy(y_pred, y)
    return {"ce": loss, "rank1": loss} if torch.distributed.get_rank() else {"ce": loss}


def ranked(y_pred: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    target = nn.functional.one_hot(y, 3)
    return y_pred.flatten(), target.flatten(), y[:, None].expand(-1, 3).flatten()


def error_rate(y_pred: Tensor, y: Tensor) -> Tensor:
    return (y_pred.argmax(1) != y).float().mean()


COUNTS = {"train": (5, 7), "validate": (0, 12)}  # of samples, for each process
PER_RANK = {stage: PerRank(seed, COUNTS[stage]) for seed, stage in enumerate(COUNTS, 1)}


def _train_on_two(out: str) -> None:
    still = {"optimizer": SGD, "optimizer_kwargs": {"lr": 0.0}}
    metrics = {
        "accuracy": accuracy(),
        "auroc": MulticlassAUROC(3),
        "mrr": MetricWrapper(ranked, RetrievalMRR()),
        "error": PooledMean(error_rate),
    }
    lab = module(optimizer_config=still, loss_function=uneven_loss, metrics=metrics)
    fit, _ = trainer(
        devices=2, strategy="ddp_fork", max_epochs=1, logger=False, use_distributed_sampler=False
    )
    loaders = (DataLoader(each, batch_size=4) for each in PER_RANK.values())
    fit.fit(pickle.loads(pickle.dumps(lab)), *loaders)  # as processes that are spawned get it
    values = {name: value.item() for name, value in fit.callback_metrics.items()}
    Path(out).write_text(json.dumps(values))


def test_two_processes_have_one_mean(tmp_path: Path, zygote: Zygote) -> None:
    """Also where one of them has no batch at all, and with states that are lists."""
    out = tmp_path / "values.json"
    zygote.script(Path(__file__), str(out), cwd=tmp_path, log=tmp_path / "log")
    values = json.loads(out.read_text())
    net = model()
    for stage, (first, _) in COUNTS.items():
        x, y = PER_RANK[stage].data.x, PER_RANK[stage].data.y
        with torch.no_grad():
            expected = _over_samples([(net(x), y)])
            second = _over_samples([(net(x[first:]), y[first:])])["loss"]
            auroc, mrr = MulticlassAUROC(3)(net(x), y), RetrievalMRR()(*ranked(net(x), y))
        assert values[f"loss/{stage}"] == pytest.approx(expected["loss"], abs=1e-6)
        assert values[f"loss ({stage})/ce"] == pytest.approx(expected["loss"], abs=1e-6)
        assert values[f"loss ({stage})/rank1"] == pytest.approx(second, abs=1e-6)
        assert values[f"accuracy/{stage}"] == pytest.approx(expected["accuracy"], abs=1e-6)
        assert values[f"error/{stage}"] == pytest.approx(1 - expected["accuracy"], abs=1e-6)
        assert values[f"auroc/{stage}"] == pytest.approx(auroc.item(), abs=1e-6)
        assert values[f"mrr/{stage}"] == pytest.approx(mrr.item(), abs=1e-6)


if __name__ == "__main__":
    _train_on_two(sys.argv[1])
