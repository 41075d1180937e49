"""The names that torch-lab 1.x offered: where they are, what they take, what they say."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger

from helpers import Project
from torch_lab import recording
from torch_lab.callbacks.compatibility import ClearMLModelCheckpoint, ClearMLTaskMarker, monitored
from torch_lab.engine.trainer import _loggers
from torch_lab.loggers import ClearMlLogger
from torch_lab.recording import NullRecorder
from torch_lab.recording import recorder as current
from torch_lab.utils import deprecation

SIGNATURES = {
    "modules.LabModule": "model, output_transform=None",
    "modules.TrainLabModule": "model, loss_function, optimizer_config, metrics=None,"
    " output_transform=None",
    "modules.LabModule.apply_transform_to_batch": "self, y_pred, md",
    "modules.TrainLabModule.loss_calculate_and_log": "self, y_pred, md",
    "modules.TrainLabModule.metrics_update_and_log": "self, y_pred, md",
    "modules.TrainLabModule.metrics_compute_and_log": "self",
    "modules.TrainLabModule.get_stage": "self",
    "datasets.BaseDataset": "transform=None",
    "datasets.BaseDataset.get_raw": "self, i",
    "datasets.BaseDataset.get_raw_data": "self, md",
    "datasets.BaseDataset.get_raw_label": "self, md",
    "datasets.BaseDataset.get_additional_metadata": "self, i",
    "transforms.BaseTransform.compute": "self, x, md",
    "transforms.BaseDataTransform.compute": "self, x",
    "transforms.BaseMetadataTransform.compute": "self, md",
    "transforms.TransformCompose": "*transforms",
    "transforms.TransformIterable": "transform, apply_to=None",
    "transforms.TransformSeperate": "transform, separate_fn=None",
    "transforms.TransformSeparate": "transform, separate_fn=None",
    "metrics.MetricWrapper": "preprocessor, metric",
    "utils.separate": "batch, *, separate_fn_map=None",
    "utils.default_separate": "batch",
    "utils.dict_as_str": "d, indent=2",
    "utils.import_script_as_module": "path",
    "utils.get_hparams_and_config_path": "hparams_path, dev_run=''",
    "utils.set_hparams_debug_overrides": "hparams, dev_run",
    "utils.compile_config": "config_path, hparams, *config_args, field='train_config', pdb=False",
    "loggers.ClearMlLogger": "hparams, config_path, task_name, root_dir, **kwargs",
    "paths.get_task_dir_name": "task",
}


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deprecation, "_said", set())


def plain(function: Any) -> str:
    """A signature without annotations."""
    signature = inspect.signature(function)
    parameters = [each.replace(annotation=each.empty) for each in signature.parameters.values()]
    return str(inspect.Signature(parameters))[1:-1]


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures(name: str) -> None:
    module, *path = name.split(".")
    found: Any = importlib.import_module(f"torch_lab.{module}")
    for each in path:
        found = getattr(found, each)
    assert plain(found) == SIGNATURES[name]


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("paths", ["ROOT_DIR", "DATA_DIR", "PROCESSED_DIR", "ARTIFACTS_DIR"]),
        ("typing", ["CollateData", "JsonDict"]),
        ("callbacks", ["ClearMLModelCheckpoint", "ClearMLTaskMarker"]),
    ],
    ids=["paths", "typing", "callbacks"],
)
def test_deprecated_names_are_there_and_others_not(
    capsys: pytest.CaptureFixture[str], module: str, names: list[str]
) -> None:
    found = importlib.import_module(f"torch_lab.{module}")
    for name in names:
        assert getattr(found, name) is not None
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == (2 if module == "callbacks" else 1)
    assert all(f"torch_lab.{module}" in line for line in lines)
    with pytest.raises(AttributeError, match="has no attribute 'NONSENSE'"):
        _ = found.NONSENSE


class TestPaths:
    def test_of_the_project_of_who_asks(self, project: Project, monkeypatch: Any) -> None:
        (project.root / "pyproject.toml").write_text('[tool.torch-lab]\nartifacts = "runs"\n')
        asking = """
            from torch_lab.paths import ARTIFACTS_DIR, DATA_DIR, PROCESSED_DIR, ROOT_DIR
            found = [ROOT_DIR, DATA_DIR, PROCESSED_DIR, ARTIFACTS_DIR]
        """
        script = project.write("lab_project/files.py", asking)
        monkeypatch.chdir(project.root.parent)
        values = {"__file__": str(script)}
        exec(compile(script.read_text(), str(script), "exec"), values)
        root = project.root
        assert values["found"] == [root, root / "data", root / "data" / "processed", root / "runs"]
        assert (root / "runs").is_dir()

    def test_of_the_working_directory(self, project: Project, monkeypatch: Any) -> None:
        monkeypatch.chdir(project.root)
        values: dict[str, Any] = {}
        exec(compile("from torch_lab.paths import ROOT_DIR", "<stdin>", "exec"), values)
        assert values["ROOT_DIR"] == project.root

    def test_the_folder_of_a_task(self, project: Project, monkeypatch: Any) -> None:
        from torch_lab.paths import get_task_dir_name

        monkeypatch.chdir(project.root)
        task = SimpleNamespace(name="00_a-hparams_v0", id="f00")
        scope = {"f": get_task_dir_name, "task": task}
        asking = compile("found = f(task)", "<stdin>", "exec")
        exec(asking, scope)
        assert scope["found"] == "00_a-hparams_v0-f00"
        (project.artifacts / task.name).mkdir(parents=True)
        exec(asking, scope)
        assert scope["found"] == task.name


class InRun:
    """A recorder of a run, as record() returns it there."""

    def __init__(self) -> None:
        self.scalars: list[tuple[str, Any]] = []

    def scalar(self, name: str, value: Any, **kwargs: Any) -> None:
        self.scalars.append((name, value))


class TestClearMlLogger:
    @pytest.fixture
    def logger(self, tmp_path: Path) -> ClearMlLogger:
        return ClearMlLogger({"task": {}}, "__main__.py", "00_a-hparams", tmp_path)

    @pytest.fixture
    def run(self) -> Iterator[InRun]:
        made = InRun()
        current.set_current(made)  # type: ignore[arg-type]
        yield made
        current.set_current(None)

    def test_in_a_run_it_hands_on(self, logger: ClearMlLogger, run: InRun, tmp_path: Path) -> None:
        logger.log_metrics({"a": 1.0, "b": 2.0}, step=3)
        assert run.scalars == [("a", 1.0), ("b", 2.0)]
        assert list(tmp_path.iterdir()) == []

    def test_a_trainer_of_a_run_logs_to_the_runs_own(self, logger: ClearMlLogger) -> None:
        own, other = TensorBoardLogger("own"), TensorBoardLogger("other")
        assert _loggers(own, [logger, other, True]) == [own, other]
        assert _loggers(own, logger) == [own]

    def test_outside_of_a_run_it_is_tensorboards(
        self, logger: ClearMlLogger, tmp_path: Path
    ) -> None:
        assert isinstance(recording.record(), NullRecorder)
        logger.log_metrics({"a": 1.0}, step=3)
        logger.finalize("success")
        (file,) = (tmp_path / "00_a-hparams" / "logs").glob("events.*")
        assert file.stat().st_size > 0
        assert logger.task is None
        assert deprecation._said == {"torch_lab.loggers.ClearMlLogger"}


class TestCallbacks:
    def test_a_model_checkpoint_says_what_the_best_is(self) -> None:
        kept = ClearMLModelCheckpoint(monitor="f1/validate", mode="max", save_top_k=3, task=None)
        assert isinstance(kept, ModelCheckpoint)
        assert kept.save_top_k == 3
        others = [pl.Callback(), ModelCheckpoint(monitor="other"), ClearMLModelCheckpoint()]
        assert monitored([*others, kept]) == {"monitor": "f1/validate", "mode": "max"}
        assert monitored(others) == {"monitor": "other", "mode": "min"}
        assert monitored(others[:1]) == {}

    def test_the_marker_does_nothing(self) -> None:
        hooks = [name for name in vars(ClearMLTaskMarker) if not name.startswith("__")]
        assert hooks == []
