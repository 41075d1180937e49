"""Which metrics share a chart, and what is set apart of runs."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from plotted_runs import falling, stored, write_run
from torch_lab.errors import UsageError
from torch_lab.tasks.plot.charts import charts, chosen, role_of, split
from torch_lab.tasks.plot.comparison import colors, differing, plotted, short_keys
from torch_lab.tasks.plot.curves import Curve

NAMES = ["epoch", "lr-Adam", "loss/train", "loss/train_step", "loss/validate", "accuracy/validate"]


def logged(**lengths: int) -> dict[str, Curve]:
    zeros = {name: np.zeros(length) for name, length in lengths.items()}
    return {name: Curve(each, each, each, each) for name, each in zeros.items()}


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("loss/train", ("loss", "train")),
        ("loss/train_step", ("loss", "train_step")),
        ("val_loss", ("loss", "val")),
        ("train_loss_step", ("loss", "train_step")),
        ("val/loss/boxes", ("loss/boxes", "val")),
        ("accuracy (validate)/cats", ("accuracy/cats", "validate")),
        ("Test-accuracy", ("Test-accuracy", "")),
        ("training/loss", ("loss", "training")),
        ("trained_on", ("trained_on", "")),
        ("lr-Adam", ("lr-Adam", "")),
        ("value", ("value", "")),
    ],
)
def test_what_a_name_says(name: str, parts: tuple[str, str]) -> None:
    assert split(name) == parts


def test_the_roles() -> None:
    words = ["train", "training", "val", "validate", "test", "train_step", "", "boxes"]
    roles = ["train", "train", "val", "val", "test", "step", "other", "other"]
    assert [role_of(word) for word in words] == roles


def test_charts_and_their_order() -> None:
    curves = logged(**dict.fromkeys(NAMES, 5))
    found = charts([curves], main="accuracy/validate")
    assert [chart.title for chart in found] == ["accuracy", "loss", "lr-Adam"]
    loss = found[1]
    assert [(part.label, part.shown) for part in loss.parts] == [
        ("train", True),
        ("validate", True),
        ("train_step", False),
    ]
    assert [chart.title for chart in charts([curves])] == ["loss", "accuracy", "lr-Adam"]


def test_steps_are_drawn_where_epochs_make_no_curve() -> None:
    (chart,) = charts([logged(**{"loss/train": 1, "loss/train_step": 500})])
    assert [(part.metric, part.shown) for part in chart.parts] == [
        ("loss/train", True),
        ("loss/train_step", True),
    ]


def test_parts_of_one_label_go_by_their_names() -> None:
    (chart,) = charts([logged(**{"loss/val": 5, "val_loss": 5})])
    assert {part.label for part in chart.parts} == {"loss/val", "val_loss"}


def test_patterns_choose() -> None:
    assert chosen(NAMES, []) == NAMES[1:]
    assert chosen(NAMES, ["loss/*"]) == NAMES[2:5]
    assert chosen(NAMES, ["epoch", "acc*"]) == ["epoch", "accuracy/validate"]
    assert chosen(["iou[0]", "iou0"], ["iou[0]"]) == ["iou[0]"]
    with pytest.raises(UsageError, match="no metric is like 'los/train'") as error:
        chosen(NAMES, ["los/train"])
    assert error.value.hint == 'did you mean "loss/train"?'


def test_what_was_set_differently(tmp_path: Path) -> None:
    for number, lr in enumerate((1e-2, 1e-3)):
        config = {"lr": lr, "width": 16, "betas": [0.9, lr]} | ({"extra": None} if number else {})
        hparams = {"seed": None, "trainer": {"init": {"lr": lr}}, "config": config}
        name = f"00_a-hparams_v{number}"
        write_run(tmp_path, name, number=number, hparams=hparams, seed=number)
    runs = plotted([stored(tmp_path, f"00_a-hparams_v{number}") for number in range(2)])
    keys = differing(runs)
    assert keys == ["seed", "trainer.init.lr", "config.lr", "config.betas", "config.extra"]
    assert list(short_keys(keys).items()) == [
        ("config.lr", "config.lr"),
        ("config.betas", "betas"),
        ("config.extra", "extra"),
        ("seed", "seed"),
        ("trainer.init.lr", "trainer.init.lr"),
    ]
    assert differing(runs[:1]) == []


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for number, folder in enumerate(("here", "there")):
        write_run(tmp_path / folder, "00_a-hparams_v0", falling(0.1), number=number)
    runs = [stored(tmp_path / folder, "00_a-hparams_v0") for folder in ("here", "there")]
    names = [run.name for run in plotted(runs)]
    assert names == [f"00_a-hparams_v0 ({run.record.id[:8]})" for run in runs]


def test_colors_are_all_different() -> None:
    assert len(set(islice(colors(), 60))) == 60
