"""The Trainer of a run and the one of an inference."""

from __future__ import annotations

from pathlib import Path

from pytorch_lightning.loggers import CSVLogger

from torch_lab.engine import trainer
from torch_lab.engine.logger import RunLogger


def test_a_run_keeps_the_users_loggers_beside_its_own(tmp_path: Path) -> None:
    own, users = RunLogger(tmp_path, None), CSVLogger(tmp_path)
    init = {"accelerator": "cpu", "logger": users}
    assert trainer.build(init, [], directory=tmp_path, logger=own).loggers == [own, users]
    init["logger"] = True
    assert trainer.build(init, [], directory=tmp_path, logger=own).loggers == [own]


def test_an_inference_has_no_logger(tmp_path: Path) -> None:
    init = {"accelerator": "cpu", "logger": CSVLogger(tmp_path)}
    assert trainer.build(init, [], directory=tmp_path, logger=None).loggers == []
