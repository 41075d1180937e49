"""What people put into their Lightning code, one case each."""

from __future__ import annotations

import copy
import json
import os
import signal
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
import torchmetrics
from pytorch_lightning import callbacks as cb
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger
from pytorch_lightning.profilers import AdvancedProfiler, PyTorchProfiler
from pytorch_lightning.utilities import CombinedLoader
from torch.utils.data import DataLoader

from anybody import modules as m
from torch_lab.modules import TrainLabModule


@dataclass
class Case:
    """A configuration, and the Trainer's arguments beside it."""

    configuration: Callable
    init: dict = field(default_factory=dict)


def plain(*callbacks, module=m.Plain, **kwargs):
    return {
        "module": module(),
        "train_dataloaders": m.loader(),
        "val_dataloaders": m.loader(16, shuffle=False),
        "callbacks": list(callbacks),
    } | kwargs


def lab(model, *callbacks):
    """With torch-lab's own module."""
    optimizer = {"optimizer": torch.optim.SGD, "optimizer_kwargs": {"lr": 1e-3}}
    metrics = {"accuracy": torchmetrics.Accuracy("multiclass", num_classes=2)}
    return {
        "module": TrainLabModule(model, torch.nn.CrossEntropyLoss(), optimizer, metrics),
        "train_dataloaders": m.lab_loader(),
        "val_dataloaders": m.lab_loader(),
        "callbacks": list(callbacks),
    }


def hparams_of(name):
    init = {"max_epochs": 3, "accelerator": "cpu", "log_every_n_steps": 1}
    return {
        "task": {"project_name": "tests"},
        "checkpoint": {"every_n_steps": 1, "keep": 100},
        "trainer": {"init": init | CASES[name].init},
        "config": {"case": name},
    }


class Ema(pl.Callback):
    """An average of the weights, as many write it; `kept` tells whether it has a state."""

    def __init__(self, kept=True):
        self.average, self.kept = None, kept

    def on_train_batch_end(self, trainer, pl_module, *args):
        now = {k: v.detach().clone() for k, v in pl_module.state_dict().items()}
        before = self.average or now
        self.average = {
            k: 0.9 * before[k] + 0.1 * v if v.is_floating_point() else v for k, v in now.items()
        }

    def on_train_end(self, trainer, pl_module):
        pl_module.load_state_dict(self.average)

    def state_dict(self):
        return {"average": self.average} if self.kept else {}

    def load_state_dict(self, state):
        self.average = state.get("average")


class Teacher(pl.Callback):
    """A copy of the module that follows it, the old way through `.data`, and takes its place."""

    def on_fit_start(self, trainer, pl_module):
        self.copy = copy.deepcopy(pl_module.net)

    def on_train_batch_end(self, trainer, pl_module, *args):
        pairs = zip(self.copy.parameters(), pl_module.net.parameters(), strict=True)
        for old, new in pairs:
            old.data.mul_(0.8).add_(new.data, alpha=0.2)

    def on_train_end(self, trainer, pl_module):
        for old, new in zip(pl_module.net.parameters(), self.copy.parameters(), strict=True):
            old.data.copy_(new.data)


class OwnLogger(Logger):
    """What a service's logger looks like to Lightning."""

    def __init__(self):
        super().__init__()
        self.calls = []

    name = "own"
    version = "0"

    def log_metrics(self, metrics, step=None):
        self.calls.append(("metrics", sorted(metrics), step))

    def log_hyperparams(self, params, *args, **kwargs):
        self.calls.append(("hyperparams", dict(params)))

    def finalize(self, status):
        Path("own.json").write_text(json.dumps([status, self.calls], default=str))


class SelfStop(pl.Callback):
    """Asks for the end as a scheduler does, by SIGTERM."""

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == 6:
            os.kill(os.getpid(), signal.SIGTERM)


class Meter:
    """The running mean that so many repositories hold a copy of."""

    def __init__(self):
        self.sum = self.count = 0

    def update(self, value):
        self.sum += value
        self.count += 1


class Attributes(m.Plain):
    """Outputs gathered in lists, counters, meters, a generator of its own, a dropout that grows."""

    def __init__(self):
        super().__init__()
        self.outputs, self.meters = [], defaultdict(Meter)
        self.meters["loss"] = Meter()
        self.noise = torch.Generator().manual_seed(3)
        self.rng = np.random.default_rng(4)
        self.weight = 1.0

    def on_train_epoch_start(self):
        self.made_here = []
        self.net[2].p = 0.1 * (1 + self.current_epoch)
        self.net[1].eval() if self.current_epoch == 1 else self.net[1].train()

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.outputs.append(loss.detach())
        self.made_here.append(batch_idx)
        self.meters["loss"].update(loss.item())
        self.weight = 0.9 * self.weight + 0.1 * float(self.rng.random())
        return loss * self.weight + torch.rand(1, generator=self.noise).sum()

    def on_train_epoch_end(self):
        self.log("gathered", torch.stack(self.outputs).mean())
        self.log("counted", float(len(self.made_here)))
        self.log("met", self.meters["loss"].sum / self.meters["loss"].count)
        self.outputs.clear()


class Gathering(m.Scheduled):
    """Counts its steps, those of a search too."""

    def __init__(self):
        super().__init__()
        self.steps = 0

    def training_step(self, batch, batch_idx):
        self.steps += 1
        self.log("steps", float(self.steps))
        return super().training_step(batch, batch_idx)


class Milestones(cb.LearningRateFinder):
    """Searches again at the beginning of some epochs."""

    def __init__(self, milestones, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.milestones = milestones

    def on_fit_start(self, *args):
        pass

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch in self.milestones:
            self.lr_find(trainer, pl_module)


class Compiled(m.Plain):
    """Compiles its network, as most do."""

    def __init__(self):
        super().__init__()
        self.net = torch.compile(self.net, backend="aot_eager")


class InPlace(m.Plain):
    """Compiles itself when training begins."""

    def setup(self, stage):
        self.net.compile(backend="aot_eager")


class TwoAtOnce(m.Plain):
    def configure_optimizers(self):
        return [torch.optim.SGD(self.parameters(), 0.1) for _ in range(2)]


class NoStep(m.Plain):
    training_step = pl.LightningModule.training_step


class GrowingGroups(m.Plain):
    """Unfreezes by itself: a new group of parameters in mid-training."""

    def __init__(self):
        super().__init__()
        self.net[0].requires_grad_(False)

    def on_train_epoch_start(self):
        if self.current_epoch == 1:
            self.net[0].requires_grad_(True)
            self.optimizers().optimizer.add_param_group({"params": self.net[0].parameters()})

    def configure_optimizers(self):
        return torch.optim.Adam([p for p in self.parameters() if p.requires_grad], self.lr)


class Unfreeze(cb.BaseFinetuning):
    """Trains the last layer alone at first."""

    def __init__(self):
        super().__init__()

    def freeze_before_training(self, pl_module):
        self.freeze(pl_module.net[0])

    def finetune_function(self, pl_module, epoch, optimizer):
        if epoch == 1:
            self.unfreeze_and_add_param_group(pl_module.net[0], optimizer, lr=1e-3)


class HeadFirst(m.Plain):
    def configure_optimizers(self):
        return torch.optim.Adam([p for p in self.parameters() if p.requires_grad], self.lr)


class Backboned(m.Plain):
    def __init__(self):
        super().__init__()
        self.backbone, self.head = self.net[:2], self.net[2:]
        del self.net

    def forward(self, x):
        return self.head(self.backbone(x))

    def configure_optimizers(self):
        return torch.optim.Adam(self.head.parameters(), self.lr)


CASES = {
    "scheduled": Case(lambda: plain(module=m.Scheduled)),
    "gan": Case(lambda: plain(module=m.Gan, val_dataloaders=None)),
    "lbfgs": Case(lambda: plain(module=m.Lbfgs)),
    "own_data": Case(lambda: {"module": m.OwnData()}),
    "late": Case(lambda: plain(module=m.Late)),
    "auto": Case(lambda: plain(module=m.Auto, val_dataloaders=None)),
    "datamodule": Case(lambda: {"module": m.Plain(), "datamodule": m.DataModule()}),
    "reload": Case(
        lambda: {"module": m.Plain(), "datamodule": m.DataModule()},
        {"reload_dataloaders_every_n_epochs": 1},
    ),
    "reload2": Case(
        lambda: {"module": m.Plain(), "datamodule": m.DataModule()},
        {"reload_dataloaders_every_n_epochs": 2, "max_epochs": 4},
    ),
    "drawn": Case(lambda: {"module": m.Drawn()}),
    "drawn1": Case(lambda: {"module": m.Drawn()}, {"reload_dataloaders_every_n_epochs": 1}),
    "drawn2": Case(
        lambda: {"module": m.Drawn()},
        {"reload_dataloaders_every_n_epochs": 2, "max_epochs": 5},
    ),
    # callbacks
    "swa": Case(
        lambda: plain(
            cb.StochasticWeightAveraging(0.05, 2), module=lambda: m.Scheduled(norm=False)
        ),
        {"max_epochs": 4},
    ),
    "swa_norm": Case(
        lambda: plain(cb.StochasticWeightAveraging(0.05, 2), module=m.Scheduled),
        {"max_epochs": 4},
    ),
    "swa_plain": Case(
        lambda: plain(cb.StochasticWeightAveraging(0.05, 1), module=lambda: m.Plain(norm=False)),
    ),
    "weight_averaging": Case(lambda: plain(cb.WeightAveraging())),
    "ema_averaging": Case(
        lambda: plain(cb.EMAWeightAveraging(decay=0.9, update_starting_at_step=3))
    ),
    "ema": Case(lambda: plain(Ema())),
    "ema_stateless": Case(lambda: plain(Ema(kept=False))),
    "teacher": Case(lambda: plain(Teacher())),
    "attributes": Case(lambda: plain(module=Attributes)),
    "groups": Case(lambda: plain(module=GrowingGroups)),
    "unfreeze": Case(lambda: plain(Unfreeze(), module=HeadFirst)),
    "backbone": Case(
        lambda: plain(
            cb.BackboneFinetuning(1, lambda epoch: 1.5, backbone_initial_ratio_lr=0.5),
            module=Backboned,
        ),
        {"max_epochs": 4},
    ),
    "accumulation": Case(lambda: plain(cb.GradientAccumulationScheduler({0: 1, 1: 3, 2: 2}))),
    "monitors": Case(
        lambda: plain(
            cb.LearningRateMonitor("step", log_momentum=True),
            cb.DeviceStatsMonitor(cpu_stats=False),
            cb.ModelSummary(),
            cb.LambdaCallback(on_train_epoch_end=lambda trainer, module: None),
            cb.OnExceptionCheckpoint("crash"),
            module=m.Scheduled,
        )
    ),
    "lr_epochs": Case(lambda: plain(cb.LearningRateMonitor("epoch"), module=m.Scheduled)),
    "pruning": Case(
        lambda: plain(
            cb.ModelPruning(
                "l1_unstructured",
                amount=0.2,
                parameters_to_prune=None,
                verbose=0,
                use_lottery_ticket_hypothesis=True,
            )
        )
    ),
    "checkpoints": Case(
        lambda: plain(
            cb.ModelCheckpoint(every_n_train_steps=3, save_top_k=2, monitor="train/loss_step"),
            cb.ModelCheckpoint(
                monitor="val_loss",
                save_top_k=2,
                save_last=True,
                mode="max",
                filename="by/{epoch}-{val_loss:.3f}",
            ),
            cb.EarlyStopping("val_loss", patience=50),
        )
    ),
    "tqdm": Case(lambda: plain(cb.TQDMProgressBar(refresh_rate=1), cb.Timer("00:01:00:00"))),
    "rich": Case(lambda: plain(cb.RichProgressBar(), cb.RichModelSummary())),
    "find_lr": Case(
        lambda: plain(cb.LearningRateFinder(1e-4, 0.1, num_training_steps=20), module=Gathering),
        {"max_epochs": 6},
    ),
    "find_lr_lab": Case(
        lambda: lab(m.network(), cb.LearningRateFinder(1e-4, 0.1, num_training_steps=20)),
        {"max_epochs": 6},
    ),
    "find_lr_twice": Case(
        lambda: plain(Milestones((0, 2), 1e-4, 0.5, num_training_steps=40), module=Gathering)
    ),
    "find_batch_size": Case(
        lambda: {
            "module": m.Plain(),
            "datamodule": m.DataModule(2),
            "callbacks": [cb.BatchSizeFinder(init_val=4, max_trials=2, steps_per_trial=2)],
        }
    ),
    # data
    "loaders_dict": Case(
        lambda: plain(
            module=m.Average,
            train_dataloaders={"a": m.loader(), "b": m.loader(16)},
            val_dataloaders=[m.loader(16, shuffle=False), m.loader(8, shuffle=False)],
        )
    ),
    "loaders_min": Case(
        lambda: plain(
            module=m.Average,
            train_dataloaders=CombinedLoader([m.loader(), m.loader(24)], "min_size"),
        )
    ),
    "loaders_max": Case(
        lambda: plain(
            module=m.Average,
            train_dataloaders=CombinedLoader([m.loader(), m.loader(24)], "max_size"),
        )
    ),
    "stream": Case(lambda: plain(train_dataloaders=DataLoader(m.Stream(), m.BATCH))),
    "sized_stream": Case(lambda: plain(train_dataloaders=DataLoader(m.SizedStream(), m.BATCH))),
    # the Trainer's arguments
    "bf16_mixed": Case(plain, {"precision": "bf16-mixed"}),
    "double": Case(plain, {"precision": "64-true"}),
    "clip_value": Case(
        plain,
        {
            "gradient_clip_val": 0.1,
            "gradient_clip_algorithm": "value",
            "limit_train_batches": 3,
            "limit_val_batches": 1,
        },
    ),
    "clip_norm": Case(
        plain,
        {
            "gradient_clip_val": 0.1,
            "accumulate_grad_batches": 2,
            "limit_train_batches": 0.8,
            "limit_val_batches": 0.5,
        },
    ),
    "overfit": Case(plain, {"overfit_batches": 0.5, "max_epochs": 5}),
    "min_epochs": Case(
        lambda: plain(cb.EarlyStopping("val_loss", patience=0, min_delta=10.0)),
        {"min_epochs": 3, "max_epochs": 9, "max_time": {"minutes": 5}},
    ),
    "validate_often": Case(plain, {"val_check_interval": 3, "num_sanity_val_steps": 2}),
    "no_validation": Case(plain, {"limit_val_batches": 0}),
    "max_steps": Case(plain, {"max_steps": 10, "max_epochs": None, "min_epochs": 1}),
    "validate_fraction": Case(plain, {"val_check_interval": 0.5}),
    "validate_seldom": Case(plain, {"check_val_every_n_epoch": 2, "max_epochs": 4}),
    "validate_by_batches": Case(plain, {"check_val_every_n_epoch": None, "val_check_interval": 5}),
    "flags": Case(
        plain,
        {
            "detect_anomaly": True,
            "deterministic": True,
            "benchmark": False,
            "inference_mode": True,
            "use_distributed_sampler": False,
            "enable_model_summary": True,
            "enable_checkpointing": False,
            "log_every_n_steps": 0,
            "logger": False,
        },
    ),
    "ddp_one": Case(plain, {"strategy": "ddp", "devices": 1}),
    "profiled": Case(plain, {"profiler": "simple"}),
    "profiled_advanced": Case(plain, {"profiler": "advanced"}),
    "profiled_torch": Case(plain, {"profiler": PyTorchProfiler(emit_nvtx=False), "max_epochs": 1}),
    "profiled_elsewhere": Case(plain, {"profiler": AdvancedProfiler("elsewhere", "mine")}),
    "fast": Case(plain, {"fast_dev_run": 2}),
    "bare": Case(plain, {"barebones": True}),
    "loggers": Case(
        lambda: plain(module=lambda: m.Plain(lr=0.02)),
        {"logger": [CSVLogger("csv"), TensorBoardLogger("."), OwnLogger()]},
    ),
    "compiled_model": Case(lambda: lab(torch.compile(m.network(), backend="aot_eager"))),
    "compiled_inside": Case(lambda: plain(module=Compiled)),
    "compiled_module": Case(
        lambda: plain(module=lambda: torch.compile(m.Plain(), backend="eager"))
    ),
    "compiled_in_place": Case(lambda: plain(module=InPlace)),
    "inductor": Case(lambda: lab(torch.compile(m.network()))),
    # mistakes
    "two_optimizers": Case(lambda: plain(module=TwoAtOnce)),
    "twice": Case(lambda: plain(cb.EarlyStopping("val_loss"), cb.EarlyStopping("val_loss"))),
    "empty": Case(lambda: plain(train_dataloaders=m.loader(0, shuffle=False))),
    "no_rate": Case(lambda: plain(cb.LearningRateFinder(), module=m.Auto, val_dataloaders=None)),
    "no_step": Case(lambda: plain(module=NoStep)),
    "interval": Case(plain, {"val_check_interval": 50}),
}
