"""The outside of a saved estimator: two lines of text that say what follows, then the bytes.

The second line is JSON. It is read to tell people what the file holds and to choose how it is
read; no class or module is ever imported because it is named there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from torch_lab.errors import CheckpointDamaged
from torch_lab.modules.weights import ESTIMATOR

MAGIC = ESTIMATOR + b" 1\n"
SKOPS, UBJ, PICKLE = FORMATS = ("skops", "ubj", "pickle")
_LONGEST_HEADER = 1 << 24


@dataclass(frozen=True)
class Envelope:
    """What a saved estimator is, and its bytes."""

    format: str
    class_name: str  # "module:qualname"
    payload: bytes
    versions: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    learned: Mapping[str, Any] = field(default_factory=dict)
    strangers: Sequence[str] = ()  # what needs trust, for people: reading goes by the bytes

    def pack(self) -> torch.Tensor:
        """As a tensor of bytes."""
        header = {
            "format": self.format,
            "class": self.class_name,
            "versions": dict(self.versions),
            "params": dict(self.params),
            "learned": dict(self.learned),
            "strangers": list(self.strangers),
        }
        text = json.dumps(header).encode()
        packed = bytearray(MAGIC + text + b"\n")
        packed += self.payload  # which may be large: copied once
        return torch.frombuffer(packed, dtype=torch.uint8)


def unpack(tensor: Any, *, payload: bool = True) -> Envelope:
    """What `Envelope.pack` packed; CheckpointDamaged for anything else.

    Without `payload` only what the outside says.
    """
    if not isinstance(tensor, torch.Tensor) or tensor.dtype != torch.uint8 or tensor.ndim != 1:
        raise _damaged("expected a row of bytes")
    data = tensor.detach().cpu().numpy()
    outside = data[: len(MAGIC) + _LONGEST_HEADER].tobytes()
    if not outside.startswith(MAGIC):
        raise _damaged("it doesn't begin as one")
    end = outside.find(b"\n", len(MAGIC))
    if end < 0:
        raise _damaged("its header has no end")
    try:
        header = json.loads(outside[len(MAGIC) : end])
    except (ValueError, RecursionError) as error:
        raise _damaged("its header is no JSON") from error
    return _checked(header, data[end + 1 :].tobytes() if payload else b"")


def _checked(header: Any, payload: bytes) -> Envelope:
    if not isinstance(header, dict) or header.get("format") not in FORMATS:
        raise _damaged("its header names no format that this version of torch-lab knows")
    parts = {key: header.get(key, {}) for key in ("versions", "params", "learned")}
    named = isinstance(header.get("class"), str)
    if not named or not all(isinstance(part, dict) for part in parts.values()):
        raise _damaged("its header lacks what it must hold")
    strangers = header.get("strangers", [])
    if not isinstance(strangers, list) or not all(isinstance(each, str) for each in strangers):
        raise _damaged("its header lacks what it must hold")
    return Envelope(header["format"], header["class"], payload, **parts, strangers=strangers)


def _damaged(why: str) -> CheckpointDamaged:
    return CheckpointDamaged(f"the checkpoint holds no estimator that can be read: {why}")
