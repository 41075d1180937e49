"""Which samples of a batch made its loss NaN or infinite: the batch loaded and computed again.

Everything is found out when a run has failed. Whatever can't be found out is left unsaid.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.func import functional_call

from torch_lab.callbacks import samples as naming
from torch_lab.data import DataLoader
from torch_lab.modules import LabModule, TrainLabModule
from torch_lab.modules.weights import under_names_of

Sound = tuple[str, dict[str, Any]]  # a checkpoint's name, and what it holds
_TRIES = 100
_LOGGING = ("log", "log_dict")


@dataclass(frozen=True)
class Found:
    """What there is to say of a batch, and the samples to look at."""

    words: str
    samples: list[Any]


def look(
    trainer: pl.Trainer,
    module: pl.LightningModule,
    batch: int,
    sound: Callable[[], Sound | None] | None,
) -> Found | None:
    """Load the batch of the current epoch again, and see which of its samples are to blame.

    Where their contents are good, its loss is computed again with weights that are `sound`; not
    where that is None.
    """
    loader = trainer.train_dataloader
    if not isinstance(loader, DataLoader) or not loader.exact:
        return None
    indices = loader.epoch_batches()[batch]
    if not isinstance(indices, list):
        return None
    content = loader.fetch(batch)
    found = _by_input(content, indices)
    if found is not None or sound is None or not module.automatic_optimization:
        return found
    weights = sound()
    if weights is None:
        return None
    again = _Again(trainer, module, batch, weights[1])
    return _by_loss(again, weights[0], content, indices)


def as_it_is() -> Sound:
    """For a module whose own weights are sound."""
    return "", {}


# -- the input -------------------------------------------------------------------------------


def _by_input(content: Any, indices: list[Any]) -> Found | None:
    """Samples that hold something else than finite numbers."""
    for where, tensor in _tensors(content, "batch"):
        if tensor.dim() and tensor.shape[0] == len(indices) and tensor.is_floating_point():
            finite = torch.isfinite(tensor.reshape(len(indices), -1)).all(1).tolist()
            chosen = [index for index, good in zip(indices, finite, strict=True) if not good]
            if chosen:
                kind = "NaN" if bool(torch.isnan(tensor).any()) else "inf"
                has = "has" if len(chosen) == 1 else "have"
                return Found(f"{naming.numbered(chosen)} {has} {kind} in {where}", chosen)
    return None


def _tensors(value: Any, where: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield where, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _tensors(each, f"{where}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for i, each in enumerate(value):
            yield from _tensors(each, f"{where}[{i}]")


# -- the loss --------------------------------------------------------------------------------


def _by_loss(again: _Again, name: str, content: Any, indices: list[Any]) -> Found:
    """Samples whose loss isn't finite with weights that are."""
    using = f"with the weights of {name} " if name else ""
    with again.apart():
        whole = again.loss(content)
        if whole is None:
            return Found(f"{using}it is finite", [])
        bad = dict(again.culprits(content, range(len(indices)), len(indices)))
    if not bad:
        return Found(f"{using}it is {whole} again, but not of a sample alone", [])
    chosen = [indices[i] for i in bad]
    whose = "each sample" if len(bad) == len(indices) > 1 else f"{naming.numbered(chosen)} alone"
    return Found(f"{using}the loss of {whose} is {next(iter(bad.values()))}", chosen)


class _Value(NamedTuple):
    """A loss that is no finite number, and which of its parts aren't either."""

    loss: float
    parts: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.loss} ({' and '.join(self.parts)})" if self.parts else str(self.loss)


class _Step(nn.Module):
    """A module's training step as something to call with other weights."""

    def __init__(self, module: pl.LightningModule, number: int) -> None:
        super().__init__()
        self.module = module
        self.number = number
        self.takes = len(inspect.signature(module.training_step).parameters)

    def forward(self, batch: Any) -> Any:
        return self.module.training_step(*(batch, self.number)[: self.takes])


def _uncompiled() -> AbstractContextManager[Any]:
    """Nothing is compiled for a few steps of other sizes; asking for that loads the compiler."""
    loaded = "torch._dynamo" in sys.modules
    return torch.compiler.set_stance("force_eager") if loaded else nullcontext()


def _log_nothing(*_: Any, **__: Any) -> None: ...


class _Again:
    """The training step computed again, on some of a batch's samples."""

    def __init__(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        batch: int,
        checkpoint: dict[str, Any],
    ) -> None:
        self._trainer = trainer
        self._module = module
        if isinstance(module, LabModule):
            LabModule.on_load_checkpoint(module, checkpoint)
        weights = under_names_of(module.state_dict(), checkpoint.get("state_dict", {}))
        on_device = {name: each.to(module.device) for name, each in weights.items()}
        self._weights = {f"module.{name}": each for name, each in on_device.items()}
        self._step = _Step(module, batch)
        self._tries = 0

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Log nothing and train nothing; batch norm and dropout as in evaluation."""
        module = self._module
        modes = [each.training for each in module.modules()]
        own = {name: each for name, each in vars(module).items() if name in _LOGGING}
        try:
            for name in _LOGGING:
                setattr(module, name, _log_nothing)
            module.eval()
            with (
                _uncompiled(),
                torch.no_grad(),
                self._trainer.precision_plugin.train_step_context(),
            ):
                yield
        finally:
            for name in _LOGGING:
                delattr(module, name)
            vars(module).update(own)
            for each, training in zip(module.modules(), modes, strict=True):
                each.training = training

    def culprits(
        self, content: Any, numbers: Sequence[int], size: int
    ) -> Iterator[tuple[int, _Value]]:
        """The samples, found by halving, whose loss alone isn't finite, and what it is."""
        self._tries += 1
        value = None if self._tries > _TRIES else self.loss(_part(content, numbers, size))
        if value is None:
            return
        if len(numbers) == 1:
            yield numbers[0], value
            return
        half = len(numbers) // 2
        yield from self.culprits(content, numbers[:half], size)
        yield from self.culprits(content, numbers[half:], size)

    def loss(self, content: Any) -> _Value | None:
        """The loss if it is no finite number."""
        batch = self._trainer.strategy.batch_to_device(content)
        weights = {name: each.clone() for name, each in self._weights.items()}
        out = functional_call(self._step, weights, (batch,))
        loss = out["loss"] if isinstance(out, Mapping) else out
        value = float(loss.float().mean())
        return None if value - value == 0 else _Value(value, tuple(_parts(self._module, out)))


def _parts(module: pl.LightningModule, out: Any) -> list[str]:
    """The names of the losses that a loss is made of, those that aren't finite."""
    parts: Any = out if isinstance(out, Mapping) else {}
    if isinstance(module, TrainLabModule):
        parts = module.loss_function(out["y_pred"], out["md"]["y"])
    if not isinstance(parts, Mapping):
        return []
    scalars = {k: v for k, v in parts.items() if isinstance(v, Tensor) and v.numel() == 1}
    return [str(k) for k, v in scalars.items() if k != "loss" and not bool(torch.isfinite(v))]


def _part(value: Any, numbers: Sequence[int], size: int) -> Any:
    """Some of the samples of a collated batch."""
    if isinstance(value, Tensor):
        whole = not value.dim() or value.shape[0] != size
        return value if whole else value[torch.as_tensor(list(numbers), device=value.device)]
    if isinstance(value, Mapping):
        return {key: _part(each, numbers, size) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        if len(value) == size and all(isinstance(each, (str, bytes, int, float)) for each in value):
            return type(value)(value[i] for i in numbers)
        parts = [_part(each, numbers, size) for each in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value
