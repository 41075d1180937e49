"""Every kind of bad input through the real commands: what is said, and what is left behind."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from tiny_project import EXPERIMENT, HPARAMS, MAIN, RUN, Lab, Outcome

from helpers import wait_for

WHERE = re.compile(
    r"\nrun directory: (?P<run>data/artifacts/\S+)\nconsole log:   (?P=run)/console\.log\n\Z"
)
BOTH = pytest.mark.parametrize("verb", ["train", "infer"])


def mistake(outcome: Outcome | subprocess.CompletedProcess[str]) -> str:
    """The one message of a command that ended with status 2, without its "error: ".

    If a run had been made by then, it says where that is.
    """
    status = outcome.status if isinstance(outcome, Outcome) else outcome.returncode
    err = outcome.err if isinstance(outcome, Outcome) else outcome.stderr
    assert status == 2, err
    assert "Traceback" not in err
    before, error, message = err.partition("error: ")
    assert error
    assert not before or before.startswith("weights from ")  # infer says what it is about to load
    return WHERE.sub("", message).rstrip("\n")


def failure(outcome: Outcome, run: str) -> list[str]:
    """The traceback of a command that failed in the user's code and said where its run is."""
    assert outcome.status == 1
    trace, _, whereabouts = outcome.err.rpartition("\n\n")
    assert whereabouts == (
        f"run directory: data/artifacts/{run}\nconsole log:   data/artifacts/{run}/console.log\n"
    )
    return trace.splitlines()


# -- the script ------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            f"{EXPERIMENT}/hparam.py",
            f"{EXPERIMENT}/hparam.py does not exist\ndid you mean {HPARAMS}?",
        ),
        (
            "tiny/experiments/00_tniy/hparams.py",
            "tiny/experiments/00_tniy/hparams.py does not exist\n"
            "there is no folder tiny/experiments/00_tniy; did you mean tiny/experiments/00_tiny?",
        ),
        (EXPERIMENT, f"{EXPERIMENT} is a folder, not a script\nits scripts: {HPARAMS}"),
        (
            "tiny/experiments",
            "tiny/experiments is a folder, not a script\nit holds no Python scripts",
        ),
        ("pyproject.toml", "pyproject.toml is not a Python script (.py)"),
        (
            MAIN,
            f"{MAIN} is not a hyperparameter script\n"
            "give a script that defines hparams, such as hparams.py beside it",
        ),
        (
            "tiny/__init__.py",
            "tiny/__init__.py is not a hyperparameter script\n"
            "give a script that defines hparams, such as hparams.py beside it",
        ),
    ],
)
def test_a_script_that_is_none(lab: Lab, verb: str, path: str, message: str) -> None:
    assert mistake(lab.command(verb, path, status=None)) == message
    assert lab.runs() == []


def test_a_script_that_lies_in_no_experiment(lab: Lab) -> None:
    lab.write("tiny/hparams.py", "hparams = {}\n")
    assert mistake(lab.command("train", "tiny/hparams.py", status=None)) == (
        "tiny is not an experiment: it has no __main__.py\n"
        "__main__.py defines train_config and infer_config"
    )


@BOTH
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "lr = 1\nhparams = {\n",
            f"{HPARAMS}:2: SyntaxError: '{{' was never closed\n    hparams = {{",
        ),
        (
            "lr = 1\nhparams = {'a': lrr}\n",
            f"{HPARAMS}:2: NameError: name 'lrr' is not defined\n    hparams = {{'a': lrr}}",
        ),
        (
            "config = {}\n",
            f"{HPARAMS}: 1 problem in hparams\n  hparams: missing; expected a dict of that name;"
            " there are config",
        ),
        (
            "hparms = {}\n",
            f"{HPARAMS}: 1 problem in hparams\n"
            '  hparams: missing; expected a dict of that name; did you mean "hparms"?',
        ),
        (
            "hparams = ['config']\n",
            f"{HPARAMS}: 1 problem in hparams\n"
            "  line 1: hparams: expected a dict, got ['config'] (list)",
        ),
    ],
    ids=["syntax", "name", "missing", "misspelt", "no dict"],
)
def test_a_script_without_usable_hparams(lab: Lab, verb: str, text: str, message: str) -> None:
    lab.write(HPARAMS, text)
    assert mistake(lab.command(verb, HPARAMS, status=None)) == message
    assert lab.runs() == []


# -- keys and values -------------------------------------------------------------------------

WRONG = """
hparams = {
    "tsk": {},
    "task": {"project": "digits", "tags": 3},
    "checkpoint": {"checkpoint_task": "x", "weights_only": 1, "every_n_steps": 0, "keep": 2.5},
    "trainer": {
        "int": {},
        "init": {"max_epoch": 3, "max_steps": "4", "model": 1, "gpus": 2},
        "fit": {"ckptpath": 1, "weights_only": True},
        "validate": 3,
        "predict": {"return_predictions": True, "dataloaders": []},
    },
    "seed": "zero",
    "config": 3,
}
"""
PROBLEMS = """\
  line 3: tsk: unknown key; did you mean "task"?
  line 4: task.project: unknown key; did you mean "project_name"?
  line 4: task.tags: expected a list of strings or None, got 3 (int)
  line 5: checkpoint.checkpoint_task: unknown key; did you mean "checkpoint_task_id"?
  line 5: checkpoint.weights_only: expected a bool, got 1 (int)
  line 5: checkpoint.every_n_steps: expected a positive int or None, got 0 (int)
  line 5: checkpoint.keep: expected a positive int or None, got 2.5 (float)
  line 7: trainer.int: unknown key; did you mean "init"?
  line 8: trainer.init.model: comes from what the configuration script returns; remove it
  line 8: trainer.init.max_epoch: unknown key; did you mean "max_epochs"?
  line 8: trainer.init.gpus: unknown key; in Lightning 2 it is devices, with accelerator
  line 8: trainer.init.max_steps: expected an int, got '4' (str)
  line 9: trainer.fit.weights_only: may not be set: no checkpoint that could run code is loaded; \
remove it
  line 9: trainer.fit.ckptpath: unknown key; did you mean "ckpt_path"?
  line 10: trainer.validate: expected a dict, or None for no validation before fit, got 3 (int)
  line 11: trainer.predict.dataloaders: comes from what the configuration script returns; \
remove it
  line 11: trainer.predict.return_predictions: may not be set: callbacks write the predictions; \
remove it
  line 13: seed: expected an int from 0 to 4294967295, or None to draw one, got 'zero' (str)
  line 14: config: expected a dict, got 3 (int)"""


@BOTH
def test_all_wrong_keys_and_values_at_once(lab: Lab, verb: str) -> None:
    lab.write(HPARAMS, WRONG)
    message = mistake(lab.command(verb, HPARAMS, status=None))
    assert message == f"{HPARAMS}: 19 problems in hparams\n{PROBLEMS}"
    assert lab.runs() == []


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ("trainer.init.accelerator=cup", ["accelerator name", "'cup'"]),
        ("trainer.init.precision=float99", ["Precision 'float99' is invalid", "'bf16-mixed'"]),
        ("trainer.init.limit_train_batches=-3", ["invalid value -3 for limit_train_batches"]),
        ("trainer.init.strategy=dpp", ["strategy='dpp'", "ddp"]),
        ("trainer.init.devices=0", ["devices", "0"]),
    ],
)
def test_a_value_that_only_lightning_can_refuse(lab: Lab, change: str, parts: list[str]) -> None:
    outcome = lab.train(change)
    message = mistake(outcome)
    assert message.startswith("trainer.init")
    assert [part for part in parts if part not in message] == []
    assert lab.newest().record["status"] == "failed"
    assert lab.newest().record["reason"] == f"ConfigurationError: {message}"
    assert f"mend it, then start again: torch-lab train {HPARAMS} -s {change}\n" in outcome.out
    assert "--resume" not in outcome.out


def test_settings(lab: Lab) -> None:
    lab.write("pyproject.toml", "[tool.torch-lab]\nartifact = 'x'\nkeep-checkpoints = 'two'\n")
    done = lab.command("train", HPARAMS, status=None, env={"TORCH_LAB_EVERY_MINUTES": "-1"})
    file = lab.root / "pyproject.toml"
    assert mistake(done) == (
        f"3 problems in the settings of {lab.root}\n"
        f'  {file}: unknown key "artifact"; did you mean "artifacts"?\n'
        f"  {file}: keep-checkpoints: expected a positive int, got 'two' (str)\n"
        "  TORCH_LAB_EVERY_MINUTES: expected a positive number, got '-1' (str)"
    )


# -- the command line ------------------------------------------------------------------------


@pytest.mark.parametrize("number", ["0", "-1", "abc", "1.5"])
def test_dev_run(lab: Lab, number: str) -> None:
    assert mistake(lab.command("train", HPARAMS, "--dev-run", number, status=None)) == (
        f"--dev-run takes a number of batches or a fraction of them, got {number!r}\n"
        "write `--dev-run 3` for three batches, `--dev-run 0.1` for a tenth of them"
    )


@BOTH
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "width",
            "--set takes KEY=VALUE, got 'width'\n"
            "for instance `--set lr=1e-3` or `--set trainer.init.max_epochs=5`",
        ),
        (
            "widht=8",
            '--set widht=8: config has no widht; did you mean "width"?'
            " (new keys go into the script)",
        ),
        (
            "traner.init.max_epochs=8",
            '--set traner.init.max_epochs=8: config has no traner; did you mean "trainer"?'
            " (new keys go into the script)",
        ),
        (
            "width=wide",
            "--set width=wide: expected an int, as in the script (4 (int)); got 'wide' (str)",
        ),
        (
            "trainer.init.max_epoch=3",
            f"{HPARAMS} --set trainer.init.max_epoch=3: 1 problem in hparams\n"
            '  trainer.init.max_epoch: unknown key; did you mean "max_epochs"?',
        ),
        (
            "trainer.init.max_epochs=x",
            f"{HPARAMS} --set trainer.init.max_epochs=x: 1 problem in hparams\n"
            "  trainer.init.max_epochs: expected an int or None, got 'x' (str)",
        ),
    ],
)
def test_set(lab: Lab, verb: str, text: str, message: str) -> None:
    assert mistake(lab.command(verb, HPARAMS, "--set", text, status=None)) == message
    assert lab.runs() == []


@BOTH
def test_gpus_that_do_not_exist(lab: Lab, verb: str) -> None:
    count = torch.cuda.device_count()
    message = mistake(lab.do(verb, HPARAMS, "--gpu-devices", f"{count + 7}"))
    has = {0: "no GPU", 1: "only GPU 0"}.get(count, f"GPUs 0 to {count - 1}")
    assert message == f"there is no GPU {count + 7}: this machine has {has}"
    assert lab.runs() == []


def test_arguments_that_infer_config_does_not_take(lab: Lab) -> None:
    lines = lab.append("\n\ndef infer_config(config, folder, count: int = 1):\n    return {}\n")
    usage = f"it is defined as infer_config(config, folder, count: int = 1), {MAIN}:{lines + 2}"
    words = ["infer", HPARAMS, "--checkpoint", "none"]
    assert mistake(lab.do(*words)) == (
        "the arguments do not fit infer_config: missing a required argument: 'folder'; got none\n"
        f"{usage}"
    )
    assert mistake(lab.do(*words, "a", "b")) == (
        f"count: expected an int, got 'b'\nby position: folder=a, count=b\n{usage}"
    )


# -- the configuration -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["train_config", "infer_config"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("del {name}\n", "{main} defines no function {name}"),
        (
            "{name}s = {name}\ndel {name}\n",
            '{main} defines no function {name}\ndid you mean "{name}s"?',
        ),
        ("{name} = 3\n", "{main}: {name} is no function but 3 (int)"),
        ("def f(:\n", "{main}:{line}: SyntaxError: invalid syntax\n    def f(:"),
        (
            "import nowhere\n",
            "{main}:{line}: ModuleNotFoundError: No module named 'nowhere'\n    import nowhere",
        ),
    ],
    ids=["missing", "misspelt", "no function", "syntax", "import"],
)
def test_no_configuration_function(lab: Lab, name: str, text: str, message: str) -> None:
    """Known before a run is claimed."""
    line = lab.append(text.format(name=name))
    outcome = lab.do(name.removesuffix("_config"), HPARAMS)
    assert mistake(outcome) == message.format(name=name, main=MAIN, line=line)
    assert lab.runs() == []


UNUSABLE = """

def train_config(config):
    return {
        "module": nn.Linear(1, 1),
        "train_dataloader": [],
        "val_dataloaders": Data(),
        "callbacks": [pl.Callback, 3],
    }


infer_config = train_config
"""
PROBLEMS_OF_ALL = """\
  module: expected a LightningModule, got a torch.nn.modules.linear.Linear; put the model into a \
torch_lab.modules.TrainLabModule or LabModule
  val_dataloaders: expected a DataLoader or a collection of them, got a \
tiny.experiments.00_tiny.__main__.Data; put the dataset into a DataLoader
  callbacks[0]: expected a Callback, got the class Callback: make an instance of it
  callbacks[1]: expected a Callback, got 3 (int)"""


def test_a_configuration_with_wrong_keys_and_types(lab: Lab) -> None:
    line = lab.append(UNUSABLE) + 2
    outcome = lab.train()
    message = mistake(outcome)
    assert message == (
        f"train_config, {MAIN}:{line}, can't be used\n"
        '  train_dataloader: unknown key; did you mean "train_dataloaders"?\n'
        f"{PROBLEMS_OF_ALL}\n"
        "  train_dataloaders: missing; expected a DataLoader, or a datamodule in its place"
    )
    assert lab.newest().record["status"] == "failed"
    assert lab.newest().record["reason"] == f"ConfigurationError: {message}"
    assert f"error: {message}" in lab.newest().console
    assert outcome.out.endswith(
        f"  next      mend it, then start again: torch-lab train {HPARAMS}\n"
    )

    assert mistake(lab.infer("none")) == (
        f"infer_config, {MAIN}:{line}, can't be used\n"
        '  train_dataloader: unknown key; did you mean "predict_dataloaders"?\n'
        '  val_dataloaders: unknown key; did you mean "predict_dataloaders"?\n'
        f"{PROBLEMS_OF_ALL}\n"
        "  predict_dataloaders: missing; expected a DataLoader, or a datamodule in its place"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(config):\n    return None", "it has to return a dict with module, {keys}; got None"),
        (
            "(config):\n    return [1, 2]",
            "it has to return a dict with module, {keys}; got [1, 2] (list)",
        ),
        (
            "(config):\n    return {'module': Plain, 'datamodule': 3}",
            "module: expected a LightningModule, got the class Plain: make an instance of it\n"
            "  datamodule: expected a LightningDataModule, got 3 (int)",
        ),
    ],
    ids=["None", "list", "class"],
)
@BOTH
def test_a_configuration_that_is_none(lab: Lab, verb: str, text: str, message: str) -> None:
    line = lab.append(f"\n\ndef {verb}_config{text}\n") + 2
    loaders = {
        "train": "train_dataloaders, val_dataloaders, test_dataloaders",
        "infer": "predict_dataloaders",
    }
    outcome = lab.train() if verb == "train" else lab.infer("none")
    expected = message.format(keys=f"{loaders[verb]}, datamodule, callbacks")
    assert mistake(outcome) == f"{verb}_config, {MAIN}:{line}, can't be used\n  {expected}"
    assert [lab.run(name).record["status"] for name in lab.runs()] == ["failed"] * len(lab.runs())


def test_a_train_config_that_takes_no_config(lab: Lab) -> None:
    line = lab.append("\n\ndef train_config():\n    return {}\n") + 2
    assert mistake(lab.train()) == (
        f"train_config(), {MAIN}:{line}, can't be called with config alone:"
        " too many positional arguments"
    )


def test_a_configuration_that_raises_keeps_its_traceback(lab: Lab) -> None:
    line = lab.append("\n\ndef train_config(config):\n    return config['lr']\n") + 3
    outcome = lab.train()
    trace = failure(outcome, RUN)
    assert trace[:3] == [
        "Traceback (most recent call last):",
        f'  File "{lab.root / MAIN}", line {line}, in train_config',
        "    return config['lr']",
    ]
    assert trace[-2] == "KeyError: 'lr'"
    assert trace[-1].startswith("config has module, width, ")
    assert "".join(trace) in lab.newest().console.replace("\n", "")
    assert (lab.newest().record["status"], lab.newest().record["reason"]) == (
        "failed",
        "KeyError: 'lr'",
    )
    assert f"start again: torch-lab train {HPARAMS}\n" in outcome.out


def test_an_infer_config_that_raises_keeps_its_traceback(lab: Lab) -> None:
    line = lab.append("\n\ndef infer_config(config):\n    return config['lr']\n") + 3
    outcome = lab.infer("none")
    assert outcome.status == 1
    assert outcome.err.startswith(
        "Traceback (most recent call last):\n"
        f'  File "{lab.root / MAIN}", line {line}, in infer_config\n'
    )
    assert "\nKeyError: 'lr'\nconfig has module, width, " in outcome.err


@pytest.mark.parametrize("code", ["'no data here'", "0", ""])
def test_a_run_that_exits_is_a_failed_one(lab: Lab, code: str) -> None:
    line = lab.append(f"\n\ndef train_config(config):\n    raise SystemExit({code})\n") + 3
    trace = failure(lab.train(), RUN)
    assert trace[1] == f'  File "{lab.root / MAIN}", line {line}, in train_config'
    assert lab.newest().record["status"] == "failed"


def test_a_failure_in_training_names_the_last_checkpoint(lab: Lab) -> None:
    outcome = lab.train("fault=raises")
    trace = failure(outcome, RUN)
    assert trace[1].startswith(f'  File "{lab.root / MAIN}", line ')
    assert trace[-3:] == [
        "ValueError: a bad batch",
        "in callback Faulty.on_train_batch_start",
        "in training, epoch 1, batch 4, samples 0, 12, 9, 3",
    ]
    assert (lab.newest().record["status"], lab.newest().record["reason"]) == (
        "failed",
        "ValueError: a bad batch",
    )
    *_, last, crash, way_on = outcome.out.splitlines()
    assert last.endswith("/checkpoints/step-3.ckpt  (epoch 0, batch 3)")
    assert crash.endswith("/checkpoints/crash.ckpt  (epoch 0, batch 4)")
    assert way_on == (
        f"  next      mend it, then train --resume {RUN}"
        " (with --force if that changed the experiment's scripts)"
    )


# -- the artifacts folder --------------------------------------------------------------------


@pytest.mark.parametrize("place", ["data", "data/artifacts"])
def test_a_file_in_the_artifacts_folders_place(lab: Lab, place: str) -> None:
    lab.write(place, "")
    assert mistake(lab.train()) == (
        f"can't create the artifacts folder {lab.artifacts}: {lab.root / place} isn't a folder\n"
        "Move it, or set another artifacts folder."
    )


def test_an_artifacts_folder_where_nothing_can_be_created(lab: Lab) -> None:
    message = mistake(lab.train(env={"TORCH_LAB_ARTIFACTS": "/proc/runs"}))
    assert message.startswith("can't create the artifacts folder /proc/runs: ")


@pytest.fixture
def mounted(lab: Lab) -> Iterator[Path]:
    """An artifacts folder on a disk of its own, of 256 kB."""
    lab.artifacts.mkdir(parents=True)
    words = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(lab.artifacts)]
    if shutil.which("mount") is None or subprocess.run(words, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    yield lab.artifacts
    subprocess.run(["umount", str(lab.artifacts)], check=True)


def test_a_disk_that_is_full_from_the_start(lab: Lab, mounted: Path) -> None:
    filler = mounted / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    message = mistake(lab.train())
    assert message.startswith(f"can't write {mounted}/")
    assert ": No space left on device\nFree some space, or keep the runs elsewhere: " in message
    filler.unlink()
    assert [path.name for path in mounted.iterdir() if path.name != ".counters"] == []


def test_a_disk_that_becomes_full(lab: Lab, mounted: Path) -> None:
    """A step's checkpoint is some 10 kB, so that the first ones still fit."""
    outcome = lab.train("width=16", "depth=4")
    assert outcome.status == 1
    assert "Traceback" not in outcome.err
    assert "No space left on device" in outcome.err
    assert f"run directory: data/artifacts/{RUN}" in outcome.err
    record = lab.newest().record
    assert record["checkpoints"]
    lab.newest().checkpoint()  # the last one listed is whole
    if record["status"] == "running":  # not even the record could be closed
        assert "record could not be closed" in outcome.err
        assert "lost" in lab.do("lab", "runs").out
        record["status"] = "lost"
        (lab.newest().path / "run.json").unlink()  # room, and nothing alive
        shutil.rmtree(lab.newest().path)
    else:
        assert record["status"] == "failed"


LIMITED = """
import resource
from torch_lab.cli.main import main

resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
main()
"""


def test_a_limit_on_the_size_of_files(lab: Lab, tmp_path: Path) -> None:
    script, log = tmp_path / "limited.py", tmp_path / "log"
    script.write_text(LIMITED)
    words = ("train", HPARAMS, "-s", "width=64", "-s", "depth=3")
    pid = lab.zygote.start_script(script, *words, cwd=lab.root, log=log)
    assert lab.zygote.wait(pid) == 1
    assert "Traceback" not in log.read_text()
    assert "File too large\nRaise the limit on file sizes (ulimit -f)" in log.read_text()
    assert lab.newest().record["status"] == "failed"
    assert lab.newest().record["checkpoints"] == []


# -- runs that are not there, checkpoints that can't be used ----------------------------------


@pytest.fixture
def trained(lab: Lab) -> Lab:
    assert lab.train().status == 0
    return lab


def use(lab: Lab, verb: str, checkpoint: str | Path, *sets: str) -> Outcome:
    """`train` or `infer` from a checkpoint."""
    if verb == "infer":
        return lab.infer(checkpoint, *sets)
    return lab.train(f"checkpoint.checkpoint_task_id={checkpoint}", *sets)


@BOTH
def test_runs_and_checkpoints_that_are_not_there(trained: Lab, verb: str) -> None:
    folder = trained.newest().path / "checkpoints"

    def said(checkpoint: str) -> str:
        message = mistake(use(trained, verb, checkpoint))
        place = " (--set checkpoint.checkpoint_task_id)"
        assert (place in message) == (verb == "train")
        return message.replace(place, "")

    assert said("00_tiny-hparam_v0") == (
        f'no run "00_tiny-hparam_v0" in {trained.artifacts}\nDid you mean {RUN} or 00_tiny/hparams?'
    )
    assert said("nothing").startswith(
        f'no run "nothing" in {trained.artifacts}\nThe newest: {RUN} ('
    )
    steps = ", ".join(f"step-{batch}" for batch in range(1, 9))
    assert said(f"{RUN}:bst") == (
        f"run {RUN} has no checkpoint 'bst' in {folder}: it has {steps}, last"
    )
    assert said("nowhere.ckpt") == f"checkpoint {trained.root}/nowhere.ckpt is not there"
    (trained.root / "some.ckpt").touch()
    assert said("smoe.ckpt").startswith(f"checkpoint {trained.root}/smoe.ckpt is not there\n")
    assert "some.ckpt" in said("smoe.ckpt")
    assert trained.runs() == [RUN]


@pytest.mark.parametrize(
    "words", [["train", "--resume", "00_tiny-hparam_v0"], ["lab", "show", "00_tiny/hprams"]]
)
def test_unknown_runs(trained: Lab, words: list[str]) -> None:
    message = mistake(trained.do(*words))
    assert message.startswith(f'no run "{words[-1]}" in {trained.artifacts}\nDid you mean ')
    assert "00_tiny/hparams" in message.splitlines()[1]


def _truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _flipped(data: bytes) -> bytes:
    middle = data.index(b"storage") if b"storage" in data else len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0x10]) + data[middle + 1 :]


def _zeroed(data: bytes) -> bytes:
    return bytes(len(data))


DAMAGE = pytest.mark.parametrize(
    "damage", [_truncated, _flipped, _zeroed, lambda _: b""], ids=["cut", "flip", "zero", "empty"]
)


@BOTH
@DAMAGE
def test_a_damaged_file(trained: Lab, verb: str, damage: Callable[[bytes], bytes]) -> None:
    good = trained.newest().path / "checkpoints" / "step-8.ckpt"
    bad = trained.root / "bad.ckpt"
    bad.write_bytes(damage(good.read_bytes()))
    assert mistake(use(trained, verb, "bad.ckpt")).startswith(f"checkpoint {bad} is damaged: ")
    assert trained.runs() == [RUN]


@BOTH
@DAMAGE
def test_a_damaged_checkpoint_of_a_run(
    trained: Lab, verb: str, damage: Callable[[bytes], bytes]
) -> None:
    """The one before it is taken, aloud."""
    last = trained.newest().path / "checkpoints" / "step-8.ckpt"
    last.write_bytes(damage(last.read_bytes()))
    outcome = use(trained, verb, RUN, "trainer.init.max_epochs=2")
    assert outcome.status == 0
    assert f"checkpoint {last} is damaged: " in outcome.err
    assert "trying the one before it" in outcome.err
    assert "step-7.ckpt" in outcome.out + outcome.err


@pytest.mark.parametrize("verb", ["train", "infer", "weights"])
def test_a_malicious_checkpoint_runs_no_code(lab: Lab, verb: str) -> None:
    trap = lab.root / "trap"

    class Evil:
        def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
            return os.system, (f"touch {trap}",)

    contents = {"state_dict": Evil(), "pytorch-lightning_version": "2.6.0"}
    torch.save(contents, lab.root / "zip.ckpt")
    torch.save(contents, lab.root / "old.ckpt", _use_new_zipfile_serialization=False)
    (lab.root / "raw.ckpt").write_bytes(pickle.dumps(contents))
    forced = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
    for name in ("zip", "old", "raw"):
        for env in ({}, forced):
            if verb == "infer":
                outcome = lab.do("infer", HPARAMS, "--checkpoint", f"{name}.ckpt", env=env)
            else:
                start = f"checkpoint.checkpoint_task_id={name}.ckpt"
                only = f"checkpoint.weights_only={verb == 'weights'}"
                outcome = lab.train(start, only, env=env)
            message = mistake(outcome)
            assert not trap.exists()
            if name == "zip":
                assert message == (
                    f"checkpoint {lab.root}/zip.ckpt is refused: loading it could run code"
                    " (posix.system)\nIf you know where it comes from, load it with --trust."
                )
            else:
                assert message.startswith(f"checkpoint {lab.root}/{name}.ckpt is damaged: ")
    assert {lab.run(name).record["status"] for name in lab.runs()} <= {"failed"}
    torch.load(lab.root / "zip.ckpt", weights_only=False)
    assert trap.exists()  # it would have


@pytest.mark.parametrize("module", ["lab", "plain"])
def test_a_checkpoint_of_another_architecture(lab: Lab, module: str) -> None:
    """One message with all that is missing, unexpected or of another shape."""
    assert lab.train(f"module={module}", "depth=2").status == 0
    path = lab.newest().path / "checkpoints" / "step-8.ckpt"
    name, prefix = {"lab": ("Network", ""), "plain": ("Plain", "network.")}[module]
    lines = [
        f"{path}: the checkpoint doesn't fit {name}:",
        "  not in the checkpoint (2):",
        f"    {prefix}extra.weight",
        f"    {prefix}extra.bias",
        "  only in the checkpoint (2):",
        f"    {prefix}hidden.1.weight",
        f"    {prefix}hidden.1.bias",
        "  of another shape (2):",
        f"    {prefix}hidden.0.weight: (4, 2) in the checkpoint, (8, 2) in the model",
        f"    {prefix}hidden.0.bias: (4,) in the checkpoint, (8,) in the model",
        'With "weights_only": True and "strict": False in hparams["checkpoint"] what fits is'
        " loaded.",
    ]
    for verb, *sets in (
        ["train", "checkpoint.weights_only=True"],
        ["train", "checkpoint.weights_only=False"],
        ["infer"],
    ):
        changes = [f"module={module}", "depth=1", "width=8", "extra=True", *sets]
        message = mistake(use(lab, verb, RUN, *changes))
        told = f"this run was trained with --set module={module} --set depth=2"
        hint = [told] if verb == "infer" else []
        assert message.splitlines() == [*lines[:-1], *hint, lines[-1]]
    assert lab.newest().record["reason"].startswith("CheckpointMismatch: ")


def test_files_that_hold_something_else(lab: Lab) -> None:
    torch.save(torch.ones(3), lab.root / "tensor.ckpt")
    torch.save({"epoch": 3, "weight": torch.ones(4, 2)}, lab.root / "bare.ckpt")
    for verb in ("train", "infer"):
        assert mistake(use(lab, verb, "tensor.ckpt")) == (
            f"{lab.root}/tensor.ckpt can't be read as a checkpoint: it holds a Tensor"
        )
    assert mistake(lab.infer("bare.ckpt")) == (
        f"checkpoint {lab.root}/bare.ckpt holds no weights: expected a dict of them, alone or"
        " as \"state_dict\", found 'epoch', 'weight'"
    )
    assert mistake(use(lab, "train", "bare.ckpt")) == (
        f"checkpoint {lab.root}/bare.ckpt holds no training state: it has no 'state_dict', no"
        " 'pytorch-lightning_version'"
    )


@pytest.mark.parametrize("prefix", ["", "model."])
def test_a_state_dict_that_was_saved_alone(trained: Lab, prefix: str) -> None:
    """What ClearML's users upload; it has weights, and no training state."""
    weights = trained.newest().checkpoint()["state_dict"]
    named = {f"{prefix}{name}": value for name, value in weights.items()}
    torch.save(named, trained.root / "alone.ckpt")
    assert trained.infer("alone.ckpt").status == 0
    assert mistake(use(trained, "train", "alone.ckpt")) == (
        f"checkpoint {trained.root}/alone.ckpt holds no training state: it has no 'state_dict', no"
        " 'pytorch-lightning_version'\n"
        'To take over only its weights: "checkpoint": {"weights_only": True}.'
    )
    only = use(trained, "train", "alone.ckpt", "checkpoint.weights_only=True")
    assert (only.status, "alone.ckpt (weights)" in only.out) == (0, True)


def test_weights_alone_are_no_training_state(trained: Lab) -> None:
    """What Lightning's save_weights_only leaves."""
    contents = trained.newest().checkpoint()
    kept = ("state_dict", "pytorch-lightning_version", "epoch", "global_step")
    torch.save({key: contents[key] for key in kept}, trained.root / "weights.ckpt")
    message = mistake(use(trained, "train", "weights.ckpt"))
    assert message.startswith(f"{trained.root}/weights.ckpt: Trying to restore ")
    assert message.endswith('"checkpoint": {"weights_only": True}.')
    only = use(trained, "train", "weights.ckpt", "checkpoint.weights_only=True")
    assert only.status == 0


# -- resuming --------------------------------------------------------------------------------


def test_a_completed_run_is_not_resumed(trained: Lab) -> None:
    before = trained.newest().record
    assert mistake(trained.do("train", "--resume", RUN)) == (
        f"run {RUN} is completed: there is nothing to resume\n"
        "To train on, start a new run from it: checkpoint.checkpoint_task_id."
    )
    assert trained.newest().record == before


def test_a_run_whose_experiment_changed_is_resumed_only_by_force(lab: Lab) -> None:
    assert lab.train("fault=raises").status == 1
    script = (lab.root / MAIN).read_text()
    lab.write(MAIN, script.replace('ValueError("a bad batch")', "SystemError"))
    changed = lab.root / HPARAMS
    lab.write(HPARAMS, changed.read_text().replace('"width": 4', '"width": 5'))
    before = lab.newest().record
    assert mistake(lab.do("train", "--resume", RUN)) == (
        f"{lab.root / EXPERIMENT} has changed since run {RUN} began:\n"
        "  config.width: 4 then, 5 now\n"
        "  __main__.py was edited\n"
        "Undo the changes, start a new run, or go on all the same with --force."
    )
    assert lab.newest().record == before
    lab.write(HPARAMS, changed.read_text().replace('"width": 5', '"width": 4'))
    lab.write(MAIN, script.replace('self.fault == "raises"', "False"))
    assert mistake(lab.do("train", "--resume", RUN)).splitlines()[1:2] == [
        "  __main__.py was edited"
    ]
    assert lab.do("train", "--resume", RUN, "--force").status == 0
    assert lab.newest().record["status"] == "completed"
    assert lab.runs() == [RUN]


def test_a_run_that_lives_is_not_resumed(lab: Lab) -> None:
    started = lab.start_one("train", HPARAMS, "-s", "building=60")
    wait_for((lab.root / "building").exists)
    message = mistake(lab.do("train", "--resume", RUN))
    assert message.startswith(f"run {RUN} is alive: process {started.pid} on ")
    assert message.endswith("writes to it\nWait for it, or stop it first.")
    os.kill(started.pid, signal.SIGTERM)
    assert lab.ended(started).status == 143


def test_options_that_a_resumed_run_does_not_take(trained: Lab) -> None:
    done = trained.command("train", "--resume", RUN, "-s", "width=5", status=None)
    assert mistake(done).startswith("--set and --dev-run can't be given to --resume: ")
    done = trained.command("train", "--resume", RUN, HPARAMS, status=None)
    assert mistake(done).startswith(f"--resume {RUN} takes no script, got {HPARAMS}: ")
    assert mistake(trained.command("train", "--resume", "auto", status=None)) == (
        "which hyperparameter script?\ntype `train --resume auto HPARAMS`"
    )
