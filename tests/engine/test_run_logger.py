"""`self.logger` and `self.logger.experiment`, as code that was written for others uses them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from recording import recording_helpers as board
from recording.recording_helpers import Training
from torch_lab.engine.logger import RunLogger
from torch_lab.recording.companion import Teller
from torch_lab.store.journal import rows
from zygote import Zygote

mpl.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture
def training(tmp_path: Path) -> Iterator[Training]:
    made = Training(tmp_path)
    made.batch = 7
    yield made
    plt.close("all")


@pytest.fixture
def logger(training: Training) -> RunLogger:
    return RunLogger(training.run.path, training.recorder)


def told(training: Training) -> Path:
    """The folder in which TensorBoard has been told everything."""
    Teller(training.run, 0).finish(lambda: False)
    return training.run.tensorboard


def test_it_is_a_summary_writer_made_once(logger: RunLogger, training: Training) -> None:
    assert isinstance(logger.experiment, SummaryWriter)
    assert logger.experiment is logger.experiment
    logger.experiment.flush()
    logger.experiment.close()
    logger.experiment.add_scalar("after", 1)
    assert logger.experiment.get_logdir() == str(training.run.tensorboard)
    assert not training.run.tensorboard.exists(), "another process writes there"


class Bare(pl.LightningModule):
    """Trains one step."""

    looks = False

    def setup(self, stage: str) -> None:
        if self.looks:
            self.logger.experiment.add_text("said", "in setup")  # type: ignore[union-attr]

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        return self.net(batch).sum()

    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Linear(1, 1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.mark.parametrize("looks", [False, True])
def test_lightnings_setup_alone_makes_none(logger: RunLogger, looks: bool) -> None:
    """Its import would take longer than a short training."""
    module = Bare()
    module.looks = looks
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=logger,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, torch.ones(1, 1, 1))
    assert (logger._experiment is not None) == looks


def test_other_ranks_take_every_call_and_do_nothing(tmp_path: Path) -> None:
    other = RunLogger(tmp_path, None)
    other.experiment.add_image("x", None)
    other.experiment.add_anything(1, a=2)
    other.log_metrics({"a": 1})
    other.log_image("x", [None])
    other.log_table("x", [], [])
    other.log_text("x", [], [])
    assert list(tmp_path.iterdir()) == []


def test_scalars_keep_the_step_they_are_given(logger: RunLogger, training: Training) -> None:
    logger.experiment.add_scalar("a", torch.tensor(0.1, dtype=torch.float64), 3)
    logger.experiment.add_scalar("b", np.float32(0.5))
    logger.experiment.add_scalars("both", {"x": 1, "y": 2}, global_step=4)
    found = [(row.batch, row.step, row.values) for row in rows(training.run)]
    assert found == [
        (7, 3, {"a": 0.1}),  # not cut to 32 bits
        (7, 6, {"b": 0.5}),
        (7, 4, {"both/x": 1.0, "both/y": 2.0}),
    ]


def test_images_reach_the_record(logger: RunLogger, training: Training) -> None:
    tensor = torch.rand(3, 5, 6)
    logger.experiment.add_image("chw", tensor, 1)
    logger.experiment.add_image("hwc", tensor.permute(1, 2, 0), 2, dataformats="HWC")
    logger.experiment.add_image("bytes", (tensor * 255).byte().numpy(), 3)
    logger.experiment.add_images("grid", torch.rand(4, 3, 5, 6), 4)
    logger.experiment.add_image_with_boxes("boxes", tensor, torch.tensor([[1, 1, 3, 3]]), 5)
    found = [(item.kind, item.name, item.step, item.size) for item in training.items()]
    assert found == [
        ("image", "chw", 1, (6, 5)),
        ("image", "hwc", 2, (6, 5)),
        ("image", "bytes", 3, (6, 5)),
        ("image", "grid", 4, (24, 5)),
        ("image", "boxes", 5, (6, 5)),
    ]
    first, second, *_ = training.items()
    with Image.open(training.file(first)) as one, Image.open(training.file(second)) as two:
        assert one.tobytes() == two.tobytes()
    folder = told(training)
    assert board.tags(folder, "images") == ["chw", "hwc", "bytes", "grid", "boxes"]
    assert board.images(folder, "hwc") == [(2, training.file(second).read_bytes())]


def test_figures_are_closed_as_a_summary_writer_does(logger: RunLogger, training: Training) -> None:
    first, second, kept = (plt.figure(figsize=(1, 1)) for _ in range(3))
    logger.experiment.add_figure("two", [first, second], 3)
    logger.experiment.add_figure("one", kept, 4, close=False)
    assert plt.get_fignums() == [kept.number]
    found = [(item.kind, item.name, item.step) for item in training.items()]
    assert found == [("figure", "two", 3), ("figure", "two", 3), ("figure", "one", 4)]


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_the_rest_reaches_tensorboard(logger: RunLogger, training: Training) -> None:
    writer = logger.experiment
    writer.add_histogram("weights", torch.randn(50), 2)
    writer.add_histogram("weights", torch.randn(50))
    writer.add_text("note", "**hello**", 3)
    writer.add_pr_curve("pr", torch.randint(0, 2, (20,)), torch.rand(20), 4)
    writer.add_audio("sound", torch.rand(1, 100), 5)
    writer.add_mesh("mesh", torch.rand(1, 4, 3), global_step=6)
    writer.add_custom_scalars({"a": {"b": ["Multiline", ["c"]]}})
    writer.add_graph(torch.nn.Linear(2, 1), torch.rand(1, 2))
    writer.add_hparams({"lr": 0.1}, {"hp/score": 2.0}, run_name="x")
    writer.add_embedding(torch.rand(3, 2), metadata=["a", "b", "c"])
    folder = told(training)
    assert board.histograms(folder, "weights") == [2, 6]
    assert board.texts(folder, "note") == [(3, "**hello**")]
    assert board.scalars(folder)["hp/score"] == [(6, 2.0)]
    assert board.tags(folder, "audio") == ["sound"]
    assert {"pr", "mesh_VERTEX"} <= set(board.tags(folder, "tensors"))
    assert (training.run.path / "summaries" / "0000.jsonl").exists()
    assert b"_hparams_/session_start_info" in next(folder.glob("*tfevents*")).read_bytes()
    assert (folder / "projector_config.pbtxt").exists()
    assert [path.name for path in folder.iterdir() if path.is_dir()] == ["00000"]


def test_rows_of_loggers_own_calls(logger: RunLogger, training: Training) -> None:
    logger.log_metrics({"lr": 0.1, "epoch": 3}, step=2)
    logger.log_metrics({"lr": 0.2})
    logger.log_metrics({"epoch": 3}, step=2)
    found = [(row.batch, row.step, row.epoch, row.values) for row in rows(training.run)]
    assert found == [(7, 2, 3, {"lr": 0.1}), (7, 6, 0, {"lr": 0.2})]


def test_images_and_tables_as_other_loggers_take_them(
    logger: RunLogger, training: Training
) -> None:
    logger.log_image("samples", [torch.rand(3, 4, 4), torch.rand(4, 4)], 5, caption=["a", "b"])
    logger.log_table("scores", columns=["a", "b"], data=[[1, 2]])
    logger.log_text("answers", columns=["q", "a"], data=[["why?", "so"]], step=9)
    found = [(item.kind, item.name, item.step, item.caption) for item in training.items()]
    assert found == [
        ("image", "samples", 5, "a"),
        ("image", "samples", 5, "b"),
        ("table", "scores", 6, None),
        ("table", "answers", 9, None),
    ]
    assert training.file(training.items()[-1]).read_text() == "q,a\nwhy?,so\n"


def test_tensorboard_is_imported_only_where_it_is_used(tmp_path: Path, zygote: Zygote) -> None:
    script = tmp_path / "script.py"
    script.write_text("import sys\nassert 'torch.utils.tensorboard' not in sys.modules\n")
    zygote.script(script, cwd=tmp_path, log=tmp_path / "log")  # it has imported what train does
