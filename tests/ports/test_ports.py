"""Five programs as people write them, moved in: few lines changed, and cut runs go on exactly."""

from __future__ import annotations

import contextlib
import difflib
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from helpers import Project, StoredRun, cut, digest, wait_for
from zygote import Zygote

HERE = Path(__file__).parent
PROGRAMS = ("gan", "text", "segmentation", "cnn", "vae")
CHANGED_LINES = 20


@dataclass(frozen=True)
class Port:
    """A program before and after it was moved in."""

    name: str

    @property
    def original(self) -> Path:
        return HERE / "originals" / f"{self.name}.py"

    @property
    def experiment(self) -> str:
        return f"{PROGRAMS.index(self.name):02}_{self.name}"

    @property
    def script(self) -> str:
        return f"ported/experiments/{self.experiment}/hparams.py"

    @property
    def run(self) -> str:
        return f"{self.experiment}-hparams_v0"

    def moved_lines(self) -> list[str]:
        folder = HERE / "moved" / Path(self.script).parent
        return [line for name in ("__main__.py", "hparams.py") for line in _lines(folder / name)]

    def changed_lines(self) -> list[str]:
        """What `diff` says was removed or added; blank lines don't count."""
        found = difflib.ndiff(_lines(self.original), self.moved_lines())
        return [line for line in found if line[0] in "+-"]


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.strip()]


@pytest.fixture(params=PROGRAMS)
def port(request: pytest.FixtureRequest) -> Port:
    return Port(request.param)


@dataclass(frozen=True)
class Place:
    """A copy of the moved programs' project, and where commands say what they say."""

    project: Project
    zygote: Zygote
    log: Path

    def train(self, *words: str | Path) -> None:
        self.zygote.run("train", *words, cwd=self.project.root, log=self.log)

    def infer(self, *words: str | Path) -> None:
        self.zygote.run("infer", *words, cwd=self.project.root, log=self.log)


@pytest.fixture
def place(tmp_path: Path, zygote: Zygote) -> Place:
    root = tmp_path / "project"
    shutil.copytree(HERE / "moved", root, ignore=shutil.ignore_patterns("__pycache__"))
    return Place(Project(root), zygote, tmp_path / "log.txt")


def test_few_lines_are_changed(port: Port) -> None:
    changed = port.changed_lines()
    assert len(changed) <= CHANGED_LINES, "\n".join(changed)


def test_nothing_else_is_changed(port: Port, place: Place, tmp_path: Path) -> None:
    """Under plain Lightning, with its loaders' order and draws exchanged, it ends the same."""
    driver, result = HERE / "plainly.py", tmp_path / "weights.pt"
    place.zygote.script(driver, port.original, result, cwd=tmp_path, log=place.log)
    as_it_is = torch.load(result)
    place.zygote.script(driver, port.original, result, "exact", cwd=tmp_path, log=place.log)
    exchanged = torch.load(result)
    place.train(port.script)
    moved = place.project.run(port.run).checkpoint()["state_dict"]
    assert digest(list(moved.values())) == digest(list(exchanged.values()))
    assert digest(list(moved.values())) != digest(list(as_it_is.values()))


def test_a_baseline_leaves_training_as_it_is(place: Place) -> None:
    """Though the VAE draws random numbers in validation."""
    port = Port("vae")
    place.train(port.script)
    place.train(port.script, "-s", "trainer.validate=None")
    first, second = (place.project.run(name) for name in place.project.runs())
    assert first.weights() == second.weights()


def without_later_files(run: StoredRun, batch: int) -> None:
    """Take away what the program's own callbacks had not yet saved at `batch`."""
    step = run.path / "checkpoints" / f"step-{batch}.ckpt"
    own = [p for p in (run.path / "checkpoints").iterdir() if not p.name.startswith(("step", "."))]
    for each in own:
        if each.stat().st_mtime_ns > step.stat().st_mtime_ns:
            each.unlink()


@pytest.mark.slow
def test_goes_on_exactly_from_any_batch(port: Port, place: Place) -> None:
    project = place.project
    every = ["-s", "checkpoint.every_n_steps=1", "-s", "checkpoint.keep=100"]
    place.train(port.script, *every)
    whole = project.run(port.run)
    last = whole.record["progress"]["batch"]
    per_epoch = last // whole.record["hparams"]["trainer"]["init"]["max_epochs"]
    for batch in (1, per_epoch + per_epoch // 2, last - 2):
        run = cut(whole, batch, project.artifacts / f"{port.experiment}-hparams_v{batch + 100}")
        without_later_files(run, batch)
        place.train("--resume", run.path)
        assert run.weights() == whole.weights(), f"resumed from batch {batch}"
        assert run.rows() == whole.rows(), f"resumed from batch {batch}"


@pytest.mark.slow
def test_killed_in_mid_epoch(port: Port, place: Place) -> None:
    project, zygote = place.project, place.zygote
    place.train(port.script)
    whole = project.run(port.run)
    run = project.run(port.run.replace("v0", "v1"))
    pid = zygote.start("train", port.script, cwd=project.root, log=place.log)
    wait_for(lambda: list(run.path.glob("checkpoints/step-*.ckpt")), every=0.001)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    zygote.wait(pid)
    if run.record["status"] != "completed":
        place.train("--resume", run.path)
    assert run.weights() == whole.weights()
    assert run.rows() == whole.rows()


def test_the_record_tells_of_it(port: Port, place: Place) -> None:
    place.train(port.script)
    CHECKS[port.name](port, place, place.project.run(port.run))


def check_gan(port: Port, place: Place, run: StoredRun) -> None:
    assert run.record["hparams"]["config"] == {"latent_dim": 16, "lr": 2e-3}
    assert {"g_loss", "d_loss"} <= run.record["metrics"].keys()
    assert len(list((run.path / "media" / "generated_images").glob("*.png"))) == 4
    place.infer(port.script, "5", "--checkpoint", port.run)
    rings = (place.project.root / "rings.jsonl").read_text().splitlines()
    assert len(rings) == 5


def check_text(port: Port, place: Place, run: StoredRun) -> None:
    assert run.record["seed"] == 1234
    assert run.record["metrics"]["val/acc"]["last"] > 0.7
    rates = [values["lr-AdamW"] for *_, values in run.rows() if "lr-AdamW" in values]
    assert max(rates) == pytest.approx(3e-3)


def check_segmentation(port: Port, place: Place, run: StoredRun) -> None:
    root, record = place.project.root, run.record
    assert list((root / "data" / "shapes").glob("*.npz")), "a relative path is the user's own"
    assert {"test_iou", "lr-Adam"} <= record["metrics"].keys()
    own = sorted(path.name for path in run.path.glob("checkpoints/*val_iou*.ckpt"))
    assert len(own) == 2
    assert (run.path / "checkpoints" / "callback-last.ckpt").exists()
    best = next(each for each in record["checkpoints"] if each["name"] == "best")
    assert best["metrics"]["val_iou"] == record["metrics"]["val_iou"]["max"]
    tested = [batch for batch, *_, values in run.rows() if "test_iou" in values]
    assert tested == [record["progress"]["batch"] + 1], "not where the best was"
    for name in ("best", own[0].removesuffix(".ckpt")):
        place.infer(port.script, "--checkpoint", f"{port.run}:{name}")
        assert len((root / "masks.jsonl").read_text().splitlines()) == 8


def check_cnn(port: Port, place: Place, run: StoredRun) -> None:
    contents = run.checkpoint()
    assert "model.0.weight" in contents["state_dict"]
    assert not any("_orig_mod" in name for name in contents["state_dict"])
    assert contents["ema_state"]


def check_vae(port: Port, place: Place, run: StoredRun) -> None:
    assert run.record["metrics"]["train/beta"]["last"] == 1
    rows = run.path / "logs" / "vae" / "version_0" / "metrics.csv"
    assert "val/recon_loss" in rows.read_text()
    assert len(list((run.path / "media" / "reconstruction").glob("*.png"))) == 9


CHECKS: dict[str, Callable[[Port, Place, StoredRun], None]] = {
    "gan": check_gan,
    "text": check_text,
    "segmentation": check_segmentation,
    "cnn": check_cnn,
    "vae": check_vae,
}
