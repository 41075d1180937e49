"""Mistakes in hyperparameter scripts: file and line, what was expected, the nearest name."""

from __future__ import annotations

import pytest
from said import FOLDER, HPARAMS, HYPERPARAMETERS, RUN, Lab

from helpers import SRC

SMALL = f"{FOLDER}/small.py"
EXTENDING = """\
import torch_lab

hparams = torch_lab.hparams.extend("hparams.py", {
    "confg.lr": 1,
    "trainer.int.max_epochs": 3,
    "lr": 1,
    "seed.x": 3,
    "config.lr.x": 2,
})
"""
LAYERED = """\
from pathlib import Path
from torch_lab.utils import import_script_as_module

hparams = import_script_as_module(Path(__file__).parent / "base.py").hparams
hparams["trainer"]["init"]["max_step"] = 3
hparams["checkpoint"] = dict(keep=0)
hparams["trainer"].update({"predict": 3})
hparams["sed"] = 1
"""


def test_all_mistakes_of_an_extension(lab: Lab) -> None:
    lab.write(SMALL, EXTENDING)
    assert lab.mistake("train", SMALL) == (
        f"{SMALL}: 5 problems in hparams\n"
        '  line 4: confg.lr: unknown key; did you mean "config"?\n'
        '  line 5: trainer.int: unknown key; did you mean "init"?\n'
        '  line 6: lr: unknown key; did you mean "config.lr"?\n'
        "  line 7: seed: holds a value; there are no keys below it\n"
        "  line 8: config.lr.x: config.lr is 0.01 (float)"
    )


def test_a_mistake_in_the_script_below_is_told_with_that_file(lab: Lab) -> None:
    lab.write(f"{FOLDER}/base.py", HYPERPARAMETERS.replace("max_epochs", "max_epoch"))
    lab.write(SMALL, LAYERED)
    assert lab.mistake("train", SMALL) == (
        f"{SMALL}: 5 problems in hparams\n"
        '  line 8: sed: unknown key; did you mean "seed"?\n'
        "  line 6: checkpoint.keep: expected a positive int or None, got 0 (int)\n"
        f"  {FOLDER}/base.py:4: trainer.init.max_epoch: unknown key; did you mean"
        ' "max_epochs"?\n'
        '  line 5: trainer.init.max_step: unknown key; did you mean "max_steps"?\n'
        "  line 7: trainer.predict: expected a dict, got 3 (int)"
    )


def test_a_script_that_extends_one_that_is_not_there(lab: Lab) -> None:
    lab.write(SMALL, EXTENDING.replace("hparams.py", "hparms.py"))
    assert lab.mistake("train", SMALL) == (
        f"{FOLDER}/hparms.py does not exist ({SMALL} extends it)\ndid you mean {HPARAMS}?"
    )


def test_scripts_that_load_each_other(lab: Lab) -> None:
    lab.write(SMALL, EXTENDING)
    lab.write(HPARAMS, EXTENDING.replace("hparams.py", "small.py"))
    assert (
        lab.mistake("train", SMALL) == f"scripts load each other: {SMALL} -> {HPARAMS} -> {SMALL}"
    )


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            f"{FOLDER}/small-lr.py",
            'the script name "small-lr" has a "-" in it, which separates the parts of run names\n'
            "rename it to small_lr",
        ),
        (
            "lab_project/experiments/00-net/hparams.py",
            'the experiment name "00-net" has a "-" in it, which separates the parts of run names\n'
            "rename it to 00_net",
        ),
        (
            "lab_project/hparams.py",
            "lab_project is not an experiment: it has no __main__.py\n"
            "__main__.py defines train_config and infer_config",
        ),
    ],
)
def test_a_script_in_a_place_that_will_not_do(lab: Lab, path: str, message: str) -> None:
    lab.write("lab_project/experiments/00-net/__main__.py", "")
    lab.write(path, "hparams = {}\n")
    assert lab.mistake("train", path) == message


def test_two_checkpoints_to_start_from(lab: Lab) -> None:
    lab.write(
        HPARAMS,
        """\
        hparams = {
            "checkpoint": {"checkpoint_task_id": "a.ckpt"},
            "trainer": {"fit": {"ckpt_path": "b.ckpt"}},
        }
        """,
    )
    assert lab.mistake("train", HPARAMS) == (
        f"{HPARAMS}: 1 problem in hparams\n"
        "  line 3: trainer.fit.ckpt_path: expected this or checkpoint.checkpoint_task_id, not both"
    )


@pytest.mark.parametrize(
    ("hparams", "key"),
    [
        ({"checkpoint": {"checkpoint_task_id": "nope"}}, "checkpoint.checkpoint_task_id"),
        ({"trainer": {"fit": {"ckpt_path": "nope"}}}, "trainer.fit.ckpt_path"),
    ],
)
def test_a_run_that_is_not_there(lab: Lab, hparams: dict[str, object], key: str) -> None:
    lab.write(HPARAMS, f"hparams = {hparams}\n")
    for verb in ("train", "infer")[: 1 + key.startswith("c")]:
        assert lab.mistake(verb, HPARAMS) == (
            f'no run "nope" in ROOT/data/artifacts ({key} in {HPARAMS})\n'
            "There are no runs there yet: `train HPARAMS` makes one."
        )


def test_a_checkpoint_that_a_run_has_not(lab: Lab) -> None:
    assert lab.says("train", HPARAMS).status == 0
    section = {"checkpoint_task_id": RUN, "checkpoint_name": "bset"}
    lab.append(f'hparams["checkpoint"] = {section}\n', HPARAMS)
    said = lab.mistake("train", HPARAMS)
    assert said.startswith(f"run {RUN} has no checkpoint 'bset' in ")
    assert said.endswith(f" (checkpoint.checkpoint_name in {HPARAMS})")


def test_another_copy_of_the_project(lab: Lab) -> None:
    lab.write("elsewhere/lab_project/__init__.py", "")
    path = f"{lab.root}/elsewhere:{SRC}"
    env = {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
    done = lab.command("train", HPARAMS, status=2, env=env)
    assert done.stderr == (
        f"error: the name lab_project leads to {lab.root}/elsewhere/lab_project/__init__.py,"
        f" not to {lab.root}/lab_project\n"
        "another copy hides the project: uninstall that copy, install this one with"
        f" `pip install -e {lab.root}`, or rename the folder\n"
    )


def test_a_folder_of_the_scripts_name(lab: Lab) -> None:
    lab.write(SMALL, "hparams = {}")
    lab.write(f"{FOLDER}/small/__init__.py", "")
    assert lab.mistake("train", SMALL) == (
        f"{SMALL}: its name, lab_project.experiments.00_net.small, leads to"
        f" ROOT/{FOLDER}/small/__init__.py\n"
        "another module of that name hides the script: rename or remove one of them"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "accelerator=cup",
            "trainer.init.accelerator: You selected an invalid accelerator name:"
            " `accelerator='cup'`.",
        ),
        (
            "precision=float9",
            "trainer.init.precision: Precision 'float9' is invalid.",
        ),
        (
            "devices=0",
            "trainer.init.devices: `Trainer(devices=0)` value is not a valid input",
        ),
        (
            "strategy=dpp",
            "trainer.init.strategy: You selected an invalid strategy name:",
        ),
        (
            "limit_train_batches=-3",
            "trainer.init.limit_train_batches: You have passed invalid value -3",
        ),
        (
            "gradient_clip_algorithm=x",
            "trainer.init.gradient_clip_algorithm: `gradient_clip_algorithm` x is invalid."
            " Allowed algorithms: ['value', 'norm'].",
        ),
    ],
)
def test_a_value_that_only_lightning_can_refuse(lab: Lab, change: str, message: str) -> None:
    said = lab.mistake("train", HPARAMS, "-s", f"trainer.init.{change}")
    assert said.startswith(message)
    assert lab.reason() == f"ConfigurationError: {said}"


def test_a_value_that_does_not_fit_the_data(lab: Lab) -> None:
    """Lightning notices when it has the loaders; to the user it is a mistake like the others."""
    assert lab.mistake("train", HPARAMS, "-s", "trainer.init.val_check_interval=100").startswith(
        "Lightning can't work with this: `val_check_interval` (100) must be less than or equal to"
        " the number of the training batches (3)."
    )


def test_a_step_that_can_not_be_called(lab: Lab) -> None:
    lab.append(
        """
        class Plain(pl.LightningModule):
            def training_step(self):
                pass

            def configure_optimizers(self):
                return torch.optim.SGD([torch.nn.Parameter(torch.ones(1))])


        def train_config(config):
            return {"module": Plain(), "train_dataloaders": loader()}
        """
    )
    assert lab.mistake("train", HPARAMS).startswith(
        "Lightning can't work with this: Plain.training_step() takes 1 positional argument but"
    )


def test_a_module_that_can_not_predict(lab: Lab) -> None:
    lab.append(
        """
        class Plain(pl.LightningModule):
            def predict_step(self):
                pass


        def infer_config(config):
            return {"module": Plain(), "predict_dataloaders": loader()}
        """
    )
    assert lab.mistake("infer", HPARAMS, "--checkpoint", "none").startswith(
        "Lightning can't work with this: Plain.predict_step() takes 1 positional argument but"
    )


def test_what_has_no_effect_is_named(lab: Lab) -> None:
    text = '"task": {"task_name": "x"}, "checkpoint": {"strict": False}, "config"'
    lab.write(HPARAMS, HYPERPARAMETERS.replace('"config"', text))
    said = lab.says("train", HPARAMS)
    assert said.status == 0
    assert said.err == (
        "task.task_name has no effect here\n"
        "checkpoint.strict has an effect only with checkpoint.weights_only True\n"
    )


def test_an_inference_without_weights_says_so(lab: Lab) -> None:
    said = lab.says("infer", HPARAMS)
    assert (said.status, said.err) == (
        0,
        "warning: no checkpoint: the module is applied as it was built"
        " (--checkpoint RUN takes a run's, --checkpoint none says that you mean it)\n",
    )
