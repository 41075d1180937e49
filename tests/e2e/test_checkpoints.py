"""Checkpoints through the real commands: made, started from, inferred with, damaged, refused."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn

import forked_ranks
from helpers import Project, StoredRun, names
from zygote import Zygote

SOURCE = Path(__file__).parent.parent / "projects" / "checkpoints"
SCRIPT = "kept/experiments/00_net/hparams.py"


class Lab:
    """A project and its commands; `log` is what the last one printed."""

    def __init__(self, root: Path, zygote: Zygote) -> None:
        shutil.copytree(SOURCE, root)
        self.project = Project(root)
        self.zygote = zygote
        self.log = ""

    def command(self, verb: str, *words: str | Path, status: int = 0, **changes: Any) -> None:
        sets = [word for key, value in changes.items() for word in ("--set", f"{key}={value!r}")]
        log = self.project.root / "log.txt"
        log.unlink(missing_ok=True)
        try:
            root, forked = self.project.root, {forked_ranks.WANTED: str(log.with_name("ranks"))}
            self.zygote.run(verb, *words, *sets, cwd=root, log=log, status=status, env=forked)
        finally:
            self.log = log.read_text()

    def train(self, status: int = 0, script: str = SCRIPT, **changes: Any) -> StoredRun:
        self.command("train", script, status=status, **changes)
        return self.newest()

    def newest(self) -> StoredRun:
        names = sorted(self.project.runs(), key=lambda name: int(name.rpartition("_v")[2]))
        return self.project.run(names[-1])

    def disarm(self, callback: str) -> None:
        """From now on the callback does nothing."""
        main = self.project.root / SCRIPT.replace("hparams", "__main__")
        before = main.read_text()
        main.write_text(
            before.replace(f'"{callback}": lambda: At(7', f'"{callback}": lambda: At(99')
        )

    def infer(self, *words: str | Path, **changes: Any) -> dict[str, Any]:
        """The weights it used."""
        self.command("infer", SCRIPT, *words, **changes)
        weights: dict[str, Any] = json.loads((self.project.root / "out.json").read_text())
        return weights


@pytest.fixture
def lab(tmp_path: Path, zygote: Zygote) -> Lab:
    return Lab(tmp_path / "project", zygote)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, zygote: Zygote) -> Lab:
    """A project with a completed run, which tests leave as it is."""
    lab = Lab(tmp_path_factory.mktemp("trained") / "project", zygote)
    lab.train()
    return lab


@pytest.fixture
def base(trained: Lab, tmp_path: Path, zygote: Zygote) -> Lab:
    """A copy of it."""
    lab = Lab(tmp_path / "project", zygote)
    shutil.copytree(trained.project.artifacts, lab.project.artifacts)
    return lab


def entries(run: StoredRun) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in run.record["checkpoints"]}


def weights(run: StoredRun, name: str = "last") -> dict[str, Any]:
    return {key: value.tolist() for key, value in run.checkpoint(name)["state_dict"].items()}


def check_sound(run: StoredRun) -> None:
    """Everything that run.json lists opens, and nothing half-made lies around."""
    assert not list(run.path.rglob("*.tmp"))
    for entry in run.record["checkpoints"]:
        torch.load(run.path / entry["file"], weights_only=True)


class TestStartingFromARun:
    def test_the_whole_state(self, base: Lab) -> None:
        parent = base.project.run("00_net-hparams_v0")
        changes = {"checkpoint_task_id": parent.path.name, "trainer.init.max_epochs": 3}
        run = base.train(**{f"checkpoint.{k}" if k[0] == "c" else k: v for k, v in changes.items()})
        last = entries(run)["last"]
        assert (last["epoch"], last["step"], last["batch"]) == (3, 12, 12)
        assert run.record["parent"] == {
            "id": parent.record["id"],
            "name": parent.path.name,
            "checkpoint": "step-8",
        }
        assert entries(run)["best"]["batch"] == 12  # of its own, whatever the parent's was
        assert {row[2] for row in run.rows() if row[0]} == {2}

    def test_only_the_weights(self, base: Lab) -> None:
        parent = base.project.run("00_net-hparams_v0")
        section = {"checkpoint_task_id": parent.path.name, "weights_only": True}
        section |= {"checkpoint_name": "step-4", "every_n_steps": 1, "keep": 99}
        run = base.train(
            **{f"checkpoint.{key}": value for key, value in section.items()},
            **{"trainer.init.max_epochs": 1, "trainer.init.limit_train_batches": 1},
        )
        assert "step-4.ckpt (weights)" in base.log
        assert run.record["parent"]["checkpoint"] == "step-4"
        assert entries(run)["last"]["batch"] == entries(run)["last"]["epoch"] == 1
        baseline = next(row for row in run.rows() if row[0] == 0)[3]["loss/validate"]
        assert baseline == pytest.approx(entries(parent)["step-4"]["metrics"]["loss/validate"])

    def test_what_does_not_fit_is_one_message(self, base: Lab) -> None:
        section = {"checkpoint.checkpoint_task_id": "00_net-hparams_v0"}
        for weights_only in (True, False):
            changes = {**section, "checkpoint.weights_only": weights_only, "outputs": 3}
            run = base.train(status=2, **changes)
            assert "Traceback" not in base.log
            assert "2.weight: (1, 4) in the checkpoint, (3, 4) in the model" in base.log
            assert run.record["status"] == "failed"

    def test_not_strictly_what_fits_is_taken_and_the_rest_said(self, base: Lab) -> None:
        parent = base.project.run("00_net-hparams_v0")
        section = {"checkpoint_task_id": parent.path.name, "weights_only": True, "strict": False}
        changes = {f"checkpoint.{key}": value for key, value in section.items()}
        run = base.train(**changes, outputs=3, **{"trainer.init.max_epochs": 1})
        assert "of another shape (2):\n    2.weight: (1, 4) in the checkpoint, (3, 4)" in base.log
        assert run.record["status"] == "completed"

    def test_not_strictly_something_has_to_fit(self, base: Lab) -> None:
        section = {"checkpoint_task_id": "00_net-hparams_v0", "weights_only": True, "strict": False}
        changes = {f"checkpoint.{key}": value for key, value in section.items()}
        run = base.train(status=2, **changes, outputs=3, width=5)
        assert ": nothing in the checkpoint fits TrainLabModule:\n  of another sh" in base.log
        assert "It is of another model: name another checkpoint, or none to begin anew." in base.log
        assert run.record["status"] == "failed"

    def test_a_damaged_newest_one(self, base: Lab) -> None:
        parent = base.project.run("00_net-hparams_v0")
        path = parent.path / entries(parent)["last"]["file"]
        path.write_bytes(path.read_bytes()[:-50])
        run = base.train(**{"checkpoint.checkpoint_task_id": parent.path.name})
        assert "step-8.ckpt is damaged: " in base.log
        assert "trying the one before it" in base.log
        assert run.record["parent"]["checkpoint"] == "step-4"
        assert base.infer("--checkpoint", parent.path.name) == weights(parent, "step-4")
        assert "step-8.ckpt is damaged: " in base.log

    def test_words_that_name_nothing(self, base: Lab) -> None:
        for text, said in (
            ("00_net-hparams_v0:bset", ": it has step-4, step-8, last, best"),
            ("00_net-hparam_v0", "Did you mean 00_net-hparams_v0"),
            ("data/none.ckpt", "none.ckpt is not there"),
        ):
            base.command("train", SCRIPT, status=2, **{"checkpoint.checkpoint_task_id": text})
            assert said in base.log
            assert " (--set checkpoint.checkpoint_task_id)\n" in base.log
            assert base.project.runs() == ["00_net-hparams_v0"]


class TestInferring:
    def test_a_run_with_another_config(self, lab: Lab) -> None:
        name = lab.train(outputs=3, **{"trainer.init.max_epochs": 1}).path.name
        assert f"  next      infer {SCRIPT} --checkpoint {name} --set outputs=3\n" in lab.log
        lab.command("infer", SCRIPT, "--checkpoint", name, status=2)
        assert "2.weight: (3, 4) in the checkpoint, (1, 4) in the model" in lab.log
        assert "\nthis run was trained with --set outputs=3\n" in lab.log
        assert len(lab.infer("--checkpoint", name, outputs=3)["2.weight"]) == 3

    def test_from_a_run_a_name_and_a_file(self, base: Lab) -> None:
        run = base.project.run("00_net-hparams_v0")
        file = run.path / entries(run)["step-4"]["file"]
        own = base.project.root / "12:30.ckpt"
        shutil.copy(file, own)
        assert base.infer("--checkpoint", run.path.name) == weights(run)
        assert base.infer("--checkpoint", "00_net/hparams:best") == weights(run, "best")
        assert base.infer("--checkpoint", file) == weights(run, "step-4")
        assert base.infer("--checkpoint", "12:30.ckpt") == weights(run, "step-4")
        assert base.infer("--checkpoint", f"{run.record['id'][:6]}:step-4") == weights(
            run, "step-4"
        )
        assert base.project.runs() == [run.path.name]

    def test_from_none(self, base: Lab) -> None:
        built = base.infer("--checkpoint", "none")
        assert "warning" not in base.log
        assert base.infer() == built
        assert "warning: no checkpoint: the module is applied as it was built" in base.log

    def test_from_hparams_naming_newer_runs(self, base: Lab) -> None:
        run = base.project.run("00_net-hparams_v0")
        section = {"checkpoint.checkpoint_task_id": run.path.name}
        section |= {"checkpoint.checkpoint_name": "best"}
        assert base.infer(**section) == weights(run, "best")
        assert ", as hparams' checkpoint section says" in base.log
        assert "newer" not in base.log
        newer = base.train(**{"trainer.init.max_epochs": 1})
        assert base.infer(**section) == weights(run, "best")
        assert f"newer runs of this script: {newer.path.name} (--checkpoint RUN" in base.log
        assert base.infer("--checkpoint", newer.path.name, **section) == weights(newer)


class TestCheckpointsOfOthers:
    """What Lightning itself, or torch-lab 1.x, wrote: keys `model.…`, classes of torch.optim."""

    @pytest.fixture
    def old(self, base: Lab) -> Path:
        class Old(pl.LightningModule):
            def __init__(self, optimizer_config: Any) -> None:
                super().__init__()
                self.save_hyperparameters()
                self.model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
                self.loss_function = nn.BCEWithLogitsLoss(pos_weight=torch.ones(1))

            def training_step(self, batch: Any, batch_idx: int) -> Any:
                return self.model(batch).mean()

            def configure_optimizers(self) -> Any:
                return torch.optim.Adam(self.parameters(), lr=0.01)

        config = {"optimizer": torch.optim.Adam, "scheduler": torch.optim.lr_scheduler.StepLR}
        folder = base.project.root / "old"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Lightning's advice
            pl.Trainer(
                max_epochs=2,
                accelerator="cpu",
                logger=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                callbacks=ModelCheckpoint(folder, "old"),
            ).fit(Old(config), torch.utils.data.DataLoader(torch.ones(4, 2)))  # type: ignore[arg-type]
        return folder / "old.ckpt"

    @pytest.mark.parametrize("weights_only", [True, False])
    def test_start_a_run(self, base: Lab, old: Path, weights_only: bool) -> None:
        section = {"checkpoint_task_id": str(old), "weights_only": weights_only}
        changes = {f"checkpoint.{key}": value for key, value in section.items()}
        run = base.train(**changes, **{"trainer.init.max_epochs": 3})
        assert entries(run)["last"]["epoch"] == 3
        assert entries(run)["last"]["step"] == (12 if weights_only else 8 + 4)
        assert run.record["parent"] is None

    def test_infer(self, base: Lab, old: Path) -> None:
        state = torch.load(old, weights_only=False)["state_dict"]
        got = base.infer("--checkpoint", old)
        assert got == {f"{n}.{p}": state[f"model.{n}.{p}"].tolist() for n in (0, 2) for p in PARTS}


PARTS = ("weight", "bias")


class TestWhenARunSaves:
    def test_at_each_epochs_end(self, trained: Lab) -> None:
        record = trained.newest().record
        assert names(record["checkpoints"])[:2] == ["step-4", "step-8"]
        assert record["best"] is None

    def test_as_hparams_say(self, lab: Lab) -> None:
        run = lab.train(**{"checkpoint.every_n_steps": 3, "checkpoint.keep": 99})
        assert [n for n in entries(run) if n[0] == "s"] == [f"step-{n}" for n in (3, 4, 6, 8)]

    def test_as_the_project_says(self, lab: Lab) -> None:
        settings = "[tool.torch-lab]\nevery-n-steps = 3\nkeep-checkpoints = 99\n"
        (lab.project.root / "pyproject.toml").write_text(settings)
        run = lab.train()
        assert [n for n in entries(run) if n[0] == "s"] == [f"step-{n}" for n in (3, 4, 6, 8)]

    def test_as_the_experiments_own_policy_says_first(self, lab: Lab) -> None:
        run = lab.train(callbacks=["often"], **{"checkpoint.keep": 1})
        assert [n for n in entries(run) if n[0] == "s"] == ["step-6", "step-7", "step-8"]
        assert run.record["best"] == {"monitor": "loss/validate", "mode": "min"}

    def test_every_so_many_minutes(self, lab: Lab) -> None:
        run = lab.train(callbacks=["in a blink"])
        assert [n for n in entries(run) if n[0] == "s"] == [f"step-{n}" for n in range(1, 9)]

    def test_as_a_policy_among_the_trainers_callbacks_says(self, lab: Lab) -> None:
        run = lab.train(script=SCRIPT.replace("hparams.py", "policy.py"), validates=False)
        assert [n for n in entries(run) if n[0] == "s"] == [f"step-{n}" for n in (3, 4, 6, 8)]
        assert "best" in entries(run)

    def test_a_monitor_that_is_never_logged(self, lab: Lab) -> None:
        run = lab.train(status=2, callbacks=["unknown"])
        said = 'RunCheckpoint(monitor="loss/valid"): no metric of that name is logged; did you mean'
        assert said in lab.log
        assert "Logged so far: loss/train, " in lab.log
        assert "Traceback" not in lab.log
        assert run.record["status"] == "failed"


class TestBesideAModelCheckpoint:
    def test_both_keep_their_files_through_a_kill(self, lab: Lab) -> None:
        section = {"checkpoint.every_n_steps": 1}
        lab.train(status=-9, callbacks=["ModelCheckpoint", "die"], **section)
        run = lab.newest()
        folder = run.path / "checkpoints"
        assert torch.load(folder / "callback-best.ckpt", weights_only=True)["global_step"] == 4
        assert run.record["best"] == {"monitor": "loss/validate", "mode": "min"}
        lab.disarm("die")
        lab.command("train", "--resume", run.path.name, "--force")
        assert run.record["status"] == "completed"
        for name in ("callback-best", "callback-last"):
            assert torch.load(folder / f"{name}.ckpt", weights_only=True)["global_step"] == 8
        assert (folder / "last.ckpt").samefile(run.path / entries(run)["last"]["file"])
        assert (folder / "best.ckpt").samefile(run.path / entries(run)["best"]["file"])
        assert entries(run)["last"]["batch"] == 8
        assert len(list(folder.glob("step-*.ckpt"))) == 2


class TestFailingToSave:
    def check(self, lab: Lab, run: StoredRun, said: str) -> None:
        check_sound(run)
        assert run.record["status"] == "failed"
        assert entries(run)["last"]["file"] == "checkpoints/step-4.ckpt"
        assert said in lab.log
        assert "Traceback" not in lab.log
        assert said in run.record["reason"]
        assert f"run directory: {run.path.relative_to(lab.project.root)}" in lab.log
        assert f"train --resume {run.path.name}" in lab.log

    def test_no_room_for_a_draft(self, lab: Lab) -> None:
        run = lab.train(status=1, callbacks=["no room"])
        self.check(lab, run, "step-8.ckpt: File too large")

    def test_in_the_background_at_the_end(self, lab: Lab) -> None:
        run = lab.train(status=1, callbacks=["no fsync"])
        assert "step-8.ckpt: Input/output error" in lab.log
        assert not list(run.path.rglob("*.tmp"))

    def test_in_the_background_at_the_next_boundary(self, lab: Lab) -> None:
        run = lab.train(
            status=1,
            callbacks=["no fsync"],
            **{"trainer.init.max_epochs": 2000, "validates": False},
        )
        assert "step-8.ckpt: Input/output error" in lab.log
        assert run.rows()[-1][0] < 100

    def test_a_state_without_a_plain_form_is_found_at_the_start(self, lab: Lab) -> None:
        run = lab.train(status=2, callbacks=["unsavable"])
        assert "error: callback Remembering: its state_dict()['thing'] holds a torch.nn" in lab.log
        assert "Traceback" not in lab.log
        assert run.record["status"] == "failed"
        assert run.record["progress"]["batch"] == 0

    def test_or_at_the_save(self, lab: Lab) -> None:
        run = lab.train(status=1, callbacks=["unsavable later"])
        self.check(lab, run, "checkpoint['callbacks']['Remembering']['thing'] holds a torch.nn")


class TestNan:
    """A loss that is no number: the samples are named, and every checkpoint is from before it."""

    def check(self, lab: Lab) -> None:
        run = lab.newest()
        (said,) = {line for line in lab.log.splitlines() if line.startswith("error: ")}
        assert "the loss became nan in epoch 1, batch " in said
        assert "13" in said.partition("samples ")[2].split(", ")
        assert "Traceback" not in lab.log
        assert run.record["status"] == "failed"
        assert run.record["reason"].startswith("NonFiniteLoss: the loss became nan in epoch 1")
        for entry in run.record["checkpoints"]:
            state = run.checkpoint(entry["name"])["state_dict"]
            assert all(bool(each.isfinite().all()) for each in state.values())

    def test_in_one_process(self, lab: Lab) -> None:
        lab.train(status=1, bad=13, **{"checkpoint.every_n_steps": 1})
        self.check(lab)

    @pytest.mark.slow
    def test_in_one_of_two_processes(self, lab: Lab) -> None:
        two = {"trainer.init.devices": 2, "trainer.init.strategy": "ddp"}
        lab.train(status=1, bad=13, **two)
        self.check(lab)


class TestDamage:
    def test_resume_goes_on_from_the_one_before(self, lab: Lab) -> None:
        run = lab.train(status=-9, callbacks=["die"], **{"checkpoint.every_n_steps": 1})
        lab.disarm("die")
        assert entries(run)["last"]["batch"] == 6
        newest = run.path / entries(run)["last"]["file"]
        flipped = bytearray(newest.read_bytes())
        flipped[1500] ^= 4
        newest.unlink()
        newest.write_bytes(flipped)
        lab.command("train", "--resume", run.path.name, "--force")
        assert "step-6.ckpt is damaged: " in lab.log
        assert "set aside as step-6.ckpt.damaged" in lab.log
        assert "from step-5.ckpt (epoch 1, batch 5)" in lab.log
        assert run.record["status"] == "completed"
        assert (run.path / "checkpoints" / "step-6.ckpt.damaged").exists()
        check_sound(run)


def test_a_run_cut_before_its_first_checkpoint_starts_from_its_parent_again(lab: Lab) -> None:
    parent = lab.train()
    start = {"checkpoint.checkpoint_task_id": "00_net/hparams", "checkpoint.weights_only": True}
    run = lab.train(**start)
    weights = run.weights()
    record = run.record | {"status": "aborted", "checkpoints": []}
    (run.path / "run.json").write_text(json.dumps(record))
    shutil.rmtree(run.path / "checkpoints")
    lab.train(seed=5)  # newer than the parent: not what the run had started from
    lab.command("train", "--resume", run.path.name)
    assert f"from data/artifacts/{parent.path.name}/checkpoints/" in lab.log
    assert run.weights() == weights
