"""Code that asks ClearML's SDK for the task of its run, for the tiny project's configuration."""

ASKING = """

import os
import signal

from clearml import Task


class Asking(pl.Callback):
    def on_train_start(self, trainer, module):
        task = Task.current_task()
        print("task:", task and task.id, trainer.logger.task is task)
        if task is not None:
            self.give(task)

    def give(self, task):
        print("heirs:", [name for name in os.environ if name.endswith("PROC_MASTER_ID")])
        task.connect({"mine": 1}, name="own section")
        task.connect_configuration({"mine": 1}, name="own object")
        task.add_tags(["own tag"])
        task.get_logger().report_text("printed by the SDK")
        task.get_logger().report_text("reported alone", print_console=False)
        task.upload_artifact("own artifact", {"mine": 1})
        task.mark_failed()
        task.mark_completed()

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        task = Task.current_task()
        if task is not None:
            task.get_logger().report_scalar("own", "series", 0.5, trainer.global_step)

    def on_train_epoch_end(self, trainer, module):
        if trainer.current_epoch == 0:
            print("first epoch done")


_without = train_config


def train_config(config):
    print("handler:", type(signal.getsignal(signal.SIGTERM).__self__).__name__)
    made = _without(config)
    return {**made, "callbacks": [*made.get("callbacks", []), Asking()]}
"""
