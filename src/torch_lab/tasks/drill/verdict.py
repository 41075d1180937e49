"""Whose state it was that a resumed run went on without."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch_lab.tasks.drill.attempts import Attempt
from torch_lab.tasks.drill.traces import (
    CORE,
    DECISIVE,
    HINTS,
    SIDE,
    Event,
    Trace,
    differing,
    kind_of,
    of_kinds,
)
from torch_lab.utils.paths import display

_SHOWN = 4


@dataclass(frozen=True)
class Finding:
    """The first state that differs, whose it is, and what would mend it."""

    what: str
    owner: str
    advice: str


@dataclass(frozen=True)
class Difference:
    """Where a resumed run first differs from the one that was never cut."""

    attempt: Attempt
    event: Event
    keys: list[str]
    lost: list[str]  # what differed already when the state had been restored
    unseen: tuple[str, ...]

    @property
    def both(self) -> list[str]:
        """What was lost, and was still missing a batch later."""
        return [key for key in self.lost if key in self.keys]


def first_difference(whole: Trace, attempt: Attempt, noise: frozenset[str]) -> Difference | None:
    """Where an attempt first went on otherwise; None where it did not."""
    for event in attempt.trace:
        same = whole.of(event)
        keys = [] if same is None else differing(event, same, noise)
        if same is None or same.batch != event.batch:
            keys.insert(0, "length: ")
        if not attempt.trace.boundaries:  # it had no batch in which to fill what is made when used
            keys = of_kinds(keys, ("length", *_LEFT))
        if any(_counts(key, whole.begin, same) for key in keys):
            lost = _lost(whole, attempt.trace.resumed, noise)
            return Difference(attempt, event, keys, lost, whole.end.unseen if whole.end else ())
    return None


_LEFT = ("weight", "buffer", "logged")


def _counts(key: str, begin: Event | None, event: Event | None) -> bool:
    """Whether a state is training's: what it has not changed, a resumed run may set up anew."""
    if kind_of(key) in SIDE and begin is not None and event is not None:
        return begin.states.get(key) != event.states.get(key)
    return kind_of(key) not in HINTS


def _lost(whole: Trace, resumed: Event | None, noise: frozenset[str]) -> list[str]:
    if resumed is None or resumed.batch not in whole.boundaries:
        return []
    return differing(resumed, whole.boundaries[resumed.batch], noise)


def uneven(one: Trace, other: Trace) -> list[str]:
    """The decisive states in which two runs differ that were never cut, by the first batch."""
    for event in one:
        same = other.of(event)
        if same is None or same.batch != event.batch:
            return ["length: "]
        if of_kinds(keys := differing(event, same), DECISIVE):
            return keys
    return []


# -- who it was ----------------------------------------------------------------------------------


def explained(difference: Difference, cast: dict[str, Any]) -> Finding:
    """The likely owner of a difference, from what came first."""
    core = of_kinds(difference.both, CORE)
    if core:
        return _of_core(core[0], cast)
    inputs = of_kinds(difference.keys, ("order", "contents"))
    if inputs and kind_of(inputs[0]) == "order":
        return _of_order(difference, cast)
    if inputs:
        return _of_contents(difference, cast)
    side = of_kinds(difference.both, SIDE)
    late = [*of_kinds(difference.lost, CORE), *of_kinds(difference.lost, SIDE)]
    if side or late:
        key = (side or late)[0]
        return _of_core(key, cast) if kind_of(key) in CORE else _of_attribute(key, cast)
    return _of_the_unseen(difference, cast)


def changed(whole: Trace) -> Finding:
    """A dataset that gives other samples when it is asked again."""
    return Finding(
        "the contents of a sample that is loaded again",
        _placed(whole.changing[0], whole.cast),
        _PURE,
    )


_PURE = (
    "A sample has to follow from its index and the random generators alone, not from what was"
    " loaded before."
)


def spoken(key: str) -> str:
    """A state in words."""
    key, on, rank = key.partition(" on rank ")
    return f"{_spoken(key)}{on}{rank}"


def _spoken(key: str) -> str:
    kind, _, rest = key.partition(": ")
    owner, tab, name = rest.partition("\t")
    if not tab:
        owner, name = "", rest
    match kind:
        case "order":
            return "the order of the data"
        case "contents":
            return "the contents of the batch"
        case "validation":
            return "the contents of validation batches"
        case "loss":
            return "what the training step returned"
        case "weight":
            return f"parameter {name}"
        case "optimizer" | "scheduler":
            return f"{kind} {owner}: {name}"
        case "metric" if owner:
            return f"metric {owner}: {name}"
        case "logged":
            return f"logged value {name}"
        case "random":
            return f"the state of {_GLOBAL.get(name, f'the generator of the {name}')}"
        case "generator":
            return f"the state of generator {name} in {owner}"
        case "attribute":
            return f"attribute {name} of {owner}"
        case "global":
            return f"variable {name} in {owner}"
        case "length":
            return "how many batches are trained"
        case "modes":
            return "which parts are trained, or in training mode"
        case "data":
            return f"attribute {name} of {owner}"
    return f"{kind} {name}"


_GLOBAL = {
    "python": "Python's random generator",
    "numpy": "numpy's global generator",
    "torch": "torch's global generator",
    "device": "the device's generator",
}


def _of_core(key: str, cast: dict[str, Any]) -> Finding:
    what = spoken(key)
    kind, _, rest = key.partition(": ")
    owner = rest.partition("\t")[0]
    if kind == "buffer" and rest.partition(" on rank")[0] in cast.get("passing", ()):
        return Finding(
            what,
            _module(cast),
            "It is registered with persistent=False, so no checkpoint has it: leave that out.",
        )
    if kind in ("weight", "buffer", "gradient"):
        advice = (
            "It was saved, and changed after it was loaded, or left out of what is saved: look at"
            f" {_hooks(cast)}."
        )
        return Finding(what, _with_hooks(cast), advice)
    if kind in ("optimizer", "scheduler", "metric"):
        spoken_owner = f"{kind} {owner or rest}".strip()
        return Finding(what, _placed(_plain(spoken_owner), cast), _KEEPS[kind])
    return Finding(
        what, _with_hooks(cast), f"It was changed after it was restored: {_hooks(cast)}."
    )


_KEEPS = {
    "optimizer": "Keep it in the optimizer's state or param_groups, which its state_dict() has.",
    "scheduler": "Its state_dict() has to return it, and load_state_dict() to take it back.",
    "metric": "Declare it with add_state(), or keep it as a number, tensor, list or dict.",
}


def _of_order(difference: Difference, cast: dict[str, Any]) -> Finding:
    samplers = [name for name in _owned(cast) if name.startswith("sampler")]
    owner = samplers[0] if samplers else _loader(cast)["name"]
    kept = _kept_by(difference, "sampler")
    return Finding(
        f"the order of the data{kept}",
        _placed(owner, cast),
        "It draws its order from something that no checkpoint has: give it state_dict() and"
        " load_state_dict(), or let set_epoch() say all.",
    )


def _of_contents(difference: Difference, cast: dict[str, Any]) -> Finding:
    loader = _loader(cast)
    if loader["reason"] is not None:
        return Finding(
            "the contents of the batch",
            _placed(loader["name"], cast),
            f"It can't go on in mid-epoch: {loader['reason']}.",
        )
    named = of_kinds(difference.both, ("generator",))
    if not named and loader["workers"]:  # drawn from in the workers, where nobody looks
        named = [f"generator: {each}" for each in cast.get("generators", ())]
    if named:
        return Finding(
            f"the contents of the batch, after {spoken(named[0])}",
            _placed(loader["dataset"], cast, "which draws from it"),
            "It is not among the generators that torch-lab seeds for each batch: use Python's,"
            " numpy's or torch's global one, or keep it in an attribute of the dataset.",
        )
    return Finding(
        f"the contents of the batch{_kept_by(difference, 'dataset')}",
        _placed(loader["dataset"], cast),
        _PURE,
    )


def _of_attribute(key: str, cast: dict[str, Any]) -> Finding:
    what = spoken(key)
    kind, _, rest = key.partition(": ")
    owner = rest.partition("\t")[0]
    if kind == "generator":
        return Finding(
            what,
            owner,
            "It is not among the generators that torch-lab saves: use Python's, numpy's or torch's"
            " global one, or keep it in an attribute of the module or callback.",
        )
    if kind == "global":
        advice = "No checkpoint has variables of modules: keep it in an attribute."
        return Finding(what, owner, advice)
    if kind == "modes":
        return Finding(what, _with_hooks(cast), "Set it in a hook that a resumed run calls, too.")
    place = owner.partition(": ")[0].partition(" (")[0]
    return Finding(
        what,
        _placed(place, cast, _without_state(place, cast)),
        "No checkpoint can hold it as it is: let state_dict() and load_state_dict(), or"
        " on_save_checkpoint() and on_load_checkpoint(), keep what it needs.",
    )


def _of_the_unseen(difference: Difference, cast: dict[str, Any]) -> Finding:
    what = spoken(difference.keys[0])
    unseen = [f"{name} of {owner}" for owner, name in _pairs(difference.unseen)]
    suspects = ", ".join(unseen[:_SHOWN])
    return Finding(
        f"{what}, although all that can be seen was as before",
        _module(cast),
        "Something keeps a state that can't be looked into"
        + (f": {suspects}." if suspects else ", such as a C++ extension or a file."),
    )


def _pairs(unseen: Iterable[str]) -> Iterator[tuple[str, str]]:
    for each in unseen:
        owner, _, name = each.partition("\t")
        yield owner, name


# -- words ---------------------------------------------------------------------------------------


def _loader(cast: dict[str, Any]) -> dict[str, Any]:
    """The training loader; of several the first that can't go on exactly, else the first."""
    loaders = cast.get("loaders") or [{"name": "loader", "reason": None, "dataset": "the dataset"}]
    inexact = [each for each in loaders if each["reason"] is not None]
    found: dict[str, Any] = {"workers": 0, "owned": []} | (inexact or loaders)[0]
    return found


def _owned(cast: dict[str, Any]) -> list[str]:
    return [name for each in cast.get("loaders", ()) for name in each["owned"]]


def _kept_by(difference: Difference, role: str) -> str:
    """The attributes of a dataset or sampler that were not what they had been."""
    keys = [key for key in difference.lost if key.startswith(f"data: {role}")]
    keys += of_kinds(difference.both, ("global",))
    told = ", ".join(spoken(key) for key in keys[:_SHOWN])
    return f", after {told}" if told else ""


def _module(cast: dict[str, Any]) -> str:
    names = [name for name in cast.get("hooks", ()) if name.startswith("module")]
    return _placed(names[0], cast) if names else "the module"


def _with_hooks(cast: dict[str, Any]) -> str:
    """Who overrides what a checkpoint goes through; the first hooks are the likeliest."""
    found = [(name, hooks) for name, hooks in cast.get("hooks", {}).items() if hooks]
    return _placed(found[0][0], cast) if found else _module(cast)


def _hooks(cast: dict[str, Any]) -> str:
    found = [
        f"{hook}() of {name}" for name, hooks in cast.get("hooks", {}).items() for hook in hooks
    ]
    return ", ".join(found[:_SHOWN]) or "the hooks at the start of training"


def _without_state(owner: str, cast: dict[str, Any]) -> str:
    own = cast.get("hooks", {}).get(owner, [])
    keeps = {"state_dict", "on_save_checkpoint"} & set(own)
    callback = owner.startswith("callback")
    return "which has no state_dict()" if callback and not keeps else ""


def _plain(owner: str) -> str:
    """Without the number that tells several of a kind apart."""
    head, _, last = owner.rpartition(" ")
    return head if last.isdecimal() else owner


def _placed(owner: str, cast: dict[str, Any], more: str = "") -> str:
    place = cast.get("where", {}).get(owner)
    file, _, line = (place or "").rpartition(":")
    where = f" ({display(file)}:{line})" if place else ""
    return f"{owner}{where}" + (f", {more}" if more else "")
