"""`--debug`, and breakpoint() in an experiment, on a real terminal."""

from __future__ import annotations

import os
import re
import signal
import time

import pytest
from tiny_project import HPARAMS, MAIN, RUN, Lab

from terminal import Terminal

ADDED = """

class Bad(Data):
    def __getitem__(self, i):
        raise LookupError(f"no sample {i}")


class Asking(pl.Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == 3:
            breakpoint()


_train_config, _infer_config = train_config, infer_config


def train_config(config):
    made = _train_config(config)
    if config["fault"] == "asks":
        made["callbacks"] = [Asking()]
    if config["fault"] == "worker":
        made["train_dataloaders"] = DataLoader(Bad(), num_workers=config["num_workers"])
    return made


def infer_config(config, word=""):
    made = _infer_config(config)
    if word == "worker":
        made["predict_dataloaders"] = DataLoader(Bad())
    return made
"""


@pytest.fixture
def faulty(lab: Lab) -> Lab:
    lab.append(ADDED)
    return lab


def debugged(lab: Lab, *words: str, env: dict[str, str] | None = None) -> Terminal:
    return Terminal(*words, "--debug", cwd=lab.root, zygote=lab.zygote, env=env)


def test_it_opens_at_the_users_frame_when_the_record_is_closed(faulty: Lab) -> None:
    terminal = debugged(faulty, "train", HPARAMS, "-s", "fault=raises")
    before = terminal.wait_for("(Pdb) ")
    assert faulty.run(RUN).record["status"] == "failed"
    assert faulty.left_alive() == []
    assert "ValueError: a bad batch\n" in before
    assert "at hand beside the frame's own names: module_, config, train_dataloaders, " in before
    assert re.search(rf"{MAIN}\(\d+\)on_train_batch_start\(\)\n-> raise ValueError", before)
    assert terminal.ask("p self.fault, batch_idx") == "('raises', 3)\n"
    assert terminal.ask("p type(module_).__name__, config['width']") == "('TrainLabModule', 4)\n"
    assert terminal.ask("p len(train_dataloaders), trainer.global_step, hparams['seed']") == (
        "(4, 3, 0)\n"
    )
    assert "call.py" in terminal.ask("up")
    assert terminal.ask("p module_ is trainer.lightning_module") == "True\n"
    terminal.interrupt("--KeyboardInterrupt--")
    terminal.wait_for("(Pdb) ")
    terminal.type("q")
    assert terminal.ended() == 1
    whereabouts = terminal.said.rpartition("(Pdb) q\n")[2]
    assert whereabouts == (
        f"\nrun directory: data/artifacts/{RUN}\nconsole log:   data/artifacts/{RUN}/console.log\n"
    )
    assert terminal.said.count("ValueError: a bad batch\n") == 1


def test_it_opens_in_what_configures_and_infers(faulty: Lab) -> None:
    terminal = debugged(faulty, "infer", HPARAMS, "worker", "--checkpoint", "none")
    assert "-> raise LookupError" in terminal.wait_for("(Pdb) ")
    assert terminal.ask("p i, config['depth'], len(predict_dataloaders)") == "(0, 1, 16)\n"
    terminal.type("q")
    assert terminal.ended() == 1

    faulty.write(HPARAMS, "widths = []\nhparams = {'config': {'width': widths[0]}}\n")
    terminal = debugged(faulty, "train", HPARAMS)
    assert "hparams.py(2)<module>()\n" in terminal.wait_for("(Pdb) ")
    assert terminal.ask("p widths") == "[]\n"
    terminal.type("q")
    assert terminal.ended() == 2
    assert f"error:\x1b[0m {HPARAMS}:2: IndexError: list index out of range\n" in terminal.said


def test_it_stays_away_where_it_could_not_help(faulty: Lab) -> None:
    """From loader workers, runs of several processes, mistakes and pipes."""
    worker = debugged(faulty, "train", HPARAMS, "-s", "fault=worker", "-s", "num_workers=1")
    # As Lightning says it in the first process where it has started others.
    env = {"WORLD_SIZE": "2"}
    several = debugged(faulty, "train", HPARAMS, "-s", "fault=raises", env=env)
    mistake = debugged(faulty, "train", HPARAMS, "-s", "widht=3")
    assert worker.ended() == 1
    assert "--debug: no debugger in a loader worker: with config num_workers 0 " in worker.said
    assert "LookupError: no sample" in worker.said
    assert several.ended() == 1
    said = "--debug: no debugger in a run of several processes: the others would wait for it\n"
    assert several.said.count(said) == 1
    assert mistake.ended() == 2
    assert "(Pdb)" not in worker.said + several.said + mistake.said

    piped = faulty.do("train", HPARAMS, "-s", "fault=raises", "--pdb")
    assert piped.status == 1
    assert piped.err.startswith(
        "--debug has no effect: standard input or output is no terminal\nTraceback "
    )


def test_a_breakpoint_in_training(faulty: Lab) -> None:
    """No signal's limit ends a run while somebody thinks at the prompt."""
    env = {"TORCH_LAB_GRACE_PERIOD": "0.5"}
    terminal = debugged(faulty, "train", HPARAMS, "-s", "fault=asks", env=env)
    assert f"{MAIN}(" in terminal.wait_for("(Pdb) ")
    assert terminal.ask("p batch_idx") == "3\n"
    terminal.interrupt("--KeyboardInterrupt--")
    terminal.wait_for("(Pdb) ")
    time.sleep(1)
    assert terminal.ask("p trainer.global_step") == "3\n"
    terminal.type("c")
    assert terminal.ended() == 0
    assert faulty.run(RUN).record["status"] == "completed"
    assert "finishing this batch" not in terminal.said


def test_a_breakpoint_that_is_quit_or_killed(faulty: Lab) -> None:
    quit_, killed = (debugged(faulty, "train", HPARAMS, "-s", "fault=asks") for _ in range(2))
    quit_.wait_for("(Pdb) ")
    quit_.type("q")
    assert quit_.ended() == 1
    assert quit_.said.count("(Pdb)") == 1
    killed.wait_for("(Pdb) ")
    os.kill(killed.pid, signal.SIGTERM)
    assert killed.ended() == 143
    assert sorted(faulty.run(name).record["status"] for name in faulty.runs()) == [
        "aborted",
        "failed",
    ]
