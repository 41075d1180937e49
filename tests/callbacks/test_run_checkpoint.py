"""When a run saves, and which of its checkpoints is the best: through real, tiny training."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn

from torch_lab.callbacks import RunCheckpoint
from torch_lab.callbacks import checkpoint as module_under_test
from torch_lab.checkpoints import files
from torch_lab.checkpoints.keeper import SavePoint
from torch_lab.data import DataLoader
from torch_lab.engine import trainer as trainers
from torch_lab.engine.logger import RunLogger
from torch_lab.engine.savepoints import SavePoints
from torch_lab.engine.stop import StopRequest
from torch_lab.errors import ConfigurationError

BATCHES = 4
pytestmark = pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no")


class Module(pl.LightningModule):
    """Logs the values it is given, one at each validation and at each training epoch's end."""

    def __init__(
        self,
        validation: Sequence[float] = (),
        training: Sequence[float] = (),
        name: str = "val_loss",
    ) -> None:
        super().__init__()
        self.net = nn.Linear(1, 1)
        self.values = {name: iter(validation), "train_score": iter(training)}
        self.name_validated = name

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return self.net(batch).mean()

    def validation_step(self, batch: Any, batch_idx: int) -> None: ...

    def _log_next(self, name: str) -> None:
        value = next(self.values[name], None)
        if value is not None:
            self.log(name, value)

    def on_validation_epoch_end(self) -> None:
        self._log_next(self.name_validated)

    def on_train_epoch_end(self) -> None:
        self._log_next("train_score")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class Folder:
    """Keeps every checkpoint."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.points: list[SavePoint] = []

    def path(self, batch: int) -> Path:
        return self.folder / "checkpoints" / f"step-{batch}.ckpt"

    def finish(self, draft: Path, point: SavePoint) -> None:
        files.publish(draft, self.path(point.batch))
        self.points.append(point)

    def raise_if_failed(self) -> None: ...

    def wait(self) -> None: ...


class Run:
    """One fit: where it saved, and which of those were best then."""

    def __init__(
        self,
        folder: Path,
        module: pl.LightningModule,
        policy: RunCheckpoint,
        *callbacks: pl.Callback,
        checkpoint: Path | None = None,
        validates: bool = True,
        **init: Any,
    ) -> None:
        self.saver, self.policy = Folder(folder), policy
        stop = StopRequest(30, folder / "console.log")
        points = SavePoints(policy, None, stop, self.saver)
        init = {"max_epochs": 3, "accelerator": "cpu", "num_sanity_val_steps": 0} | init
        init |= {"enable_progress_bar": False}
        trainer = trainers.build(
            init,
            [*callbacks, policy],
            directory=folder,
            logger=RunLogger(folder, None),
            savepoints=points,
        )
        data = DataLoader(torch.ones(BATCHES, 1), 1)  # type: ignore[arg-type]
        with trainers.quiet():
            trainer.fit(module, data, data if validates else None, ckpt_path=checkpoint)

    @property
    def saved(self) -> list[int]:
        return [point.batch for point in self.saver.points]

    @property
    def best(self) -> list[int]:
        return [point.batch for point in self.saver.points if point.best]


class TestWhen:
    def test_at_each_epochs_end(self, tmp_path: Path) -> None:
        assert Run(tmp_path, Module(), RunCheckpoint()).saved == [4, 8, 12]

    def test_every_n_steps_too(self, tmp_path: Path) -> None:
        assert Run(tmp_path, Module(), RunCheckpoint(every_n_steps=3)).saved == [3, 4, 6, 8, 9, 12]

    def test_every_n_minutes_too(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        class Slow(pl.Callback):
            def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
                if trainer.global_step in (2, 6, 7):
                    self.later += 61.0

            later = 0.0

        slow, real = Slow(), time.monotonic
        clock = type("Clock", (), {"monotonic": staticmethod(lambda: real() + slow.later)})
        monkeypatch.setattr(module_under_test, "time", clock)
        run = Run(tmp_path, Module(), RunCheckpoint(every_minutes=1), slow, max_epochs=2)
        assert run.saved == [2, 4, 6, 7, 8]

    def test_with_a_better_validation_in_mid_epoch(self, tmp_path: Path) -> None:
        values = [3.0, 2.0, 2.5, 1.0, 5.0, 6.0]
        run = Run(tmp_path, Module(values), RunCheckpoint(), val_check_interval=2)
        assert run.saved == [2, 4, 8, 12]
        assert run.best == [2, 4, 8]

    def test_a_training_in_steps(self, tmp_path: Path) -> None:
        run = Run(tmp_path, Module(), RunCheckpoint(), max_epochs=-1, max_steps=6)
        assert run.saved[-1] == 6


class TestTheBest:
    @pytest.mark.parametrize(
        ("mode", "values", "best"),
        [
            ("min", [3.0, 1.0, 2.0], [4, 8]),
            ("max", [3.0, 1.0, 4.0], [4, 12]),
            ("min", [1.0, 1.0, 1.0], [4]),
            ("min", [math.nan, 2.0, math.nan], [8]),
            ("max", [math.nan, math.nan, -math.inf], [12]),
            ("min", [math.nan] * 3, []),
        ],
    )
    def test_of_a_monitor(
        self, tmp_path: Path, mode: Any, values: list[float], best: list[int]
    ) -> None:
        module = Module(values, name="score")
        assert Run(tmp_path, module, RunCheckpoint("score", mode)).best == best

    @pytest.mark.parametrize("name", ["loss/validate", "val_loss", "val/loss", "loss/val"])
    def test_is_the_lowest_validation_loss_by_default(self, tmp_path: Path, name: str) -> None:
        assert Run(tmp_path, Module([3.0, 1.0, 2.0], name=name), RunCheckpoint()).best == [4, 8]

    def test_of_nothing_known_is_none(self, tmp_path: Path) -> None:
        run = Run(tmp_path, Module([3.0, 1.0, 2.0], name="something"), RunCheckpoint())
        assert (run.saved, run.best) == ([4, 8, 12], [])

    def test_without_validation_is_none(self, tmp_path: Path) -> None:
        run = Run(tmp_path, Module(), RunCheckpoint(), validates=False)
        assert (run.saved, run.best) == ([4, 8, 12], [])

    @pytest.mark.parametrize("validates", [True, False])
    def test_of_a_training_metric(self, tmp_path: Path, validates: bool) -> None:
        module = Module([9.0, 9.0, 9.0], training=[3.0, 1.0, 2.0])
        run = Run(tmp_path, module, RunCheckpoint("train_score"), validates=validates)
        assert run.best == [4, 8]

    def test_of_a_metric_validated_every_other_epoch(self, tmp_path: Path) -> None:
        init = {"check_val_every_n_epoch": 2, "max_epochs": 4}
        run = Run(tmp_path, Module([3.0, 1.0]), RunCheckpoint("val_loss"), **init)
        assert run.best == [8, 16]

    @pytest.mark.parametrize("validates", [True, False])
    def test_of_what_is_never_logged_is_an_error(self, tmp_path: Path, validates: bool) -> None:
        module = Module([3.0], training=[1.0])
        with pytest.raises(ConfigurationError, match="no metric of that name is logged") as e:
            Run(tmp_path, module, RunCheckpoint("loss/valid"), validates=validates)
        logged = "train_score, val_loss" if validates else "train_score"
        nowhere = "" if validates else "; nothing is validated (val_dataloaders)"
        assert e.value.hint == f"Logged so far: {logged}{nowhere}."

    def test_goes_on_in_a_resumed_run(self, tmp_path: Path) -> None:
        first = Run(tmp_path, Module([3.0, 1.0]), RunCheckpoint(), max_epochs=2)
        again = RunCheckpoint()
        again.fill(every_n_steps=None, every_minutes=None, keep=1, goes_on=True)
        checkpoint = first.saver.path(8)
        run = Run(tmp_path, Module([2.0, 0.5]), again, checkpoint=checkpoint, max_epochs=4)
        assert (run.saved, run.best) == ([12, 16], [16])

    def test_begins_anew_in_a_new_run(self, tmp_path: Path) -> None:
        first = Run(tmp_path, Module([3.0, 1.0]), RunCheckpoint(), max_epochs=2)
        again = RunCheckpoint()
        again.fill(every_n_steps=None, every_minutes=None, keep=1, goes_on=False)
        checkpoint = first.saver.path(8)
        init = {"max_epochs": 6, "check_val_every_n_epoch": 2}
        run = Run(tmp_path, Module([2.0, 0.5]), again, checkpoint=checkpoint, **init)
        assert (run.saved, run.best) == ([12, 16, 20, 24], [16, 24])


class TestSettings:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"mode": "low"},
            {"mode": "max"},
            {"every_n_steps": 0},
            {"every_n_steps": 1.5},
            {"every_minutes": 0},
            {"every_minutes": math.nan},
            {"keep": 0},
            {"keep": True},
        ],
        ids=str,
    )
    def test_wrong_ones_are_refused(self, wrong: Any) -> None:
        (name,) = wrong
        with pytest.raises(ConfigurationError, match=rf"^RunCheckpoint\({name}="):
            RunCheckpoint(**wrong)

    def test_its_own_win(self) -> None:
        policy = RunCheckpoint(every_n_steps=7, keep=5)
        policy.fill(every_n_steps=1, every_minutes=2.0, keep=3)
        assert (policy.every_n_steps, policy.every_minutes, policy.keep) == (7, 2.0, 5)


class TestBesideAModelCheckpoint:
    def names(self, folder: Path) -> list[str]:
        return sorted(path.name for path in (folder / "checkpoints").iterdir())

    def test_its_last_has_another_name(self, tmp_path: Path) -> None:
        users = ModelCheckpoint(save_last=True)
        Run(tmp_path, Module(), RunCheckpoint(), users)
        assert self.names(tmp_path) == [
            "callback-last.ckpt",
            "epoch=2-step=12.ckpt",
            "step-12.ckpt",
            "step-4.ckpt",
            "step-8.ckpt",
        ]
        assert Path(users.last_model_path).name == "callback-last.ckpt"
        assert files.load(Path(users.last_model_path))["torch_lab"]["boundary"] is False

    @pytest.mark.parametrize("name", ["best", "last", "crash", "step-{step}", "step-4"])
    def test_so_has_whatever_is_named_as_ours(self, tmp_path: Path, name: str) -> None:
        users = ModelCheckpoint(
            filename=name, monitor="val_loss", auto_insert_metric_name=False, save_top_k=-1
        )
        run = Run(tmp_path, Module([3.0, 2.0, 1.0]), RunCheckpoint(), users)
        assert {path.name for path in run.saver.folder.glob("checkpoints/step-*")} == {
            "step-4.ckpt",
            "step-8.ckpt",
            "step-12.ckpt",
        }
        assert Path(users.best_model_path).name.startswith(f"callback-{name.partition('{')[0]}")
        assert Path(users.best_model_path).exists()

    def test_a_folder_of_its_own_is_its_own(self, tmp_path: Path) -> None:
        users = ModelCheckpoint(tmp_path / "mine", filename="best", save_last="link")
        Run(tmp_path, Module(), RunCheckpoint(), users)
        mine = sorted(path.name for path in (tmp_path / "mine").iterdir())
        assert mine == ["best.ckpt", "last.ckpt"]


class Stateful(pl.Callback):
    def __init__(self, value: Any) -> None:
        self.value = value

    def state_dict(self) -> dict[str, Any]:
        return {"seen": {"by": self.value}}


class TestWhatCannotBeSaved:
    """Found when training starts, not an epoch later."""

    def test_a_callbacks_state(self, tmp_path: Path) -> None:
        module = Module()
        with pytest.raises(ConfigurationError) as caught:
            Run(tmp_path, module, RunCheckpoint(), Stateful(nn.ReLU()))
        assert caught.value.message == (
            "callback Stateful: its state_dict()['seen']['by'] holds a"
            " torch.nn.modules.activation.ReLU, which has no plain form:"
            " a checkpoint must load without running code"
        )
        assert module.global_step == 0

    def test_a_datamodules_state(self, tmp_path: Path) -> None:
        class Data(pl.LightningDataModule):
            def train_dataloader(self) -> Any:
                return torch.utils.data.DataLoader(torch.ones(4, 1))  # type: ignore[arg-type]

            def state_dict(self) -> dict[str, Any]:
                return {"order": self}

        points = SavePoints(RunCheckpoint(), None, StopRequest(30, tmp_path / "log"), None)
        trainer = trainers.build(
            {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False},
            [],
            directory=tmp_path,
            logger=None,
            savepoints=points,
        )
        with pytest.raises(ConfigurationError, match=r"datamodule Data: its state_dict\(\)\['or"):
            trainer.fit(Module(), datamodule=Data())

    def test_any_plain_state_is_fine(self, tmp_path: Path) -> None:
        run = Run(tmp_path, Module(), RunCheckpoint(), Stateful({Path("a"): range(3)}))
        state = files.load(run.saver.path(12))["callbacks"]["Stateful"]
        assert state == {"seen": {"by": {Path("a"): range(3)}}}
