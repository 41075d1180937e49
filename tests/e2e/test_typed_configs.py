"""Typed configs and arguments through the real commands."""

from __future__ import annotations

import json

import pytest
from tiny_project import HPARAMS, MAIN, RUN, Lab, Outcome

TYPED = """

from dataclasses import dataclass, field
from typing import Literal


@dataclass
class Optimizer:
    lr: float = 0.01  # the step size


@dataclass
class Config:
    width: int  # of each layer
    module: Literal["lab", "plain"] = "lab"
    depth: int = 1
    num_workers: int = 1
    out: Path = Path("seen.txt")
    optimizer: Optimizer = field(default_factory=Optimizer)


def built(config):
    config.out.write_text(repr(config))
    values = {"module": config.module, "width": config.width, "depth": config.depth}
    return {**values, "extra": False, "num_workers": config.num_workers, "pause": 0.0}


def train_config(config: Config):
    values = built(config)
    if config.depth > 5:
        raise RuntimeError("too deep")
    return {"module": module(values), "train_dataloaders": loader(values)}


def infer_config(config: Config, folder: Path, *names: str, n: int = 1):
    Path("seen.txt").write_text(f"{folder!r} {names} {n}")
    values = built(config)
    return {"module": module(values), "predict_dataloaders": loader(values)}
"""
SCRIPT = """
hparams = {
    "trainer": {"init": {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False}},
    "config": {"width": 3},
}
"""


@pytest.fixture
def typed(lab: Lab) -> Lab:
    lab.append(TYPED)
    lab.write(HPARAMS, SCRIPT)
    return lab


def mistake(outcome: Outcome) -> str:
    assert outcome.status == 2, outcome.err
    assert "Traceback" not in outcome.err
    return outcome.err.removeprefix("error: ")


def test_a_run_records_what_it_was_trained_with_and_is_resumed_with_it(typed: Lab) -> None:
    failed = typed.train("optimizer.lr=1e-3", "depth=6", "num_workers=0")
    assert failed.status == 1
    seen = (typed.root / "seen.txt").read_text()
    assert "optimizer=Optimizer(lr=0.001)" in seen
    assert "depth=6, num_workers=0, out=PosixPath('seen.txt')" in seen
    recorded = typed.run(RUN).record["hparams"]["config"]
    assert recorded == {
        "width": 3,
        "module": "lab",
        "depth": 6,
        "num_workers": 0,
        "out": {"$type": "path", "value": "seen.txt"},
        "optimizer": {"lr": 0.001},
    }
    main = typed.root / MAIN
    typed.write(MAIN, main.read_text().replace("depth > 5", "depth > 6"))
    assert "__main__.py was edited" in mistake(typed.do("train", "--resume", RUN))
    assert typed.do("train", "--resume", RUN, "--force").status == 0
    assert typed.run(RUN).record["hparams"]["config"] == recorded
    assert (typed.root / "seen.txt").read_text() == seen


def test_a_default_that_changed_is_a_changed_hyperparameter(typed: Lab) -> None:
    assert typed.train("depth=6", "num_workers=0").status == 1
    main = typed.root / MAIN
    typed.write(MAIN, main.read_text().replace("lr: float = 0.01", "lr: float = 0.02"))
    message = mistake(typed.do("train", "--resume", RUN))
    assert "  config.optimizer.lr: 0.01 then, 0.02 now\n" in message


def test_mistakes_are_known_before_a_run_is_claimed(typed: Lab) -> None:
    typed.write(HPARAMS, SCRIPT.replace('"width": 3', '"widht": 3, "module": "Lab", "sed": []'))
    where = f"{MAIN}:{(typed.root / MAIN).read_text().partition('class Config')[0].count(chr(10))}"
    problems = (
        f"{HPARAMS}: 4 problems in hparams\n"
        '  line 4: config.widht: unknown key; did you mean "width"?\n'
        "  line 4: config.sed: unknown key; there are width, module, depth, num_workers, out,"
        " optimizer\n"
        f"  line 4: config.width: missing; expected an int (Config, {where})\n"
        '  line 4: config.module: expected "lab" or "plain", got \'Lab\' (str);'
        ' did you mean "lab"?\n'
    )
    for words in (["train", HPARAMS], ["infer", HPARAMS, "--checkpoint", "none", "x"]):
        assert mistake(typed.do(*words)) == problems
    assert typed.runs() == []
    shown = typed.do("lab", "show", HPARAMS)
    rows = [line.split() for line in shown.out.splitlines()]
    assert ["config.width", "int", "required", "of", "each", "layer"] in rows
    assert mistake(shown) == problems


def test_set_is_checked_against_the_types(typed: Lab) -> None:
    assert mistake(typed.train("width=abc", "optimizer.l=1", "modul=plain")) == (
        "--set width=abc: expected an int, got 'abc' (Config.width: int)\n"
        '--set optimizer.l=1: config.optimizer has no l; did you mean "lr"?\n'
        '--set modul=plain: config has no modul; did you mean "module"?\n'
    )
    assert typed.runs() == []


def test_a_dev_run_has_no_workers(typed: Lab) -> None:
    assert typed.do("train", HPARAMS, "-d", "1").status == 0
    assert typed.newest().record["hparams"]["config"]["num_workers"] == 0


def test_arguments_of_infer(typed: Lab) -> None:
    words = ["infer", HPARAMS, "--checkpoint", "none", "--set", "num_workers=0"]
    done = typed.do(*words, "scans", "a", "--n=3", "--other", "--folder=b")
    assert done.status == 0
    assert done.err.count("note: --folder=b goes to infer_config as it is: ") == 1
    before = (typed.root / MAIN).read_text().partition("def infer_config(config: Config")[0]
    usage = (
        "it is defined as infer_config(config: Config, folder: Path, *names: str, n: int = 1),"
        f" {MAIN}:{before.count(chr(10)) + 1}\n"
    )
    assert mistake(typed.do(*words)) == (
        "the arguments do not fit infer_config: missing a required argument: 'folder'; got none\n"
        f"{usage}"
    )
    assert mistake(typed.do(*words, "scans", "--n=many")) == (
        f"n: expected an int, got 'many'\n{usage}"
    )


def test_a_script_is_shown_with_its_runs(typed: Lab) -> None:
    assert typed.train("num_workers=0").status == 0
    data = json.loads(typed.do("lab", "show", "--json", HPARAMS).out)
    assert [run["name"] for run in data["runs"]] == [RUN]
    by_run = typed.do("lab", "show", RUN).out
    assert "overrides   num_workers=0\n" in by_run
    text = typed.do("lab", "show", HPARAMS).out
    assert text.rpartition("\n\n")[2].startswith("runs\n  name  ")
