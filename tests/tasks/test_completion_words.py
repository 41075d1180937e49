"""What the word under the cursor could become."""

from __future__ import annotations

import subprocess
import sys

import pytest

from helpers import environment
from store.store_helpers import new_run, write_record
from torch_lab.cli.completing import answers as answering
from torch_lab.cli.completing.line import read
from torch_lab.cli.completing.verbs import Place, usages, verb
from torch_lab.cli.completion import _short, script
from torch_lab.cli.main import LAB_VERBS, VERBS
from torch_lab.errors import UsageError
from torch_lab.store.record import CheckpointEntry, MetricSummary
from torch_lab.tasks.completion.candidates import Candidate

BREAKS = " \t\n\"'@><=;|&(:"
EXPERIMENTS = "lab_project/experiments"
HPARAMS = f"{EXPERIMENTS}/00_net/hparams.py"


def texts(*words: str) -> list[str]:
    verbs = VERBS if words[0] == "torch-lab" else LAB_VERBS
    return [each.text for each in answering.answers(words, verbs)]


@pytest.fixture
def here(project, monkeypatch):
    """A project with two experiments, in which one stands."""
    for name in ("00_net", "01_other"):
        project.write(f"{EXPERIMENTS}/{name}/__main__.py", "raise SystemExit('imported')")
        project.write(
            f"{EXPERIMENTS}/{name}/hparams.py",
            '''
            """The values."""
            hparams = {
                "task": {"project_name": "p"},
                "trainer": {"init": {"max_epochs": 3}},
                "config": {"lr": 1e-3, "layers": [1, 2], "model": {"width": 8}},
            }
            raise SystemExit("imported")
            ''',
        )
    project.write(f"{EXPERIMENTS}/00_net/helpers.py", "WIDTH = 3\n")
    project.write(
        f"{EXPERIMENTS}/00_net/wide.py",
        """
        from torch_lab.hparams import extend
        hparams = extend("hparams.py", {"config.dropout": 0.1})
        """,
    )
    monkeypatch.chdir(project.root)
    return project


@pytest.fixture
def runs(here):
    """Three runs, the last one failed."""
    metrics = {"loss/validate": MetricSummary(0.5, 0.5, 0.5)}
    saved = CheckpointEntry("last", "checkpoints/step-3.ckpt", "auto", 3, 3, 1)
    for number, status in enumerate(("completed", "completed", "failed")):
        write_record(
            new_run(here.artifacts, "00_net-hparams"),
            status=status,
            created=1000.0 + number,
            experiment="00_net",
            script=HPARAMS,
            hparams={"config": {"lr": 0.1}},
            metrics=metrics,
            checkpoints=(saved,),
            id=f"{number}abc".ljust(32, "0"),
        )
    return here


def test_verbs_and_their_options_complete(here):
    assert texts("lab", "sh") == ["show"]
    assert texts("lab", "--v") == ["--version"]
    assert "train" in texts("torch-lab", "")
    assert "train" not in texts("lab", "")
    assert texts("/some/bin/lab", "preview", "--sp") == ["--split"]
    assert texts("torch-lab", "train", "--off") == ["--offline"]
    assert texts("lab", "nothing", "") == []


def test_scripts_complete_to_the_end_without_being_run(here):
    assert texts("train", "") == [
        HPARAMS,
        f"{EXPERIMENTS}/00_net/wide.py",
        f"{EXPERIMENTS}/01_other/hparams.py",
    ]
    assert texts("train", f"{EXPERIMENTS}/01") == [f"{EXPERIMENTS}/01_other/hparams.py"]
    assert texts("train", f"./{EXPERIMENTS}/01") == [f"./{EXPERIMENTS}/01_other/hparams.py"]
    assert texts("train", HPARAMS, "") == texts("train", "")  # several may be trained
    about = [each.about for each in answering.answers(("train", HPARAMS), LAB_VERBS)]
    assert about == ["The values."]


def test_in_an_experiments_folder_its_scripts_complete(here, monkeypatch):
    monkeypatch.chdir(here.root / EXPERIMENTS / "00_net")
    assert texts("lab", "check", "") == ["hparams.py", "wide.py"]
    assert texts("lab", "check", "wide.py", "h") == ["hparams.py"]
    assert texts("train", "hel") == ["helpers.py"]  # no script of the lab's goes on so


def test_many_scripts_complete_folder_by_folder(here):
    for number in range(50):
        here.write(f"{EXPERIMENTS}/02_many/h{number}.py", "hparams = {}\n")
    here.write(f"{EXPERIMENTS}/02_many/__main__.py", "")
    assert texts("train", "") == [
        f"{EXPERIMENTS}/{name}/" for name in ("00_net", "01_other", "02_many")
    ]
    assert len(texts("train", f"{EXPERIMENTS}/02_many/")) == 50


def test_outside_of_projects_only_folders_and_files_are_offered(tmp_path, monkeypatch):
    (tmp_path / "deep" / "00_x").mkdir(parents=True)
    (tmp_path / "deep" / "00_x" / "__main__.py").touch()
    (tmp_path / "deep" / "00_x" / "hparams.py").write_text("hparams = {}\n")
    (tmp_path / ".hidden.py").touch()
    monkeypatch.chdir(tmp_path)
    assert texts("train", "") == ["deep/"]
    assert texts("train", "deep/00_x/") == ["deep/00_x/hparams.py"]
    assert texts("lab", "show", "") == ["deep/"]


def test_runs_complete_by_name_the_newest_first(runs):
    names = ["00_net-hparams_v2", "00_net-hparams_v1", "00_net-hparams_v0"]
    assert texts("lab", "show", "00_net-") == names
    assert texts("lab", "show", "")[:3] == names
    assert texts("lab", "show", "1a") == ["1abc".ljust(32, "0")]
    assert texts("lab", "show", "00_net/") == ["00_net/hparams"]
    assert texts("train", "--resume", "") == ["auto", "00_net-hparams_v2"]
    assert texts("lab", "diff", names[0], "00_net-hparams_v0") == ["00_net-hparams_v0"]


def test_many_runs_complete_script_by_script(runs):
    for number in range(60):
        write_record(
            new_run(runs.artifacts, "01_other-hparams"), created=number, experiment="01_other"
        )
    stems = ["00_net-hparams_v", "01_other-hparams_v"]
    assert texts("lab", "sync", "0") == stems
    assert len(texts("lab", "sync", "01_other-hparams_v")) == 60


def test_checkpoints_complete_behind_a_colon(runs):
    assert texts("infer", HPARAMS, "--checkpoint", "00_net-hparams_v1:") == [
        "00_net-hparams_v1:last"
    ]
    assert texts("infer", HPARAMS, "--checkpoint=00_net/hparams:l") == [
        "--checkpoint=00_net/hparams:last"
    ]
    assert texts("lab", "show", "00_net-hparams_v1:") == ["00_net-hparams_v1:last"]
    assert texts("infer", HPARAMS, "--checkpoint", "n") == ["none"]
    assert texts("lab", "sync", "00_net-hparams_v1:") == []


def test_values_of_options_complete(here):
    assert texts("lab", "preview", HPARAMS, "--split", "t") == ["train", "test"]
    assert texts("lab", "preview", HPARAMS, "--split=v") == ["--split=val"]
    assert texts("lab", "runs", "--limit", "") == []
    assert texts("lab", "completion", "") == ["bash", "zsh", "fish"]
    assert texts("lab", "preview", HPARAMS, "--out", "py") == ["pyproject.toml"]
    assert texts("lab", "init", "lab") == ["lab_project/"]
    assert texts("infer", HPARAMS, "pypr") == ["pyproject.toml"]
    assert texts("infer", HPARAMS, "--", "--ch") == []


def test_keys_of_hyperparameters_are_read_from_the_script(here):
    wide = f"{EXPERIMENTS}/00_net/wide.py"
    keys = ["lr=", "layers=", "model.width=", "dropout="]
    assert texts("train", wide, "--set", "") == [
        "task.project_name=",
        "trainer.init.max_epochs=",
        *keys,
    ]
    assert texts("train", wide, "-s", "config.l") == ["config.lr=", "config.layers="]
    assert texts("train", "missing.py", "--set", "") == []
    assert texts("train", "--set", "") == []


def test_filters_and_metrics_are_those_that_runs_have(runs):
    assert texts("lab", "runs", "statu") == ["status="]
    assert texts("lab", "runs", "status=") == ["status=failed", "status=completed"]
    assert texts("lab", "runs", "status!=f") == ["status!=failed"]
    assert texts("lab", "runs", "l")[:2] == ["loss/validate=", "lr="]
    assert "-loss/validate" in texts("lab", "runs", "--sort", "-l")


def test_what_is_kept_when_runs_are_deleted_completes(runs):
    assert texts("lab", "rm", "--keep", "") == ["newest=", "best=", "checkpoints="]
    assert texts("lab", "rm", "--keep", "best=3:lo") == ["best=3:loss/validate"]
    assert texts("lab", "rm", "--keep", "best=3") == []
    assert texts("lab", "rm", "--keep=checkpoints=b") == ["--keep=checkpoints=best"]
    assert texts("lab", "rm", "status=f") == ["status=failed"]
    assert texts("lab", "rm", "")[0] == "00_net-hparams_v2"
    assert texts("lab", "plot", "--x", "") == ["step", "epoch", "time"]
    assert texts("lab", "runs", "--best", "l") == ["loss/validate"]
    assert texts("lab", "runs", "--group-by", "lr,se") == ["lr,seed"]


def test_experiments_complete_by_name_and_by_folder(here):
    assert texts("lab", "clone", "0") == ["00_net", "01_other"]
    assert texts("lab", "clone", "lab_") == [
        f"{EXPERIMENTS}/00_net/",
        f"{EXPERIMENTS}/01_other/",
    ]


def test_nothing_is_imported_that_takes_long(runs):
    code = f"""if True:
        import sys
        from torch_lab.cli.completion import _lines
        assert _lines("fish", ["lab show "]) and _lines("zsh", ["train", {HPARAMS!r}, "--set", ""])
        assert _lines("bash", ["lab runs l", ""])
        print(*{{"torch", "numpy", "pytorch_lightning", "clearml"}} & set(sys.modules))
    """
    command = [sys.executable, "-c", code]
    assert subprocess.check_output(command, env=environment(), text=True) == "\n"


def test_a_shell_waits_for_no_answer_that_takes_long(here):
    code = """if True:
        from torch_lab.cli import completion
        completion._PATIENCE = 1e-6
        completion.command(["zsh", "--words", "lab", ""])
    """
    command = [sys.executable, "-c", code]
    assert subprocess.check_output(command, env=environment()) == b""


@pytest.mark.parametrize("name", VERBS)
def test_every_place_in_a_usage_line_is_one_that_completes(name):
    known = answering.PLACES.keys() | answering.FREE
    places = {place.name for usage in verb(name).usages for place in usage}
    assert places <= known, f"the usage of {name} names {places - known}: say what completes there"


def test_usages_are_read_from_the_help():
    text = "lab do RUN[:NAME] [--keep RULE] [options]   x\nlab do A… --out FILE   y\n\n  lab do x\n"
    first, second = usages(text, "do")
    assert first == (Place("RUN", checkpoint=True),)
    assert second == (Place("A", repeats=True),)


@pytest.mark.parametrize(
    ("typed", "words", "kept"),
    [
        ("train ", ["train", ""], 0),
        ("train --set lr=", ["train", "--set", "lr="], 3),
        ("lab show a:b", ["lab", "show", "a:b"], 2),
        (r"train my\ lab/e", ["train", "my lab/e"], 0),
        ("train 'my lab/e", ["train", "my lab/e"], 0),
        ('train "a\\"b\\c"d', ["train", 'a"b\\cd'], 5),
        ("cd x && train 'a' b", ["train", "a", "b"], 0),
        ("train ''", ["train", ""], 0),
        ("train a\\", ["train", "a"], 0),
        ("", [""], 0),
    ],
)
def test_a_bash_line_is_read_as_bash_would(typed, words, kept):
    line = read(typed, BREAKS)
    assert (line.words, line.kept) == (words, kept)


@pytest.mark.parametrize(
    ("typed", "reply"),
    [
        ("train my", ["my\\ lab/\\$x.py "]),
        ("train 'my", ["my lab/$x.py"]),
        ("train a=my", ["my\\ lab/\\$x.py "]),
    ],
)
def test_replies_are_quoted_for_bash(typed, reply):
    line = read(typed, BREAKS)
    whole = line.words[-1][: line.kept] + "my lab/$x.py"
    assert list(line.replies([Candidate(whole)])) == reply


def test_a_word_that_goes_on_is_followed_by_no_space_and_home_stays_home():
    replies = read("train ~/p", BREAKS).replies([Candidate("~/proj~/", more=True)])
    assert list(replies) == ["~/proj\\~/"]


def test_a_remark_that_is_too_long_ends_with_a_word():
    assert _short("word " * 20) == "word " * 11 + "…"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_scripts_ask_for_every_command(shell):
    text = script(shell)
    assert "train infer lab torch-lab" in text
    assert f"completion {shell} --words" in text


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (
            [],
            "lab completion takes the name of a shell: bash, zsh, fish",
            "type `lab completion zsh`",
        ),
        (["bsh"], "no completion for bsh", 'did you mean "bash"?'),
    ],
)
def test_another_shell_is_refused(words, message, hint, monkeypatch):
    from torch_lab.cli import completion

    monkeypatch.setenv("SHELL", "/usr/bin/zsh")
    with pytest.raises(UsageError) as caught:
        completion.command(words)
    assert caught.value.message == message
    assert (
        caught.value.hint.removesuffix("; `lab completion --help` says how it is installed") == hint
    )


def test_answers_go_to_no_prompt_when_something_is_wrong(here, capsys):
    from torch_lab.cli import completion

    here.write("pyproject.toml", "[tool.torch-lab]\nkeep-checkpoints = 'many'\n")
    assert completion.command(["bash", "--words", "lab show ", BREAKS]) == 0
    assert completion.command(["zsh", "--words", "lab"]) == 0
    assert completion.command(["bash", "--words"]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")
