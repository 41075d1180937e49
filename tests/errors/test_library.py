"""Mistakes in calls of the library: said with the line of the user's code that made the call."""

from __future__ import annotations

import pytest
from said import CONFIGURATION, HPARAMS, LINES, MAIN, Lab

BEFORE = """
import torch_lab
import torchmetrics

def trained_by(**config):
    return TrainLabModule(nn.Linear(2, 1), nn.MSELoss(), {"optimizer": torch.optim.Adam} | config)
def train_config(config):
    """
LINE = LINES + 2 + BEFORE.count("\n")
BY = f"{MAIN}:{LINE - 2}: return TrainLabModule(nn.Linear(2, 1), nn.MSELoss(),"
BY += ' {"optimizer": torch.optim.Adam} | config)'
MODULE = f"{MAIN}:{CONFIGURATION.splitlines().index('    return TrainLabModule(') + 1}:"
MODULE += " return TrainLabModule("

NO_PAIR = (
    'Let the dataset return (x, {"y": y}), or return a LightningModule of your own.\n'
    "in validation before training, batch 1, samples 0, 1, 2, 3"
)


@pytest.mark.parametrize(
    ("call", "found", "hint"),
    [
        ("TrainLabModule(3, nn.MSELoss(), {})", "model must be a torch.nn.Module, not 3 (int)", ""),
        (
            "TrainLabModule(nn.Linear(2, 1), nn.MSELoss, {})",
            "loss_function must be a function of (y_pred, y),"
            " not <class 'torch.nn.modules.loss.MSELoss'>",
            "Of a class of torch.nn give an instance: nn.CrossEntropyLoss().",
        ),
        (
            "TrainLabModule(nn.Linear(2, 1), nn.MSELoss(), 3)",
            "optimizer_config must be a dict, not 3 (int)",
            "",
        ),
        (
            "TrainLabModule(nn.Linear(2, 1), nn.MSELoss(), {})",
            "optimizer_config of TrainLabModule:\n"
            '  no "optimizer": give its class, such as torch.optim.AdamW',
            "",
        ),
        (
            'torch_lab.datasets.split(Points(), {"a": 0.5, "b": 0.6})',
            "split: the fractions {'a': 0.5, 'b': 0.6} must not be negative and must sum to 1,"
            " not 1.1",
            "What you want to leave out needs a name too.",
        ),
        (
            "torch_lab.datasets.split(Points(), [0.8, 0.2])",
            "split: fractions [0.8, 0.2] (list)",
            'Expected a dict such as {"train": 0.8, "val": 0.2}: each part has a name.',
        ),
        (
            'torch_lab.build("hparams.py", ["lr=1"])',
            "build: set ['lr=1'] (list)",
            'expected a dict such as {"lr": 0.01}',
        ),
        (
            "torch_lab.transforms.TransformCompose(Points)",
            "not a transform: the class Points",
            "Make an instance of it: Points(…).",
        ),
        (
            'torch_lab.datasets.split(Points(), {"a": 0.999999, "b": 0.000001})',
            'split: no sample of 12 falls into "b" (1e-06)',
            "Samples are drawn one by one: give it a larger fraction or another seed.",
        ),
        (
            "torch_lab.transforms.TransformCompose(3)",
            "not a transform: 3 (int)",
            "TransformCompose(first, second, …) takes transforms or functions of (x, md).",
        ),
        (
            'torch_lab.transforms.TransformIterable(lambda x, md: (x, md), "x")',
            "apply_to is a list of keys: ['x']",
            "",
        ),
        (
            "torch_lab.transforms.TransformSeparate(3)",
            "not a transform: 3 (int)",
            "TransformSeparate(transform) takes transforms or functions of (x, md).",
        ),
        (
            "torch_lab.metrics.PooledMean(3)",
            "PooledMean got 3 (int)",
            "Give it a function of (y_pred, y).",
        ),
        (
            "torch_lab.metrics.MetricWrapper(3, 4)",
            "MetricWrapper(preprocessor, metric) got 3 (int), 4 (int)",
            "Give it a function of (y_pred, y), then a torchmetrics.Metric.",
        ),
        (
            'torch_lab.callbacks.RunCheckpoint(mode="x")',
            "RunCheckpoint(mode='x'): expected 'min' or 'max'",
            "",
        ),
        (
            'torch_lab.callbacks.RunCheckpoint(mode="max")',
            "RunCheckpoint(mode='max'): without monitor the lowest validation loss is the best",
            "",
        ),
        (
            "torch_lab.callbacks.RunCheckpoint(keep=0)",
            "RunCheckpoint(keep=0): expected a whole number of at least 1",
            "",
        ),
        (
            "torch_lab.callbacks.RunCheckpoint(every_minutes=0)",
            "RunCheckpoint(every_minutes=0): expected a number above 0",
            "",
        ),
        (
            "torch_lab.callbacks.NanMonitor(every=0)",
            "NanMonitor(every=0): expected a whole number of at least 1",
            "",
        ),
        (
            "torch_lab.callbacks.DeviceMemory(every_n_steps=0)",
            "DeviceMemory(every_n_steps=0): expected a whole number of at least 1,"
            " or None to log when the Trainer does",
            "",
        ),
    ],
)
def test_a_wrong_call(lab: Lab, call: str, found: str, hint: str) -> None:
    lab.append(f"{BEFORE}{call}\n")
    at = f"\n  at {MAIN}:{LINE}: {call}"
    assert lab.mistake("train", HPARAMS) == f"{found}{at}{hint and chr(10)}{hint}"


@pytest.mark.parametrize(
    ("call", "found", "place", "hint"),
    [
        (
            'trained_by(optimizer="Adam", optimiser_kwargs={}, interval="batch", frequency=0)',
            "optimizer_config of TrainLabModule:\n"
            "  unknown key 'optimiser_kwargs' in optimizer_config:"
            ' did you mean "optimizer_kwargs"?\n'
            "  \"optimizer\" must be a class, not 'Adam' (str)\n"
            '  "interval" must be "epoch" or "step", not \'batch\' (str)\n'
            '  "frequency" must be a positive int, not 0 (int)',
            BY,
            "",
        ),
        (
            'trained_by(optimizer_kwargs={"learning_rate": 1}, scheduler_kwargs=3, monitor=3)',
            "optimizer_config of TrainLabModule:\n"
            "  unknown key 'learning_rate' in optimizer_kwargs; there are lr, betas, eps,"
            " weight_decay, amsgrad, foreach, maximize, capturable, differentiable, fused,"
            " decoupled_weight_decay\n"
            '  "scheduler_kwargs" must be a dict, not 3 (int)\n'
            '  "monitor" must be a metric\'s name, not 3 (int)',
            BY,
            "",
        ),
        (
            "module(metrics=[1])",
            "metrics must be a dict of torchmetrics, not [1] (list)",
            MODULE,
            "",
        ),
        (
            'module(metrics={"mse": 3})',
            "metric 'mse' must be a torchmetrics.Metric, not 3 (int)",
            MODULE,
            "torch_lab.metrics.PooledMean(fn) makes one from a function of (y_pred, y).",
        ),
        (
            'module(metrics={"loss": torchmetrics.MeanSquaredError()})',
            'no metric can be named "loss": the loss is logged so',
            MODULE,
            "",
        ),
    ],
)
def test_a_wrong_call_in_a_function_of_the_users(
    lab: Lab, call: str, found: str, place: str, hint: str
) -> None:
    lab.append(f"{BEFORE}{call}\n")
    said = lab.mistake("train", HPARAMS)
    assert said == f"{found}\n  at {place}{hint and chr(10)}{hint}"


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (
            "Points.__getitem__ = lambda self, i: (torch.ones(2), {'label': 1})",
            "no \"y\" in the metadata of a batch: it has 'label'\n"
            'Put the target into md["y"]; BaseDataset has it from get_raw_label.\n'
            "in validation before training, batch 1, samples 0, 1, 2, 3",
        ),
        (
            "Points.__getitem__ = lambda self, i: (torch.ones(2), i % 2)",
            'a batch must be (x, md) with the target in md["y"]; got a list of 2: float32 (4, 2),'
            f" int64 (4,) of 0 to 1\n{NO_PAIR}",
        ),
        (
            "DataLoader = lambda *a, **k: torch.utils.data.DataLoader("
            "*a, collate_fn=lambda b: b, **k)",
            'a batch must be (x, md) with the target in md["y"]; got a list of 4: tuple (2) of'
            " float32 (2,), …, tuple (2) of float32 (2,), …, tuple (2) of float32 (2,), …, …"
            f"\n{NO_PAIR}",
        ),
        (
            "Points.__getitem__ = lambda self, i: {'x': torch.ones(2), 'y': torch.ones(1)}",
            'a batch must be (x, md) with the target in md["y"]; got a dict:'
            f" {{x: float32 (4, 2), y: float32 (4, 1)}}\n{NO_PAIR}",
        ),
        (
            "Points.__getitem__ = lambda self, i: torch.ones(2)",
            'a batch must be (x, md) with the target in md["y"]; got a tensor: float32 (4, 2)'
            f"\n{NO_PAIR}",
        ),
        (
            "nn.MSELoss.forward = lambda self, a, b: a - b",
            "loss_function returned a Tensor of shape (4, 1)\n"
            "It must return a tensor with a single value, or a dict of such.\n"
            "in validation before training, batch 1, samples 0, 1, 2, 3",
        ),
        (
            "nn.MSELoss.forward = lambda self, a, b: {}",
            "loss_function returned a dict: {}\n"
            "It must return a tensor with a single value, or a dict of such.\n"
            "in validation before training, batch 1, samples 0, 1, 2, 3",
        ),
    ],
    ids=["no target", "pair", "samples", "dict", "tensor", "shape", "empty"],
)
def test_a_batch_that_can_not_be_trained_on(lab: Lab, change: str, found: str) -> None:
    lab.append(f"{change}\n")
    assert lab.mistake("train", HPARAMS) == found


def test_a_batch_that_can_not_be_predicted_from(lab: Lab) -> None:
    lab.append("Points.__getitem__ = lambda self, i: torch.ones(2)\n")
    said = lab.says("infer", HPARAMS, "--checkpoint", "none")
    assert said.status == 2
    assert said.err.partition("error: ")[2] == (
        "a batch to predict must be (x, md); got a tensor: float32 (4, 2)\n"
        "Let the dataset return (x, {}), or return a LightningModule of your own.\n"
        "in prediction, batch 1, samples 0, 1, 2, 3\n"
    )


@pytest.mark.parametrize(
    ("line", "note"),
    [
        ('config["learning_rate"]', "config has lr, width, name, sizes"),
        ('config["widht"]', 'config has lr, width, name, sizes; did you mean "width"?'),
        ('{"a": 1}[config["name"]]', None),
        ('dict(a=config)["a"]["lr"]; {}[1]', None),
    ],
)
def test_a_key_that_the_config_lacks(lab: Lab, line: str, note: str | None) -> None:
    lab.append(f"def train_config(config):\n    {line}\n")
    said = lab.says("train", HPARAMS)
    assert said.status == 1
    assert "KeyError: " in said.err
    found = [each for each in said.err.splitlines() if each.startswith("config has")]
    assert found == ([] if note is None else [note])
