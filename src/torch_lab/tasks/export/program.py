"""The model as a program of torch.export: a .pt2 file, which runs without the model's code."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from traceback import extract_tb
from typing import Any, BinaryIO

import torch

from torch_lab.errors import ExportError
from torch_lab.tasks.export.calls import BATCH, Call, is_batch
from torch_lab.tasks.export.subject import Subject

METADATA = "torch-lab.json"
_MOST = 2**40  # samples; without a limit older versions of torch refuse models with an LSTM


def write(file: BinaryIO, subject: Subject, call: Call, metadata: str, origin: Origin) -> None:
    """Write the model as called; for any number of samples, unless `origin` says for how many."""
    program = _program(subject, call, origin)
    with _quiet():
        torch.export.save(program, file, extra_files={METADATA: metadata})


def load(file: Path) -> Callable[..., Any]:
    """The program in a file, to be called as the model."""
    with _quiet(), file.open("rb") as opened:
        called: Callable[..., Any] = torch.export.load(opened).module()
        return called


@dataclass(frozen=True)
class Origin:
    """Whose model it is, for what is said where torch.export can't read it.

    `root` is where its code is; `samples` how many the program always takes, None for any number.
    """

    run: str
    root: Path
    samples: int | None

    def failure(
        self, error: Exception, what: str = "as a .pt2 file", hint: str = ""
    ) -> ExportError:
        """What is said of the model."""
        return ExportError(
            f"run {self.run} can't be exported {what}: {_told(error)}{self._place(error)}",
            hint=f"{hint}--out FILE.safetensors keeps the weights alone.",
        )

    def _place(self, error: Exception) -> str:
        """The innermost line of the run's own code that led to the error."""
        frames = [f for f in extract_tb(error.__traceback__) if self._is_own(f.filename)]
        if not frames:
            return ""
        file = Path(frames[-1].filename).relative_to(self.root)
        return f"\n  at {file}:{frames[-1].lineno}: {frames[-1].line}"

    def _is_own(self, filename: str) -> bool:
        return Path(filename).is_relative_to(self.root)


def _program(subject: Subject, call: Call, origin: Origin) -> torch.export.ExportedProgram:
    try:
        return _exported(subject, call, dynamic=origin.samples is None)
    except Exception as error:  # torch.export raises whatever the model's code does
        if origin.samples is not None:
            raise origin.failure(error) from error
        dynamic = error
    try:
        _exported(subject, call, dynamic=False)
    except Exception as error:  # as above
        raise origin.failure(error) from error
    what, samples = "for any number of samples", call.samples
    hint = f"--batch-size {samples} exports it for just so many samples at a time.\n"
    raise origin.failure(dynamic, what, hint) from dynamic


def _exported(subject: Subject, call: Call, *, dynamic: bool) -> torch.export.ExportedProgram:
    shapes = _shapes(subject, call) if dynamic else None
    with _quiet(), torch.no_grad():
        return torch.export.export(
            subject.model, call.args, dict(call.kwargs), dynamic_shapes=shapes, strict=False
        )


def _shapes(subject: Subject, call: Call) -> dict[str, Any]:
    """For each argument which of its sizes is the number of samples."""
    batch, samples = torch.export.Dim(BATCH, min=1, max=_MOST), call.samples
    named = call.named(subject.model)
    return {name: _sizes(value, samples, batch) for name, value in named.items()}


def _sizes(value: Any, samples: int, batch: Any) -> Any:
    """The same for nested containers, in their form."""
    if isinstance(value, Mapping):
        return {key: _sizes(each, samples, batch) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_sizes(each, samples, batch) for each in value]
    return {0: batch} if is_batch(value, samples) else None


def _told(error: Exception) -> str:
    """The first words of what torch says, which may go on for pages."""
    lines = [line.strip(" -") for line in str(error).splitlines() if line.strip(" -")]
    first, *more = lines or [""]
    first = first.partition(" For more information")[0]
    if more and first.endswith("!"):  # what is violated is said below
        first += f" {more[0].partition(' If ')[0]}"
    return f"{type(error).__name__}: {first}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch warns of, logs and prints while it reads a model."""
    disabled = logging.root.manager.disable
    nowhere = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(nowhere):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            with contextlib.redirect_stderr(nowhere):
                yield
        finally:
            logging.disable(disabled)
