"""A monitor that is never logged: known at the first epoch's end, with all that is logged."""

from __future__ import annotations

import pytest
from said import HPARAMS, LINES, MAIN, Lab

from torch_lab.engine.monitors import _meant

WITH = """\
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from torch_lab.callbacks import RunCheckpoint
def train_config(config):
    return {"module": module(), "train_dataloaders": loader(), "val_dataloaders": loader(),
            "callbacks": [CALLBACKS]}
"""
HERE = f"{MAIN}:{LINES + 6}"
ALL = "loss/train, loss/train_epoch, loss/train_step, loss/validate, loss/validate_epoch"
WRONG = "no metric of that name is logged"


@pytest.mark.parametrize(
    ("callbacks", "lines"),
    [
        (
            'EarlyStopping("loss/validat")',
            [f'{HERE}: EarlyStopping(monitor="loss/validat"): {WRONG}; did you mean'],
        ),
        (
            'ModelCheckpoint(monitor="loss/validat", every_n_epochs=50)',
            [f'{HERE}: ModelCheckpoint(monitor="loss/validat"): {WRONG}; did you mean'],
        ),
        (
            'ModelCheckpoint(monitor="loss/validat")',
            [f'{HERE}: ModelCheckpoint(monitor="loss/validat"): {WRONG}; did you mean'],
        ),
        (
            'RunCheckpoint("loss/validat"), ModelCheckpoint(every_n_epochs=9)',
            [f'{HERE}: RunCheckpoint(monitor="loss/validat"): {WRONG}; did you mean'],
        ),
        (
            'RunCheckpoint("loss/validat"), ModelCheckpoint(every_n_epochs=9, monitor="acuracy")',
            [
                f'{HERE}: ModelCheckpoint(monitor="acuracy"): {WRONG}',
                f'{HERE}: RunCheckpoint(monitor="loss/validat"): {WRONG}; did you mean',
            ],
        ),
    ],
)
def test_callbacks(lab: Lab, callbacks: str, lines: list[str]) -> None:
    lab.append(WITH.replace("CALLBACKS", callbacks))
    said = lab.mistake("train", HPARAMS, "-s", "trainer.init.max_epochs=200")
    *found, logged = said.replace(' "loss/validate"?', "").splitlines()
    assert sorted(found) == lines
    assert logged == f"Logged so far: {ALL}."
    assert lab.run("00_net-hparams_v0").record["progress"]["epoch"] <= 1


def test_a_scheduler(lab: Lab) -> None:
    lab.append(
        """\
        def train_config(config):
            plateau = {
                "optimizer": torch.optim.Adam,
                "scheduler": torch.optim.lr_scheduler.ReduceLROnPlateau,
            }
            trained = TrainLabModule(nn.Linear(2, 1), nn.MSELoss(), plateau)
            return {"module": trained, "train_dataloaders": loader()}
        """
    )
    assert lab.mistake("train", HPARAMS) == (
        'the scheduler ReduceLROnPlateau, "monitor": "loss/validate": no metric of that name is'
        " logged\n"
        "Logged so far: loss/train, loss/train_epoch, loss/train_step;"
        " nothing is validated (val_dataloaders)."
    )


def test_a_name_that_stands_in_the_hyperparameters(lab: Lab) -> None:
    lab.append('hparams["config"]["watch"] = "val_acc"\n', HPARAMS)
    lab.append(WITH.replace("CALLBACKS", 'EarlyStopping(config["watch"])'))
    line = (lab.root / HPARAMS).read_text().count("\n")
    assert lab.mistake("train", HPARAMS).splitlines()[0] == (
        f'{HPARAMS}:{line}: EarlyStopping(monitor="val_acc"): no metric of that name is logged'
    )


def test_those_that_need_not_be_there(lab: Lab) -> None:
    """Where Lightning only warns, or nobody looks, training goes on."""
    callbacks = 'EarlyStopping("x", strict=False), ModelCheckpoint(monitor="y", save_top_k=0)'
    lab.append(WITH.replace("CALLBACKS", callbacks))
    assert lab.says("train", HPARAMS).status == 0


def test_one_that_is_logged_every_other_epoch_is_waited_for(lab: Lab) -> None:
    lab.append(WITH.replace("CALLBACKS", 'RunCheckpoint("loss/validate")'))
    options = ["-s", "trainer.init.check_val_every_n_epoch=2", "-s", "trainer.init.max_epochs=3"]
    assert lab.says("train", HPARAMS, *options).status == 0


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("val_loss", "loss/validate"),
        ("validation-loss", "loss/validate"),
        ("valid_acc", "accuracy/validate"),
        ("training.loss", "loss/train"),
        ("val_loss_epoch", "loss/validate_epoch"),
        ("acuracy/validate", "accuracy/validate"),
        ("dice", None),
    ],
)
def test_what_was_meant(name: str, meant: str | None) -> None:
    logged = ["accuracy/validate", "loss/train", "loss/validate", "loss/validate_epoch"]
    assert _meant(name, logged) == meant
