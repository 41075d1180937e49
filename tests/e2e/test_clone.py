"""`lab clone` with the real commands: what its clones train to, races and kills."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_project import EXPERIMENT, HPARAMS, MAIN, RUN, Lab

from helpers import wait_for

EXPERIMENTS = Path(EXPERIMENT).parent
# A script that leans on the experiment's folder in each way there is.
LEANING = """
import importlib
import json
from pathlib import Path

from torch_lab.hparams import extend

WIDTHS = json.loads(Path("tiny/experiments/00_tiny/widths.json").read_text())
sizes = importlib.import_module("tiny.experiments.00_tiny.sizes")

hparams = extend("../00_tiny/hparams.py", {"config.width": WIDTHS[0], "config.depth": sizes.DEPTH})
"""


@pytest.fixture
def leaning(lab: Lab) -> Lab:
    """The tiny project with that script, its run, and the source gone."""
    lab.write(f"{EXPERIMENT}/leaning.py", LEANING)
    lab.write(f"{EXPERIMENT}/widths.json", "[3]")
    lab.write(f"{EXPERIMENT}/sizes.py", "DEPTH = 2\n")
    assert lab.do("train", f"{EXPERIMENT}/leaning.py").status == 0
    return lab


def test_the_clones_scripts_train_to_the_sources_weights(leaning):
    lab = leaning
    assert lab.do("lab", "clone", "00_tiny", "same").status == 0
    lab.write(f"{EXPERIMENT}/widths.json", "[5]")  # what the source becomes is its own
    lab.write(f"{EXPERIMENT}/hparams.py", "")
    clone = EXPERIMENTS / "01_same"
    assert lab.do("train", str(clone / "leaning.py")).status == 0
    first, second = lab.run("00_tiny-leaning_v0"), lab.run("01_same-leaning_v0")
    assert second.record["hparams"] == first.record["hparams"]
    assert second.weights() == first.weights()


def test_a_clone_from_a_run_trains_to_that_runs_weights(leaning):
    lab = leaning
    for name in ("__main__.py", "hparams.py", "leaning.py", "sizes.py", "widths.json"):
        lab.write(f"{EXPERIMENT}/{name}", "raise SystemExit\n")
    done = lab.do("lab", "clone", "--from", "00_tiny-leaning_v0", "as it was")
    assert done.status == 0
    command = done.out.splitlines()[-1].split()
    assert command == ["train", f"{EXPERIMENTS}/01_as_it_was/leaning.py"]
    assert lab.do(*command).status == 0
    again = lab.run("01_as_it_was-leaning_v0")
    assert again.weights() == lab.run("00_tiny-leaning_v0").weights()


def test_many_at_once_get_numbers_of_their_own(lab):
    started = [lab.start_one("lab", "clone", "00_tiny", f"idea {n % 2}") for n in range(6)]
    assert [lab.ended(each).status for each in started] == [0] * 6
    made = sorted(path.name for path in (lab.root / EXPERIMENTS).iterdir())
    assert [name.partition("_")[0] for name in made] == [f"{n:02d}" for n in range(7)]
    for name in made[1:]:
        assert (lab.root / EXPERIMENTS / name / "origin.json").is_file()


KILLED = """
import os
import signal
import sys
from pathlib import Path

from torch_lab.tasks.clone import clone, making

moment = sys.argv[1]
if moment == "at the rename":
    Path.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
else:
    making.rewrite = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
clone("00_tiny", "killed")
"""


@pytest.mark.parametrize("moment", ["in the midst", "at the rename"])
def test_a_kill_leaves_no_half_of_it(lab, tmp_path, moment):
    script, log = tmp_path / "killed_clone.py", tmp_path / "killed.txt"
    script.write_text(KILLED)
    pid = lab.zygote.start_script(script, moment, cwd=lab.root, log=log)
    assert lab.zygote.wait(pid) == -9
    folder = lab.root / EXPERIMENTS
    visible = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
    assert visible == ["00_tiny"]
    assert lab.do("lab", "clone", "00_tiny", "whole").status == 0
    assert sorted(path.name for path in folder.iterdir()) == ["00_tiny", "01_whole"]


def test_a_run_under_way_has_code_to_clone(lab):
    short = ("-s", "pause=0.05", "-s", "trainer.init.max_epochs=1")
    started = lab.start_one("train", HPARAMS, *short)
    wait_for((lab.artifacts / RUN / "environment.json").exists)
    wait_for((lab.artifacts / RUN / "source.tar.gz").exists)
    done = lab.do("lab", "clone", "--from", RUN, "meanwhile")
    assert (done.status, done.err) == (0, "")
    assert lab.ended(started).status == 0
    main = (lab.root / EXPERIMENTS / "01_meanwhile/__main__.py").read_text()
    assert main == (lab.root / MAIN).read_text()
