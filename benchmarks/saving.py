"""A checkpoint of 200 MB: how long training waits for it, and how much memory it takes.

Each measurement is a process of its own, which trains, saves a few times and says what it saw:

python -m benchmarks.saving lightning|nothing|lab FOLDER
"""

from __future__ import annotations

import itertools
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measuring import Rounds, Spread
from benchmarks.report import Line, seconds, times
from benchmarks.subjects import ROOT, environment

ROUNDS = 5
RATIO, MEGABYTES = 1.2, 150.0
SUBJECTS = ("nothing", "lightning", "lab")


def run() -> list[Line]:
    blocked: dict[str, list[float]] = {name: [] for name in SUBJECTS}
    after: dict[str, list[float]] = {name: [] for name in SUBJECTS}
    peak: dict[str, list[float]] = {name: [] for name in SUBJECTS}
    for number in range(ROUNDS):
        for name in SUBJECTS if number % 2 else SUBJECTS[::-1]:
            seen = _measured(name)
            blocked[name].append(seen["blocked"])
            after[name].append(seen["after"])
            peak[name].append(seen["peak"])
    return [
        _blocking("a 200 MB checkpoint: training waits", Rounds(blocked)),
        _following("… and the ten steps after it are longer by", Rounds(after)),
        _memory("… peak memory (plain: without saving)", Rounds(peak)),
    ]


def _blocking(what: str, rounds: Rounds) -> Line:
    ratio = rounds.ratio("lab", to="lightning")
    return Line(
        what,
        lightning=seconds(rounds.median("lightning")),
        lab=seconds(rounds.median("lab")),
        compared=times(ratio),
        target="1.2x",
        ok=ratio.middle <= RATIO,
    )


def _following(what: str, rounds: Rounds) -> Line:
    return Line(
        what,
        lightning=seconds(rounds.median("lightning")),
        lab=seconds(rounds.median("lab")),
    )


def _memory(what: str, rounds: Rounds) -> Line:
    saved: Spread = rounds.difference("lightning", to="lab")
    return Line(
        what,
        plain=f"{rounds.median('nothing'):.0f} MB",
        lightning=f"{rounds.median('lightning'):.0f} MB",
        lab=f"{rounds.median('lab'):.0f} MB",
        compared=f"-{saved.middle:.0f} MB ({saved.low:.0f}-{saved.high:.0f})",
        target="-150 MB",
        ok=saved.middle >= MEGABYTES,
    )


def _measured(name: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.saving", name, folder],
            cwd=ROOT,
            env=environment(Path(folder)),
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"saving with {name}: exit {done.returncode}\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


# -- in the process that is measured ---------------------------------------------------------


def _fit(folder: Path, *, saves: bool) -> None:
    import pytorch_lightning as pl
    import torch
    from torch.nn.functional import cross_entropy

    from benchmarks.models import SAVE_EVERY, Heavy, slow_loader
    from benchmarks.timing import StepTimer

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = Heavy()

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            return cross_entropy(self.model(batch[0]), batch[1]["y"])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=1e-3)

    class Save(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
            if saves and trainer.global_step % SAVE_EVERY == 0:
                trainer.save_checkpoint(folder / f"{trainer.global_step}.ckpt")

    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        callbacks=[StepTimer(), Save()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Module(), slow_loader())


def _lab(folder: Path) -> None:
    from benchmarks import subjects

    subjects.train("heavy", folder)


def _seen(train: Callable[[], None]) -> dict[str, float]:
    from benchmarks.models import SAVE_EVERY
    from benchmarks.timing import StepTimer

    train()
    begins = StepTimer.latest.epochs[0]
    gaps = [end - begin for begin, end in itertools.pairwise(begins)]
    usual = statistics.median(gaps)
    saves = range(SAVE_EVERY - 1, len(gaps), SAVE_EVERY)
    blocked = [gaps[at] - usual for at in saves]
    after = [sum(gaps[at + 1 : at + SAVE_EVERY]) - (SAVE_EVERY - 1) * usual for at in saves[:-1]]
    # The first save also pays for what is imported and allocated once.
    return {
        "blocked": statistics.median(blocked[1:]),
        "after": statistics.median(after[1:]),
        "peak": peak_megabytes(),
    }


def peak_megabytes() -> float:
    """The most memory this process has had."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:  # no Linux; there getrusage would count the parent's memory too
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    target = Path(sys.argv[2])
    kinds: dict[str, Callable[[], None]] = {
        "lightning": lambda: _fit(target, saves=True),
        "nothing": lambda: _fit(target, saves=False),
        "lab": lambda: _lab(target),
    }
    print(json.dumps(_seen(kinds[sys.argv[1]])))
