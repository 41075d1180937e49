from pathlib import Path

import pytorch_lightning as pl

try:
    from clearml import Task
except ImportError:
    Task = None


class WaveWriter(pl.callbacks.BasePredictionWriter):
    """Writes a line for each sample of a batch."""

    def __init__(self, path):
        super().__init__(write_interval="batch")
        self.path = Path(path)
        self.path.write_text("index,prediction\n")

    def write_on_batch_end(
        self, _trainer, _module, prediction, _indices, _batch, _batch_idx, _dataloader_idx=0
    ):
        out, md = prediction["out"], prediction["md"]
        with open(self.path, "a") as file:
            for each, i in zip(out, md["i"]):
                file.write(f"{i},{each}\n")


class PairWriter(pl.Callback):
    """The same of separated samples: `md` is a list of dicts."""

    def __init__(self, path):
        self.path = Path(path)
        self.lines = []

    def on_predict_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
        assert "y_pred" in outputs
        self.lines += [f"{md['name']}: {out}" for out, md in zip(outputs["out"], outputs["md"])]

    def on_predict_end(self, trainer, pl_module):
        self.path.write_text("\n".join(self.lines))


class Tagger(pl.Callback):
    """Tags the run's ClearML task, if there is one."""

    def on_fit_start(self, trainer, pl_module):
        task = None if Task is None else Task.current_task()
        if task is not None:
            task.add_tags(["fitted"])
        assert getattr(trainer.logger, "task", None) is None
