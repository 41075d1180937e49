"""Plain attributes of the user's objects: which are kept, how they are put back, which are left."""

from __future__ import annotations

import copy
import random
from collections import defaultdict, deque
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn.utils import prune
from torch.utils.data import Dataset
from torchmetrics import MeanMetric

from torch_lab.engine import attributes


class Meter:
    def __init__(self) -> None:
        self.values: list[float] = []


class Module(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1))
        self.count, self.best, self.names = 0, None, ["a"]
        self.history = deque([1.0], maxlen=2)
        self.table = torch.zeros(5000)
        self.meters = {"loss": Meter()}
        self.rng = random.Random(1)
        self.function = len


class Callback(pl.Callback):
    def __init__(self) -> None:
        self.average: Any = None
        self.metric = MeanMetric()
        self.module: Any = None
        self.generator = np.random.default_rng(2)

    def follow(self, module: nn.Module) -> None:
        self.average = copy.deepcopy(module)


class Holder:
    """As much of a Trainer as is looked at."""

    datamodule = None
    optimizers: tuple[Any, ...] = ()
    lr_scheduler_configs: tuple[Any, ...] = ()

    def __init__(self) -> None:
        self.lightning_module, callback = Module(), Callback()
        self.callbacks = [callback]
        callback.module = self.lightning_module
        callback.follow(self.lightning_module.layer)


def change(holder: Holder) -> None:
    module, callback = holder.lightning_module, holder.callbacks[0]
    module.count, module.best = 3, torch.tensor(0.5, requires_grad=True) * 2
    module.names.append("b")
    module.history.append(2.0)
    module.table[4321] = 1
    module.layer[1].p = 0.7
    module.meters["loss"].values.append(0.25)
    module.rng.random()
    module.late = defaultdict(list, {"x": [1]})
    callback.average[0].weight.data.fill_(4)
    callback.metric.update(2.0)
    callback.generator.random()


def test_what_changed_is_put_back() -> None:
    first, second = Holder(), Holder()
    before = attributes.look(first)  # type: ignore[arg-type]
    change(first)
    names = second.lightning_module.names
    attributes.restore(second, attributes.changed(first, before))  # type: ignore[arg-type]
    module, callback = second.lightning_module, second.callbacks[0]
    assert (module.count, float(module.best), module.layer[1].p) == (3, 1.0, 0.7)
    assert module.names is names == ["a", "b"]
    assert module.history == deque([1.0, 2.0])
    assert module.history.maxlen == 2
    assert module.table[4321] == 1
    assert module.meters["loss"].values == [0.25]
    assert module.late == {"x": [1]}
    assert module.rng.random() == first.lightning_module.rng.random()
    assert callback.average[0].weight.flatten().tolist() == [4] * 4
    assert callback.metric.compute() == 2
    assert callback.generator.random() == first.callbacks[0].generator.random()


def test_what_has_its_place_elsewhere_is_left_out() -> None:
    holder = Holder()
    found = attributes.changed(holder, {})  # type: ignore[arg-type]
    assert not {"_parameters", "_modules", "training", "layer", "function"} & set(found["module."])
    assert "module" not in found["callbacks.0.Callback"]  # the trained one


def test_what_is_as_it_was_is_not_kept() -> None:
    holder = Holder()
    found = attributes.changed(holder, attributes.look(holder))  # type: ignore[arg-type]
    stateful = {"module.": {"rng"}, "callbacks.0.Callback": {"metric", "generator"}}
    assert {path: set(names) for path, names in found.items()} == stateful


@pytest.mark.parametrize("value", [object(), [object()], list(range(30_000)), {1: {2: open}}])
def test_what_has_no_plain_form_or_is_data_is_left(value: object) -> None:
    holder = Holder()
    holder.lightning_module.strange = value
    assert "strange" not in attributes.changed(holder, {})["module."]  # type: ignore[arg-type]


class Cached(Dataset[int]):
    def __init__(self) -> None:
        self.cache = {0: torch.zeros(3)}


def test_what_datasets_hold_is_no_state() -> None:
    holder = Holder()
    holder.lightning_module.data = Cached()
    found = attributes.changed(holder, {})  # type: ignore[arg-type]
    assert not [path for path in found if "data" in path]


def test_weights_that_a_module_computes_stay_its_own() -> None:
    holder = Holder()
    prune.l1_unstructured(holder.lightning_module.layer[0], "weight", amount=1)
    assert "weight" in vars(holder.lightning_module.layer[0])
    found = attributes.changed(holder, {})["module.layer.0"]  # type: ignore[arg-type]
    assert "weight" not in found
