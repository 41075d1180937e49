"""TensorBoard's SummaryWriter, as code written for it expects, keeping the run's record."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard.summary import hparams
from torch.utils.tensorboard.writer import FileWriter, SummaryWriter

from torch_lab.recording.images import decoded
from torch_lab.recording.live import RunRecorder


class _Events(FileWriter):
    """Takes what a SummaryWriter makes: images to the record's media, the rest as it is."""

    def __init__(self, recorder: RunRecorder) -> None:
        self._recorder = recorder

    def get_logdir(self) -> str:
        return str(self._recorder.run.tensorboard)

    def add_event(self, event: Any, step: int | None = None, walltime: float | None = None) -> None:
        event.wall_time = time.time() if walltime is None else walltime
        event.step = self._recorder.position().step if step is None else int(step)
        self._recorder.event(event.SerializeToString())

    def add_summary(
        self, summary: Any, global_step: int | None = None, walltime: float | None = None
    ) -> None:
        rest = []
        for value in summary.value:
            picture = None
            if value.HasField("image"):
                picture = decoded(value.image.encoded_image_string)
            if picture is None:
                rest.append(value)
            else:
                self._recorder.picture("image", value.tag, picture, step=global_step)
        if rest:
            self.add_event(Event(summary=Summary(value=rest)), global_step, walltime)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Nothing is held back."""

    def reopen(self) -> None:
        """It never closes."""


class RecordWriter(SummaryWriter):
    """`self.logger.experiment`: scalars, images, figures and texts become part of the run's record.

    What only TensorBoard knows (histograms, graphs, curves, sound …) is handed on to it.
    """

    def __init__(self, recorder: RunRecorder) -> None:
        self._recorder = recorder
        self._events = _Events(recorder)
        super().__init__(str(recorder.run.tensorboard))

    def _get_file_writer(self) -> FileWriter:
        return self._events

    def add_scalar(
        self,
        tag: str,
        scalar_value: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        new_style: bool = False,
        double_precision: bool = False,
    ) -> None:
        """A row of the journal."""
        self._recorder.scalars({tag: scalar_value}, step=global_step)

    def add_scalars(
        self,
        main_tag: str,
        tag_scalar_dict: Mapping[str, Any],
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        """A row of the journal, with names below `main_tag`."""
        values = {f"{main_tag}/{tag}": value for tag, value in tag_scalar_dict.items()}
        self._recorder.scalars(values, step=global_step)

    def add_figure(
        self,
        tag: str,
        figure: Any,
        global_step: int | None = None,
        close: bool = True,
        walltime: float | None = None,
    ) -> None:
        """A figure or several, closed afterwards as SummaryWriter does."""
        for each in figure if isinstance(figure, (list, tuple)) else [figure]:
            self._recorder.figure(tag, each, step=global_step)
            if close and hasattr(each, "savefig"):
                import matplotlib.pyplot as plt

                plt.close(each)

    def add_text(
        self,
        tag: str,
        text_string: str,
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        """A text."""
        self._recorder.text(tag, text_string, step=global_step)

    def add_hparams(
        self,
        hparam_dict: dict[str, Any],
        metric_dict: dict[str, Any],
        hparam_domain_discrete: dict[str, list[Any]] | None = None,
        run_name: str | None = None,
        global_step: int | None = None,
    ) -> None:
        """TensorBoard's table of hyperparameters, and the metrics as scalars; a run is one row."""
        made = hparams(hparam_dict, metric_dict, hparam_domain_discrete)  # type: ignore[no-untyped-call]
        for summary in made:
            self._get_file_writer().add_summary(summary, global_step)
        self._recorder.scalars(metric_dict, step=global_step)
