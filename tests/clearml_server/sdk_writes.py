"""What the unmodified clearml SDK does in a training: run by test_round_trip in a process."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from clearml import OutputModel, Task


def main(folder: Path) -> None:
    task = Task.init(
        project_name="round/trip",
        task_name="the task",
        tags=["one", "two"],
        reuse_last_task_id=False,
        auto_resource_monitoring=False,
    )
    task.connect({"lr": 0.1, "layers": [1, 2], "inner": {"name": "x"}}, name="hparams")
    task.connect_configuration({"a": 1}, name="settings")
    logger = task.get_logger()
    for step in range(20):
        logger.report_scalar("loss", "train", value=1 / (step + 1), iteration=step)
    logger.report_single_value("accuracy", 0.75)
    picture = np.zeros((8, 8, 3), dtype=np.uint8)
    logger.report_image("pictures", "black", iteration=3, image=picture)
    logger.report_table("table", "small", iteration=3, table_plot=[["a", "b"], [1, 2]])
    logger.report_scatter2d("plot", "dots", iteration=3, scatter=np.array([[0, 1], [1, 2]]))
    logger.report_text("a line of text")
    print("a printed line")
    weights = folder / "weights.ckpt"
    weights.write_bytes(bytes(range(256)) * 4096)
    model = OutputModel(task=task, name="the model", framework="PyTorch")
    model.update_weights(str(weights), iteration=19, auto_delete_file=False)
    model.set_metadata("epoch", "3", "int")
    task.upload_artifact("numbers", {"a": [1, 2]}, wait_on_upload=True)
    task.flush(wait_for_uploads=True)
    print(f"task {task.id}")
    task.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
