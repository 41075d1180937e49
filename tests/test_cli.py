from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import torch_lab
from torch_lab import __version__
from torch_lab.cli import infer, main, train
from torch_lab.cli.exit import report
from torch_lab.cli.options import Reader
from torch_lab.errors import RunError, Stopped, StoreError, UsageError
from torch_lab.tasks.options import InferOptions, TrainOptions

HEAVY = {"torch", "pytorch_lightning", "lightning", "clearml", "rich", "click", "numpy"}


@pytest.fixture(autouse=True)
def _package_for_children(monkeypatch):
    """A relative PYTHONPATH would not lead there from another folder."""
    monkeypatch.setenv("PYTHONPATH", str(Path(torch_lab.__file__).parents[1]))


def train_line(*words: str) -> TrainOptions:
    reader = Reader(words, train.OPTIONS)
    return train.train_options(reader.read(reader.refuse))


def infer_line(*words: str) -> InferOptions:
    return infer.infer_options(infer.read(words))


def python(*words: str, cwd: Path, **kwargs) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], cwd=cwd, capture_output=True, text=True, timeout=60, **kwargs
    )


def call(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return python("-m", "torch_lab", *words, cwd=cwd)


# The options that there are: a new one is a decision (docs/decisions.md), not a detail.


def test_the_options_of_train_are_these():
    assert [(option.short, option.name, option.metavar) for option in train.OPTIONS] == [
        ("-d", "--dev-run", "N"),
        ("-o", "--offline", ""),
        ("-g", "--gpu-devices", "0,1"),
        ("-j", "--jobs", "N"),
        ("-s", "--set", "KEY=VALUE"),
        ("", "--queue", "NAME"),
        ("", "--resume", "RUN"),
        ("", "--force", ""),
        ("", "--trust", ""),
        ("", "--debug", ""),
        ("-h", "--help", ""),
        ("", "--version", ""),
    ]


def test_the_options_of_infer_are_these_and_long():
    assert [(option.short, option.name, option.metavar) for option in infer.OPTIONS] == [
        ("", "--checkpoint", "RUN[:NAME]"),
        ("", "--set", "KEY=VALUE"),
        ("", "--gpu-devices", "0,1"),
        ("", "--trust", ""),
        ("", "--debug", ""),
        ("", "--help", ""),
    ]


def test_the_verbs_are_these():
    lab = "init clone check preview submit sweep runs show diff plot export rm sync pull env"
    lab += " completion"
    assert list(main.LAB_VERBS) == lab.split()
    assert list(main.VERBS) == ["train", "infer", *lab.split()]


@pytest.mark.parametrize("word", ["--debug", "--pdb"])
def test_the_debugger_has_a_second_name(word):
    assert Reader(["h.py", word], train.OPTIONS).read(pytest.fail).has("--debug")
    parsed = infer.read(["h.py", word, "--", word])
    assert (parsed.has("--debug"), parsed.words) == (True, ["h.py", word])


# train


def test_train_takes_a_script():
    assert train_line("hparams.py") == TrainOptions(script=Path("hparams.py"))


@pytest.mark.parametrize(
    "words",
    [
        ("-g", "0,1", "h.py"),
        ("-g", "0", "1", "h.py"),
        ("h.py", "-g", "0", "1"),
        ("-g0,1", "h.py"),
        ("--gpu-devices=0,1", "h.py"),
        ("--gpu-devices", "0,", "1", "h.py"),
    ],
)
def test_gpus_in_every_spelling(words):
    assert train_line(*words) == TrainOptions(script=Path("h.py"), gpus=(0, 1))


@pytest.mark.parametrize(
    ("text", "value"), [("3", 3), ("0.25", 0.25), ("1", 1), ("1.0", 1.0), ("1e-1", 0.1)]
)
@pytest.mark.parametrize("spelling", ["-d {}", "--dev-run {}", "--dev-run={}", "-d{}"])
def test_dev_run(text, value, spelling):
    found = train_line(*spelling.format(text).split(), "h.py").dev_run
    assert found == value
    assert type(found) is type(value)


def test_set_is_repeated_and_kept_as_typed():
    options = train_line("-s", "lr=-1", "h.py", "--set=name=a=b", "--set", "x=", "-slist=[1, 2]")
    assert options.overrides == ("lr=-1", "name=a=b", "x=", "list=[1, 2]")


def test_resume():
    assert train_line("--resume", "00_a-b_v3", "--force", "--trust") == TrainOptions(
        resume="00_a-b_v3", force=True, trust=True
    )
    assert train_line("--resume", "auto", "h.py") == TrainOptions(
        script=Path("h.py"), resume="auto"
    )


@pytest.mark.parametrize("word", ["-o", "--offline"])
def test_offline(word):
    assert train_line("h.py", word) == TrainOptions(script=Path("h.py"), offline=True)
    assert train_line("--resume", "00_a-b_v3", word).offline


def test_after_two_dashes_a_script_may_look_like_an_option():
    assert train_line("--", "-h.py").script == Path("-h.py")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "which hyperparameter script?"),
        (("--resume", "auto"), "train --resume auto HPARAMS"),
        (("--resume", "00_a-b_v3", "h.py"), "takes no script, got h.py"),
        (("h.py", "--force"), "only with --resume"),
        (("h.py", "--devrun", "3"), 'did you mean "--dev-run"'),
        (("h.py", "--gpu=0"), "unknown option --gpu\n"),
        (("h.py", "-x"), "unknown option -x"),
        (("h.py", "--offline=yes"), "--offline takes no value"),
        (("h.py", "--ofline"), 'did you mean "--offline"'),
        (("h.py", "--queue"), "--queue needs a value"),
        (("h.py", "--trust=yes"), "--trust takes no value"),
        (("h.py", "-d"), "--dev-run needs a value"),
        (("h.py", "--resume", "--force"), "--resume needs a value"),
        (("h.py", "-d", "3", "-d", "4"), "--dev-run is given twice"),
        (("h.py", "-g", "0", "-g", "1"), "--gpu-devices is given twice"),
        *(
            (("h.py", "--dev-run", wrong), f"got {wrong!r}")
            for wrong in ("0", "-1", "abc", "0.0", "-0.5", "1.5", "nan", "inf", "", "3 4")
        ),
        (("h.py", "-g", "0", "0"), "GPU 0 more than once"),
        (("h.py", "-g", "1,0,01"), "GPU 1 more than once"),
        (("h.py", "-g", "-1"), "got '-1'"),
        (("h.py", "-g", "0", "-1"), "got '-1'"),
        (("h.py", "-g", "0,x"), "got 'x'"),
        (("h.py", "-g", "cuda:0"), "got 'cuda:0'"),
        (("h.py", "-g", "1.5"), "got '1.5'"),
        (("h.py", "-g", ","), "got ','"),
        (("h.py", "-g", "²"), "got '²'"),
        (("h.py", "-s", "lr"), "--set takes KEY=VALUE, got 'lr'"),
        (("h.py", "-s", "=1"), "--set takes KEY=VALUE, got '=1'"),
    ],
)
def test_mistakes_on_the_command_line_of_train(words, message):
    with pytest.raises(UsageError) as caught:
        train_line(*words)
    assert message in str(caught.value)


# infer


def test_infer_passes_on_what_is_not_its_own_verbatim_and_in_order():
    options = infer_line(
        *("--trust", "h.py", "-results", "--name=value", "--checkpoint", "v3:best", "a b", "-1"),
        *("--set=lr=3", "-g", "0", "--gpu-devices=0,1", "-", "--", "--checkpoint", "--", "--help"),
    )
    assert options == InferOptions(
        script=Path("h.py"),
        args=(
            "-results",
            "--name=value",
            "a b",
            "-1",
            "-g",
            "0",
            "-",
            "--checkpoint",
            "--",
            "--help",
        ),
        checkpoint="v3:best",
        gpus=(0, 1),
        overrides=("lr=3",),
        trust=True,
    )


def test_infer_leaves_numbers_after_gpus_to_the_arguments():
    options = infer_line("h.py", "--gpu-devices", "0", "1")
    assert (options.gpus, options.args) == ((0,), ("1",))


def test_infer_takes_the_script_from_behind_two_dashes():
    assert infer_line("--checkpoint", "none", "--", "h.py", "-x") == InferOptions(
        script=Path("h.py"), args=("-x",), checkpoint="none"
    )


def test_infer_leaves_version_to_the_arguments_behind_the_script():
    assert infer_line("h.py", "--version").args == ("--version",)
    assert infer.read(["--version"]).has("--version")
    assert infer.read(["-h"]).has("--help")
    assert infer.read(["h.py", "x", "--help"]).has("--help")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "which hyperparameter script?"),
        (("--chekpoint", "v3", "h.py"), 'did you mean "--checkpoint"'),
        (("-results", "h.py"), "unknown option -results"),
        (("h.py", "--checkpoint"), "--checkpoint needs a value"),
        (("h.py", "--checkpoint", "--trust"), "--checkpoint needs a value"),
        (("h.py", "--checkpoint", ""), "--checkpoint is empty\nwrite `--checkpoint RUN[:NAME]`"),
        (("h.py", "--checkpoint= "), "--checkpoint is empty"),
        (("h.py", "--gpu-devices", "0,0"), "GPU 0 more than once"),
        (("h.py", "--set", "x"), "KEY=VALUE"),
        (("h.py", "--checkpoint", "a", "--checkpoint=b"), "--checkpoint is given twice"),
    ],
)
def test_mistakes_on_the_command_line_of_infer(words, message):
    with pytest.raises(UsageError) as caught:
        infer_line(*words)
    assert message in str(caught.value)


def test_a_misspelt_option_behind_the_script_is_mentioned(capsys):
    assert infer_line("h.py", "--chekpoint=v3", "--set-size=3").args == (
        "--chekpoint=v3",
        "--set-size=3",
    )
    assert capsys.readouterr().err == (
        "note: --chekpoint goes to infer_config; was --checkpoint meant?\n"
    )


# The commands themselves


@pytest.mark.parametrize("verb", list(main.VERBS))
def test_help_shows_examples_and_every_option(verb, tmp_path):
    done = call(verb, "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    module = __import__(f"torch_lab.cli.{verb}", fromlist=["OPTIONS"])
    for option in module.OPTIONS:
        assert f"{option.name} {option.metavar}".strip() in done.stdout
    name = verb if verb in ("train", "infer") else f"lab {verb}"
    assert done.stdout.count(f"\n  {name}") >= 2
    assert max(map(len, done.stdout.splitlines())) <= 100


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("--version",),
        ("train", "--help"),
        ("train", "--version"),
        ("infer", "--help"),
        ("runs",),
        ("runs", "--json"),
        ("show", "nothing"),
        ("diff", "one", "other"),
        ("rm", "nothing"),
        ("env",),
        ("train", "--nonsense"),
        ("train", "h.py", "-g", "x"),
    ],
)
def test_nothing_heavy_is_imported(words, tmp_path):
    done = python("-X", "importtime", "-m", "torch_lab", *words, cwd=tmp_path)
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}
    assert "torch_lab" in imported
    assert not imported & HEAVY


def test_version(tmp_path):
    for words in (["--version"], ["train", "--version"], ["infer", "--version"]):
        assert call(*words, cwd=tmp_path).stdout == f"torch-lab {__version__}\n"


@pytest.mark.parametrize("entry", ["main", "main_train", "main_infer", "main_lab"])
def test_each_command_has_its_entry_point(entry, tmp_path):
    code = (
        f"import sys; from torch_lab.cli.main import {entry}; sys.argv[1:] = ['--help']; {entry}()"
    )
    done = python("-c", code, cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("trian",), "torch-lab has no verb 'trian'\ndid you mean \"train\"?"),
        (("--versoin",), 'did you mean "--version"?'),
        (("runs", "--jsno"), 'did you mean "--json"?'),
        (("runs", "digits"), "'digits' is no filter"),
        (("runs", "--limit", "0"), "--limit takes a positive number, got '0'"),
        (("show",), "lab show takes one run or script"),
        (("show", "nothing"), 'no run "nothing"'),
        (("show", "missing/h.py"), "missing/h.py does not exist"),
        (("env", "word"), "lab env takes no words"),
    ],
)
def test_a_mistake_is_one_message_and_status_2(words, message, tmp_path):
    done = call(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_verb_the_help_is_shown(tmp_path):
    done = call(cwd=tmp_path)
    assert done.returncode == 2
    assert "torch-lab train" in done.stderr


def test_lab_names_the_commands_that_are_not_its_verbs(tmp_path):
    code = (
        "import sys; from torch_lab.cli.main import main_lab; sys.argv[1:] = ['train']; main_lab()"
    )
    done = python("-c", code, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (
        2,
        "error: train is a command of its own\ntype `train …`\n",
    )


def test_no_runs_yet_is_no_mistake(tmp_path):
    done = call("runs", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("no runs yet in ")
    assert call("runs", "--json", cwd=tmp_path).stdout == "[]\n"


# Exit statuses

ENDING = """
import sys
from pathlib import Path
from torch_lab.cli.exit import leave
sys.path.insert(0, {folder!r})
import user
leave(user.{what})
"""
USER = """
import os, signal, sys
from pathlib import Path
from torch_lab.errors import HparamsError, RunError, Stopped

def fine():
    print("fine")

def mistake():
    raise HparamsError(Path("hparams.py"), ["config is missing", "seed is no number"])

os.chdir("/usr")

def run_error():
    error = RunError("the loss became NaN at step 3")
    error.run_directory = Path(__file__).parent
    raise error

def failure():
    error = ValueError("bad label")
    error.run_directory = Path(__file__).parent
    raise error

def stopped():
    raise Stopped(signal.SIGTERM)

def interrupted():
    os.kill(os.getpid(), signal.SIGINT)
    signal.pause()

def talk():
    for i in range(100_000):
        print("line", i)
    print("the end", file=sys.stderr)

def exits():
    sys.exit("said by the experiment")
"""


@pytest.fixture
def ending(tmp_path):
    (tmp_path / "user.py").write_text(USER)

    def run(what: str, **kwargs):
        return python("-c", ENDING.format(folder=str(tmp_path), what=what), cwd=tmp_path, **kwargs)

    return run


@pytest.mark.parametrize(
    ("what", "status"),
    [
        ("fine", 0),
        ("mistake", 2),
        ("run_error", 1),
        ("failure", 1),
        ("stopped", 143),
        ("interrupted", 130),
        ("exits", 1),
    ],
)
def test_exit_statuses(ending, what, status):
    done = ending(what)
    assert done.returncode == status
    assert ("Traceback" in done.stderr) == (what == "failure")


def test_a_mistake_says_all_of_it(ending, tmp_path):
    said = ending("mistake").stderr.splitlines()
    assert said[:3] == [
        "error: hparams.py: 2 problems in hparams",
        "  config is missing",
        "  seed is no number",
    ]
    assert said[3].startswith(f"  at {tmp_path}/user.py:10: raise HparamsError(")
    assert len(said) == 4


def test_a_failure_begins_in_the_users_code_and_says_where_the_run_is(ending, tmp_path):
    (tmp_path / "console.log").touch()
    err = ending("failure").stderr
    assert err.startswith(
        f'Traceback (most recent call last):\n  File "{tmp_path}/user.py", line 22, in failure\n'
    )
    assert err.endswith(
        "ValueError: bad label\n\n"
        f"run directory: {tmp_path}\nconsole log:   {tmp_path}/console.log\n"
    )


def test_the_run_is_shown_relative_to_where_one_is(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    error = RunError("x")
    error.run_directory = tmp_path / "data" / "run_v0"
    error.run_directory.mkdir(parents=True)
    assert report(error) == 1
    assert capsys.readouterr().err == "error: x\n\nrun directory: data/run_v0\n"


def test_a_mistake_found_when_the_run_had_been_made_says_where_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = UsageError("x")
    error.run_directory = tmp_path  # type: ignore[attr-defined]
    assert report(error) == 2
    assert capsys.readouterr().err == f"error: x\n\nrun directory: {tmp_path}\n"


def test_a_run_error_is_said_without_a_traceback(ending, tmp_path):
    assert ending("run_error").stderr == (
        "error: the loss became NaN at step 3\n"
        f"  at {tmp_path}/user.py:17: raise error\n\nrun directory: {tmp_path}\n"
    )


def test_a_reader_that_goes_away_changes_nothing(ending, tmp_path):
    code = ENDING.format(folder=str(tmp_path), what="talk")
    ending("fine")
    script = (
        f'{{ "{sys.executable}" -c "$CODE"; echo "status $?" >&2; }} | head -1'  # what users type
    )
    done = subprocess.run(
        ["bash", "-c", script],
        env={**os.environ, "CODE": code},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "line 0\n"
    assert done.stderr == "the end\nstatus 0\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_listing_that_could_not_be_written_is_a_failure(tmp_path):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "torch_lab", "env"],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert done.returncode == 1
    assert "No space left on device" in done.stderr


def test_closed_standard_streams_are_no_crash(tmp_path):
    script = f'"{sys.executable}" -m torch_lab env >&- 2>&-'
    assert subprocess.run(["bash", "-c", script], cwd=tmp_path, timeout=60).returncode == 0


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UsageError("x"), 2),
        (RunError("x"), 1),
        (Stopped(signal.SIGHUP), 129),
        (KeyboardInterrupt(), 130),
        (ValueError("x"), 1),
    ],
)
def test_report_returns_the_status(error, status, capsys):
    assert report(error) == status
    assert capsys.readouterr().out == ""


def test_files_that_fail_under_a_run_are_no_mistake_of_the_user(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = StoreError("can't write metrics/0000.jsonl: No space left on device")
    assert report(error) == 2
    error.run_directory = tmp_path  # type: ignore[attr-defined]
    assert report(error) == 1
    assert f"run directory: {tmp_path}" in capsys.readouterr().err
