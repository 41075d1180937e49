"""What a run recorded beside its metrics, and what it used of the machine, in a few words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from torch_lab.recording.items import KINDS, items
from torch_lab.recording.machine import samples
from torch_lab.store.paths import RunDirectory
from torch_lab.utils.text import format_size, plural


def media(run: RunDirectory) -> dict[str, int]:
    """How many items of each kind there are."""
    counts = Counter(item.kind for item in items(run))
    return {kind: counts[kind] for kind in KINDS if kind in counts}


def machine_use(run: RunDirectory) -> dict[str, dict[str, float]]:
    """Mean and greatest value of what was sampled."""
    sums: dict[str, list[float]] = {}
    for sample in samples(run):
        for name, value in sample.values.items():
            known = sums.setdefault(name, [0, 0.0, value])
            known[0] += 1
            known[1] += value
            known[2] = max(known[2], value)
    return {
        name: {"mean": round(total / count, 1), "max": most}
        for name, (count, total, most) in sums.items()
    }


def rows(run: RunDirectory) -> Iterator[tuple[str, str]]:
    """Both, as lines for a reader; none of what there isn't."""
    counts = media(run)
    if counts:
        yield "media", ", ".join(plural(count, kind) for kind, count in counts.items())
    use = machine_use(run)
    for title, prefix in _parts(use):
        facts = ", ".join(_facts(use, prefix))
        if facts:
            yield title, facts


def _parts(use: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "training", "training_"
    yield "machine", ""
    gpus = {name.partition("_")[0] for name in use if name.startswith("gpu")}
    for gpu in sorted(gpus, key=lambda name: (len(name), name)):
        yield f"GPU {gpu.removeprefix('gpu')}", f"{gpu}_"


def _facts(use: Mapping[str, Mapping[str, float]], prefix: str) -> Iterator[str]:
    for name, text in (("cpu_percent", "CPU "), ("percent", "")):
        if f"{prefix}{name}" in use:
            yield f"{text}{use[prefix + name]['mean']:.0f} %"
    if f"{prefix}memory_bytes" in use:
        yield f"memory {format_size(int(use[f'{prefix}memory_bytes']['max']))} at most"
    for name, unit in (("celsius", "°C"), ("watts", "W")):
        if f"{prefix}{name}" in use:
            yield f"{use[prefix + name]['mean']:.0f} {unit}"
