"""safetensors files, written and read: a JSON header behind its length, then the tensors' bytes.

The format is that of https://github.com/huggingface/safetensors, whose own readers open what is
written here. So little is needed of it that it costs no dependency.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from torch_lab.errors import ExportError

_ALIGNED = 8
_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.complex64: "C64",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_DTYPES = {name: dtype for dtype, name in _NAMES.items()}


def write(file: BinaryIO, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors, largest elements first so that each begins at a multiple of its own size."""
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name in order:
        begin, end = end, end + tensors[name].numel() * tensors[name].element_size()
        header[name] = {
            "dtype": _dtype_name(name, tensors[name]),
            "shape": list(tensors[name].shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNED)
    file.write(len(text).to_bytes(8, "little") + text)
    for name in order:
        file.write(as_bytes(tensors[name]).numpy().data)


def _dtype_name(name: str, tensor: Tensor) -> str:
    if tensor.dtype not in _NAMES or tensor.layout != torch.strided or tensor.is_quantized:
        what = f"{tensor.layout} {tensor.dtype}".replace("torch.", "")
        raise ExportError(
            f"a safetensors file can't hold {name}, which is {what}",
            hint="--out FILE.pt2 may.",
        )
    return _NAMES[tensor.dtype]


def as_bytes(tensor: Tensor) -> Tensor:
    """What a tensor holds, in its order, as it lies in a file."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a file."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        metadata = header.pop("__metadata__", {})
        return dict(_tensors(file, header)), metadata


def _tensors(file: BinaryIO, header: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    start = file.tell()
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        dtype, shape = _DTYPES[entry["dtype"]], entry["shape"]
        file.seek(start + begin)
        content = bytearray(file.read(end - begin))
        flat = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
        yield name, flat.reshape(shape)
