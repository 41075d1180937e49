"""The exceptions torch-lab raises on purpose.

    TorchLabError                 a mistake the user can mend: one message, no traceback, exit 2
    ├── UsageError                the command line
    ├── SettingsError             [tool.torch-lab] or a TORCH_LAB_* variable
    ├── HparamsError              a hyperparameter script: all of its problems at once
    ├── ScriptError               a script that can't be found, read or imported
    ├── ConfigurationError        train_config / infer_config and what they return
    ├── SlurmError                a job that Slurm doesn't take, or no Slurm to ask
    ├── ExportError               a trained model that can't be written as what was asked for
    ├── SweepError                a sweep that can't be done as its script says: all problems
    ├── StoreError                the artifacts folder: unwritable, full
    │   ├── RunNotFound           no run, or more than one, goes by that name
    │   └── RunLocked             the run is alive elsewhere
    ├── CheckpointError           a checkpoint file that can't be used
    │   ├── CheckpointNotFound
    │   ├── CheckpointDamaged     truncated, flipped, zeroed
    │   ├── CheckpointUnsafe      loading it could run code
    │   └── CheckpointMismatch    made by another architecture
    ├── ServerError               the ClearML server, or how it is configured
    │   ├── ServerUnreachable     it doesn't answer, or not with sense: later it may
    │   └── ServerRefused         it answers no
    └── RunError                  a failure while running that torch-lab itself detects: exit 1
        ├── LockLost              another process took this run over
        ├── SaveFailed            a checkpoint can't be written
        ├── NonFiniteLoss         NaN or inf
        ├── RankLost              another process of the run is gone
        ├── WorkerFailed          a loader worker died, or didn't answer in time
        ├── StorageAway           where a sweep keeps its trials can't be reached: later it may
        └── RunIncomplete         planned batches or samples were left out or repeated
    Stopped                       a signal ended the run (BaseException): exit 128 + N

Everything else that is raised keeps its traceback.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path


class TorchLabError(Exception):
    """A mistake the user can mend; `hint` says what to type or change next."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class UsageError(TorchLabError):
    """The command line can't be understood."""


class SettingsError(TorchLabError):
    """A setting in pyproject.toml or a TORCH_LAB_* variable is wrong."""


class HparamsError(TorchLabError):
    """A hyperparameter script is wrong; `problems` holds one line for each mistake."""

    def __init__(self, source: Path | str, problems: Sequence[str]) -> None:
        self.source = source
        self.problems = tuple(problems)
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        count = len(self.problems)
        super().__init__(f"{source}: {count} problem{'s' * (count != 1)} in hparams\n{lines}")


class ScriptError(TorchLabError):
    """A script can't be found, read or imported."""


class ConfigurationError(TorchLabError):
    """`train_config` or `infer_config` is missing or returns something unusable."""


class SlurmError(TorchLabError):
    """Slurm isn't here, doesn't answer, or refuses a job."""


class ExportError(TorchLabError):
    """A trained model can't be exported, or not as what was asked for."""


class SweepError(TorchLabError):
    """A sweep is wrong as its script says it; `problems` holds one line for each mistake."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        count = len(self.problems)
        super().__init__(f"{source}: {count} problem{'s' * (count != 1)} in SWEEP\n{lines}")


class StoreError(TorchLabError):
    """The artifacts folder can't be read or written."""


class RunNotFound(StoreError):
    """Nothing, or more than one thing, goes by the name of a run."""

    unknown = False  # nothing does, as far as was looked


class RunLocked(StoreError):
    """Another live process holds the run."""


class CheckpointError(TorchLabError):
    """A checkpoint can't be used."""


class CheckpointNotFound(CheckpointError):
    """There is no such checkpoint."""


class CheckpointDamaged(CheckpointError):
    """The file's contents are not what was saved."""


class CheckpointUnsafe(CheckpointError):
    """Loading the file could run code."""


class CheckpointMismatch(CheckpointError):
    """The checkpoint belongs to another architecture."""


class ServerError(TorchLabError):
    """The ClearML server can't be used."""


class ServerUnreachable(ServerError):
    """The server doesn't answer in time, or with nothing that makes sense: later it may."""


class ServerRefused(ServerError):
    """The server answers no; `code` and `subcode` are its own."""

    def __init__(
        self, message: str, *, code: int = 0, subcode: int = 0, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.subcode = subcode


class RunError(TorchLabError):
    """The run failed for a reason torch-lab found itself."""


class LockLost(RunError):
    """Another process took the run over while this one was stalled."""


class SaveFailed(RunError):
    """A checkpoint could not be written; the one before it is as it was."""


class NonFiniteLoss(RunError):
    """The loss became NaN or infinite; in which batch of the epoch, and its samples, if known."""

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        epoch: int | None = None,
        batch: int | None = None,
        samples: object = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.epoch = epoch
        self.batch = batch
        self.samples = samples


class RankLost(RunError):
    """Another process of the run died without a word."""


class WorkerFailed(RunError):
    """A loader worker died, or did not answer in time."""


class StorageAway(RunError):
    """The file or database that holds a sweep's trials can't be reached."""


class RunIncomplete(RunError):
    """Training ended without an error, but not all that was planned was done, or not once."""


class Stopped(BaseException):
    """A signal asked the run to end; carried to the top as exit status 128 + N."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum
