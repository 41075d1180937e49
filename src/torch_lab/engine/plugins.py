"""How Lightning reads and writes files during a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytorch_lightning.plugins.io import TorchCheckpointIO

from torch_lab.checkpoints import files
from torch_lab.engine.savepoints import Draft


class SafeCheckpointIO(TorchCheckpointIO):
    """Checkpoints that are whole or absent, verified, and run no code; also for ModelCheckpoint."""

    def __init__(self, *, trust: bool = False) -> None:
        self.trust = trust

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write now and name at once, or leave the naming to the draft's owner."""
        if isinstance(storage_options, Draft):
            storage_options.write(checkpoint, Path(path))
        else:
            files.save(checkpoint, Path(path))

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read on the CPU, whatever Lightning would pass; each part is moved when it is used."""
        return files.load(Path(path), trust=self.trust)
