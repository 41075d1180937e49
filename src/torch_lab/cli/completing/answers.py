"""What the word under the cursor could become."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from torch_lab.cli.completing.verbs import Place, Verb, verb
from torch_lab.cli.completion import SHELLS
from torch_lab.cli.options import Option
from torch_lab.tasks.completion import hparams, paths, runs
from torch_lab.tasks.completion.candidates import Candidate, all_of, first_of, fitting

_ALWAYS = (Option("--help", help="show this and exit"), Option("--version", help="the version"))
_INTERRUPTED = "--resume"

# What stands for itself in a help (`--limit N`, TITLE) has no candidates.
PLACES: Mapping[str, Callable[[str], list[Candidate]]] = {
    "RUN": runs.runs,
    "HPARAMS": paths.scripts,
    "SCRIPT": paths.scripts,
    "EXPERIMENT": paths.experiments,
    "SOURCE": paths.experiments,
    "A": lambda word: all_of(runs.runs(word), paths.scripts(word)),
    "B": lambda word: all_of(runs.runs(word), paths.scripts(word)),
    "FILTER": runs.filters,
    "KEY": runs.keys,
    "METRIC": runs.metrics,
    "GLOB": runs.metrics,
    "RULE": runs.rules,
    "FILE": paths.files,
    "ARGS": paths.files,
    "PATH": paths.folders,
    "SHELL": lambda word: fitting(word, map(Candidate, SHELLS)),
}
FREE = {"TITLE"}  # nobody knows


@dataclass
class _Said:
    """What stands before the word under the cursor."""

    words: list[str] = field(default_factory=list)
    awaiting: Option | None = None  # an option that has no value yet
    only_words: bool = False  # behind `--`


def answers(words: Sequence[str], verbs: Mapping[str, str]) -> list[Candidate]:
    """The candidates for the last of the words of a command line."""
    program, *before, word = words
    name = PurePath(program).name
    if name not in ("train", "infer"):
        if not before:
            named = [Candidate(each, about) for each, about in verbs.items()]
            return fitting(word, all_of(named, map(_named, _ALWAYS)))
        name, *before = before
        if name not in verbs:
            return []
    return _of_verb(verb(name), before, word)


def _of_verb(known: Verb, before: Sequence[str], word: str) -> list[Candidate]:
    said = _said(known, before)
    if said.awaiting is not None:
        return _values(known, said.awaiting, word, said)
    if word.startswith("-") and not said.only_words:
        name, equals, value = word.partition("=")
        option = known.option(name)
        if equals and option is not None:
            return _behind(f"{name}=", _values(known, option, value, said))
        return fitting(word, map(_named, known.options))
    return _of_places(known.places(len(said.words)), word)


def _of_places(places: Sequence[Place], word: str) -> list[Candidate]:
    """What fits any of the places; keys of filters, which are many, where nothing else does."""
    others = all_of(*(_of_place(each, word) for each in places if each.name != "FILTER"))
    filters = [each for each in places if each.name == "FILTER"]
    return first_of(others, all_of(*(_of_place(each, word) for each in filters)))


def _said(known: Verb, before: Sequence[str]) -> _Said:
    said = _Said()
    for word in before:
        option = None if said.only_words else known.option(word.partition("=")[0])
        if said.awaiting is not None:
            said.awaiting = None
        elif word == "--":
            said.only_words = True
        elif option is not None:
            said.awaiting = option if option.metavar and "=" not in word else None
        elif not word.startswith("-") or said.only_words:
            said.words.append(word)
    return said


def _values(known: Verb, option: Option, word: str, said: _Said) -> list[Candidate]:
    """What an option can be given."""
    if option.name == _INTERRUPTED:
        return runs.interrupted(word)
    if option.metavar == "KEY=VALUE":
        return hparams.assignments(word, [each for each in said.words if each.endswith(".py")])
    choices = option.metavar.split("|")
    if len(choices) > 1:
        return fitting(word, map(Candidate, choices))
    place = re.split(r"[\[,]", option.metavar)[0]
    if place == "RUN":
        none = Candidate("none", "the module as it was built")
        named = [none] if known.name == "infer" else []
        return first_of(
            [*fitting(word, named), *runs.runs(word, checkpoints=True)], paths.files(word)
        )
    return _of_place(Place(place), word)


def _of_place(place: Place, word: str) -> list[Candidate]:
    if place.name == "RUN":
        return runs.runs(word, checkpoints=place.checkpoint)
    found = PLACES.get(place.name)
    return [] if found is None else found(word)


def _behind(head: str, candidates: Sequence[Candidate]) -> list[Candidate]:
    return [Candidate(f"{head}{each.text}", each.about, each.more) for each in candidates]


def _named(option: Option) -> Candidate:
    return Candidate(option.name, option.help.partition("\n")[0])
