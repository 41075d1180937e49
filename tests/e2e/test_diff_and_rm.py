"""`lab diff` and `lab rm` as people use them, on runs that were really trained."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from tiny_project import HPARAMS, MAIN, RUN, Lab

from helpers import environment
from terminal import Terminal
from zygote import Zygote

SECOND = "00_tiny-hparams_v1"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, zygote: Zygote) -> Lab:
    """Two runs, between which code and a hyperparameter were changed, in a path with a space."""
    made = Lab.copied(tmp_path_factory.mktemp("compared") / "my project", zygote)
    assert made.train("width=3").status == 0
    made.append("# edited\n")
    assert made.train("width=5", "seed=7").status == 0
    return made


def test_two_runs(trained: Lab) -> None:
    done = trained.do("lab", "diff", RUN, SECOND)
    assert done.status == 0
    assert done.err == ""
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    for line in ("config.width 3 5", "seed 0 7", f"{MAIN} +1 -0", "+# edited"):
        assert line in lines, line
    assert any(line.startswith("loss/train ") for line in lines)
    assert "the same: environment, packages" in lines


def test_a_run_and_the_working_tree(trained: Lab) -> None:
    done = trained.do("lab", "diff", SECOND, "--now", "--json")
    data = json.loads(done.out)
    assert data["code"] == []
    assert data["hparams"] == {}  # --set was the same
    assert data["packages"] == {}
    data = json.loads(trained.do("lab", "diff", RUN, "--now", "--json").out)
    assert [each["path"] for each in data["code"]] == [MAIN]
    assert data["hparams"] == {}


def test_a_run_and_a_script(trained: Lab) -> None:
    data = json.loads(trained.do("lab", "diff", SECOND, HPARAMS, "--json").out)
    assert set(data["hparams"]) == {"config.width", "seed"}
    assert data["code"] == []


def test_neither_imports_torch(trained: Lab) -> None:
    code = (
        "import sys; from torch_lab.cli import diff, rm\n"
        f"assert diff.command(['{RUN}', '{SECOND}']) == 0\n"
        f"assert diff.command(['{RUN}', '{HPARAMS}']) == 0\n"
        f"assert rm.command(['status=none', '--yes']) == 0\n"
        "heavy = {'torch', 'pytorch_lightning', 'clearml', 'numpy', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    words = [sys.executable, "-c", code]
    done = subprocess.run(
        words, cwd=trained.root, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


def test_nobody_is_there_to_be_asked(trained: Lab) -> None:
    done = trained.do("lab", "rm", RUN)
    assert done.status == 2
    assert "Nobody can answer here" in done.err
    assert trained.runs() == [RUN, SECOND]


def test_on_a_terminal_one_is_asked(lab: Lab, zygote: Zygote) -> None:
    assert lab.train().status == 0
    for answer, said in (("n", "nothing was deleted"), ("", "nothing was deleted")):
        terminal = Terminal("lab", "rm", RUN, cwd=lab.root, zygote=zygote)
        terminal.wait_for("? [y/N] ")
        terminal.type(answer)
        terminal.wait_for(said)
        assert terminal.ended() == 0
        assert lab.runs() == [RUN]
    slim = lab.do("lab", "rm", RUN, "--keep", "checkpoints=last", "--yes")
    assert slim.status == 0, slim.err
    assert lab.run(RUN).checkpoint("last")["epoch"] >= 0  # loads still
    assert "last" in lab.do("lab", "show", RUN).out
    assert lab.infer(RUN).status == 0
    terminal = Terminal("lab", "rm", RUN, cwd=lab.root, zygote=zygote)
    terminal.wait_for("? [y/N] ")
    terminal.type("yes")
    terminal.wait_for("deleted 1 run")
    assert terminal.ended() == 0
    assert lab.runs() == []
    assert "no runs yet" in lab.do("lab", "runs").out
    assert lab.train().status == 0
    assert lab.runs() == [SECOND]  # the number is not used again
