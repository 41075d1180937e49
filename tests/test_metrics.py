"""MetricWrapper and PooledMean."""

from __future__ import annotations

import math
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.distributed
from torch import Tensor
from torch.utils.data import DataLoader
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import BinaryAccuracy, MulticlassAccuracy
from torchmetrics.regression import MeanSquaredError

from torch_lab.errors import ConfigurationError
from torch_lab.metrics import MetricWrapper, PooledMean
from zygote import Zygote


def first_column(y_pred: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return y_pred[:, 0], y[:, 0]


def error(y_pred: Tensor, y: Tensor) -> Tensor:
    return (y_pred - y).abs().mean()


def batches(*sizes: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.rand(n, 2, generator=generator), torch.rand(n, 2, generator=generator))
        for n in sizes
    ]


class TestPooledMean:
    def test_batches_weigh_as_many_samples_as_they_have(self) -> None:
        metric, data = PooledMean(error), batches(32, 24, 1)
        for batch in data:
            metric.update(*batch)
        y_pred, y = (torch.cat(column) for column in zip(*data, strict=True))
        assert metric.compute().item() == pytest.approx(error(y_pred, y).item())
        assert metric.compute().dtype == torch.float32

    def test_forward_is_the_batch_s_value_and_adds_it(self) -> None:
        metric, data = PooledMean(error), batches(3, 5)
        for batch in data:
            assert metric(*batch).item() == pytest.approx(error(*batch).item())
        other = PooledMean(error)
        for batch in data:
            other.update(*batch)
        assert torch.equal(metric.compute(), other.compute())

    def test_reset_and_nothing(self) -> None:
        metric = PooledMean(error)
        metric.update(*batches(3)[0])
        metric.reset()
        assert metric.count == 0
        assert math.isnan(metric.value_sum / metric.count)

    def test_many_batches(self) -> None:
        metric = PooledMean(lambda y_pred, y: torch.tensor(0.1))
        for _ in range(5000):
            metric.update(None, range(7))
        assert metric.compute().item() == torch.tensor(0.1).item()

    def test_numbers_do_as_well(self) -> None:
        metric = PooledMean(lambda y_pred, y: len(y_pred) / 2)
        metric.update([1, 2], [1, 2])
        assert metric.compute() == 1.0

    def test_batches_of_other_kinds(self) -> None:
        metric = PooledMean(lambda y_pred, y: float(len(y_pred)))
        metric.update(["a", "b"], ["c", "d"])
        metric.update({"a": torch.zeros(1)}, {"a": torch.zeros(6), "b": torch.zeros(6)})
        assert metric.compute() == (2 * 2 + 1 * 6) / 8

    def test_no_samples_are_no_value(self) -> None:
        metric = PooledMean(error)
        metric.update(torch.zeros(0), torch.zeros(0))
        metric.update(torch.zeros(2), torch.ones(2))
        assert metric.compute() == 1.0

    def test_graphs_are_not_kept(self) -> None:
        metric = PooledMean(error)
        metric.update(torch.zeros(2, requires_grad=True), torch.ones(2))
        assert not metric.value_sum.requires_grad

    @pytest.mark.parametrize("value", [torch.ones(2), torch.ones(2, 3), None, "good", {"a": 1.0}])
    def test_what_is_no_number_is_refused(self, value: Any) -> None:
        def several(y_pred: Tensor, y: Tensor) -> Any:
            return value

        with pytest.raises(ConfigurationError, match=r"PooledMean\(.*several\) returned a"):
            PooledMean(several).update(torch.zeros(2), torch.zeros(2))

    def test_the_function_is_one(self) -> None:
        with pytest.raises(ConfigurationError, match=r"function of \(y_pred, y\)"):
            PooledMean(0.5)  # type: ignore[arg-type]

    def test_several_in_a_collection(self) -> None:
        """Their states are equal after the first batch; they must stay metrics of their own."""
        metrics = {
            "guess": PooledMean(lambda y_pred, y: y_pred.mean()),
            "truth": PooledMean(lambda y_pred, y: y.mean()),
        }
        collection = MetricCollection(metrics)
        collection.update(torch.ones(2), torch.ones(2))
        collection.update(torch.zeros(2), torch.ones(2))
        assert collection.compute() == {"guess": 0.5, "truth": 1.0}

    def test_subclasses(self) -> None:
        class AbsoluteError(PooledMean):
            def __init__(self) -> None:
                super().__init__(error)

        metric = AbsoluteError()
        metric.update(*batches(3)[0])
        assert metric.compute().item() == pytest.approx(error(*batches(3)[0]).item())


class TestMetricWrapper:
    def test_the_metric_sees_what_the_preprocessor_returns(self) -> None:
        metric, inner = MetricWrapper(first_column, MeanSquaredError()), MeanSquaredError()
        for batch in batches(3, 5):
            metric.update(*batch)
            inner.update(*first_column(*batch))
        assert torch.equal(metric.compute(), inner.compute())
        assert metric.update_count == 2

    def test_forward(self) -> None:
        metric, data = MetricWrapper(first_column, MeanSquaredError()), batches(3, 5)
        for batch in data:
            y_pred, y = first_column(*batch)
            assert metric(*batch).item() == pytest.approx((y_pred - y).square().mean().item())
        y_pred, y = (torch.cat([first_column(*b)[i] for b in data]) for i in (0, 1))
        assert metric.compute().item() == pytest.approx((y_pred - y).square().mean().item())

    def test_reset_reaches_the_metric(self) -> None:
        metric = MetricWrapper(first_column, MeanSquaredError())
        metric.update(*batches(3)[0])
        metric.reset()
        metric.update(torch.zeros(2, 2), torch.ones(2, 2))
        assert metric.compute() == 1.0
        assert metric.update_count == 1

    def test_around_itself(self) -> None:
        def flip(y_pred: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            return y_pred.flip(1), y.flip(1)

        metric = MetricWrapper(flip, MetricWrapper(first_column, PooledMean(error)))
        (batch,) = batches(4)
        metric.update(*batch)
        assert metric.compute().item() == pytest.approx(
            error(batch[0][:, 1], batch[1][:, 1]).item()
        )

    def test_other_arguments(self) -> None:
        y_pred, y = batches(4)[0]
        for found in ((y_pred, y), [y_pred, y], {"preds": y_pred, "target": y}):
            metric = MetricWrapper(lambda *_, found=found: found, MeanSquaredError())
            metric.update(None, None)
            assert metric.compute() == (y_pred - y).square().mean()
        alone = MetricWrapper(lambda y_pred, y: y_pred, MeanMetric())
        alone.update(y_pred, y)
        assert alone.compute() == pytest.approx(y_pred.mean().item())

    def test_around_a_collection(self) -> None:
        metric = MetricWrapper(first_column, MetricCollection([MeanSquaredError()]))
        (batch,) = batches(4)
        expected = (batch[0][:, 0] - batch[1][:, 0]).square().mean().item()
        assert metric(*batch)["MeanSquaredError"].item() == pytest.approx(expected)
        assert metric.compute()["MeanSquaredError"].item() == pytest.approx(expected)
        metric.reset()
        assert metric.metric["MeanSquaredError"].update_count == 0

    def test_states_are_the_metric_s(self) -> None:
        metric = MetricWrapper(first_column, MeanSquaredError())
        metric.update(*batches(3)[0])
        assert metric.state_dict() == {}
        metric.persistent(True)
        other = MetricWrapper(first_column, MeanSquaredError())
        other.persistent(True)
        other.load_state_dict(metric.state_dict())
        assert other.metric.sum_squared_error == metric.metric.sum_squared_error != 0

    def test_mistakes(self) -> None:
        for given in ((MeanSquaredError(), first_column), (first_column, MeanSquaredError)):
            with pytest.raises(ConfigurationError, match="then a torchmetrics"):
                MetricWrapper(*given)  # type: ignore[arg-type]

    def test_in_a_collection(self) -> None:
        def rounded(y_pred: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            return y_pred.flatten(), y.flatten().round().long()

        collection = MetricCollection(
            {
                "a": MetricWrapper(rounded, BinaryAccuracy()),
                "b": MetricWrapper(rounded, BinaryAccuracy(0.9)),
            }
        )
        for batch in batches(20, 30):
            collection.update(*batch)
        values = collection.compute()
        assert values["a"] != values["b"]


def both() -> list[Any]:
    return [PooledMean(error), MetricWrapper(first_column, PooledMean(error))]


@pytest.mark.parametrize("which", [0, 1])
class TestBoth:
    def test_clones_and_pickles(self, which: int) -> None:
        metric, (one, two) = both()[which], batches(3, 5)
        metric.update(*one)
        for other in (metric.clone(), pickle.loads(pickle.dumps(metric))):
            before = metric.compute()
            other.update(*two)
            assert torch.equal(metric.compute(), before)
            assert not torch.equal(other.compute(), before)

    def test_moves(self, which: int) -> None:
        """To the one other device that every machine has, which only knows shapes."""
        metric, batch = both()[which].to("meta"), [each.to("meta") for each in batches(3)[0]]
        pooled = getattr(metric, "metric", metric)
        for _ in range(2):
            metric.update(*batch)
            assert metric.compute().device.type == "meta"
            assert {pooled.value_sum.device.type, pooled.count.device.type} == {"meta"}
            metric.reset()
            assert pooled.value_sum.device.type == "meta"

    def test_types_change_only_when_asked_to(self, which: int) -> None:
        metric = both()[which].half()
        pooled = getattr(metric, "metric", metric)
        assert pooled.value_sum.dtype == torch.float64
        assert metric.set_dtype(torch.float32) is metric
        assert pooled.value_sum.dtype == torch.float32

    @pytest.mark.filterwarnings("ignore:.*have no `val_dataloader`")
    def test_logged_by_a_module_of_one_s_own(self, which: int) -> None:
        data = batches(4, 2)

        class Plain(pl.LightningModule):
            def __init__(self) -> None:
                super().__init__()
                self.metric = both()[which]

            def validation_step(self, batch: Any, batch_idx: int) -> None:
                self.log("value", self.metric, on_epoch=True, prog_bar=False)
                self.metric(*batch)

        fit = pl.Trainer(
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_progress_bar=False,
            enable_checkpointing=False,
            enable_model_summary=False,
        )
        (values,) = fit.validate(Plain(), DataLoader(data, batch_size=None), verbose=False)
        expected = both()[which]
        for batch in data:
            expected.update(*batch)
        assert values == {"value": pytest.approx(expected.compute().item())}

    def test_attributes_are_kept(self, which: int) -> None:
        metric = both()[which]
        metric.compute_on_batch = True
        assert metric.clone().compute_on_batch


def _in_process(rank: int, store: str, out: str) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=2
    )
    data = batches(8, 3)[rank]  # of different sizes
    values = []
    for metric in both():
        metric.update(*data)
        values.append(metric.compute())
        # Computing joined the states for the moment only: each process goes on with its own.
        metric.update(*data)
        values.append(metric.compute())
    torch.save(values, f"{out}.{rank}")
    torch.distributed.destroy_process_group()


def test_two_processes_have_one_value(tmp_path: Path, zygote: Zygote) -> None:
    store, out = str(tmp_path / "store"), str(tmp_path / "out")
    log = tmp_path / "log"
    words = [(str(rank), store, out) for rank in range(2)]
    started = [zygote.start_script(Path(__file__), *each, cwd=tmp_path, log=log) for each in words]
    assert [zygote.wait(pid) for pid in started] == [0, 0], log.read_text()
    data = batches(8, 3)
    y_pred, y = (torch.cat(column) for column in zip(*data, strict=True))
    whole, first = error(y_pred, y).item(), error(*first_column(y_pred, y)).item()
    for rank in range(2):
        values = torch.load(f"{out}.{rank}", weights_only=True)
        assert [v.item() for v in values] == pytest.approx([whole, whole, first, first])


def test_standard_metrics_need_no_wrapper() -> None:
    metric = MulticlassAccuracy(3)
    wrapped = MetricWrapper(lambda y_pred, y: (y_pred.softmax(1), y), MulticlassAccuracy(3))
    y_pred, y = torch.randn(10, 3), torch.randint(3, (10,))
    assert torch.equal(metric(y_pred, y), wrapped(y_pred, y))


if __name__ == "__main__":
    _in_process(int(sys.argv[1]), *sys.argv[2:])
