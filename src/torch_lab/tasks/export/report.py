"""What `lab export` says when a file is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from torch_lab.tasks.export.exporting import Exported
from torch_lab.tasks.table import columns
from torch_lab.utils.paths import display
from torch_lab.utils.text import format_size, plural


def describe(done: Exported) -> str:
    """The export for a reader."""
    lines = [f"{display(done.file)}, {format_size(done.size)}", *columns(list(_rows(done)))]
    return "\n".join(lines) + "\n"


def as_data(done: Exported) -> dict[str, Any]:
    """The export for `--json`."""
    return {
        "file": str(done.file),
        "size": done.size,
        "parameters": done.parameters,
        "compared": {
            "samples": done.samples,
            "of": done.source,
            "apart": done.apart,
            "problem": done.problem,
        },
        "shared": dict(done.shared),
        "loading": done.loading,
        "metadata": asdict(done.metadata),
    }


def _rows(done: Exported) -> Iterator[Sequence[str]]:
    about = done.metadata
    yield "run", f"{about.run} ({about.run_id[:8]}), checkpoint {about.checkpoint}{_when(done)}"
    count = "" if done.parameters is None else f", {plural(done.parameters, 'parameter')}"
    yield "model", f"{about.model}{count}"
    if done.apart is None and done.loading:
        yield "compared", f"not on data: {done.problem.splitlines()[0]}"
    elif done.apart is None:
        yield "compared", "tensor by tensor: equal, bit for bit"
        yield "", f"not on data: {done.problem.splitlines()[0]}"
    else:
        yield "input", _listed(about.inputs)
        yield "output", _listed(about.outputs)
        yield "compared", f"with the module on {_samples(done)}: {_apart(done.apart)}"
    for name, kept in done.shared.items():
        yield "shared", f"{name} is {kept}, stored once"
    if done.loading:
        yield "load it", done.loading


def _when(done: Exported) -> str:
    epoch, step = done.metadata.epoch, done.metadata.step
    return "" if epoch is None or epoch < 0 else f" (epoch {epoch}, step {step})"


def _listed(kinds: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {kind}" if name else kind for name, kind in kinds.items())


def _samples(done: Exported) -> str:
    *first, last = map(str, done.samples)
    count = f"{', '.join(first)} and {last}" if first else last
    noun = "sample" if done.samples == (1,) else "samples"
    return f"{count} {noun} of {done.source}"


def _apart(apart: float) -> str:
    return f"at most {apart:.1g} apart" if apart else "equal, bit for bit"
