"""Experiments in the way of torch-lab 1.x, unchanged: trained, resumed, layered, inferred."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from old_project import PAIRS, WAVES, Old, Trained

from helpers import StoredRun, cut


def logged(run: StoredRun) -> set[str]:
    return {name for *_, values in run.rows() for name in values}


class TestTraining:
    def test_names_that_are_logged(self, trained: Trained) -> None:
        stages = [
            f"{name}/{stage}"
            for name in ("loss", "mse", "mse_of_shares", "hits")
            for stage in ("train", "validate")
        ]
        assert logged(trained.waves) == {*stages, "loss/train_step"}
        parts = [f"{name} ({stage})/{key}" for stage in ("train", "validate") for name, key in KEYS]
        assert logged(trained.pairs) >= {"loss/train", "loss/validate", "hits/validate", *parts}
        assert not [name for name in logged(trained.pairs) if name.startswith("drawing")]

    def test_plots_are_kept(self, trained: Trained) -> None:
        media = trained.pairs.path / "media"
        for stage in ("train", "validate"):
            assert (media / "share" / stage / "000008.html").is_file()  # plotly
            assert (media / "drawing" / stage / "000008.png").is_file()  # matplotlib

    def test_nothing_is_logged_twice(self, trained: Trained) -> None:
        """Though a ClearMlLogger stands beside the run's own."""
        rows = trained.pairs.rows()
        seen = Counter((batch, name) for batch, *_, values in rows for name in values)
        assert seen.pop((0, "loss/validate")) == 1  # the baseline
        assert max(seen.values()) == 1

    def test_a_deprecation_line_for_each_old_name(self, old: Old, trained: Trained) -> None:
        said = trained.said["pairs"].splitlines()
        lines = [line for line in said if " is deprecated: " in line]
        main, script, data = f"{PAIRS}/__main__.py", f"{PAIRS}/hparams.py", "waves/datasets.py"
        assert [line.partition(" is deprecated: ")[0] for line in lines] == [
            f"{old.line(script, 'from torch_lab.paths')}: torch_lab.paths",
            f"{old.line(script, '= ClearMlLogger(')}: torch_lab.loggers.ClearMlLogger",
            f"{old.line(main, 'torch_lab.callbacks')}: torch_lab.callbacks.ClearMLModelCheckpoint",
            f"{old.line(main, 'torch_lab.callbacks')}: torch_lab.callbacks.ClearMLTaskMarker",
            f"{old.line(data, 'from torch_lab.typing')}: torch_lab.typing",
        ]

    def test_calls_that_look_for_a_clearml_task_are_told(self, old: Old, trained: Trained) -> None:
        (line,) = [each for each in trained.said["pairs"].splitlines() if "current_task" in each]
        where = f"Task.current_task() at {old.line('waves/callbacks.py', 'current_task')}"
        assert line.startswith(f"no ClearML task is open in this process for {where};")
        assert "torch_lab.record()" in line

    def test_kwargs_of_task_init_are_named_once(self, trained: Trained) -> None:
        assert trained.said["waves"].count("task.auto_connect_frameworks has no effect here") == 1

    def test_a_clearml_model_checkpoint_chooses_the_best(self, trained: Trained) -> None:
        record = trained.pairs.record
        by_epoch = [
            (values["hits/validate"], batch)
            for batch, *_, values in trained.pairs.rows()
            if "hits/validate" in values and batch
        ]
        highest = max(hits for hits, _ in by_epoch)
        first = next(batch for hits, batch in by_epoch if hits == highest)
        best = next(each for each in record["checkpoints"] if each["name"] == "best")
        assert best["batch"] == first
        assert (trained.pairs.path / "checkpoints" / "most-hits.ckpt").is_file()
        assert record["status"] == "completed"

    @pytest.mark.parametrize(
        "monitor",
        ["loss/train_epoch", "loss/train_step", "loss (validate)/square", "share (train)/class 0"],
        ids=["epoch", "step", "part", "share"],
    )
    def test_names_that_can_be_monitored(self, old: Old, monitor: str) -> None:
        run, _ = old.train(
            f"{PAIRS}/hparams.py", f"config.monitor={monitor}", "trainer.init.max_epochs=1"
        )
        assert run.record["status"] == "completed"

    def test_steps_of_ones_own(self, old: Old, trained: Trained) -> None:
        """Made of the methods that 1.x's modules had, they log what the module's own log."""
        run, _ = old.train(f"{PAIRS}/hparams.py", "config.module=own")
        assert run.rows() == trained.pairs.rows()
        assert run.weights() == trained.pairs.weights()

    def test_a_dev_run(self, old: Old) -> None:
        before = set(old.runs())
        old.do("train", f"{WAVES}/hparams.py", "--dev-run", "2")
        (name,) = set(old.runs()) - before
        record = old.run(name).record
        assert name == "dev_00_waves-hparams_v0"
        assert record["hparams"]["task"]["project_name"] == "test"
        assert record["hparams"]["config"]["num_workers"] == 0
        assert record["progress"]["batch"] == 6

    def test_sdk_without_a_server(self, old: Old) -> None:
        _, said = old.train(f"{WAVES}/hparams.py", "task.sdk=True", "trainer.init.max_epochs=1")
        assert "task.sdk: no ClearML server is configured, or --offline is set" in said
        assert "Task.current_task() is None in this run" in said


def test_the_oldest_layout_of_task_is_explained(old: Old) -> None:
    script = old.write(f"{WAVES}/oldest.py", 'hparams = {"task": {"init": {}}, "config": {}}\n')
    said = old.do("train", script, status=2)
    script.unlink()
    assert "task.init: unknown key; what it holds stands in task itself, one level up" in said


KEYS = [("loss", "entropy"), ("loss", "square"), ("share", "class 0"), ("share", "class 1")]


class TestGoingOn:
    @pytest.mark.parametrize("name", ["waves", "pairs"])
    def test_resumed_exactly(self, old: Old, trained: Trained, name: str) -> None:
        whole: StoredRun = getattr(trained, name)
        run = cut(whole, 5, old.artifacts / f"{whole.path.name}5")
        old.do("train", "--resume", run.path)
        assert run.record["status"] == "completed"
        assert run.weights() == whole.weights()
        assert run.rows() == whole.rows()

    def test_layered_on_a_checkpoint(self, old: Old, trained: Trained) -> None:
        run, _ = old.train(f"{WAVES}/hparams_checkpoint.py")
        parent = trained.waves.record
        link = {"id": parent["id"], "name": parent["name"], "checkpoint": "step-12"}
        assert run.record["parent"] == link
        assert run.record["progress"]["epoch"] == 4
        assert min(batch for batch, *_ in run.rows() if batch) > 12

    def test_weights_only(self, old: Old, trained: Trained) -> None:
        run, said = old.train(f"{WAVES}/hparams_weights_only.py")
        assert "(weights)" in said
        assert run.record["progress"] == {"batch": 4, "step": 4, "epoch": 1}
        assert run.record["parent"]["id"] == trained.waves.record["id"]
        baseline = next(values for batch, *_, values in run.rows() if batch == 0)
        best = next(e for e in trained.waves.record["checkpoints"] if e["name"] == "best")
        assert baseline["loss/validate"] == pytest.approx(best["metrics"]["loss/validate"])


class TestInference:
    def test_a_writer_and_a_dataset_without_labels(self, old: Old, trained: Trained) -> None:
        out = old.root / "data" / "found.csv"
        script = f"{WAVES}/hparams.py"
        old.do("infer", script, "--checkpoint", trained.waves.path.name, "-", out)
        header, *lines = out.read_text().splitlines()
        assert header == "index,prediction"
        assert [line.partition(",")[0] for line in lines] == [str(i) for i in range(40)]
        self.check_own_loading(old, trained, out)

    def check_own_loading(self, old: Old, trained: Trained, expected: Path) -> None:
        """infer_config itself loads the weights into the bare model, as in 1.x."""
        weights = trained.waves.path / "checkpoints" / "last.ckpt"
        out = old.root / "data" / "own.csv"
        old.do("infer", f"{WAVES}/hparams.py", weights, out)
        assert out.read_text() == expected.read_text()

    def test_separated_samples(self, old: Old, trained: Trained) -> None:
        out = old.root / "data" / "pairs.txt"
        checkpoint = f"{trained.pairs.path.name}:most-hits"
        old.do("infer", f"{PAIRS}/hparams.py", "--checkpoint", checkpoint, out)
        lines = out.read_text().splitlines()
        assert [line.partition(": ")[0] for line in lines] == [f"wave 0{i}" for i in range(4)]


def test_scripts_that_use_the_helpers(old: Old) -> None:
    said = old.python("compile.py", f"{WAVES}/hparams.py").splitlines()
    end = said.index("}") + 1
    assert json.loads("\n".join(said[:end]))["init"]["overfit_batches"] == 2
    keys = ["flipped", "i", "index", "name", "scale", "y"]
    loaders = ["callbacks", "module", "train_dataloaders", "val_dataloaders"]
    assert said[end] == f"{WAVES}/__main__.py {loaders} (8, 8) {keys}"
    assert said[end + 1] == str(["callbacks", "module", "predict_dataloaders"])
