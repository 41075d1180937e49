"""A configuration with an estimator made ready for the Trainer: data collected, way chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from torch_lab.errors import ConfigurationError, UsageError
from torch_lab.estimators import fitting, naming
from torch_lab.estimators.arrays import rows
from torch_lab.estimators.classes import classes_of
from torch_lab.estimators.collecting import Limit, Whole, collected, require_targets, single
from torch_lab.estimators.fitting import Fitter
from torch_lab.estimators.module import EstimatorModule
from torch_lab.estimators.tables import Table, table_loader
from torch_lab.hparams import Hparams
from torch_lab.utils.launched import Launch

_MEANINGLESS = ("precision", "strategy", "gradient_clip_val", "accumulate_grad_batches")


@dataclass(frozen=True)
class Circumstances:
    """What a run knows of itself before its data are looked at."""

    seed: int
    fitted: bool  # a checkpoint's estimator was loaded, or is about to be
    trust: bool
    say: Callable[[str], None]
    uninterrupted: Callable[[], AbstractContextManager[Any]]  # lets signals act at once
    limited: bool = True  # whether hparams themselves limit training, where they seem to
    launch: Launch | None = None  # who has started this process as one of several


@contextmanager
def prepared(
    configuration: Any, hparams: Hparams, now: Circumstances
) -> Iterator[tuple[Any, Hparams]]:
    """The configuration and hyperparameters as the Trainer takes them."""
    module: EstimatorModule = configuration.module
    module.model.trust, module.model.say = now.trust, now.say
    init = settled(hparams.trainer.init, now.say, now.launch)
    if now.limited and fitting.goes_in_passes(module.model.estimator, init):
        configuration, fitter = _streamed(configuration, now)
    else:
        if now.limited:
            fitting.require_epochs(module.model.estimator, init)
        configuration, fitter = _at_hand(configuration, init, now)
        init["max_epochs"] = fitter.epochs
    now.say(f"{naming.name_of(module.model.estimator)} is {fitter.line}")
    module.begin_with(fitter, now.uninterrupted if fitter.interruptible else None)
    trainer = replace(hparams.trainer, init=init)
    if not now.fitted:
        trainer = replace(trainer, validate=None)  # there is nothing yet to validate
    try:
        yield configuration, replace(hparams, trainer=trainer)
    finally:
        fitter.close()


def no_gpus(gpus: Sequence[int] | None) -> None:
    """What `--gpu-devices` means for an estimator: nothing where it names one, else a mistake."""
    if gpus is not None and len(gpus) > 1:
        raise UsageError(
            f"--gpu-devices {','.join(map(str, gpus))}: an estimator is trained by one process, on"
            " the CPU"
        )


def settled(
    given: dict[str, Any], say: Callable[[str], None], launch: Launch | None
) -> dict[str, Any]:
    """`trainer.init` for one process on the CPU."""
    if launch is not None:
        raise UsageError(
            f"an estimator takes one process, and {launch.by} has started {launch.world}",
            hint="Start the command by itself.",
        )
    init = dict(given)
    devices, nodes = init.get("devices", "auto"), init.get("num_nodes", 1)
    if (devices not in ("auto", 1, "1") and devices != [0]) or nodes != 1:
        key, value = ("devices", devices) if nodes == 1 else ("num_nodes", nodes)
        raise ConfigurationError(
            f"trainer.init.{key}: {value!r}; an estimator is trained by one process",
            hint="Its own n_jobs, where it has one, says how many cores it takes.",
        )
    for key in _MEANINGLESS:
        if init.pop(key, None) not in (None, 1, "auto"):
            say(f"trainer.init.{key} has no meaning for an estimator")
    return init | {"accelerator": "cpu", "devices": 1}


def _streamed(configuration: Any, now: Circumstances) -> tuple[Any, Fitter]:
    """Batches go through partial_fit as they come; a table is one batch."""
    module: EstimatorModule = configuration.module
    loaders = configuration.train_dataloaders
    if configuration.datamodule is None:
        loader = single(loaders, now.seed, "train_dataloaders")
        table = getattr(loader, "dataset", None)
        loaders = (
            table_loader(table.x, table.md, whole=True) if isinstance(table, Table) else loader
        )
        configuration = replace(configuration, train_dataloaders=loaders)
    fitter = fitting.passes(module.model, lambda: classes_of(module, loaders))
    return configuration, fitter


def _at_hand(configuration: Any, init: dict[str, Any], now: Circumstances) -> tuple[Any, Fitter]:
    """All training data, and what is validated each epoch, are collected."""
    module: EstimatorModule = configuration.module
    configuration = _from_datamodule(configuration)
    overfit = init.pop("overfit_batches", None) or None
    limits = {key: overfit or init.pop(f"limit_{key}_batches", None) for key in ("train", "val")}
    x, md = collected(
        configuration.train_dataloaders,
        now.seed,
        limits["train"],
        "train_dataloaders",
        in_order=overfit is not None,
    )
    require_targets(module.model.estimator, x, md, "train_dataloaders")
    if "y" in md:
        module.require_counted(md["y"])
    loaders = {"train_dataloaders": table_loader(x, md, whole=True)}
    held: Whole | None = None
    if configuration.val_dataloaders is None or limits["val"] == 0:
        init["limit_val_batches"] = limits["val"]
    elif fitting.by_rounds(module.model.estimator, rows(x)):
        held = _held(configuration.val_dataloaders, now.seed, limits["val"])
        require_targets(module.model.estimator, *held, "val_dataloaders")
        loaders["val_dataloaders"] = table_loader(*held, whole=True)
    else:
        init["limit_val_batches"] = limits["val"]
    if not now.limited and not fitting.by_rounds(module.model.estimator, rows(x)):
        init.pop("max_epochs", None)
    fitter = fitting.choose(module.model, init, rows(x), held, now.say)
    return replace(configuration, **loaders), fitter


def _held(loaders: Any, seed: int, limit: Limit) -> Whole:
    return collected(loaders, seed, limit, "val_dataloaders")


def _from_datamodule(configuration: Any) -> Any:
    """The loaders that a datamodule gives, in its place."""
    owner = configuration.datamodule
    if owner is None:
        return configuration
    from pytorch_lightning.utilities.model_helpers import is_overridden

    owner.prepare_data()
    owner.setup("fit")
    found = {"train_dataloaders": owner.train_dataloader()}
    if is_overridden("val_dataloader", owner):
        found["val_dataloaders"] = owner.val_dataloader()
    if is_overridden("test_dataloader", owner):
        owner.setup("test")
        found["test_dataloaders"] = owner.test_dataloader()
    return replace(configuration, datamodule=None, **found)
