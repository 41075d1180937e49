"""What a run's Trainer has in place of Lightning's own: files, and the profiler it goes without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.profilers import PassThroughProfiler

from torch_lab.checkpoints import files
from torch_lab.checkpoints.weights import weights_of
from torch_lab.engine.saves import Draft
from torch_lab.errors import CheckpointMismatch
from torch_lab.modules.weights import own_names

WEIGHTS_ALONE = 'To take over only its weights: "checkpoint": {"weights_only": True}.'
_NEEDED = ("state_dict", "pytorch-lightning_version")  # by Lightning, before it asks anybody


class SafeCheckpointIO(TorchCheckpointIO):
    """Checkpoints that are whole or absent, verified, and run no code; also for ModelCheckpoint."""

    def __init__(
        self,
        *,
        trust: bool = False,
        before_saving: Callable[[], None] = lambda: None,
        before_weights: Callable[[], None] = lambda: None,
    ) -> None:
        self.trust = trust
        self.draft: Draft | None = None  # of a strategy that hands no options on
        self._before_saving = before_saving  # may refuse by raising
        self._before_weights = before_weights  # so may this, of which Lightning asks no callback

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write now and name at once, or leave the naming to the draft's owner."""
        if isinstance(weights := checkpoint.get("state_dict"), Mapping):
            checkpoint["state_dict"] = own_names(weights)
        draft = storage_options if isinstance(storage_options, Draft) else self.draft
        if draft is not None:
            draft.write(checkpoint, Path(path))
        else:
            self._before_saving()
            if "callbacks" not in checkpoint:  # as ModelCheckpoint(save_weights_only=True) does
                self._before_weights()
            files.save(checkpoint, Path(path), before_replace=self._before_saving)

    def remove_checkpoint(self, path: Any) -> None:
        """Delete a file that a callback of the experiment's keeps no longer."""
        self._before_saving()
        super().remove_checkpoint(path)

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read on the CPU, whatever Lightning would pass; each part is moved when it is used."""
        contents = files.load(Path(path), trust=self.trust)
        missing = [repr(key) for key in _NEEDED if key not in contents]
        if missing:
            raise CheckpointMismatch(
                f"checkpoint {path} holds no training state: it has no {', no '.join(missing)}",
                hint=WEIGHTS_ALONE if weights_of(contents) is not None else None,
            )
        return contents


class NoProfiler(PassThroughProfiler):
    """Profiles nothing, at once: Lightning asks some fifty times a batch, 1 microsecond a piece."""

    _nothing: AbstractContextManager[None] = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        """Stand aside."""
        return self._nothing
