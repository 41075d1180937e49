from __future__ import annotations

import inspect
import math
import threading
from copy import deepcopy
from pathlib import Path

import pytest

import torch_lab
from script_helpers import clean_imports, output, python, write
from torch_lab import hparams
from torch_lab.errors import HparamsError, ScriptError, UsageError
from torch_lab.hparams.kinds import ANYTHING
from torch_lab.hparams.lightning import trainer_kwargs
from torch_lab.hparams.overriding import read_like


@pytest.fixture
def folder(tmp_path):
    with clean_imports(tmp_path):
        yield tmp_path / "experiments" / "00_a"


def problems(raw: object) -> list[str]:
    with pytest.raises(HparamsError) as caught:
        hparams.check(raw)
    return list(caught.value.problems)


# The check


def test_keys_of_the_trainer_in_another_place_or_of_another_lightning():
    raw = {"max_epochs": 3, "trainer": {"max_steps": 3, "init": {"gpus": 1}}}
    assert problems(raw) == [
        'max_epochs: unknown key; did you mean "trainer.init.max_epochs"?',
        'trainer.max_steps: unknown key; did you mean "trainer.init.max_steps"?',
        "trainer.init.gpus: unknown key; in Lightning 2 it is devices, with accelerator",
    ]


def test_defaults():
    checked = hparams.check({})
    assert checked == hparams.Hparams(
        path=None,
        task={},
        checkpoint=hparams.CheckpointSection(),
        trainer=hparams.TrainerSection(
            init={
                "max_epochs": -1,
                "num_sanity_val_steps": 0,
                "accelerator": "auto",
                "devices": "auto",
            },
            fit={},
            validate={},
            predict={},
        ),
        seed=0,
        config={},
    )


def test_the_spec_example_passes():
    raw = {
        "task": {"project_name": "digits"},
        "checkpoint": {
            "checkpoint_task_id": None,
            "checkpoint_name": "last",
            "weights_only": False,
            "strict": True,
        },
        "trainer": {"init": {}, "fit": {}, "validate": {}, "predict": {}},
        "seed": 0,
        "config": {"learning_rate": 1e-3},
    }
    checked = hparams.check(raw)
    assert checked.config == {"learning_rate": 1e-3}
    assert checked.notices == ()


def test_all_mistakes_are_reported_together():
    raw = {
        "task": {"project_nam": "x", "tags": "abc", "sdk": "yes"},
        "chekpoint": {},
        "checkpoint": {"strict": 1, "weight_only": True, "keep": 0, "every_minutes": "5"},
        "trainer": {
            "init": {"max_epoch": 3, "max_steps": "abc", "model": 1, "precision": "16-mixed"},
            "fit": {"ckpt_path": 3, "weights_only": False, "train_dataloaders": []},
            "validate": 3,
            "predict": {"return_predictions": True},
            "tst": {},
        },
        "seed": "abc",
        "config": [1],
    }
    before = deepcopy(raw)
    data = "comes from what the configuration script returns; remove it"
    unsafe = "may not be set: no checkpoint that could run code is loaded; remove it"
    assert problems(raw) == [
        'chekpoint: unknown key; did you mean "checkpoint"?',
        'task.project_nam: unknown key; did you mean "project_name"?',
        "task.tags: expected a list of strings or None, got 'abc' (str)",
        "task.sdk: expected a bool, got 'yes' (str)",
        'checkpoint.weight_only: unknown key; did you mean "weights_only"?',
        "checkpoint.strict: expected a bool, got 1 (int)",
        "checkpoint.every_minutes: expected a positive number or None, got '5' (str)",
        "checkpoint.keep: expected a positive int or None, got 0 (int)",
        "trainer.tst: unknown key; there are init, fit, validate, predict",
        f"trainer.init.model: {data}",
        'trainer.init.max_epoch: unknown key; did you mean "max_epochs"?',
        "trainer.init.max_steps: expected an int, got 'abc' (str)",
        f"trainer.fit.train_dataloaders: {data}",
        f"trainer.fit.weights_only: {unsafe}",
        "trainer.fit.ckpt_path: expected a path or None, got 3 (int)",
        "trainer.validate: expected a dict, or None for no validation before fit, got 3 (int)",
        "trainer.predict.return_predictions: may not be set: callbacks write the predictions; "
        "remove it",
        "seed: expected an int from 0 to 4294967295, or None to draw one, got 'abc' (str)",
        "config: expected a dict, got [1] (list)",
    ]
    assert raw == before


@pytest.mark.parametrize("raw", [None, [], "x", 3])
def test_not_a_dict(raw):
    assert len(problems(raw)) == 1


@pytest.mark.parametrize("section", ["task", "trainer", "config"])
@pytest.mark.parametrize("value", [None, [], "x", 3])
def test_sections_are_dicts(section, value):
    assert problems({section: value})[0].startswith(f"{section}: expected a dict, got ")


def test_keys_that_are_no_strings():
    assert problems({1: 2, "task": {None: 3}, "trainer": {"init": {2: 1}}})[:2] == [
        "1: unknown key; there are task, checkpoint, trainer, seed, config",
        "task.None: unknown key; there are project_name, task_type, tags, output_uri, sdk, "
        "task_name, reuse_last_task_id, continue_last_task, auto_connect_arg_parser, "
        "auto_connect_frameworks, auto_connect_streams, auto_resource_monitoring, ...",
    ]


@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, True, "0"])
def test_wrong_seeds(seed):
    assert problems({"seed": seed})[0].startswith("seed: expected an int from 0")


def test_seed_none_stays_none():
    assert hparams.check({"seed": None}).seed is None


def test_validate_none_means_no_validation():
    checked = hparams.check({"trainer": {"validate": None}})
    assert checked.trainer.validate is None
    assert checked.as_dict()["trainer"]["validate"] is None


def test_checkpoint_none_is_no_checkpoint():
    assert hparams.check({"checkpoint": None}).checkpoint == hparams.CheckpointSection()


@pytest.mark.parametrize("value", [False, 0, "", []])
def test_other_empty_values_are_no_checkpoint_section(value):
    assert problems({"checkpoint": value})[0].startswith("checkpoint: expected a dict, got ")


def test_a_checkpoint_file_may_be_a_path():
    checked = hparams.check({"checkpoint": {"checkpoint_task_id": Path("a") / "b.ckpt"}})
    assert checked.checkpoint.checkpoint_task_id == "a/b.ckpt"


def test_clearml_keywords_without_meaning_are_accepted_and_named():
    clearml_init = {
        "project_name": "digits",
        "task_name": "x",
        "task_type": "training",
        "tags": ["a"],
        "output_uri": True,
        "reuse_last_task_id": False,
        "continue_last_task": 0,
        "auto_connect_arg_parser": {"a": True},
        "auto_connect_frameworks": False,
        "auto_resource_monitoring": True,
        "auto_connect_streams": True,
        "deferred_init": False,
        "sdk": True,
    }
    checked = hparams.check({"task": clearml_init})
    assert checked.task == clearml_init
    named = {notice.split()[0] for notice in checked.notices}
    meaning = {"project_name", "task_type", "tags", "output_uri", "sdk"}
    assert named == {f"task.{key}" for key in clearml_init.keys() - meaning}
    assert len(checked.notices) == len(named)


def test_strict_without_weights_only_is_named():
    (notice,) = hparams.check({"checkpoint": {"strict": False}}).notices
    assert notice.startswith("checkpoint.strict has an effect only with")
    assert hparams.check({"checkpoint": {"strict": False, "weights_only": True}}).notices == ()


def test_as_dict_passes_the_check_again():
    raw = {"task": {"tags": ["a"]}, "seed": None, "trainer": {"validate": None}, "config": {"a": 1}}
    first = hparams.check(raw)
    again = hparams.check(first.as_dict())
    assert again == first


def test_nothing_is_shared_with_the_users_dict():
    raw = {"config": {"sizes": [1, 2]}, "trainer": {"init": {"max_epochs": 3}}}
    checked = hparams.check(raw)
    checked.config["sizes"].append(3)
    checked.as_dict()["config"]["sizes"].append(4)
    checked.trainer.init["max_epochs"] = 4
    assert raw == {"config": {"sizes": [1, 2]}, "trainer": {"init": {"max_epochs": 3}}}
    assert checked.config == {"sizes": [1, 2, 3]}


def test_what_cannot_be_copied_is_shared():
    lock = threading.Lock()
    raw = {"config": {"lock": lock, "sizes": [1]}}
    config = hparams.check(raw).config
    assert config["lock"] is lock
    assert config["sizes"] is not raw["config"]["sizes"]


# Trainer keywords, from Lightning's source


@pytest.mark.parametrize("section", ["init", "fit", "validate", "predict"])
def test_trainer_keywords_are_those_of_the_installed_lightning(section):
    from pytorch_lightning import Trainer

    method = Trainer.__init__ if section == "init" else getattr(Trainer, section)
    expected = [name for name in inspect.signature(method).parameters if name != "self"]
    assert sorted(trainer_kwargs(section)) == sorted(expected)


def test_defaults_of_lightning_pass_its_own_annotations():
    from pytorch_lightning import Trainer

    for section in ("init", "fit", "validate", "predict"):
        method = Trainer.__init__ if section == "init" else getattr(Trainer, section)
        for name, parameter in inspect.signature(method).parameters.items():
            if parameter.default is not inspect.Parameter.empty:
                assert trainer_kwargs(section)[name].accepts(parameter.default), name


def test_only_lightning_can_check_its_own_types():
    kwargs = trainer_kwargs("init")
    assert kwargs["strategy"] is ANYTHING
    assert kwargs["plugins"] is ANYTHING
    assert kwargs["max_epochs"].expected == "an int or None"
    assert kwargs["devices"].expected == "a list, a string or an int"


@pytest.mark.parametrize(
    ("key", "value", "accepted"),
    [
        ("max_epochs", 3, True),
        ("max_epochs", 3.0, False),
        ("max_epochs", True, False),
        ("limit_train_batches", 0.5, True),
        ("gradient_clip_val", 1, True),
        ("gradient_clip_val", "1", False),
        ("devices", [0, 1], True),
        ("devices", (0, 1), True),
        ("devices", 1.5, False),
        ("fast_dev_run", True, True),
        ("inference_mode", 1, False),
        ("max_time", "00:01:00:00", True),
        ("default_root_dir", Path("x"), True),
        ("default_root_dir", 3, False),
    ],
)
def test_trainer_types(key, value, accepted):
    assert trainer_kwargs("init")[key].accepts(value) is accepted


# A script


def test_load(folder):
    script = write(folder / "hparams.py", 'hparams = {"config": {"lr": 0.1}}')
    loaded = hparams.load(script)
    assert (loaded.path, loaded.config) == (script, {"lr": 0.1})


def test_each_load_is_fresh_even_within_a_clock_tick(folder):
    script = folder / "hparams.py"
    for value in (1, 2, 3):  # the same size and, on most file systems, the same second
        write(script, f'hparams = {{"config": {{"lr": {value}}}}}')
        assert hparams.load(script).config == {"lr": value}
    assert not (folder / "__pycache__").exists()


def test_mistakes_name_the_file(folder, monkeypatch):
    script = write(folder / "hparams.py", 'hparams = {"sed": 1}')
    monkeypatch.chdir(folder.parent)
    with pytest.raises(HparamsError) as caught:
        hparams.load(script)
    assert str(caught.value) == (
        '00_a/hparams.py: 1 problem in hparams\n  line 1: sed: unknown key; did you mean "seed"?'
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "hparams: missing; expected a dict of that name"),
        (
            "hparam = {}",
            'hparams: missing; expected a dict of that name; did you mean "hparam"?',
        ),
        ("hparams = 3", "line 1: hparams: expected a dict, got 3 (int)"),
        ("def hparams(): return {}", "hparams: expected a dict, got <function hparams at"),
    ],
)
def test_no_hparams(folder, text, problem):
    with pytest.raises(HparamsError) as caught:
        hparams.load(write(folder / "hparams.py", text))
    assert caught.value.problems[0].startswith(problem)


def test_checking_a_script_loads_nothing_heavy(folder):
    script = write(
        folder / "hparams.py",
        'hparams = {"trainer": {"init": {"max_epochs": 3}, "fit": {"ckpt_path": None}}}',
    )
    code = """
        import sys, torch_lab, torch_lab.hparams
        from pathlib import Path
        assert torch_lab.hparams.load(Path(sys.argv[1]), dev_run=1).trainer.init["max_epochs"] == 3
        heavy = {"torch", "pytorch_lightning", "lightning_fabric", "clearml", "numpy", "rich"}
        print(sorted(heavy & sys.modules.keys()))
    """
    assert output(python(code, str(script))) == "[]"


# Layering


BASE = 'hparams = {"seed": 1, "config": {"learning_rate": 0.1, "model": {"width": 3}}}'


def test_extend_a_script_beside_the_caller(folder, monkeypatch):
    write(folder / "hparams.py", BASE)
    small = write(
        folder / "small_lr.py",
        """
        import torch_lab

        hparams = torch_lab.hparams.extend("hparams.py", {"config.learning_rate": 3e-3})
        """,
    )
    smaller = write(
        folder / "sub" / "smaller.py",
        """
        from torch_lab.hparams import extend

        hparams = extend("../small_lr.py", {"config.model.width": 1, "trainer.init.max_epochs": 2})
        """,
    )
    monkeypatch.chdir(folder.parent.parent)
    assert hparams.load(small).config == {"learning_rate": 3e-3, "model": {"width": 3}}
    loaded = hparams.load(smaller)
    assert (loaded.seed, loaded.trainer.init["max_epochs"]) == (1, 2)
    assert loaded.config == {"learning_rate": 3e-3, "model": {"width": 1}}


def test_extend_by_hand_as_in_1_x(folder):
    write(folder / "hparams.py", BASE)
    script = write(
        folder / "layered.py",
        """
        from pathlib import Path
        from torch_lab.utils import import_script_as_module

        hparams = import_script_as_module(Path(__file__).parent / "hparams.py").hparams
        hparams["config"]["learning_rate"] = 5
        """,
    )
    assert hparams.load(script).config["learning_rate"] == 5
    assert hparams.load(folder / "hparams.py").config["learning_rate"] == 0.1


def test_extend_a_dict_leaves_it_alone():
    base = {"config": {"sizes": [1, 2], "none": None}}
    value = [5]
    result = hparams.extend(
        base,
        {
            "config.sizes.0": 7,
            "config.new.deep.er": 1,
            "config.none.x": 2,
            "config.list": value,
            "checkpoint.keep": 3,
            "seed": 4,
        },
    )
    assert base == {"config": {"sizes": [1, 2], "none": None}}
    assert result == {
        "config": {
            "sizes": [7, 2],
            "none": {"x": 2},
            "new": {"deep": {"er": 1}},
            "list": [5],
        },
        "checkpoint": {"keep": 3},
        "seed": 4,
    }
    assert result["config"]["list"] is not value


def test_extend_a_value_replaces_what_was_there():
    assert hparams.extend({"config": {"a": 1}}, {"config": {"b": 2}}) == {"config": {"b": 2}}


def test_extend_knows_keys_with_dots_and_numbers():
    base = {"config": {"a.b": 1, "sizes": {1: "one"}}}
    result = hparams.extend(base, {"config.a.b": 2, "config.sizes.1": "uno"})
    assert result == {"config": {"a.b": 2, "sizes": {1: "uno"}}}


def test_extend_fills_a_section_that_was_none():
    base = {"trainer": {"validate": None}, "checkpoint": None}
    result = hparams.extend(base, {"trainer.validate.verbose": False, "checkpoint.keep": 1})
    assert result == {"trainer": {"validate": {"verbose": False}}, "checkpoint": {"keep": 1}}


def test_extend_reports_all_mistakes_with_the_callers_file():
    with pytest.raises(HparamsError) as caught:
        hparams.extend(
            {"config": {"lr": 1}},
            {
                "confg.lr": 1,
                "lr": 2,
                "config.lr.x": 3,
                "trainer.int.max_epochs": 4,
                "trainer.init.max_time.days": 5,
                "seed.x": 6,
                "config.lr": 7,
            },
        )
    assert Path(caught.value.source).name == Path(__file__).name
    assert list(caught.value.problems) == [
        'confg.lr: unknown key; did you mean "config"?',
        'lr: unknown key; did you mean "config.lr"?',
        "config.lr.x: config.lr is 1 (int)",
        'trainer.int: unknown key; did you mean "init"?',
        "trainer.init.max_time: holds a value; there are no keys below it",
        "seed: holds a value; there are no keys below it",
    ]


def test_extend_a_missing_base_names_both(folder):
    write(folder / "hparams.py", BASE)
    script = write(
        folder / "layered.py",
        'import torch_lab\nhparams = torch_lab.hparams.extend("hparam.py", {})',
    )
    with pytest.raises(
        ScriptError, match=r"hparam.py does not exist \(.*layered.py extends it\)"
    ) as c:
        hparams.load(script)
    assert c.value.hint is not None
    assert "hparams.py" in c.value.hint


def test_scripts_that_extend_each_other(folder):
    for one, other in (("a", "b"), ("b", "a")):
        write(
            folder / f"{one}.py",
            f'import torch_lab\nhparams = torch_lab.hparams.extend("{other}.py", {{}})',
        )
    with pytest.raises(ScriptError, match=r"load each other: .*a.py -> .*b.py -> .*a.py"):
        hparams.load(folder / "a.py")
    with pytest.raises(ScriptError, match=r"load each other: .*b.py -> .*a.py -> .*b.py"):
        hparams.load(folder / "b.py")


# --set


CONFIG = {
    "lr": 0.1,
    "n": 3,
    "name": "x",
    "none": None,
    "sizes": [1, 2],
    "pair": (1, 2),
    "model": {"width": 3},
    "flag": False,
    "root": Path("a"),
    "a.b": 1,
}


@pytest.fixture
def script(folder):
    return write(folder / "hparams.py", f"from pathlib import *\nhparams = dict(config={CONFIG!r})")


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("lr=1", "lr", 1.0),
        ("config.lr=1e-3", "lr", 1e-3),
        ("lr=inf", "lr", math.inf),
        ("n=10", "n", 10),
        ("n=1e3", "n", 1000),
        ("n= 4", "n", 4),
        ("name=3", "name", "3"),
        ("name=None", "name", "None"),
        ("name=a=b", "name", "a=b"),
        ("name=", "name", ""),
        ("none=[1]", "none", [1]),
        ("none=adam", "none", "adam"),
        ("sizes=[3]", "sizes", [3]),
        ("sizes=3,4", "sizes", [3, 4]),
        ("sizes.1=7", "sizes", [1, 7]),
        ("pair=[3,4]", "pair", (3, 4)),
        ("model.width=5", "model", {"width": 5}),
        ("config.model={'depth': 1}", "model", {"depth": 1}),
        ("flag=True", "flag", True),
        ("flag=true", "flag", True),
        ("root=b/c", "root", Path("b/c")),
        ("a.b=2", "a.b", 2),
    ],
)
def test_set_a_config_value(script, text, key, value):
    config = hparams.load(script, overrides=[text]).config
    assert config == {**CONFIG, key: value}
    assert type(config[key]) is type(value)


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("seed=7", "seed", 7),
        ("seed=None", "seed", None),
        ("trainer.init.max_epochs=3", "trainer.init.max_epochs", 3),
        ("trainer.init.precision=16-mixed", "trainer.init.precision", "16-mixed"),
        ("trainer.init.devices=[0,1]", "trainer.init.devices", [0, 1]),
        ("trainer.init.devices=2", "trainer.init.devices", 2),
        ("trainer.init.limit_train_batches=10", "trainer.init.limit_train_batches", 10),
        ("trainer.validate=None", "trainer.validate", None),
        ("trainer.validate.verbose=false", "trainer.validate.verbose", False),
        ("task.project_name=123", "task.project_name", "123"),
        ("task.tags=['a','b']", "task.tags", ["a", "b"]),
        ("checkpoint.checkpoint_task_id=12345678", "checkpoint.checkpoint_task_id", "12345678"),
        ("checkpoint.checkpoint_task_id=1e10", "checkpoint.checkpoint_task_id", "1e10"),
        ("checkpoint.checkpoint_task_id=None", "checkpoint.checkpoint_task_id", None),
        ("checkpoint.keep=4", "checkpoint.keep", 4),
    ],
)
def test_set_a_value_of_a_checked_section(script, text, path, value):
    found = hparams.load(script, overrides=[text]).as_dict()
    for word in path.split("."):
        found = found[word]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr", "--set lr: expected KEY=VALUE"),
        ("=3", "--set =3: expected KEY=VALUE"),
        ("lr=abc", r"expected a number, as in the script \(0.1 \(float\)\); got 'abc' \(str\)"),
        ("lr=None", "expected a number, as in the script"),
        ("n=0.5", "expected an int, as in the script"),
        ("n=True", "expected an int, as in the script"),
        ("flag=1", "expected a bool, as in the script"),
        ("sizes=3", "expected a list, as in the script"),
        ("model=3", "expected a dict, as in the script"),
        ("lrr=3", 'config has no lrr; did you mean "lr"'),
        ("model.widht=1", 'config.model has no widht; did you mean "width"'),
        ("model.width.x=1", r"config.model.width is 3 \(int\), so there is no x in it"),
        ("chekpoint.keep=3", 'config has no chekpoint; did you mean "checkpoint"'),
        ("trainer.ini.max_epochs=1", 'trainer has no ini; did you mean "init"'),
        ("seed.x=1", r"seed is 0 \(int\), so there is no x in it"),
    ],
)
def test_set_mistakes(script, text, message):
    with pytest.raises(UsageError, match=message):
        hparams.load(script, overrides=[text])


def test_set_mistakes_come_together(script):
    with pytest.raises(UsageError) as caught:
        hparams.load(script, overrides=["lrr=1", "n=2", "flag=3"])
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [
        "--set lrr=1",
        "--set flag=3",
    ]


def test_the_result_of_set_is_checked(script):
    with pytest.raises(HparamsError) as caught:
        hparams.load(script, overrides=["trainer.init.max_epoch=3", "seed=-1"])
    assert str(caught.value.source).endswith(
        "hparams.py --set trainer.init.max_epoch=3 --set seed=-1"
    )
    assert caught.value.problems == (
        'trainer.init.max_epoch: unknown key; did you mean "max_epochs"?',
        "seed: expected an int from 0 to 4294967295, or None to draw one, got -1 (int)",
    )


def test_later_overrides_win(script):
    assert hparams.load(script, overrides=["lr=1", "lr=2"]).config["lr"] == 2


def test_the_scripts_own_mistakes_come_first(folder):
    script = write(folder / "hparams.py", 'hparams = {"sed": 1}')
    with pytest.raises(HparamsError, match="sed: unknown key"):
        hparams.load(script, overrides=["x=1"])


def test_values_of_other_types_keep_theirs():
    assert read_like({1, 2}, "{3}") == {3}
    with pytest.raises(ValueError, match="expected a set, as in the script"):
        read_like({1}, "[3]")


# --dev-run


@pytest.mark.parametrize(("text", "value"), [("1", 1), ("20", 20), ("1.0", 1.0), ("0.25", 0.25)])
def test_dev_run_numbers(text, value):
    parsed = hparams.parse_dev_run(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize("text", ["0", "-1", "abc", "1.5", "0.0", "-0.5", "nan", "inf", "", "True"])
def test_dev_run_mistakes(text):
    with pytest.raises(UsageError, match=r"--dev-run .*: expected a number of batches"):
        hparams.parse_dev_run(text)


def test_dev_run_changes_what_it_says(folder):
    script = write(
        folder / "hparams.py",
        'hparams = {"task": {"project_name": "digits"}, "config": {"num_workers": 8, "lr": 1}}',
    )
    plain, quick = hparams.load(script), hparams.load(script, dev_run=3)
    assert quick.config == {"num_workers": 0, "lr": 1}
    assert quick.task == {"project_name": "test"}
    assert quick.trainer.init == {
        **plain.trainer.init,
        "overfit_batches": 3,
        "log_every_n_steps": 1,
    }
    assert (quick.path, quick.seed) == (plain.path, plain.seed)


def test_dev_run_adds_no_workers(script):
    assert "num_workers" not in hparams.load(script, dev_run=0.5).config


def test_debug_overrides_as_in_1_x():
    raw = {"task": {}, "trainer": {"init": {}}, "config": {"num_workers": 2}}
    changed = hparams.set_hparams_debug_overrides(raw, "0.7")
    assert changed["trainer"]["init"]["overfit_batches"] == 0.7
    assert changed["config"]["num_workers"] == 0
    assert raw["config"]["num_workers"] == 2
    assert hparams.set_hparams_debug_overrides({}, 2)["task"] == {"project_name": "test"}
    for wrong in (0, True, -1.0, "x"):
        with pytest.raises(UsageError):
            hparams.set_hparams_debug_overrides(raw, wrong)


def test_public_names():
    assert torch_lab.hparams is hparams
    assert sorted(hparams.__all__) == [
        "CheckpointSection",
        "Hparams",
        "TrainerSection",
        "check",
        "extend",
        "load",
        "parse_dev_run",
        "set_hparams_debug_overrides",
    ]
