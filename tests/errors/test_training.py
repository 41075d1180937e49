"""Mistakes that show when training begins, and what a run finds wrong with itself."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch
from said import HPARAMS, RUN, Lab

import torch_lab
from torch_lab.callbacks.predictions.columns import Table
from torch_lab.checkpoints import files, plain
from torch_lab.errors import CheckpointDamaged, ConfigurationError, UsageError
from torch_lab.hparams.overriding import override
from torch_lab.utils import get_hparams_and_config_path, set_hparams_debug_overrides

WHERE = f"\nrun directory: data/artifacts/{RUN}\nconsole log:   data/artifacts/{RUN}/console.log\n"


def test_weights_that_are_no_numbers(lab: Lab) -> None:
    lab.append(
        """\
        class Spoil(pl.Callback):
            def on_train_batch_end(self, trainer, module, *args):
                if trainer.is_last_batch:
                    module.model.weight.data.fill_(float("nan"))
        def train_config(config):
            return {"module": module(), "train_dataloaders": loader(), "callbacks": [Spoil()]}
        """
    )
    said = lab.says("train", HPARAMS)
    assert (said.status, said.err) == (
        1,
        "error: weights became NaN or infinite by epoch 2, step 3, with a finite loss:"
        " model.weight\n"
        "No checkpoint holds it. A lower learning rate, gradient clipping"
        " (trainer.init.gradient_clip_val) or those samples are where to look."
        " NanMonitor(gradients=True) among the callbacks tells in which batch, and which"
        f" parameter's gradient was the first.\n{WHERE}",
    )


def test_data_without_a_batch(lab: Lab) -> None:
    lab.append(
        """\
        def train_config(config):
            data = DataLoader(Points(), batch_size=40, drop_last=True)
            return {"module": module(), "train_dataloaders": data}
        """
    )
    said = lab.says("train", HPARAMS)
    assert said.status == 2
    assert said.err.partition("error: ")[2] == (
        "train_dataloaders: there is no batch in them\n"
        f"The dataset is empty, or smaller than a batch where drop_last=True.\n{WHERE}"
    )


def test_a_trainer_that_records_nothing(lab: Lab) -> None:
    assert lab.mistake("train", HPARAMS, "-s", "trainer.init.barebones=True") == (
        "trainer.init.barebones: it forbids the callbacks and loggers that a run is kept by\n"
        "Leave it out; a step's overhead without a profiler is small."
    )


def test_a_finder_with_nowhere_to_put_its_rate(lab: Lab) -> None:
    lab.append(
        """\
        class Net(pl.LightningModule):
            def __init__(self):
                super().__init__()
                self.layer = nn.Linear(2, 1)

            def training_step(self, batch, batch_idx):
                return self.layer(batch[0]).mean()

            def configure_optimizers(self):
                return torch.optim.SGD(self.parameters(), lr=0.1)
        def train_config(config):
            finder = pl.callbacks.LearningRateFinder(num_training_steps=3)
            return {"module": Net(), "train_dataloaders": loader(), "callbacks": [finder]}
        """
    )
    said = lab.says("train", HPARAMS)
    assert said.status == 2
    assert said.err.partition("error: ")[2].splitlines()[:2] == [
        "LearningRateFinder: Net has no attribute lr or learning_rate to put the learning rate"
        " into",
        "Set self.lr in the module and use it in configure_optimizers, or name the attribute:"
        " LearningRateFinder(attr_name=…).",
    ]


def test_a_state_that_can_not_be_saved(lab: Lab) -> None:
    lab.append(
        """\
        class Keeps(pl.Callback):
            def state_dict(self):
                return {"x": object()}
        def train_config(config):
            return {"module": module(), "train_dataloaders": loader(), "callbacks": [Keeps()]}
        """
    )
    assert lab.mistake("train", HPARAMS) == (
        "callback Keeps: its state_dict()['x'] holds a builtins.object, which has no plain form:"
        " a checkpoint must load without running code\n"
        "Keep plain values in that state: tensors, numbers, strings, lists, dicts."
    )


def test_a_metric_of_another_shape(lab: Lab) -> None:
    lab.append(
        """\
        from torch_lab.metrics import PooledMean
        def gap(y_pred, y):
            return y_pred - y
        def train_config(config):
            measured = module(metrics={"gap": PooledMean(gap)})
            return {"module": measured, "train_dataloaders": loader()}
        """
    )
    assert lab.mistake("train", HPARAMS).splitlines()[:2] == [
        "the function of PooledMean(gap) returned a Tensor of shape (4, 1)",
        "It must return one number: the mean over the batch's samples.",
    ]


def test_a_training_state_of_a_newer_version(lab: Lab) -> None:
    assert lab.says("train", HPARAMS).status == 0
    path = lab.artifacts / RUN / "checkpoints" / "last.ckpt"
    contents = torch.load(path, weights_only=True)
    contents["torch_lab"]["format"] = 9
    torch.save(contents, lab.root / "newer.ckpt")
    said = lab.mistake("train", HPARAMS, "-s", "checkpoint.checkpoint_task_id=newer.ckpt")
    assert said == (
        "ROOT/newer.ckpt: the checkpoint's training state has format 9;"
        " this version of torch-lab reads up to 1"
    )


def test_a_run_without_a_sound_checkpoint(lab: Lab) -> None:
    assert lab.says("train", HPARAMS).status == 0
    for file in (lab.artifacts / RUN / "checkpoints").glob("*.ckpt"):
        file.write_bytes(b"")
    said = lab.says("infer", HPARAMS, "--checkpoint", RUN)
    assert said.status == 2
    assert said.err.endswith(f"error: run {RUN} has no sound checkpoint 'last' or before it\n")


def test_code_of_a_run_from_elsewhere(lab: Lab) -> None:
    assert lab.says("train", HPARAMS).status == 0
    (lab.root / "elsewhere").mkdir()
    shutil.copytree(lab.artifacts / RUN, lab.root / "elsewhere" / RUN)
    os.chdir(lab.root)
    with pytest.raises(UsageError) as caught:
        torch_lab.runs("elsewhere")[0].load_module()
    assert str(caught.value) == (
        f"run {RUN} is not of this project (data/artifacts):"
        " load_module would run the code that lies with it\n"
        "If you know where it comes from: load_module(trust=True)."
    )


def test_a_run_whose_config_can_not_be_had_back(lab: Lab) -> None:
    lab.append('hparams["config"]["made"] = object\n', HPARAMS)
    assert lab.says("train", HPARAMS).status == 0
    os.chdir(lab.root)
    with pytest.raises(UsageError) as caught:
        torch_lab.runs()[0].load_module()
    message, hint = str(caught.value).splitlines()
    assert message.startswith(f"the record of run {RUN} doesn't hold config.made (")
    assert hint == 'Give what it lacks: load_module(set={"config.made": …}).'


class TestInPython:
    """What the functions of the library say themselves."""

    @pytest.mark.parametrize("number", [0, -1, 1.5, "x"])
    def test_dev_run(self, number: object) -> None:
        with pytest.raises(UsageError) as caught:
            set_hparams_debug_overrides({}, number)  # type: ignore[arg-type]
        assert str(caught.value) == (
            f"--dev-run {number}: expected a number of batches (a positive int) or a fraction of"
            " them (a float above 0, up to 1.0)\n"
            "for example: --dev-run 2, or --dev-run 0.1"
        )

    def test_override(self) -> None:
        with pytest.raises(UsageError) as caught:
            override({"config": {}}, ["lr"])
        expected = "--set lr: expected KEY=VALUE\nfor example: --set lr=0.001"
        assert str(caught.value) == expected

    def test_hparams_of_1x(self, lab: Lab) -> None:
        lab.write(HPARAMS, "hparams = 3\n")
        with pytest.raises(Exception, match="problem in hparams") as caught:
            get_hparams_and_config_path(lab.root / HPARAMS)
        assert str(caught.value).endswith("\n  hparams: expected a dict of that name, got 3 (int)")

    def test_a_file_that_is_whole_and_no_pickle(self, tmp_path: Path) -> None:
        path = tmp_path / "odd.ckpt"
        torch.save({}, tmp_path / "good.ckpt")
        with ZipFile(tmp_path / "good.ckpt") as good, ZipFile(path, "w") as odd:
            for name in good.namelist():
                odd.writestr(name, b"\x80\x02?" if name.endswith(".pkl") else good.read(name))
        with pytest.raises(CheckpointDamaged) as caught:
            files.load(path)
        assert str(caught.value) == f"{path} can't be read as a checkpoint: broken pickle"

    def test_columns_of_one_name(self) -> None:
        table = Table()
        table.add("a", [1])
        with pytest.raises(ConfigurationError, match='predictions: two columns are called "a"'):
            table.add("a", [2])

    def test_a_tag_of_a_newer_version(self) -> None:
        with pytest.raises(CheckpointDamaged) as caught:
            plain.decode({plain.TAG: "colour", "value": 1})
        assert str(caught.value) == (
            "it holds a 'colour' that this version of torch-lab can't read"
        )
