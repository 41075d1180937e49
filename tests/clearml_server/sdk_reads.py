"""What the SDK reads back of sdk_writes, as JSON; then a data set goes there and back."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from clearml import Dataset, Task


def task(identity: str) -> dict[str, Any]:
    found = Task.get_task(task_id=identity)
    by_name = Task.get_task(project_name="round/trip", task_name="the task")
    model = found.models["output"][0]
    weights = Path(model.get_local_copy())
    return {
        "found": by_name.id == found.id,
        "status": found.get_status(),
        "tags": sorted(found.get_tags()),
        "parameters": found.get_parameters_as_dict()["hparams"],
        "configuration": found.get_configuration_object_as_dict("settings"),
        "scalars": found.get_reported_scalars()["loss"]["train"],
        "single": found.get_reported_single_values(),
        "plots": len(found.get_reported_plots()),
        "images": len(found.get_debug_samples("pictures", "black")),
        "console": "".join(found.get_reported_console_output(number_of_reports=50)),
        "model": [model.name, model.framework, model.get_metadata("epoch")],
        "weights": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "artifact": found.artifacts["numbers"].get(),
    }


def dataset(folder: Path) -> dict[str, Any]:
    (folder / "data").mkdir()
    (folder / "data" / "a.txt").write_text("first")
    made = Dataset.create(dataset_project="sets", dataset_name="letters")
    made.add_files(folder / "data")
    made.upload()
    made.finalize()
    found = Dataset.get(dataset_project="sets", dataset_name="letters")
    copy = Path(found.get_local_copy())
    return {"files": {each.name: each.read_text() for each in copy.iterdir() if each.is_file()}}


if __name__ == "__main__":
    answer = task(sys.argv[1]) | dataset(Path(sys.argv[2]))
    print(json.dumps(answer))
