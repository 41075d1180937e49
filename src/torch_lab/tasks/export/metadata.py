"""What an exported file says of itself."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

import torch_lab
from torch_lab.checkpoints import files
from torch_lab.checkpoints.resolve import Found
from torch_lab.store.find import StoredRun
from torch_lab.store.record import CheckpointEntry
from torch_lab.tasks.export.calls import kind, leaves
from torch_lab.utils.recorded import plain_name
from torch_lab.utils.roots import same_file

FORMAT = 1


@dataclass(frozen=True)
class Metadata:
    """Whose model it is, what it is called with and what it gives; text for each shape."""

    run: str
    run_id: str
    experiment: str
    script: str
    checkpoint: str
    checkpoint_sha256: str
    epoch: int | None
    step: int | None
    model: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    versions: Mapping[str, str]
    format: int = FORMAT

    def as_json(self) -> str:
        """The text that is put into the file; equal models have equal ones."""
        return json.dumps(asdict(self), indent=1)


def metadata(run: StoredRun, found: Found, model: Any) -> Metadata:
    """What is known of the model of a run before it is called: a network, or an estimator."""
    record, entry = run.record, _entry(run, found)
    return Metadata(
        run=record.name,
        run_id=record.id,
        experiment=record.experiment,
        script=record.script,
        checkpoint=found.path.stem if entry is None else entry.name,
        checkpoint_sha256=(entry and entry.sha256) or files.verify(found.path),
        epoch=None if entry is None else entry.epoch,
        step=None if entry is None else entry.step,
        model=f"{plain_name(type(model).__module__)}.{type(model).__qualname__}",
        inputs={},
        outputs={},
        versions={
            "torch_lab": torch_lab.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    )


def with_shapes(
    about: Metadata, named: Mapping[str, Any], answer: Mapping[str, Any], samples: int | None
) -> Metadata:
    """With what the model is called with and gives; rows for each of `samples` are a "batch"."""
    inputs, outputs = ({n: kind(v, samples) for n, v in leaves(each)} for each in (named, answer))
    return replace(about, inputs=inputs, outputs=outputs)


def _entry(run: StoredRun, found: Found) -> CheckpointEntry | None:
    """What the record says of the file that was found, which another may stand in for."""
    listed = run.record.checkpoints
    same = [each for each in listed if same_file(run.directory.path / each.file, found.path)]
    return next((each for each in same if each.name == found.name), next(iter(same), None))
