"""What `lab check` holds against what a trial has seen: monitors, limits, checkpoints, memory."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from checked_project import EPOCHS, MAIN, TRAIN, Look, look, one, told

from helpers import Project
from torch_lab.tasks.check import Subject, examining
from torch_lab.tasks.check.resources import disk, memory
from torch_lab.tasks.check.subject import Memory, Trial
from zygote import Zygote

__all__ = ["look"]


# -- monitors --------------------------------------------------------------------------------


def test_monitors_that_nobody_logs(look: Look) -> None:
    main = (
        "def train_config(config):\n"
        "    plateau = {'scheduler': torch.optim.lr_scheduler.ReduceLROnPlateau,\n"
        "               'monitor': 'val_loss'}\n"
        "    return parts(module=module(**plateau), callbacks=[\n"
        "        EarlyStopping('accuracy/val', mode='max'), ModelCheckpoint(monitor='nothing')])\n"
    )
    found = [each for each in look(main).findings if each.level == "error"]
    assert [each.code for each in found] == ["monitor"] * 3
    early, checkpoint, plateau = (each.message for each in found)
    assert 'EarlyStopping(monitor="accuracy/val")' in early
    assert 'did you mean "accuracy/validate"?' in early
    assert "ModelCheckpoint" in checkpoint
    assert 'the scheduler ReduceLROnPlateau, "monitor": "val_loss"' in plateau
    assert (found[0].place or "").endswith(f"__main__.py:{MAIN.count(chr(10)) + 5}")
    assert (found[0].hint or "").startswith("Logged are accuracy/train, ")


def test_what_is_logged_later_is_only_a_note(look: Look) -> None:
    main = (
        "class Later(TrainLabModule):\n"
        "    def on_validation_epoch_end(self):\n"
        "        super().on_validation_epoch_end()\n"
        "        if self.current_epoch > 3:\n"
        "            self.log(f'late/{self.current_epoch}', 1.0)\n"
        "def train_config(config):\n"
        "    given = module()\n"
        "    made = Later(given.model, given.loss_function, given.optimizer_config)\n"
        "    return parts(module=made, callbacks=[EarlyStopping('late/4')])\n"
    )
    (found,) = look(main).findings
    assert (found.level, found.code) == ("note", "monitor")
    assert "the trial of a batch did not log it" in found.message


def test_a_monitor_that_looks_the_wrong_way(look: Look) -> None:
    main = (
        "def train_config(config):\n"
        "    return parts(callbacks=[EarlyStopping('accuracy/validate')])\n"
    )
    found = one(look(main), "warning", "monitor-mode")
    assert found.message == (
        'EarlyStopping watches accuracy/validate with mode="min": the smaller the better'
    )
    assert found.hint == 'Say mode="max".'


# -- the Trainer's limits --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("init", "level", "words"),
    [
        ('"limit_train_batches": 0.1', "error", "0.1 of the 5 batches of train_dataloaders is not"),
        ('"overfit_batches": 0.1', "error", "trainer.init.overfit_batches: 0.1 of the 5 batches"),
        ('"val_check_interval": 6', "error", "after 6 batches, but an epoch has 5"),
        ('"check_val_every_n_epoch": 4', "warning", "every 4 epochs, but there are 3"),
        ('"accumulate_grad_batches": 9', "warning", "9 batches a step, but an epoch has 5"),
        ('"max_steps": 0', "warning", "trainer.init.max_steps is 0: nothing is trained"),
        ('"fast_dev_run": True', "warning", "nothing but a few batches is trained"),
    ],
)
def test_limits(look: Look, init: str, level: str, words: str) -> None:
    found = [f for f in look(init=f'{{"max_epochs": 3, {init}}}').findings if f.code == "limit"]
    assert [each.level for each in found] == [level]
    assert words in found[0].message
    assert (found[0].place or "").endswith("h.py:1")


def test_limits_of_data_without_length_and_of_hands(look: Look) -> None:
    main = (
        "class Stream(torch.utils.data.IterableDataset):\n"
        "    def __iter__(self): return iter(points(20))\n"
        "class Hands(TrainLabModule):\n"
        "    automatic_optimization = False\n"
        "    def training_step(self, batch, batch_idx):\n"
        "        loss = super().training_step(batch, batch_idx)['loss']\n"
        "        self.optimizers().zero_grad()\n"
        "        self.manual_backward(loss)\n"
        "        self.optimizers().step()\n"
        "def train_config(config):\n"
        "    given = module()\n"
        "    made = Hands(given.model, given.loss_function, given.optimizer_config)\n"
        "    made.automatic_optimization = False\n"
        "    return parts(module=made, train_dataloaders=DataLoader(Stream(), batch_size=4))\n"
    )
    init = '{"max_epochs": 3, "val_check_interval": 0.5, "accumulate_grad_batches": 2}'
    report = look(main, init)
    assert told(report.findings) == [("error", "limit")] * 2
    assert "0.5 of an epoch, whose length nobody knows" in report.findings[0].message
    assert "steps its optimizers by hand accumulates by hand, too" in report.findings[1].message
    assert report.facts["stages"] == ["train", "validate"]


def test_a_training_without_an_end(look: Look) -> None:
    (found,) = look(init="{}").findings
    assert (found.level, found.code) == ("note", "limit")
    assert "nothing ends the training" in found.message


# -- infer_config ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("infer", "level", "words"),
    [
        ("def infer_config(config, file): ...", "note", "was not tried: it takes arguments"),
        ("def infer_config(config): return {}", "error", "module: missing"),
        ("def infer_config(config): open('none')", "warning", "infer_config: FileNotFoundError"),
        (
            "def infer_config(config):\n"
            "    loader = DataLoader([(x, {}) for x, _ in points(6)], batch_size=4)\n"
            '    return {"module": LabModule(nn.Linear(9, 2)), "predict_dataloaders": loader}',
            "error",
            "predict: RuntimeError: ",
        ),
    ],
)
def test_infer_config(look: Look, infer: str, level: str, words: str) -> None:
    found = next(each for each in look(f"{TRAIN}{infer}\n").findings if each.code == "infer")
    assert found.level == level
    assert words in found.message


# -- a checkpoint to start from --------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a run of three epochs."""
    made = Project(tmp_path_factory.mktemp("trained") / "project")
    made.write("pyproject.toml", '[project]\nname = "lab-project"\nversion = "0"\n')
    made.write("lab_project/__init__.py", "")
    made.write("lab_project/experiments/00_a/__main__.py", MAIN + TRAIN)
    script = made.write(
        "lab_project/experiments/00_a/h.py",
        f'hparams = {{"config": {{}}, "trainer": {{"init": {EPOCHS}}}}}\n',
    )
    zygote.run("train", script, cwd=made.root, log=made.root / "log")
    return made.root


@pytest.mark.parametrize(
    ("section", "main", "level", "words"),
    [
        ('"checkpoint_task_id": "00_a-h_v7"', TRAIN, "error", 'no run "00_a-h_v7"'),
        ('"checkpoint_task_id": "00_a-h_v0"', TRAIN, "warning", "it has trained 3 epochs"),
        ('"checkpoint_task_id": "00_a/h", "weights_only": True', TRAIN, "", ""),
        (
            '"checkpoint_task_id": "00_a/h", "weights_only": True',
            "def train_config(config): return parts(module=module(nn.Linear(3, 2, bias=False)))\n",
            "error",
            "the checkpoint doesn't fit Linear",
        ),
        (
            '"checkpoint_task_id": "00_a/h"',
            "def train_config(config):\n"
            "    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))\n"
            "    return parts(module=module(net))\n",
            "error",
            "the checkpoint doesn't fit",
        ),
        (
            '"checkpoint_task_id": "00_a/h"',
            "class Twice(TrainLabModule):\n"
            "    def configure_optimizers(self):\n"
            "        groups = [{'params': [each]} for each in self.parameters()]\n"
            "        return torch.optim.Adam(groups)\n"
            "def train_config(config):\n"
            "    given = module()\n"
            "    return parts(module=Twice(given.model, given.loss_function,"
            " given.optimizer_config))\n",
            "error",
            "its optimizer state is of other parameters: 2 in the checkpoint, 1+1 here",
        ),
    ],
)
def test_the_checkpoint_to_start_from(
    look: Look, project: Project, trained: Path, section: str, main: str, level: str, words: str
) -> None:
    shutil.copytree(trained / "data", project.root / "data")
    init = '{"max_epochs": 3}'
    report = look(main, init, more=f'"checkpoint": {{{section}}}')
    found = [each for each in report.findings if each.code == "checkpoint"]
    assert [each.level for each in found][:1] == ([level] if level else [])
    if level:
        assert words in found[0].message


# -- memory and disk -------------------------------------------------------------------------


@pytest.fixture
def subject(look: Look, monkeypatch: pytest.MonkeyPatch) -> Subject:
    """A sound experiment as the checks see it."""
    seen: list[Subject] = []
    monkeypatch.setattr(examining, "CHECKS", (lambda subject: iter(seen.append(subject) or ()),))
    look()
    return seen[0]


def test_memory_that_is_not_there(subject: Subject) -> None:
    huge = 1 << 60
    assert list(memory(subject)) == []
    fixed = replace(subject, trial=Trial(memory=Memory(parameters=huge)))
    (found,) = memory(fixed)
    assert (found.level, found.code) == ("error", "memory")
    assert "weights, gradients and optimizer alone take" in found.message
    batch = replace(subject, trial=Trial(memory=Memory(activations=huge >> 4, scale=16)))
    (found,) = memory(batch)
    assert (found.level, found.code) == ("warning", "memory")
    assert "a batch takes some" in found.message


def test_a_disk_that_is_too_small(subject: Subject) -> None:
    assert list(disk(subject)) == []
    (found,) = disk(replace(subject, trial=Trial(checkpoint=1 << 60)))
    assert (found.level, found.code) == ("error", "disk")
    assert "not one can be saved" in found.message
    free = shutil.disk_usage(subject.plan.experiment.root).free
    (found,) = disk(replace(subject, trial=Trial(checkpoint=free // 2)))
    assert (found.level, found.code) == ("warning", "disk")
    assert "are kept beside the best" in found.message


def test_the_trial_leaves_the_module_as_it_was(subject: Subject) -> None:
    names = {*subject.parameters()}
    assert subject.trial.moved == names
    assert subject.trial.gradients.keys() == names
    assert all(each.grad is None for each in subject.module.parameters())
    assert "training_step" not in vars(subject.module)
