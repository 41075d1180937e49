"""Buffered updates give what single ones do, and go on exactly, for metrics of all kinds."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torchmetrics import MeanMetric, Metric, MetricCollection
from torchmetrics.audio import SignalNoiseRatio
from torchmetrics.classification import (
    BinaryAUROC,
    BinaryCalibrationError,
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassROC,
    MulticlassStatScores,
    MultilabelAveragePrecision,
    MultilabelRankingLoss,
)
from torchmetrics.clustering import MutualInfoScore
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure
from torchmetrics.nominal import CramersV
from torchmetrics.regression import (
    MeanAbsolutePercentageError,
    MeanSquaredError,
    PearsonCorrCoef,
    R2Score,
    SpearmanCorrCoef,
)
from torchmetrics.retrieval import RetrievalMRR
from torchmetrics.segmentation import MeanIoU
from torchmetrics.text import WordErrorRate
from torchmetrics.wrappers import (
    BootStrapper,
    ClasswiseWrapper,
    MinMaxMetric,
    MultioutputWrapper,
    Running,
)

from torch_lab.metric_states import pristine_attributes
from torch_lab.metrics import MetricWrapper, PooledMean
from torch_lab.modules import exact
from torch_lab.modules.merging import AnyMetric
from torch_lab.modules.stages import FLUSH_EVERY, Stage

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:torchmetrics")

CPU = torch.device("cpu")
SIZES = [4] * (FLUSH_EVERY + 4) + [3]
CUT = FLUSH_EVERY + 2


class Boxes(Metric):
    """Counts boxes, given as detectors give them: a list of dicts."""

    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("found", [], dist_reduce_fx="cat")

    def update(self, y_pred: list[dict[str, Tensor]], y: list[dict[str, Tensor]]) -> None:
        for guess, truth in zip(y_pred, y, strict=True):
            self.found.append(torch.tensor([len(guess["boxes"]), len(truth["boxes"])]))

    def compute(self) -> dict[str, Tensor]:
        guessed, there = torch.cat(self.found).reshape(-1, 2).sum(0)
        return {"guessed": guessed, "there": there}


def ranked(y_pred: Tensor, y: Tensor) -> dict[str, Tensor]:
    target = torch.nn.functional.one_hot(y, 5)
    indexes = torch.arange(len(y))[:, None].expand(-1, 5)
    return {"preds": y_pred.flatten(), "target": target.flatten(), "indexes": indexes.flatten()}


def boxes(n: int) -> list[dict[str, Tensor]]:
    return [{"boxes": torch.rand(i, 4)} for i in range(n)]


DATA: dict[str, Callable[[int], tuple[Any, Any]]] = {
    "binary": lambda n: (torch.rand(n), torch.randint(2, (n,))),
    "classes": lambda n: (torch.randn(n, 5), torch.randint(5, (n,))),
    "pixels": lambda n: (torch.rand(n, 5, 6), torch.randint(5, (n, 6))),
    "labels": lambda n: (torch.rand(n, 5), torch.randint(2, (n, 5))),
    "numbers": lambda n: (torch.rand(n) + 0.1, torch.rand(n) + 0.1),
    "columns": lambda n: (torch.rand(n, 3), torch.rand(n, 3)),
    "images": lambda n: (torch.rand(n, 1, 12, 12), torch.rand(n, 1, 12, 12)),
    "masks": lambda n: (torch.randint(2, (n, 3, 8, 8)), torch.randint(2, (n, 3, 8, 8))),
    "words": lambda n: (
        ["the cat sat"] * n,
        ["the cat sits", "a cat sat"] * (n // 2) + ["x"] * (n % 2),
    ),
    "boxes": lambda n: (boxes(n), boxes(n - 1) + boxes(1)),
}

METRICS: list[tuple[str, Callable[[], AnyMetric]]] = [
    ("binary", BinaryAUROC),
    ("binary", lambda: BinaryCalibrationError(n_bins=5)),
    ("classes", lambda: MulticlassAccuracy(5)),
    ("classes", lambda: MulticlassAccuracy(5, average=None)),
    ("classes", lambda: MulticlassConfusionMatrix(5, normalize="true")),
    ("classes", lambda: MulticlassAUROC(5, thresholds=7)),
    ("classes", lambda: MulticlassROC(5)),
    ("pixels", lambda: MulticlassStatScores(5, multidim_average="samplewise")),
    ("pixels", lambda: MulticlassF1Score(5, ignore_index=1)),
    ("labels", lambda: MultilabelAveragePrecision(5)),
    ("labels", lambda: MultilabelRankingLoss(5)),
    ("numbers", MeanSquaredError),
    ("numbers", MeanAbsolutePercentageError),
    ("numbers", PearsonCorrCoef),
    ("numbers", SpearmanCorrCoef),
    ("columns", lambda: R2Score(multioutput="raw_values")),
    ("columns", lambda: MultioutputWrapper(MeanSquaredError(), 3)),
    ("columns", SignalNoiseRatio),
    ("images", lambda: StructuralSimilarityIndexMeasure(kernel_size=3, sigma=0.5, data_range=1.0)),
    ("images", lambda: PeakSignalNoiseRatio(data_range=1.0)),
    ("masks", lambda: MeanIoU(3, input_format="one-hot", per_class=True)),
    ("words", WordErrorRate),
    ("boxes", Boxes),
    ("classes", lambda: MetricWrapper(ranked, RetrievalMRR())),
    ("classes", lambda: MetricWrapper(lambda y_pred, y: (y_pred.argmax(1), y), CramersV(5))),
    ("classes", lambda: MetricWrapper(lambda y_pred, y: y_pred.mean(), MeanMetric())),
    ("classes", lambda: MetricWrapper(lambda y_pred, y: (y_pred.argmax(1), y), MutualInfoScore())),
    ("classes", lambda: PooledMean(lambda y_pred, y: (y_pred.argmax(1) == y).float().mean())),
    ("classes", lambda: MinMaxMetric(MulticlassAccuracy(5))),
    ("classes", lambda: BootStrapper(MulticlassAccuracy(5), num_bootstraps=3)),
    ("classes", lambda: ClasswiseWrapper(MulticlassAccuracy(5, average=None))),
    ("numbers", lambda: Running(MeanSquaredError(), window=3)),
    ("classes", lambda: 1 - MulticlassAccuracy(5) * MulticlassF1Score(5)),
    ("classes", lambda: MetricCollection([MulticlassAccuracy(5), MulticlassF1Score(5)])),
    (
        "classes",
        lambda: MetricWrapper(
            lambda y_pred, y: (y_pred, y),
            MetricCollection({"a": MinMaxMetric(MulticlassAccuracy(5)), "b": MulticlassROC(5, 9)}),
        ),
    ),
]


def tensors(value: Any) -> list[Tensor]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [tensor for each in value for tensor in tensors(each)]
    return [torch.as_tensor(value)]


def stage(make: Callable[[], AnyMetric]) -> Stage:
    return Stage("train", {"metric": make()})


def value(found: Stage) -> list[Tensor]:
    dict(found.results(CPU))
    return tensors(found.values["metric"])


@pytest.mark.parametrize(("data", "make"), METRICS, ids=[str(i) for i in range(len(METRICS))])
def test_value_and_resumed_value(data: str, make: Callable[[], AnyMetric]) -> None:
    torch.manual_seed(0)
    batches = [DATA[data](n) for n in SIZES]
    single, whole, cut = make(), stage(make), stage(make)
    pristine = pristine_attributes(whole.metrics)

    torch.manual_seed(1)
    for batch in batches:
        single.update(*batch)
    torch.manual_seed(1)
    for i, batch in enumerate(batches):
        if i == CUT:
            file, random = io.BytesIO(), torch.get_rng_state()
            torch.save(exact.stage_state(whole, pristine), file)
        whole.add_output(*batch)
    found = value(whole)
    for ours, theirs in zip(found, tensors(single.compute()), strict=True):
        torch.testing.assert_close(ours, theirs, equal_nan=True)

    file.seek(0)
    exact.restore_stage(cut, torch.load(file, weights_only=True), CPU)
    torch.set_rng_state(random)
    for batch in batches[CUT:]:
        cut.add_output(*batch)
    for ours, theirs in zip(value(cut), found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


def test_large_outputs_are_merged_only_up_to_a_bound() -> None:
    """Masks of 512 x 512: what is held never exceeds the bound, nor does it change the value."""
    torch.manual_seed(0)
    found, single = stage(lambda: MulticlassF1Score(3)), MulticlassF1Score(3)
    for _ in range(6):
        y_pred, y = torch.rand(1, 3, 512, 512), torch.randint(3, (1, 512, 512))
        found.add_output(y_pred, y)
        single.update(y_pred, y)
        held = sum(one.numel() + other.numel() for one, other in found.buffer)
        assert held <= 2**20
    assert torch.equal(value(found)[0], single.compute())
