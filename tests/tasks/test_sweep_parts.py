"""The parts of a sweep: what SWEEP may say, grids, who has a trial, where trials are kept."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from helpers import Project, environment
from torch_lab import experiment as experiments
from torch_lab import settings
from torch_lab.cli import sweep as command
from torch_lab.errors import ScriptError, StorageAway, SweepError, TorchLabError, UsageError
from torch_lab.store.host import this_process
from torch_lab.tasks.pool import slots
from torch_lab.tasks.sweep import asking, design, ledger, report, space, storage
from torch_lab.tasks.sweep.design import Design
from torch_lab.tasks.sweep.owners import OWNER, Owners
from torch_lab.tasks.sweep.search import Order, Search

SCRIPT = "lab_project/experiments/00_first/search.py"
HPARAMS = """\
hparams = {"config": {"lr": 0.1, "name": "a", "layers": [1], "maker": None}}
"""


def script(project: Project, text: str) -> experiments.Experiment:
    project.write("lab_project/experiments/00_first/__main__.py", "def train_config(config): ...\n")
    return experiments.find(project.write(SCRIPT, HPARAMS + textwrap.dedent(text)))


def read(project: Project, text: str, **options: object) -> Design:
    return design.read(script(project, f"{text}\ndef sweep(trial): return {{}}\n"), options)[0]


# -- SWEEP -------------------------------------------------------------------------------------


def test_all_mistakes_are_told_at_once(project):
    with pytest.raises(SweepError) as caught:
        read(
            project,
            """SWEEP = {"metrik": "loss", "mode": "least", "trials": 0, "sampler": "bayes",
            "pruner": "median", "pruner_kwargs": {"n_startup": 2}, "seed": "x", "name": ""}""",
        )
    assert "search.py: 7 problems in SWEEP\n  SWEEP[" in str(caught.value)
    assert caught.value.problems == (
        "SWEEP['metrik']: unknown key; did you mean \"metric\"?",
        "SWEEP['mode']: expected \"min\" or \"max\", got 'least' (str)",
        "SWEEP['trials']: expected a positive int, got 0 (int)",
        "SWEEP['sampler']: expected one of tpe, random, grid, gp, cmaes, qmc, nsgaii,"
        " got 'bayes' (str)",
        "SWEEP['seed']: expected an int, got 'x' (str)",
        "SWEEP['name']: expected a name, got '' (str)",
        "SWEEP['pruner_kwargs']['n_startup']: unknown; did you mean \"n_startup_trials\"?",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SWEEP = 3", "SWEEP: expected a dict, got 3 (int)"),
        ('SWEEP = {"metric": "margin"}', "SWEEP['mode']: is the least margin the best, or"),
        (
            'SWEEP = {"sampler_kwargs": {"multi": True}}',
            "SWEEP['sampler_kwargs']['multi']: unknown",
        ),
        ('SWEEP = {"pruner_kwargs": {"x": 1}}', "x: there is nothing that takes them"),
        (
            'SWEEP = {"pruner": "percentile"}',
            "SWEEP['pruner_kwargs']['percentile']: missing",
        ),
    ],
)
def test_a_mistake(project, text, said):
    with pytest.raises(SweepError) as caught:
        read(project, text)
    assert said in str(caught.value)


def test_options_go_before_the_script(project):
    found = read(project, 'SWEEP = {"metric": "loss", "trials": 3}', metric="acc", mode=None)
    assert (found.metric, found.mode, found.trials) == ("acc", "max", 3)
    assert found.name == "00_first-search"
    with pytest.raises(SweepError, match="--mode: expected"):
        read(project, "", mode="up")


def test_kwargs_that_the_class_refuses(project):
    found = read(project, 'SWEEP = {"pruner": "percentile", "pruner_kwargs": {"percentile": 200}}')
    with pytest.raises(UsageError, match=r"SWEEP\['pruner_kwargs'\]: Percentile"):
        design.made_pruner(found)
    assert design.made_sampler(read(project, ""), 7) is not None


def test_a_script_without_sweep(project):
    with pytest.raises(ScriptError, match=r"has no function sweep\(trial\)") as caught:
        design.read(script(project, ""), {})
    assert caught.value.hint == (
        'It says what to try: def sweep(trial): return {"config.learning_rate":'
        ' trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)}'
    )


def test_without_optuna(monkeypatch):
    monkeypatch.setattr(design, "find_spec", lambda name: None)
    with pytest.raises(UsageError) as caught:
        design.require_optuna()
    assert str(caught.value) == (
        "lab sweep searches with optuna, which is not installed\n"
        "pip install 'torch-lab[sweep]' installs it"
    )


def test_without_what_a_sampler_needs(project, monkeypatch):
    monkeypatch.setattr(design, "find_spec", lambda name: name != "cmaes" or None)
    with pytest.raises(UsageError) as caught:
        read(project, 'SWEEP = {"sampler": "cmaes"}')
    assert str(caught.value) == (
        "the sampler cmaes needs cmaes, which is not installed\npip install cmaes"
    )


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ((), "lab sweep takes one script\ntype `lab sweep SCRIPT`"),
        (("a.py", "b.py"), "lab sweep takes one script, got 2: a.py, b.py"),
        (("a.py", "--json"), "--json goes with --status\nadd --status"),
        (
            ("a.py", "--status", "--out", "b.py"),
            "--status and --out are two things to do\ndo one, then the other",
        ),
    ],
)
def test_command_lines(argv, said):
    with pytest.raises(UsageError) as caught:
        command.command(argv)
    assert str(caught.value).startswith(said)


# -- grids -------------------------------------------------------------------------------------


def test_a_grid_follows_what_is_asked():
    def sweep(trial):
        if trial.suggest_categorical("kind", ["sgd", "adam"]) == "sgd":
            return {"momentum": trial.suggest_float("momentum", 0.1, 0.3, step=0.1)}
        trial.set_user_attr("said", trial.number)
        return {"width": trial.suggest_int("width", 2, 8, step=4)}

    assert space.combinations(sweep) == [
        {"kind": "sgd", "momentum": 0.1},
        {"kind": "sgd", "momentum": 0.2},
        {"kind": "sgd", "momentum": 0.3},
        {"kind": "adam", "width": 2},
        {"kind": "adam", "width": 6},
    ]
    assert space.combinations(lambda trial: {}) == [{}]


def test_grids_that_have_no_end():
    with pytest.raises(UsageError) as caught:
        space.combinations(lambda trial: trial.suggest_float("lr", 0.0, 1.0))
    assert str(caught.value) == (
        "lr: a grid has no room for all numbers from 0.0 to 1.0\n"
        "Give suggest_float a step, or use suggest_categorical."
    )
    with pytest.raises(UsageError, match="n: the grid has 1000001 values of it alone"):
        space.combinations(lambda trial: trial.suggest_int("n", 0, 10**6))
    with pytest.raises(UsageError, match="the grid has more than 100000 combinations") as caught:
        space.combinations(lambda trial: [trial.suggest_int(f"n{i}", 1, 100) for i in range(3)])
    assert caught.value.hint == 'Let a sampler choose: "random", "tpe".'


# -- what sweep(trial) returns -------------------------------------------------------------------


def test_values_become_words_of_a_command(project):
    found = script(project, "def sweep(trial): ...\n")
    values = {"lr": 1e-05, "config.name": "1", "layers": [3, "x"], "seed": 4}
    texts = asking.texts_of(found, values, ("trainer.init.max_epochs=2",))
    assert texts == (
        "trainer.init.max_epochs=2", "lr=1e-05", "config.name=1", "layers=[3, 'x']", "seed=4"
    )  # fmt: skip


def test_values_that_are_none(project):
    found = script(project, "def sweep(trial): ...\n")
    with pytest.raises(UsageError) as caught:
        asking.texts_of(found, [1])
    assert "search.py: sweep(trial) should return a dict of dotted keys, got [1]" in str(
        caught.value
    )
    assert caught.value.hint == 'for instance {"config.learning_rate": trial.suggest_float(…)}'
    with pytest.raises(UsageError, match="config has no lrr") as caught:
        asking.texts_of(found, {"lrr": 1.0})
    with pytest.raises(
        UsageError, match="not all of these values can be given to `train --set`"
    ) as (caught):
        asking.texts_of(found, {"maker": print})
    assert caught.value.hint == (
        "Numbers, texts, bools, and lists and dicts of them can; suggest a name, and let"
        " train_config make of it what it stands for."
    )


# -- where trials are kept -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "said", "hint"),
    [
        (
            "{}/bad",
            "the sweep's storage {}/bad is no journal of Optuna's: ",
            "Give another file, or move this one away.",
        ),
        ("{}/bad/file", "the sweep's storage {}/bad/file can't be opened: File exists", None),
        (
            "sqlite:///{}/no/x.db",
            "the sweep's storage sqlite:///{}/no/x.db can't be opened: ",
            "It is a file, or a database's URL as Optuna takes it:"
            " postgresql+psycopg2://user@host/name.",
        ),
        (
            "postgresql://me:word@h/x",
            "the sweep's storage postgresql://***@h/x needs a database driver: ",
            None,
        ),
    ],
)
def test_storages_that_cannot_be_opened(tmp_path, place, said, hint):
    (tmp_path / "bad").write_text("hello\nworld\n")
    with pytest.raises(TorchLabError) as caught:
        storage.opened(place.format(tmp_path), 60.0)
    assert said.format(tmp_path) in str(caught.value)
    assert caught.value.hint == hint


def test_where_the_trials_are(tmp_path):
    place = storage.place_of(None, "00_a-b", tmp_path / "artifacts", tmp_path)
    assert place == f"{tmp_path}/artifacts/.sweeps/00_a-b.journal"
    assert storage.place_of("x.journal", "s", tmp_path, tmp_path) == f"{tmp_path}/x.journal"
    assert storage.place_of("sqlite:///x", "s", tmp_path, tmp_path) == "sqlite:///x"


def test_a_turn_whose_holder_is_dead_is_free(tmp_path):
    """Optuna's own lock would keep everybody waiting for half a minute."""
    code = f"""
import os
from torch_lab.tasks.sweep.storage import opened
storage = opened({str(tmp_path / "x.journal")!r}, 60.0)
storage._backend._lock.acquire()
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", code], check=True, env=environment())
    trials = begun(tmp_path)
    assert trials.all() == []


# -- who has a trial -----------------------------------------------------------------------------


def begun(folder: Path, name: str = "s", lost_after: float = 60.0, **kind: Any) -> ledger.Trials:
    made = Design(name, **kind)
    return ledger.begun(made, str(folder / "x.journal"), lost_after)


def dead() -> dict[str, object]:
    """A process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    return {**asdict(this_process()), "pid": process.pid, "started": "1"}


def given_to(trials: ledger.Trials, process: dict[str, object], **more: object) -> object:
    made = trials.new(9)
    owner = {"token": "t", "generation": 1, "process": process, **more}
    trials.note(made, OWNER, owner)
    return trials.get(made)


def test_one_of_many_takes_a_trial_over(tmp_path):
    trials = begun(tmp_path)
    trial = given_to(trials, dead())
    rivals = [Owners(begun(tmp_path).study, 60.0) for _ in range(4)]
    assert not any(each.is_alive(trial) for each in rivals)
    assert [each.take(trial) for each in rivals].count(True) == 1
    assert rivals[0].is_mine(trials.get(trial))


def test_a_generation_that_nobody_came_to_have_is_passed_over(tmp_path):
    trials = begun(tmp_path)
    trial = given_to(trials, dead())
    trials.note(trial, "wants 2 x", dead())
    trials.study._storage.create_new_study(trials.study.directions, "s/0.2")
    assert trials.owners.take(trials.get(trial))
    assert trials.get(trial).user_attrs[OWNER]["generation"] == 3


def test_a_living_owner_keeps_its_trial_until_it_frees_it(tmp_path):
    trials, other = begun(tmp_path), begun(tmp_path).owners
    trial = trials.new(9)
    assert other.is_alive(trial)
    trials.owners.free(trial)
    assert trials.owners.is_free(trials.get(trial))
    assert not other.is_alive(trials.get(trial))
    assert other.take(trials.get(trial))
    assert not trials.tell(trial, "complete", value=1.0), "it is another's"


def test_an_owner_elsewhere_is_known_by_its_beats(tmp_path):
    """One that beats keeps its trial; one that is silent for too long loses it."""
    trials, now = begun(tmp_path), [0.0]
    far = {**asdict(this_process()), "host": "elsewhere"}
    trial, owners = given_to(trials, far), Owners(trials.study, 60.0, lambda: now[0])
    assert owners.is_alive(trial)
    assert owners.is_doubtful(trial)
    for beat in range(5):
        now[0] += 50
        trials.study.set_user_attr("beat t", beat)
        assert owners.is_alive(trial)
        assert not owners.is_doubtful(trial)
    now[0] += 59
    assert owners.is_alive(trial)
    now[0] += 2
    assert not owners.is_alive(trial)
    assert owners.where(trial).endswith("on elsewhere")
    assert owners.take(trial)


def test_what_others_work_on_is_left_to_them(project, tmp_path):
    """A search takes the trials of those who are dead, and names those who live."""
    found = script(project, "def sweep(trial): return {}\n")
    trials, now = begun(tmp_path), [0.0]
    trials.owners = Owners(trials.study, 60.0, lambda: now[0])
    far = {**asdict(this_process()), "host": "elsewhere"}
    lives, silent = given_to(trials, far), given_to(trials, far, token="u")
    order = Order(found, settings.load(found.script), trials.design, lambda trial: {}, "")
    search = Search(order, trials, slots(None, 1), print)
    assert search._left_behind() is None
    now[0] += 50
    trials.study.set_user_attr("beat t", 1)
    assert search._left_behind() is None
    now[0] += 20
    taken = search._left_behind()
    assert taken is not None
    assert taken.number == silent.number
    assert [t.number for t in search.in_other_hands()] == [lives.number]


def test_no_more_trials_than_there_should_be(tmp_path):
    """Two processes see room for one, and both make it: the first one counts."""
    trials = begun(tmp_path)
    others = begun(tmp_path)
    for _ in range(2):
        assert trials.new(2) is not None
    others.all = trials.all  # as it was before, for one look
    seen = [trials.all()[:1], trials.all()]
    others.all = lambda: seen.pop(0) if seen else trials.all()
    assert others.new(2) is None
    assert [t.number for t in trials.all()] == [0, 1]


# -- what a study can hold -----------------------------------------------------------------------


def test_choices_that_have_changed(tmp_path):
    """The ends of a range may move, other changes are told before anything is written."""
    trials = begun(tmp_path, sampler="random")
    first = trials.proposal(trials.new(9), None)
    assert first.suggest_categorical("a", [[1, 2], "x"]) in ([1, 2], "x")
    first.suggest_float("b", 0.1, 1.0, log=True)
    again = begun(tmp_path, sampler="random")
    trial = again.proposal(again.new(9), None)
    assert 2.0 <= trial.suggest_float("b", 2.0, 3.0, log=True) <= 3.0
    with pytest.raises(UsageError) as caught:
        trial.suggest_categorical("a", ["x", "y", "z"])
    assert str(caught.value) == (
        "'a' was one of [1, 2], 'x' in this sweep before, and is now to be one of 'x', 'y', 'z'\n"
        'Give it back, or begin another sweep: SWEEP = {"name": …}.'
    )
    with pytest.raises(UsageError, match=r"'b' was a float .* log=True in .* an int from 1 to"):
        again.proposal(again.new(9), None).suggest_int("b", 1, 2)
    assert set(begun(tmp_path).all()[1].params) == {"b"}


def test_choices_that_cannot_be_kept(tmp_path):
    trials = begun(tmp_path)
    trial = trials.proposal(trials.new(9), None)
    for choices in ([(0.9, 0.99), (0.8, 0.9)], [print]):
        with pytest.raises(UsageError, match="'betas': a sweep can't keep these choices: ") as got:
            trial.suggest_categorical("betas", choices)
    assert got.value.hint == (
        "Numbers, texts, bools, and lists and dicts of them can be chosen from."
    )


def test_a_grid_that_has_changed(tmp_path):
    trials = begun(tmp_path, sampler="grid")
    trials.be_grid([{"a": 1}])
    trials.be_grid([{"a": 2}])
    trials.note(trials.new(9), ledger.OVERRIDES, ["a=2"])
    begun(tmp_path, sampler="grid").be_grid([{"a": 2}])
    with pytest.raises(UsageError) as caught:
        begun(tmp_path, sampler="grid").be_grid([{"a": 1}, {"a": 2}])
    assert caught.value.message == ("the grid of the sweep s isn't the one that it was begun with")


def test_tpe_proposes_the_same_whenever_it_is_stopped(tmp_path):
    """It looks at the trials that are over; one that was cut off goes on where it was."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    kind = {"sampler": "tpe", "sampler_kwargs": {"n_startup_trials": 3}}

    def asked(folder: Path, stops: bool) -> list[dict[str, object]]:
        trials = begun(folder, **kind)
        for number in range(9):
            made = trials.new(9)
            if stops and number % 2:
                trials.proposal(made, None).suggest_float("x", 0, 1)
                trials.owners.free(made)
                trials = begun(folder, **kind)
                assert trials.owners.take(trials.get(made))
            proposal = trials.proposal(made, None)
            x, kind_ = proposal.suggest_float("x", 0, 1), proposal.suggest_int("n", 1, 8)
            assert trials.tell(made, "complete", value=(x - 0.3) ** 2 + kind_)
        return [trial.params for trial in trials.all()]

    assert asked(whole, stops=False) == asked(cut, stops=True)


# -- a storage that is away ----------------------------------------------------------------------


def test_a_journal_that_is_gone(tmp_path):
    trials = begun(tmp_path)
    place = tmp_path / "x.journal"
    place.rename(tmp_path / "away")
    with pytest.raises(StorageAway) as caught:
        trials.new(9)
    assert str(caught.value) == (
        f"the sweep's storage {place} can't be reached: No such file or directory\n"
        "Nothing is lost: started again when it is back, the sweep goes on."
    )
    assert not place.exists()
    (tmp_path / "away").rename(place)
    assert trials.new(9).number == 0


def test_a_journal_where_nothing_can_be_written(tmp_path):
    begun(tmp_path)
    lock = tmp_path / ".x.journal.lock"
    shutil.rmtree(lock)
    lock.touch()
    with pytest.raises(StorageAway, match=r"x\.journal can't be reached: File exists"):
        begun(tmp_path).new(9)


def test_a_database_that_is_gone(tmp_path):
    file = tmp_path / "trials.db"
    trials = ledger.begun(Design("s"), f"sqlite:///{file}", 60.0)
    trials.study._storage._backend.engine.dispose()
    file.write_bytes(b"no database" * 999)
    with pytest.raises(StorageAway, match=r"trials\.db can't be reached: file is not a database"):
        trials.all()


def test_half_a_line_is_taken_back(tmp_path):
    """A full disk leaves one; nobody could read what is written behind it."""
    trials, place = begun(tmp_path), tmp_path / "x.journal"
    first = trials.new(9)
    whole = place.read_bytes()
    with place.open("ab") as file:
        file.write(b'{"op_code":8,"x":"' + b"y" * 9000)
    assert begun(tmp_path).all()[0].number == first.number
    assert place.read_bytes().startswith(whole)
    assert b"yyy" not in place.read_bytes()
    assert trials.new(9).number == 1
    assert [t.number for t in begun(tmp_path).all()] == [0, 1]


def test_how_long_a_database_is_waited_for():
    """As its driver takes it, and unless its URL says so."""
    bounds = storage._engine("mysql+pymysql://me@host/x?read_timeout=5")["connect_args"]
    assert bounds == {"connect_timeout": 10, "write_timeout": 30}
    assert storage._engine("postgresql://me@host/x")["connect_args"]["connect_timeout"] == 10
    assert storage._engine("sqlite:///x")["connect_args"] == {}


# -- reports -------------------------------------------------------------------------------------


def test_a_study_is_of_one_kind(tmp_path):
    trials = begun(tmp_path)
    assert begun(tmp_path, metric="loss/test").design.metric == "loss/test", "nothing was valued"
    trials.report(trials.new(9)._trial_id, 1.0, 0)
    with pytest.raises(UsageError) as caught:
        begun(tmp_path, metric="loss/train")
    assert str(caught.value) == (
        "the sweep s was begun with metric 'loss/test', not 'loss/train'\n"
        'Give it back, or begin another sweep: SWEEP = {"name": …}.'
    )


def test_scripts_that_cannot_be_written(project):
    found = script(project, "def sweep(trial): ...\n")
    order = Order(found, None, Design("s"), lambda trial: {}, "")
    with pytest.raises(UsageError, match="the sweep s has no completed trial yet"):
        report.write_best(order, None, found.script)
    for path, said, hint in (
        (found.script, "search.py exists", "Name a new file."),
        (
            project.root / "x.py",
            "x.py would lie in no experiment: there is no __main__.py",
            "Write it beside the sweep's script.",
        ),
        (
            found.directory / "a-b.py",
            'a-b.py is no name for a script: a .py file without "-"',
            "for instance a_b.py",
        ),
    ):
        with pytest.raises(UsageError) as caught:
            report._check(path)
        assert said in caught.value.message
        assert hint == caught.value.hint


def test_grid_values_reach_the_trial(tmp_path):
    trials = ledger.begun(Design("s", sampler="grid"), str(tmp_path / "x"), 60.0)
    wanted = [{"a": a, "b": b} for a, b in itertools.product((1, 2), ("x", "y"))]
    for each in wanted:
        proposal = trials.proposal(trials.new(9), wanted)
        got = {
            "a": proposal.suggest_int("a", 1, 2),
            "b": proposal.suggest_categorical("b", ["x", "y"]),
        }
        assert got == each


def test_gpus_that_are_not_there(project, monkeypatch):
    """Said before there is a study."""
    script(project, "def sweep(trial): return {}\n")
    monkeypatch.chdir(project.root)
    with pytest.raises(UsageError):
        command.command([SCRIPT, "-g", "97"])
    assert not (project.artifacts / ".sweeps").exists()


def test_under_a_launcher(project, monkeypatch):
    script(project, "def sweep(trial): return {}\n")
    monkeypatch.chdir(project.root)
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "h"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_PORT", "1")
    with pytest.raises(UsageError) as caught:
        command.command([SCRIPT])
    assert "starts the processes of one run, and a sweep has many runs" in caught.value.message
    assert caught.value.hint == (
        "Start `lab sweep` by itself, on each machine that is to share the work."
    )


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--dev-run=1", "lab sweep has no option --dev-run\nOne trial's hyperparameters are tried"),
        ("-d", "lab sweep has no option -d\nOne trial's hyperparameters are tried by `train SCRIP"),
        ("--queue", "lab sweep has no option --queue\nNo trial goes to a ClearML queue: start `l"),
        ("--resume", "\nNone is needed: the same command goes on with the sweep."),
        ("--pdb", "`train SCRIPT --debug -s KEY=VALUE`."),
        ("--time", "`lab sweep` is a command for a batch script of your own; several jobs with"),
        ("--sampler", "lab sweep has no option --sampler\nSWEEP in the script says it."),
        ("--wrong", "unknown option --wrong"),
    ],
)
def test_options_of_other_commands(option, said):
    with pytest.raises(UsageError) as caught:
        command.command(["a.py", option])
    assert said in str(caught.value)
