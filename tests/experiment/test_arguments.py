"""Words of a command line bound to the parameters of infer_config."""

from __future__ import annotations

import inspect
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import pytest

from torch_lab.errors import ConfigurationError, UsageError
from torch_lab.experiment.arguments import bind_arguments, remarks
from torch_lab.experiment.signatures import shown_signature


def plain(config, a, b="x", *rest):
    """Parameters without annotations."""


def typed(
    config, weights: Path, n: int = 3, *names: str, flag: bool = False, lr: float | None = None
):
    """Parameters of every type that is parsed."""


def named(config, *, name, count: int = 0):
    """Keyword-only parameters, one of them needed."""


def unresolved(config, n: int, other: Missing = None):  # noqa: F821
    """An annotation that only a type checker could resolve."""


class Kind(Enum):
    ADAM = "adam"
    SGD = "sgd"


def many(
    config,
    sizes: list[int],
    kind: Kind = Kind.SGD,
    mode: Literal["x"] = "x",
    *,
    batch_size: int = 1,
):
    """Every other type that is parsed."""


@pytest.mark.parametrize(
    ("function", "args", "positional", "keywords"),
    [
        (plain, ["1"], ["1"], {}),
        (plain, ["1", "2", "3", "--a=4"], ["1", "2", "3", "--a=4"], {}),
        (plain, ["-v", "--", "--flag"], ["-v", "--", "--flag"], {}),
        (typed, ["a/b"], [Path("a/b")], {}),
        (typed, ["a", "4", "5", "6"], [Path("a"), 4, "5", "6"], {}),
        (typed, ["a", "--flag=true", "--lr=1e-3"], [Path("a")], {"flag": True, "lr": 1e-3}),
        (typed, ["--flag=no", "a", "4", "--n=5"], [Path("a"), 4, "--n=5"], {"flag": False}),
        (named, ["--name=a=b", "--count=2"], [], {"name": "a=b", "count": 2}),
        (unresolved, ["3", "x"], [3, "x"], {}),
        (many, ["1,2", "sgd", "x", "--batch-size=3"], [[1, 2], Kind.SGD, "x"], {"batch_size": 3}),
        (many, ["[1]", "ADAM", "--batch_size=3"], [[1], Kind.ADAM], {"batch_size": 3}),
    ],
)
def test_binding(function, args, positional, keywords):
    assert bind_arguments(function, "infer_config", args) == (positional, keywords)


@pytest.mark.parametrize(
    ("function", "args", "message"),
    [
        (plain, [], "the arguments do not fit infer_config: missing a required argument: 'a'; "
         "got none"),
        (named, [], "the arguments do not fit infer_config: missing a required "),
        (named, ["x", "--name=y"], "the arguments do not fit infer_config: too many positional "
         "arguments; got x --name=y"),
        (typed, ["a", "x"], "n: expected an int, got 'x'"),
        (typed, ["a", "--flag=maybe"], "flag: expected true or false, got 'maybe'"),
        (typed, ["a", "--lr=fast"], "lr: expected a number, got 'fast'"),
        (named, ["--name=x", "--name=y"], "--name is given twice: x and y"),
        (many, ["1", "sgd", "x", "--batch_size=1", "--batch-size=2"],
         "--batch-size is given twice: 1 and 2"),
        (named, ["--nmae=x", "--name=y"], "the arguments do not fit infer_config: too many "
         "positional arguments; got --nmae=x --name=y; did you mean \"--name=VALUE\"?"),
        (many, ["1,x", "sg", "fast"], "sizes: expected an int, got 'x'\n"
         "kind: expected \"adam\" or \"sgd\", got 'sg'; did you mean \"sgd\"?\n"
         "mode: expected \"x\", got 'fast'"),
    ],
)  # fmt: skip
def test_binding_mistakes(function, args, message):
    with pytest.raises(UsageError) as caught:
        bind_arguments(function, "infer_config", args)
    assert caught.value.message.startswith(message)


def writes(config, source, out="x.csv", *, limit: int = 0):
    """A parameter that one takes for an option, and an option."""


@pytest.mark.parametrize(
    ("args", "lines"),
    [
        (["a", "b", "--limit=3"], []),
        (["--source", "--other=1"], []),
        (
            ["a", "--out=pred.csv"],
            [
                'note: --out=pred.csv goes to infer_config as it is: "out" is no keyword-only'
                " parameter (write * before it, or give the value alone)"
            ],
        ),
        (
            ["a", "--limits=3"],
            ["note: --limits=3 goes to infer_config as it is; was --limit meant?"],
        ),
    ],
)
def test_words_that_are_hardly_meant_as_they_are_taken(args, lines):
    assert remarks(writes, "infer_config", args) == lines


def test_a_word_that_does_not_fit_shows_who_got_which():
    def count(config, source, n: int = 1, out="x.csv"):
        """Takes the words as they come."""

    with pytest.raises(UsageError) as caught:
        bind_arguments(count, "infer_config", ["a", "--out=b", "3"])
    assert caught.value.message.splitlines() == [
        "n: expected an int, got '--out=b'",
        "by position: source=a, n=--out=b, out=3",
        'note: --out=b goes to infer_config as it is: "out" is no keyword-only'
        " parameter (write * before it, or give the value alone)",
    ]


def test_words_that_do_not_fit_are_remarked_on_too():
    with pytest.raises(UsageError) as caught:
        bind_arguments(writes, "infer_config", ["a", "b", "--out=c"])
    first, note = caught.value.message.splitlines()
    assert first.endswith("too many positional arguments; got a b --out=c")
    assert note.startswith('note: --out=c goes to infer_config as it is: "out" is no keyword-only')


def test_binding_mistakes_show_the_signature():
    with pytest.raises(UsageError) as caught:
        bind_arguments(named, "infer_config", ["--name=x", "--count=y"])
    line = inspect.getsourcelines(named)[1]
    assert caught.value.hint == (
        "it is defined as infer_config(config, *, name, count: int = 0), "
        f"{Path(__file__).relative_to(Path.cwd())}:{line}"
    )


def test_a_signature_is_shown_as_in_the_source():
    assert shown_signature(typed, "f") == (
        "f(config, weights: Path, n: int = 3, *names: str, flag: bool = False,"
        " lr: float | None = None)"
    )
    assert shown_signature(many, "f") == (
        "f(config, sizes: list[int], kind: Kind = Kind.SGD, mode: Literal['x'] = 'x', *,"
        " batch_size: int = 1)"
    )
    assert shown_signature(unresolved, "f") == "f(config, n: int, other: Missing = None)"


def test_a_function_without_config():
    with pytest.raises(ConfigurationError, match="can't be called with config"):
        bind_arguments(lambda: None, "infer_config", [])


def test_a_callable_object():
    function = SimpleNamespace().__eq__
    assert bind_arguments(function, "infer_config", []) == ([], {})
