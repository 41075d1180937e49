"""A checkpoint's weights put into a module, and what is said when they don't fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from torch_lab.checkpoints import files
from torch_lab.errors import CheckpointMismatch
from torch_lab.modules import load_weights


def load_into(module: nn.Module, path: Path, *, strict: bool, trust: bool = False) -> list[str]:
    """Load the weights of a file that was verified; the lines say what did not fit."""
    contents = files.load_verified(path, trust=trust)
    weights = contents.get("state_dict")
    if not isinstance(weights, Mapping):
        raise CheckpointMismatch(
            f'checkpoint {path} holds no weights: expected a dict of them as "state_dict",'
            f" found {', '.join(map(repr, contents)) or 'nothing'}"
        )
    with naming(path):
        return load_weights(module, weights, strict=strict)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Begin what is said of a checkpoint that doesn't fit with its file."""
    try:
        yield
    except CheckpointMismatch as error:
        if str(path) not in error.message:
            error.message = f"{path}: {error.message}"
        raise
