"""An exception in training leaves crash.ckpt, to look at: never gone on from, never in the way."""

from __future__ import annotations

import textwrap
from typing import Any

import torch
from tiny_project import RUN, Lab

from helpers import names

PLACES = """
class Planted(Faulty):
    '''An exception in another place: `fault` is a hook's name, and a global step.'''

    def __init__(self, fault):
        self.hook, _, self.step = fault.partition(" ")

    def raise_here(self, trainer, hook):
        if hook == self.hook and trainer.global_step == int(self.step):
            raise {error}

    def on_train_batch_start(self, trainer, *args):
        self.raise_here(trainer, "batch")

    def on_train_epoch_end(self, trainer, module):
        self.raise_here(trainer, "epoch")

    def on_validation_epoch_start(self, trainer, module):
        if trainer.state.fn == "fit":
            self.raise_here(trainer, "validation")

    def on_fit_start(self, trainer, module):
        self.raise_here(trainer, "fit")

    def on_exception(self, trainer, module, exception):
        module.log = None  # a module that is of no use any more

Faulty = Planted
"""
ERROR = "ValueError('the secret token=abc of it')"


def plant(lab: Lab, error: str = ERROR, more: str = "") -> None:
    lab.append(PLACES.format(error=error) + textwrap.dedent(more))


def crash(lab: Lab) -> dict[str, Any]:
    return torch.load(lab.run(RUN).path / "checkpoints" / "crash.ckpt", weights_only=True)


def test_what_it_holds_and_who_passes_it_over(lab: Lab) -> None:
    plant(lab)
    failed = lab.train("fault=batch 5")
    assert failed.status == 1
    path = f"data/artifacts/{RUN}/checkpoints/crash.ckpt"
    assert f"\n  crash     {path}  (epoch 1, batch 6)\n" in failed.out
    assert "could not" not in failed.err

    entries = {each["name"]: each for each in lab.run(RUN).record["checkpoints"]}
    assert (entries["crash"]["kind"], entries["last"]["batch"]) == ("crash", 5)
    found, saved = crash(lab), lab.run(RUN).checkpoint("last")
    for name, weight in saved["state_dict"].items():
        assert torch.equal(found["state_dict"][name], weight)
    assert found["optimizer_states"][0]["state"][0]["step"] == 5
    moment = found["crash"]
    assert (moment["format"], moment["stage"], moment["batch"]) == (1, "train", 1)
    assert len(moment["samples"]) == 4
    assert moment["exception"].endswith(
        "ValueError: the secret token=*** of it\nin callback Planted.on_train_batch_start\n"
        f"in training, epoch 2, batch 2, samples {', '.join(map(str, moment['samples']))}\n"
    )

    predicted = lab.infer(f"{RUN}:crash")
    assert predicted.status == 0, predicted.err
    from_it = lab.train(f"checkpoint.checkpoint_task_id={RUN}:crash")
    assert from_it.status == 2
    assert "holds no training state" in from_it.err
    assert '"weights_only": True' in from_it.err

    resumed = lab.do("train", "--resume", RUN)
    assert resumed.status == 1  # as nothing was mended
    assert resumed.out.count("from step-5.ckpt (epoch 1, batch 5)") == 1


def test_it_stays_beside_what_is_saved_after_it(lab: Lab) -> None:
    """The run goes on exactly, keeps as many steps as ever, and the file until the next crash."""
    plant(lab)
    assert lab.train("fault=batch 5", "checkpoint.keep=2").status == 1
    plant(lab, "None")
    lab.append("Planted.raise_here = lambda *args: None\n")
    resumed = lab.do("train", "--resume", RUN, "--force")
    assert resumed.status == 0, resumed.err
    assert "crash" not in resumed.out
    listed = names(lab.run(RUN).record["checkpoints"])
    assert sorted(listed) == ["crash", "last", "step-7", "step-8"]
    assert lab.train("checkpoint.keep=2").status == 0
    assert lab.newest().weights() == lab.run(RUN).weights()


BLOCK = """
class Planted(Planted):
    def on_train_start(self, trainer, module):
        path = Path(trainer.default_root_dir) / "checkpoints" / "crash.ckpt"
        (path / "not empty").mkdir(parents=True)

Faulty = Planted
"""


def test_a_second_failure_hides_nothing(lab: Lab) -> None:
    plant(lab, more=BLOCK)
    failed = lab.train("fault=batch 5")
    assert failed.status == 1
    assert "ValueError: the secret token=abc of it" in failed.err
    assert "crash.ckpt could not be written: can't save checkpoint" in failed.err
    assert "crash " not in failed.out
    assert lab.run(RUN).record["reason"] == "ValueError: the secret token=*** of it"
    assert lab.run(RUN).checkpoint("last")["torch_lab"]["batch"] == 5
