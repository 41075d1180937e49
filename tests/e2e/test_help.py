"""Each example in a `--help` is a command line that would be understood."""

from __future__ import annotations

import re
import shlex
from importlib import import_module

import pytest

from torch_lab.cli import infer, main, train
from torch_lab.cli.options import Reader
from torch_lab.tasks.runs import parse_filter

LAB = {verb: import_module(f"torch_lab.cli.{verb}") for verb in main.LAB_VERBS}


def examples(text: str) -> list[list[str]]:
    """The words of the example lines of a help, without what follows a pipe."""
    lines = re.findall(r"^  ((?:train|infer|lab) .*?)(?:  +.*)?$", text, re.MULTILINE)
    return [shlex.split(line.partition(" | ")[0]) for line in lines]


def parse(command: str, words: list[str]) -> object:
    if command == "train":
        reader = Reader(words, train.OPTIONS)
        return train.train_options(reader.read(reader.refuse))
    if command == "infer":
        return infer.infer_options(infer.read(words))
    verb, *rest = words
    reader = Reader(rest, LAB[verb].OPTIONS)
    parsed = reader.read(reader.refuse)
    return [parse_filter(word) for word in parsed.words] if verb == "runs" else parsed


@pytest.mark.parametrize("module", [train, infer, *LAB.values()], ids=lambda m: m.__name__)
def test_examples_are_understood(module) -> None:
    found = examples(module.HELP_TEXT)
    assert len(found) >= 2
    for command, *words in found:
        parse(command, words)
