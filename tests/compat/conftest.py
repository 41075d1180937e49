"""Fixtures of the tests in a project of torch-lab 1.x."""

from __future__ import annotations

import shutil

import pytest
from old_project import PAIRS, SOURCE, WAVES, Old, Trained

from zygote import Zygote


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory, zygote: Zygote) -> Old:
    made = Old(tmp_path_factory.mktemp("old") / "project", zygote)
    shutil.copytree(SOURCE, made.root, ignore=shutil.ignore_patterns("__pycache__"))
    made.python("-m", "waves.preprocess.short_waves", "--count", "40")
    return made


@pytest.fixture(scope="module")
def trained(old: Old) -> Trained:
    kept = ("checkpoint.every_n_steps=1", "checkpoint.keep=100")
    waves, said = old.train(f"{WAVES}/hparams.py", *kept)
    pairs, also_said = old.train(f"{PAIRS}/hparams.py", *kept)
    return Trained(waves, pairs, {"waves": said, "pairs": also_said})
