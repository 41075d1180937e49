"""A config made to an instance of its type, and every way in which it doesn't fit."""

from __future__ import annotations

from dataclasses import InitVar, dataclass
from pathlib import Path

import pytest
import typed_configs
from typed_configs import (
    SGD,
    Adam,
    Augmentation,
    Block,
    Config,
    Open,
    Paths,
    Schedule,
    Strict,
    Whole,
)

from script_helpers import output, python, write
from torch_lab import hparams
from torch_lab.errors import HparamsError
from torch_lab.hparams import typed
from torch_lab.utils.paths import display

HERE = display(typed_configs.__file__)


def made(config: dict, kind=Config):
    return typed.instance(kind, config, "hparams.py")


def problems(config: object, kind=Config) -> list[str]:
    with pytest.raises(HparamsError) as caught:
        typed.instance(kind, config, "hparams.py")
    assert caught.value.source == "hparams.py"
    return list(caught.value.problems)


def line(text: str) -> int:
    source = Path(typed_configs.__file__).read_text()
    return source[: source.index(text)].count("\n") + 1


MODEL = {"model": {"width": 3}}


# What fits


def test_defaults_are_filled_in():
    config = made(MODEL)
    assert config == Config(model=Block(width=3))
    assert config.optimizer == SGD(momentum=0.5)
    assert config.steps == 0


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("num_workers", 2, 2),
        ("epochs", 2, 2),
        ("epochs", 2.5, 2.5),
        ("schedule", "COSINE", Schedule.COSINE),
        ("schedule", "cosine", Schedule.COSINE),
        ("schedule", 2, Schedule.STEP),
        ("schedule", Schedule.STEP, Schedule.STEP),
        ("schedule", None, None),
        ("activation", "tanh", "tanh"),
        ("activation", 3, 3),
        ("root", "a/b", Path("a/b")),
        ("root", Path("a"), Path("a")),
        ("sizes", (1, 2), [1, 2]),
        ("names", ["a"], ("a",)),
        ("tags", ["a", "a"], {"a"}),
        ("tags", {"a"}, {"a"}),
        ("order", [1], [1]),
        ("order", (1,), (1,)),
        ("blocks", {"a": {"width": 2}}, {"a": Block(width=2)}),
        ("optimizer", {"lr": 1}, Adam(lr=1.0)),
        ("optimizer", {"lr": 1, "momentum": 0}, SGD(1.0, 0.0)),
        ("optimizer", SGD(2.0), SGD(2.0)),
        ("augment", {"flip": True, "n_crops": 2}, Augmentation(flip=True, n_crops=2)),
        ("augment", Augmentation(angle=1), Augmentation(angle=1)),
        ("paths", {"train": "a", "more": ["b"]}, {"train": Path("a"), "more": [Path("b")]}),
        ("verbose", True, True),
        ("scale", int, int),
        ("error", KeyError, KeyError),
        ("unknown", object, object),
        ("anything", [object], [object]),
    ],
)
def test_values_that_fit(name, given, expected):
    found = getattr(made({**MODEL, name: given}), name)
    assert found == expected
    assert type(found) is type(expected)


def test_an_int_is_a_float_where_one_is_expected():
    found = made({"model": {"width": 1, "dropout": 1}}).model.dropout
    assert (found, type(found)) == (1.0, float)


def test_nothing_is_shared_with_hparams():
    sizes, anything = [1], {"a": [2]}
    config = made({**MODEL, "sizes": sizes, "anything": anything})
    config.sizes.append(2)
    config.anything["a"].append(3)
    assert (sizes, anything) == ([1], {"a": [2]})


def test_a_typed_dict_stays_a_dict():
    assert made({"train": "a"}, Paths) == {"train": Path("a")}


def test_a_pydantic_model():
    config = made({"width": "3", "several": [{"n_crops": 2}]}, Whole)
    assert config == Whole(width=3, several=[Augmentation(n_crops=2)])
    assert made({"width": 2, "more": 3}, Open).more == 3
    by_name = made({"width": 1, "schedules": ["STEP", 2, "cosine"]}, Whole)
    assert by_name.schedules == [Schedule.STEP, Schedule.STEP, Schedule.COSINE]


# What doesn't


def test_all_mistakes_are_reported_together():
    block = f"(Block, {HERE}:{line('@dataclass(frozen')})"
    config = {
        "modle": 1,
        "num_workers": True,
        "optimizer": {"lr": 1, "betas": [1, 2, 3]},
        "schedule": "cosin",
        "activation": "rellu",
        "root": 3,
        "epochs": "1",
        "sizes": [1, "2", 3.0],
        "names": "abc",
        "blocks": {"a": {"width": 1, "droput": 2}, "b": {}},
        "tags": [1],
        "augment": {"flip": "maybe", "flop": 1, "angle": -1},
        "paths": {"test": 3},
        "verbose": 1,
        "scale": 3,
        "error": int,
    }
    assert problems(config) == [
        'config.modle: unknown key; did you mean "model"?',
        "config.model: missing; expected a dict for Block"
        f" (Config, {HERE}:{line('@dataclass' + chr(10) + 'class Config')})",
        "config.num_workers: expected an int, got True (bool)",
        "config.optimizer.betas: expected a tuple of 2, got [1, 2, 3] (list)",
        "config.schedule: expected \"cosine\", \"STEP\" or None, got 'cosin' (str);"
        ' did you mean "cosine"?',
        "config.activation: expected \"relu\", \"tanh\" or 3, got 'rellu' (str);"
        ' did you mean "relu"?',
        "config.root: expected a path, got 3 (int)",
        "config.epochs: expected an int or a number, got '1' (str)",
        "config.sizes.1: expected an int, got '2' (str)",
        "config.sizes.2: expected an int, got 3.0 (float)",
        "config.names: expected a tuple, got 'abc' (str)",
        'config.blocks.a.droput: unknown key; did you mean "dropout"?',
        f"config.blocks.b.width: missing; expected an int {block}",
        "config.tags.0: expected a string, got 1 (int)",
        "config.augment.flop: unknown key; did you mean \"flip\"?",
        "config.augment.flip: input should be a valid boolean, unable to interpret input,"
        " got 'maybe' (str)",
        "config.augment.angle: input should be greater than or equal to 0, got -1 (int)",
        "config.paths.train: missing; expected a path"
        f" (Paths, {HERE}:{line('class Paths')})",
        "config.paths.test: expected a path, got 3 (int)",
        "config.verbose: expected a bool, got 1 (int)",
        "config.scale: expected a callable, got 3 (int)",
        "config.error: expected a type[Exception], got <class 'int'> (type)",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "given", "problem"),
    [
        ("model", None, "expected a dict for Block, got None"),
        ("optimizer", 3, "expected a dict for Adam or a dict for SGD, got 3 (int)"),
        ("blocks", [1], "expected a dict, got [1] (list)"),
        ("sizes", {1}, "expected a list, got {1} (set)"),
        ("activation", True, 'expected "relu", "tanh" or 3, got True (bool)'),
        ("paths", [], "expected a dict for Paths or None, got [] (list)"),
    ],
)
def test_values_that_do_not_fit(name, given, problem):
    assert problems({**MODEL, name: given}) == [f"config.{name}: {problem}"]


def test_what_the_class_itself_refuses():
    assert problems({**MODEL, "num_workers": -1}) == [
        "config: Config refuses it: num_workers is negative"
    ]


def test_a_class_that_needs_more_than_its_fields():
    @dataclass
    class Odd:
        seed: InitVar[int]
        width: int = 1

    (problem,) = problems({"width": 2}, Odd)
    assert problem.startswith("config: Odd can't be made from it: ")
    assert problem.endswith("missing 1 required positional argument: 'seed'")


def test_a_bug_in_the_class_keeps_its_traceback():
    @dataclass
    class Broken:
        width: int = 1

        def __post_init__(self):
            len(self.width)

    with pytest.raises(TypeError, match="has no len"):
        made({}, Broken)


def test_mistakes_in_a_pydantic_model():
    found = problems(
        {
            "several": [{"angel": 1}],
            "named": {"a": {"flop": True, "angle": "x"}},
            "augment": {"n_crops": None},
            "with": 3,
        },
        Whole,
    )
    assert found == [
        'config.with: unknown key; did you mean "width"?',
        'config.several.0.angel: unknown key; did you mean "angle"?',
        'config.named.a.flop: unknown key; did you mean "flip"?',
        f"config.width: missing (Whole, {HERE}:{line('class Whole')})",
        "config.augment.n_crops: input should be a valid integer, got None",
        "config.named.a.angle: input should be a valid number, unable to parse string as a number,"
        " got 'x' (str)",
    ]
    assert problems({"width": 0}, Whole) == [
        "config.width: Whole refuses it: width has to be positive"
    ]
    assert problems({"with": 3}, Strict) == [
        "config.with: extra inputs are not permitted, got 3 (int)"
    ]


# As part of the hyperparameters


def test_the_check_of_hparams_includes_the_config():
    raw = {"sed": 1, "config": {"model": {"width": "3"}}}
    with pytest.raises(HparamsError) as caught:
        hparams.check(raw, "hparams.py", config_type=Config)
    assert caught.value.problems == (
        'sed: unknown key; did you mean "seed"?',
        "config.model.width: expected an int, got '3' (str)",
    )
    assert raw == {"sed": 1, "config": {"model": {"width": "3"}}}


def test_what_is_recorded_has_the_defaults_and_is_plain():
    checked = hparams.check({"config": MODEL | {"schedule": "cosine"}}, config_type=Config)
    assert checked.config == MODEL | {"schedule": "cosine"}
    recorded = checked.as_dict()["config"]
    assert recorded["model"] == {"width": 3, "dropout": 0.0}
    assert recorded["optimizer"] == {"lr": 0.1, "momentum": 0.5}
    assert recorded["augment"] == {"flip": False, "angle": 0.0, "n_crops": 1}
    assert recorded["schedule"] == "cosine"
    assert "steps" not in recorded
    again = hparams.check(checked.as_dict(), config_type=Config)
    assert again.as_dict() == checked.as_dict()


def test_an_instance_may_stand_for_the_config():
    given = Config(model=Block(width=2), optimizer=SGD(lr=3.0))
    checked = hparams.check({"config": given}, config_type=Config)
    assert made(checked.config) == given
    assert hparams.check({"config": given}).config["optimizer"] == {"lr": 3.0, "momentum": 0.9}


def test_types_without_pydantic_do_not_import_it(tmp_path):
    script = write(tmp_path / "e" / "hparams.py", 'hparams = {"config": {"width": 3}}')
    code = """
        import sys
        from dataclasses import dataclass
        from pathlib import Path
        from torch_lab import hparams

        @dataclass
        class Config:
            width: int
            lr: float = 0.1

        checked = hparams.load(Path(sys.argv[1]), config_type=Config, overrides=["lr=3"])
        print(checked.as_dict()["config"], sorted({"pydantic", "torch", "numpy"} & {*sys.modules}))
    """
    assert output(python(code, str(script))) == "{'width': 3, 'lr': 3.0} []"
