"""`--set` and `--dev-run` where the config has a type."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typed_configs import SGD, Adam, Block, Config, Named, Paths, Whole

from script_helpers import clean_imports, write
from torch_lab import hparams
from torch_lab.errors import HparamsError, UsageError
from torch_lab.hparams import typed


@dataclass
class Untouched:
    model: Any


@pytest.fixture
def script(tmp_path):
    with clean_imports(tmp_path):
        yield write(
            tmp_path / "experiments" / "hparams.py",
            'hparams = {"config": {"model": {"width": 3}, "num_workers": 2, "epochs": 1}}',
        )


def load(script: Path, *overrides: str, kind=Config, **options) -> hparams.Hparams:
    return hparams.load(script, overrides=overrides, config_type=kind, **options)


def config(script: Path, *overrides: str):
    return typed.instance(Config, load(script, *overrides).config, "")


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("num_workers=8", "num_workers", 8),
        ("config.num_workers=8", "num_workers", 8),
        ("epochs=0.5", "epochs", 0.5),  # an int in the script
        ("model.width=1e3", "model", Block(width=1000)),
        ("model.dropout=.5", "model", Block(width=3, dropout=0.5)),
        ("model={'width': 7}", "model", Block(width=7)),
        ("optimizer.lr=3", "optimizer", SGD(lr=3.0, momentum=0.5)),  # over its own default
        ("optimizer={'betas': [0, 1]}", "optimizer", Adam(betas=(0.0, 1.0))),
        ("root=a/b", "root", Path("a/b")),
        ("sizes=1,2", "sizes", [1, 2]),
        ("sizes=[1, 2]", "sizes", [1, 2]),
        ("sizes=7", "sizes", [7]),
        ("sizes=", "sizes", []),
        ("names=a,b", "names", ("a", "b")),
        ("order.0=5", "order", [5, 2]),
        ("verbose=yes", "verbose", True),
        ("anything=[1]", "anything", [1]),
        ("anything=word", "anything", "word"),
        ("unknown=1.5", "unknown", 1.5),
        ("paths.train=a", "paths", {"train": Path("a")}),
        ("activation=3", "activation", 3),
    ],
)
def test_set(script, text, name, value):
    found = getattr(config(script, text), name)
    assert found == value
    assert type(found) is type(value)


def test_set_an_enum(script):
    for word, name in (("cosine", "COSINE"), ("STEP", "STEP"), ("2", "STEP")):
        assert config(script, f"schedule={word}").schedule.name == name
    assert config(script, "schedule=cosine", "schedule=none").schedule is None


def test_set_below_what_was_set_before(script):
    made = config(
        script, "blocks={'a': {'width': 1}}", "blocks.a.width=2", "augment.angle=3", "tags=a,b"
    )
    assert made.blocks == {"a": Block(width=2)}
    assert made.augment.angle == 3.0
    assert made.tags == {"a", "b"}


def test_set_gives_what_the_script_lacks(tmp_path):
    script = write(tmp_path / "e" / "hparams.py", "hparams = {}")
    assert config(script, "model.width=5").model == Block(width=5)
    with pytest.raises(HparamsError) as caught:
        load(script, "num_workers=5")
    (problem,) = caught.value.problems
    assert problem.startswith("line 1: config.model: missing; expected a dict for Block (Config, ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model.width=abc", "expected an int, got 'abc' (Block.width: int)"),
        ("num_workers=1.5", "expected an int, got '1.5' (Config.num_workers: int)"),
        ("schedule=cos", "expected \"cosine\" or \"STEP\", got 'cos'; did you"
         ' mean "cosine"? (Config.schedule: Schedule | None)'),
        ("activation=rellu", "expected \"relu\", \"tanh\" or 3, got 'rellu';"
         " did you mean \"relu\"? (Config.activation: Literal['relu', 'tanh', 3])"),
        ("verbose=2", "expected true or false, got '2' (Config.verbose: bool)"),
        ("sizes=1,b", "expected an int, got 'b' (Config.sizes: list[int])"),
        ("sizes=[1,'b']", "config.sizes.1: expected an int, got 'b' (str)"
         " (Config.sizes: list[int])"),
        ("sizes=[1", "expected a list, got '[1' (Config.sizes: list[int])"),
        ("optimizer.betas=1", "config.optimizer has no betas; there are lr, momentum"),
        ("optimizer={'betas': 1}", "config.optimizer.betas: expected a tuple of 2, got 1 (int)"
         " (Config.optimizer: Adam | SGD)"),
        ("model={'widht': 1}", 'config.model.widht: unknown key; did you mean "width"?; '
         "config.model.width: missing; "),
        ("scale=3", "expected a callable, got '3' (Config.scale: Callable[[int], float])"),
        ("model.widht=3", 'config.model has no widht; did you mean "width"?'),
        ("num_worker=3", 'config has no num_worker; did you mean "num_workers"?'),
        ("chekpoint.keep=3", 'config has no chekpoint; did you mean "checkpoint"?'),
        ("num_workers.x=3", "config.num_workers has no x"),
        ("blocks.a.width=3", "config.blocks has no a; there are none"),
        ("order.5=3", "config.order has no 5"),
        ("steps=3", "config has no steps; "),
    ],
)  # fmt: skip
def test_set_mistakes(script, text, message):
    with pytest.raises(UsageError) as caught:
        load(script, text)
    assert str(caught.value).startswith(f"--set {text}: {message}")


def test_set_mistakes_come_together(script):
    with pytest.raises(UsageError) as caught:
        load(script, "num_workers=x", "model.width=4", "model.height=4", "verbose=x")
    assert [text.partition(":")[0] for text in str(caught.value).splitlines()] == [
        "--set num_workers=x",
        "--set model.height=4",
        "--set verbose=x",
    ]


def test_what_the_class_refuses_names_the_options(script):
    with pytest.raises(HparamsError) as caught:
        load(script, "num_workers=-1", "epochs=2")
    assert str(caught.value.source).endswith("hparams.py --set num_workers=-1 --set epochs=2")
    assert caught.value.problems == ("config: Config refuses it: num_workers is negative",)


def test_the_scripts_own_mistakes_come_first(tmp_path):
    script = write(tmp_path / "e" / "hparams.py", 'hparams = {"config": {"model": 3}}')
    with pytest.raises(HparamsError, match=r"config\.model: expected a dict for Block, got 3"):
        load(script, "model.width=x")


def test_set_in_a_pydantic_model(tmp_path):
    script = write(tmp_path / "e" / "hparams.py", 'hparams = {"config": {"width": 3}}')
    texts = ("width=4", "augment.n_crops=2", "several=[{'flip': True}]", "several.0.angle=1")
    texts += ("schedules=STEP,cosine",)
    assert load(script, *texts, kind=Whole).as_dict()["config"] == {
        "width": 4,
        "schedules": ["STEP", "cosine"],
        "augment": {"flip": False, "angle": 0.0, "n_crops": 2},
        "several": [{"flip": True, "angle": 1.0, "n_crops": 1}],
        "named": {},
    }


def test_set_by_another_name_of_the_field(tmp_path):
    script = write(tmp_path / "e" / "hparams.py", 'hparams = {"config": {"w": 3}}')
    assert load(script, "width=4", kind=Named).config == {"width": 4}
    assert load(script, "width=4", "w=5", kind=Named).config == {"w": 5}


def test_the_whole_config_may_be_set(script):
    assert config(script, "config={'model': {'width': 8}}") == Config(model=Block(width=8))
    with pytest.raises(UsageError, match="config: expected a dict, got 3"):
        hparams.load(script, values={"config": 3}, config_type=Config)


def test_set_in_a_typed_dict(tmp_path):
    script = write(tmp_path / "e" / "hparams.py", 'hparams = {"config": {"train": "a"}}')
    assert load(script, "test=b", kind=Paths).config == {"train": "a", "test": Path("b")}


def test_dev_run_takes_workers_away_where_the_type_has_them(tmp_path):
    script = write(tmp_path / "e" / "hparams.py", 'hparams = {"config": {"model": {"width": 1}}}')
    assert load(script, dev_run=2).as_dict()["config"]["num_workers"] == 0
    assert "num_workers" not in load(script, dev_run=2, kind=Untouched).config


def test_values_of_python(script):
    values = {"model.width": 5, "optimizer.momentum": 0, "seed": 7, "root": Path("x")}
    found = hparams.load(script, values=values, config_type=Config)
    made = typed.instance(Config, found.config, "")
    assert (made.model, made.optimizer, made.root) == (Block(width=5), SGD(0.1, 0.0), Path("x"))
    assert found.seed == 7
    with pytest.raises(UsageError) as caught:
        hparams.load(script, values={"modle.width": 1, "traine.init.x": 1}, config_type=Config)
    assert [line.rpartition("; ")[2] for line in str(caught.value).splitlines()] == [
        'did you mean "model"?',
        'did you mean "trainer"?',
    ]
    with pytest.raises(HparamsError) as wrong:
        hparams.load(script, values={"model.width": "5"}, config_type=Config)
    assert str(wrong.value.source).endswith("hparams.py with model.width set")
    assert wrong.value.problems == ("config.model.width: expected an int, got '5' (str)",)
