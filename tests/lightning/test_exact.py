"""Anybody's Lightning code under the real `train`: cut anywhere, it ends the same to the bit."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from helpers import Project, StoredRun, cut, digest
from zygote import Zygote

PROJECT = Path(__file__).parent / "project"
FOLDER = "anybody/experiments/00_any"
EVERYWHERE = (3, 4, 6, 8)  # four batches an epoch: in mid-epoch, and at its end


@pytest.fixture
def anybody(tmp_path: Path) -> Project:
    made = Project(tmp_path / "project")
    shutil.copytree(PROJECT, made.root)
    return made


def script(project: Project, case: str) -> Path:
    text = f'from anybody.cases import hparams_of\n\nhparams = hparams_of("{case}")\n'
    return project.write(f"{FOLDER}/{case}.py", text)


def train(project: Project, zygote: Zygote, case: str) -> StoredRun:
    log = project.root / "log.txt"
    zygote.run("train", script(project, case), cwd=project.root, log=log)
    return project.run(f"00_any-{case}_v0")


def resume(project: Project, zygote: Zygote, whole: StoredRun, batch: int) -> StoredRun:
    run = cut(whole, batch, project.artifacts / f"{whole.path.name[:-3]}_v{batch + 100}")
    log = project.root / f"log{batch}.txt"
    zygote.run("train", "--resume", run.path, cwd=project.root, log=log)
    return run


@pytest.mark.parametrize(
    ("case", "batches"),
    [
        # modules
        *[(case, (6,)) for case in ("scheduled", "gan", "lbfgs", "own_data", "auto", "late")],
        *[(case, EVERYWHERE) for case in ("attributes", "groups")],
        # callbacks
        *[(case, (6, 8)) for case in ("swa", "swa_plain", "unfreeze", "backbone")],
        *[(case, (6,)) for case in ("weight_averaging", "ema_averaging", "ema")],
        *[(case, (6,)) for case in ("ema_stateless", "teacher", "accumulation")],
        *[(case, (6,)) for case in ("find_lr", "find_lr_lab", "find_lr_twice", "find_batch_size")],
        *[(case, (6,)) for case in ("monitors", "checkpoints", "rich", "tqdm", "loggers")],
        # data
        *[(case, (3,)) for case in ("datamodule", "loaders_dict", "loaders_min", "loaders_max")],
        *[(case, (8,)) for case in ("reload", "reload2")],
        *[(case, (6, 8, 12)) for case in ("drawn", "drawn1", "drawn2")],
        # the Trainer's arguments
        *[(case, (7,)) for case in ("bf16_mixed", "double", "clip_value", "clip_norm", "overfit")],
        *[(case, (7,)) for case in ("no_validation", "max_steps", "min_epochs", "flags")],
        *[(case, (7,)) for case in ("validate_often", "validate_fraction", "validate_seldom")],
        *[(case, (7,)) for case in ("validate_by_batches", "ddp_one")],
        # torch.compile
        *[(case, (6,)) for case in ("compiled_model", "compiled_in_place")],
    ],
)
def test_goes_on_exactly(
    anybody: Project, zygote: Zygote, case: str, batches: tuple[int, ...]
) -> None:
    whole = train(anybody, zygote, case)
    assert whole.record["status"] == "completed"
    assert "exactly" not in whole.console
    for batch in batches:
        run = resume(anybody, zygote, whole, batch)
        assert run.weights() == whole.weights(), f"resumed from batch {batch}"
        assert run.rows() == whole.rows(), f"resumed from batch {batch}"
        assert run.record["status"] == "completed"


@pytest.mark.slow
@pytest.mark.parametrize("case", ["inductor", "compiled_inside", "compiled_module"])
def test_compiled(anybody: Project, zygote: Zygote, case: str) -> None:
    whole = train(anybody, zygote, case)
    run = resume(anybody, zygote, whole, 6)
    assert (run.weights(), run.rows()) == (whole.weights(), whole.rows())
    assert not any("_orig_mod" in name for name in whole.checkpoint()["state_dict"])


def test_averaging_with_batch_norm(anybody: Project, zygote: Zygote) -> None:
    """The pass for the statistics trains nothing: its optimizer is not put back."""
    whole = train(anybody, zygote, "swa_norm")
    assert "\nafter epoch 4/4  " in whole.console
    for batch in (6, 14, 16, 18):
        run = resume(anybody, zygote, whole, batch)
        assert digest(run.checkpoint()["state_dict"]) == digest(whole.checkpoint()["state_dict"])
        assert run.rows() == whole.rows(), f"resumed from batch {batch}"


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("pruning", "ModelPruning keeps its masks in no checkpoint"),
        ("stream", "its dataset is iterable"),
        ("sized_stream", "its dataset is iterable"),
    ],
)
def test_what_is_not_exact_is_said_and_goes_on(
    anybody: Project, zygote: Zygote, case: str, said: str
) -> None:
    whole = train(anybody, zygote, case)
    assert whole.console.count(said) == 1
    assert resume(anybody, zygote, whole, 6).record["status"] == "completed"


@pytest.mark.parametrize("case", ["stream", "sized_stream"])
def test_iterable_data_goes_on_exactly_at_an_epochs_end(
    anybody: Project, zygote: Zygote, case: str
) -> None:
    whole = train(anybody, zygote, case)
    run = resume(anybody, zygote, whole, 8)
    assert (run.weights(), run.rows()) == (whole.weights(), whole.rows())
