"""An exception of the user's begins in the user's code and says where in the run it came up."""

from __future__ import annotations

import pytest
from said import HPARAMS, LINES, MAIN, RUN, Lab

FIRST = LINES + 2  # the line of the configuration where what is appended begins


def trace(line: int, function: str, code: str, *rest: str) -> str:
    """A traceback with one frame."""
    head = f'  File "ROOT/{MAIN}", line {line}, in {function}\n    {code}'
    return "\n".join(["Traceback (most recent call last):", head, *rest])


CALLBACK = """\
class Watch(pl.Callback):
    def {hook}(self, trainer, *args):
        if trainer.state.fn == "fit":
            raise ValueError("no")
def train_config(config):
    return {{"module": module(), "train_dataloaders": loader(shuffle=True),
            "val_dataloaders": loader(), "callbacks": [Watch()]}}
"""


@pytest.mark.parametrize(
    ("hook", "places"),
    [
        (
            "on_train_batch_start",
            [
                "in callback Watch.on_train_batch_start",
                "in training, epoch 1, batch 1, samples {first}",
            ],
        ),
        ("on_train_epoch_end", ["in callback Watch.on_train_epoch_end", "in training, epoch 1"]),
        (
            "on_validation_batch_end",
            [
                "in callback Watch.on_validation_batch_end",
                "in validation, epoch 1, batch 1, samples 0, 1, 2, 3",
            ],
        ),
        (
            "on_validation_epoch_end",
            ["in callback Watch.on_validation_epoch_end", "in validation, epoch 1"],
        ),
        ("on_fit_start", ["in callback Watch.on_fit_start"]),
        (
            "on_save_checkpoint",
            ["in callback Watch.on_save_checkpoint", "in training, after epoch 1"],
        ),
    ],
)
def test_a_callback(lab: Lab, hook: str, places: list[str]) -> None:
    lab.append(CALLBACK.format(hook=hook))
    said = lab.failure("train", HPARAMS)
    head = trace(FIRST + 3, hook, 'raise ValueError("no")', "ValueError: no")
    first = ", ".join(map(str, first_batch()))
    assert said == "\n".join([head, *(place.format(first=first) for place in places)])
    assert lab.reason() == "ValueError: no"


def first_batch() -> list[int]:
    """What the shuffled loader draws first in a run with the default seed."""
    from torch_lab.data import DataLoader

    return DataLoader(list(range(12)), batch_size=4, shuffle=True, seed=0).epoch_batches()[0]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_dataset(lab: Lab, workers: int) -> None:
    lab.append(
        f"""\
        def item(self, i):
            if i == 6:
                raise KeyError("six")
            return torch.ones(2), {{"y": torch.ones(1)}}
        Points.__getitem__ = item
        def train_config(config):
            return {{"module": module(), "train_dataloaders": loader(num_workers={workers})}}
        """
    )
    frame = trace(FIRST + 2, "item", 'raise KeyError("six")', "KeyError: 'six'")
    notes = ["while loading sample 6 of Points", "in training, epoch 1, batch 2"]
    said = lab.failure("train", HPARAMS)
    if workers == 0:
        assert said == "\n".join([frame, *notes])
        assert lab.reason() == "KeyError: 'six'"
    else:
        head = "Caught KeyError in DataLoader worker process 1.\nOriginal "
        assert said == head + "\n".join([frame, *notes])
        assert lab.reason() == "KeyError: 'six' (in DataLoader worker process 1)"


@pytest.mark.parametrize("workers", [0, 2])
def test_samples_that_do_not_collate(lab: Lab, workers: int) -> None:
    """None of the frames is the user's: it begins where torch-lab hands over to torch."""
    lab.append(
        f"""\
        Points.__getitem__ = lambda self, i: (torch.ones(2 + (i == 6)), {{"y": torch.ones(1)}})
        parts = torch.utils.data.Subset(Points(), [9, 8, 7, 6])
        def train_config(config):
            return {{"module": module(),
                    "train_dataloaders": DataLoader(parts, batch_size=4, num_workers={workers})}}
        """
    )
    said = lab.failure("train", HPARAMS).splitlines()
    assert said[-3:] == [
        "RuntimeError: stack expects each tensor to be equal size,"
        " but got [2] at entry 0 and [3] at entry 3",
        "while collating samples 9, 8, 7, 6 of Points",
        "in training, epoch 1, batch 1",
    ]
    frames = [line for line in said if line.startswith("  File ")]
    assert "torch_lab" in frames[0]
    assert all("torch/utils/data/_utils/collate.py" in frame for frame in frames[1:])


def test_a_worker_that_is_killed(lab: Lab) -> None:
    lab.append(
        """\
        import os, signal
        Points.__getitem__ = lambda self, i: os.kill(os.getpid(), signal.SIGKILL)
        def train_config(config):
            return {"module": module(), "train_dataloaders": loader(num_workers=1)}
        """
    )
    first, hint, place = lab.failure("train", HPARAMS).splitlines()
    assert first.startswith("error: loader worker ")
    assert first.endswith(" was killed by SIGKILL")
    assert hint.startswith("The system does that where memory runs out: try fewer num_workers")
    assert place == "in training, epoch 1, batch 1"


STEPS = """\
class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def training_step(self, batch, batch_idx):
        if {where} == "train" and batch_idx == 1:
            raise ValueError("no")
        return self.layer(batch[0]).mean()

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        if {where} == "validate" and dataloader_idx == 1:
            raise ValueError("no")

    def predict_step(self, batch, batch_idx):
        if batch_idx == 1:
            raise ValueError("no")
        return self.layer(batch[0])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def train_config(config):
    return {{"module": Net(), "train_dataloaders": loader(),
            "val_dataloaders": [loader(), loader()]}}


def infer_config(config):
    return {{"module": Net(), "predict_dataloaders": loader()}}
"""


@pytest.mark.parametrize(
    ("where", "line", "step", "place"),
    [
        ("train", 7, "training_step", "training, epoch 1, batch 2, samples 4, 5, 6, 7"),
        (
            "validate",
            12,
            "validation_step",
            "validation before training, batch 1, samples 0, 1, 2, 3, dataloader 1",
        ),
    ],
)
def test_a_modules_steps(lab: Lab, where: str, line: int, step: str, place: str) -> None:
    lab.append(STEPS.format(where=repr(where)))
    assert lab.failure("train", HPARAMS) == trace(
        FIRST + line, step, 'raise ValueError("no")', "ValueError: no", f"in {place}"
    )


def test_a_prediction(lab: Lab) -> None:
    lab.append(STEPS.format(where="None"))
    said = lab.says("infer", HPARAMS, "--checkpoint", "none")
    assert (said.status, said.err) == (
        1,
        trace(
            FIRST + 16,
            "predict_step",
            'raise ValueError("no")',
            "ValueError: no",
            "in prediction, batch 2, samples 4, 5, 6, 7\n",
        ),
    )


def test_samples_that_the_batch_itself_names(lab: Lab) -> None:
    lab.append(
        """\
        class Named(torch.utils.data.IterableDataset):
            def __iter__(self):
                for i in range(8):
                    yield torch.ones(2), {"y": torch.ones(1), "index": f"{i}.png"}
        nn.MSELoss.forward = lambda self, y_pred, y: y_pred @ y
        def train_config(config):
            data = torch.utils.data.DataLoader(Named(), batch_size=2)
            return {"module": module(), "train_dataloaders": data}
        """
    )
    said = lab.failure("train", HPARAMS)
    assert said.endswith("\nin training, epoch 1, batch 1, samples 0.png, 1.png")


@pytest.mark.parametrize(
    ("text", "line", "function", "code"),
    [
        ("def train_config(config):\n    {}['x']\n", 1, "train_config", "{}['x']"),
        (
            "class Net(nn.Module):\n    def __init__(self):\n        {}['x']\n"
            "def train_config(config):\n    return Net()\n",
            4,
            "train_config",
            "return Net()",
        ),
    ],
    ids=["config", "model"],
)
def test_before_there_is_a_trainer(
    lab: Lab, text: str, line: int, function: str, code: str
) -> None:
    lab.append(text)
    said = lab.failure("train", HPARAMS)
    assert said.startswith(trace(FIRST + line, function, code))
    assert said.endswith("\nKeyError: 'x'")


def test_a_compiled_model(lab: Lab) -> None:
    lab.append(
        """\
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = nn.Linear(2, 1)

            def forward(self, x):
                raise ValueError("no")
        def train_config(config):
            net = torch.compile(Net(), backend="eager")
            trained = TrainLabModule(net, nn.MSELoss(), {"optimizer": torch.optim.Adam})
            return {"module": trained, "train_dataloaders": loader()}
        """
    )
    assert lab.failure("train", HPARAMS) == trace(
        FIRST + 6,
        "forward",
        'raise ValueError("no")',
        "ValueError: no",
        "in training, epoch 1, batch 1, samples 0, 1, 2, 3",
    )


def test_causes_and_notes_are_kept(lab: Lab) -> None:
    lab.append(
        CALLBACK.format(hook="on_train_start")
        + """
def on_train_start(self, *args):
    try:
        {}["x"]
    except KeyError as error:
        error.add_note("my note")
        raise ValueError("no") from error
Watch.on_train_start = on_train_start
"""
    )
    first, _, second = lab.failure("train", HPARAMS).partition("\n\nThe above exception was")
    line = FIRST + CALLBACK.count("\n") + 3
    assert first == trace(line, "on_train_start", '{}["x"]', "KeyError: 'x'", "my note")
    last = trace(line + 3, "on_train_start", 'raise ValueError("no") from error')
    notes = "ValueError: no\nin callback Watch.on_train_start\nin training"
    assert second == f" the direct cause of the following exception:\n\n{last}\n{notes}"


def test_what_the_run_found_itself_is_told_once(lab: Lab) -> None:
    lab.append("nn.MSELoss.forward = lambda self, y_pred, y: (y_pred * float('nan')).mean()\n")
    said = lab.says("train", HPARAMS, "-s", "trainer.validate=None")
    assert said.status == 1
    assert said.err == (
        "error: the loss became nan in epoch 1, batch 1, samples 0, 1, 2, 3\n"
        "No checkpoint holds it. A lower learning rate, gradient clipping"
        " (trainer.init.gradient_clip_val) or those samples are where to look.\n"
        f"\nrun directory: data/artifacts/{RUN}\n"
        f"console log:   data/artifacts/{RUN}/console.log\n"
    )


def test_a_callback_that_counts_on_fit(lab: Lab) -> None:
    lab.append(CALLBACK.format(hook="on_validation_start").replace('"fit"', '"validate"'))
    said = lab.failure("train", HPARAMS)
    assert said.endswith(
        "\nin callback Watch.on_validation_start\nin validation before training\n"
        'This baseline comes before fit; "validate": None in "trainer", in the hyperparameters,'
        " leaves it out."
    )
