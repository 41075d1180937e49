"""The weights alone, as safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from torch_lab.errors import ExportError
from torch_lab.tasks.export import safetensors

_HINT = "--out FILE.pt2 may."


def write(file: BinaryIO, owner: nn.Module, metadata: str) -> dict[str, str]:
    """Write a module's weights; returns which names stand for a tensor that another name has.

    As the safetensors library does it: the tensor is stored once, and the metadata say which name
    leads to which.
    """
    weights = _all_tensors(owner)
    shared = dict(_shared(weights))
    once = {name: tensor for name, tensor in weights.items() if name not in shared}
    safetensors.write(file, once, {"format": "pt", "torch-lab": metadata, **shared})
    return shared


def read(file: Path) -> dict[str, Tensor]:
    """The weights in a file, under all of their names."""
    found, metadata = safetensors.read(file)
    return found | {name: found[kept] for name, kept in metadata.items() if kept in found}


def differing(owner: nn.Module, found: Mapping[str, Tensor]) -> list[str]:
    """The names of a module's weights that were not found, or not bit for bit."""
    own = tensors(owner)
    return [name for name in own if name not in found or not _same(own[name], found[name])]


def _same(own: Tensor, found: Tensor) -> bool:
    if (own.dtype, own.shape, own.layout) != (found.dtype, found.shape, found.layout):
        return False
    if own.layout != torch.strided:
        return torch.equal(own.to_dense(), found.to_dense())
    if own.is_quantized:
        return torch.equal(own, found)
    return torch.equal(safetensors.as_bytes(own), safetensors.as_bytes(found))


def put(owner: nn.Module, found: Mapping[str, Tensor]) -> None:
    """Put weights in the place of a module's own, of which nothing is left."""
    for tensor in tensors(owner).values():
        tensor.detach().zero_()
    owner.load_state_dict(found, strict=False)


def tensors(owner: nn.Module) -> dict[str, Tensor]:
    """What of a module's state is tensors."""
    return {name: each for name, each in owner.state_dict().items() if isinstance(each, Tensor)}


def _all_tensors(owner: nn.Module) -> dict[str, Tensor]:
    odd = [name for name, each in owner.state_dict().items() if not isinstance(each, Tensor)]
    if odd:
        raise ExportError(f"a safetensors file can't hold {odd[0]}, which is no tensor", hint=_HINT)
    return tensors(owner)


def _shared(weights: Mapping[str, Tensor]) -> dict[str, str]:
    """Names for the very tensor that an earlier name has, in the names' order."""
    first: dict[Any, str] = {}
    shared = {}
    for name in sorted(weights):
        kept = first.setdefault(_place(weights[name]), name)
        if kept != name:
            shared[name] = kept
    return shared


def _place(tensor: Tensor) -> Any:
    if tensor.layout != torch.strided or not tensor.numel():
        return id(tensor)
    return tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()
