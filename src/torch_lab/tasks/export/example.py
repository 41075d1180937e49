"""An example of what a model is called with: a batch of the run's own data, or of a file."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from torch_lab.errors import ExportError, UsageError
from torch_lab.experiment import Configuration
from torch_lab.modules import LabModule
from torch_lab.tasks.export.calls import Call
from torch_lab.tasks.export.subject import Subject
from torch_lab.tasks.rebuilding import Rebuilt
from torch_lab.utils.paths import display

_STEPS = {
    "val_dataloaders": "validation_step",
    "test_dataloaders": "test_step",
    "train_dataloaders": "training_step",
    "predict_dataloaders": "predict_step",
}
Arguments = tuple[tuple[Any, ...], dict[str, Any]]
_FILES = (".npy", ".pt", ".pth")


def example(rebuilt: Rebuilt, subject: Subject, file: Path | None, run: str) -> Call:
    """What the model is called with, as the file or the run's first batch of data has it."""
    if file is not None:
        call = _of_file(file)
    else:
        with contextlib.chdir(rebuilt.root):
            call = _of_data(rebuilt, subject, run)
    if not call.samples:
        raise ExportError(
            f"run {run} can't be exported: the model is called without any tensor",
            hint=_GIVE,
        )

    def fitted(value: Tensor) -> Tensor:
        return value.detach().cpu().to(rebuilt.dtype if value.is_floating_point() else None)

    return call.mapped(fitted)


_GIVE = "Give an example of the model's input: --input FILE.npy (samples along the first axis)."


def _of_file(file: Path) -> Call:
    content = _read(file)
    args = content if isinstance(content, tuple) else (content,)
    return Call(args, {}, display(file))


def _read(file: Path) -> Any:
    if file.suffix not in _FILES:
        raise UsageError(
            f"--input {display(file)}: expected a file that ends in {', '.join(_FILES)}",
            hint="numpy.save, or torch.save of a tensor, writes one",
        )
    try:
        if file.suffix == ".npy":
            import numpy as np

            return torch.from_numpy(np.load(file, allow_pickle=False))
        return torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UsageError(f"--input {display(file)}: there is no such file") from None
    except Exception as error:  # numpy's and torch's readers may raise anything
        why = str(error).partition("\n")[0] or type(error).__name__
        raise UsageError(f"--input {display(file)} can't be read: {why}") from error


def _of_data(rebuilt: Rebuilt, subject: Subject, run: str) -> Call:
    problems = []
    for source, load in _sources(rebuilt.configuration, subject.module):
        try:
            batch = _transferred(load(), rebuilt.configuration.datamodule, subject.module)
            call = _called(subject, batch, source)
        except Exception as error:  # noqa: BLE001  data and steps of the user's may raise anything
            problems.append(f"  {source}: {_told(error)}")
            continue
        if call is not None:
            return call
        problems.append(f"  {source}: no step calls {subject.name}")
    given = getattr(subject.module, "example_input_array", None)
    if given is not None:
        return _of_array(given)
    lines = "\n".join(problems) or "  it has none"
    raise ExportError(
        f"run {run} can't be exported: its data give no example of the model's input\n{lines}",
        hint=_GIVE,
    )


def _told(error: Exception) -> str:
    empty = isinstance(error, StopIteration)
    return "it has no batch" if empty else f"{type(error).__name__}: {error}"


def _of_array(given: Any) -> Call:
    if isinstance(given, Mapping):
        return Call((), dict(given), "example_input_array")
    return Call(given if isinstance(given, tuple) else (given,), {}, "example_input_array")


def _sources(configuration: Configuration, module: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Where a first batch can be had: from what doesn't change from epoch to epoch first."""
    data = configuration.datamodule or module
    for key in _STEPS:
        loaders = getattr(configuration, key)
        if loaders is not None:
            yield key, partial(_first, loaders)
    for key in _STEPS:
        hook = key.removesuffix("s")
        if configuration.datamodule is not None or _is_own(module, hook):
            yield f"{type(data).__name__}.{hook}", partial(_of_hook, data, hook)


def _is_own(module: Any, hook: str) -> bool:
    return getattr(type(module), hook, None) is not getattr(pl.LightningModule, hook)


def _of_hook(data: Any, hook: str) -> Any:
    stage = {"predict_dataloader": "predict", "test_dataloader": "test"}.get(hook, "fit")
    data.prepare_data()
    data.setup(stage)
    return _first(getattr(data, hook)())


def _first(loaders: Any) -> Any:
    """The first batch of the first loader, read in this process: others can't import its code."""
    while isinstance(loaders, (list, tuple, Mapping)):
        loaders = next(iter(loaders.values() if isinstance(loaders, Mapping) else loaders))
    if getattr(loaders, "num_workers", 0):
        loaders.num_workers, loaders.timeout = 0, 0
    return next(iter(loaders))


def _transferred(batch: Any, *holders: Any) -> Any:
    """The batch as the hooks around its way to the device leave it."""
    for holder in holders:
        if holder is not None:
            # Those that ask a Trainer, which there is none of, may raise anything.
            with contextlib.suppress(Exception):
                batch = holder.on_after_batch_transfer(holder.on_before_batch_transfer(batch, 0), 0)
    return batch


def _called(subject: Subject, batch: Any, source: str) -> Call | None:
    """How a step calls the model; None where none of them does."""
    failure = None
    for step in _steps(subject.module, source):
        try:
            call = _call_in(getattr(subject.module, step), subject.model, batch)
        except Exception as error:  # noqa: BLE001  without a Trainer a step may fail anywhere
            failure = failure or error
            continue
        if call is not None:
            return Call(*call, source)
    if failure is not None:
        raise failure
    return None


def _call_in(step: Any, model: nn.Module, batch: Any) -> Arguments | None:
    with _catching(model) as calls, contextlib.suppress(_Called):
        step(batch, 0)
    return calls[0] if calls else None


def _steps(module: Any, source: str) -> list[str]:
    """The steps that may call the model: the loader's own first."""
    if isinstance(module, LabModule):
        return ["predict_step"]
    own = [step for key, step in _STEPS.items() if key.removesuffix("s") in source]
    others = [step for step in _STEPS.values() if step not in own]
    return [step for step in (*own, *others) if step == "predict_step" or _is_own(module, step)]


class _Called(BaseException):
    """The model was called: nothing more is to be learned from the step."""


@contextlib.contextmanager
def _catching(model: nn.Module) -> Iterator[list[Arguments]]:
    """While open, a call of the model is noted and goes no further."""
    calls: list[Arguments] = []

    def forward(*args: Any, **kwargs: Any) -> None:
        calls.append((args, kwargs))
        raise _Called

    own = vars(model).get("forward")
    model.forward = forward  # also where `self.forward(x)` is called, which no hook sees
    try:
        with torch.no_grad():
            yield calls
    finally:
        if own is None:
            del model.forward
        else:
            model.forward = own
