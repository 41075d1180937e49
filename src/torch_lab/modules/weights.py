"""The names of weights: a checkpoint holds the model's own, whatever wraps the model.

A LightningModule calls them `model.NAME`; torch.compile puts `_orig_mod.` before or into NAME.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from torch_lab.errors import CheckpointMismatch

MODEL = "model."
_COMPILED = "_orig_mod."
_EXTRA_STATE = "_extra_state"
ESTIMATOR = b"torch-lab estimator"  # what an estimator's only weight begins with
_SHOWN = 10

StateDict = Mapping[str, Any]

# What a LightningModule of torch-lab 1.x put among the model's weights.
_OTHERS = ("loss_function.", "metrics.", "output_transform.")


def own_name(name: str) -> str:
    """A weight's name as the model itself, not compiled, has it."""
    return name.replace(_COMPILED, "")


def split_off_model(state: StateDict) -> tuple[StateDict, dict[str, Any]]:
    """A module's state dict as the model's own, and the rest."""
    rest = {name: value for name, value in state.items() if not name.startswith(MODEL)}
    return _renamed(state, lambda name: name.removeprefix(MODEL), MODEL), rest


def merge_model(own: StateDict, model: StateDict, rest: StateDict) -> StateDict:
    """The reverse of `split_off_model`, with the names that the module's state dict `own` uses.

    Names that are not in `own` are kept, for the loading to report.
    """
    full = under_names_of(own, _renamed(model, lambda name: f"{MODEL}{name}"))
    for name, value in rest.items():
        full[name] = value
    return full


def under_names_of(own: StateDict, weights: StateDict) -> OrderedDict[str, Any]:
    """Weights of a model that isn't compiled, under the names of one that may be."""
    names = {own_name(name): name for name in own}
    paths = {own_name(f"{path}."): path for path in getattr(own, "_metadata", {})}
    return _renamed(
        weights,
        lambda name: names.get(name, name),
        path_to=lambda path: paths.get(f"{path}.", path),
    )


def own_names(state: StateDict) -> StateDict:
    """Weights under the names that they have where nothing is compiled."""
    return _renamed(state, str) if any(_COMPILED in name for name in state) else state


def accept_own_names(module: nn.Module) -> None:
    """Let a module with compiled parts load weights that are named as if there were none."""

    def rename(_: nn.Module, state: Any, *__: Any) -> None:
        given = under_names_of(module.state_dict(), state)
        if given.keys() != state.keys():
            state.clear()
            state.update(given)
            getattr(state, "_metadata", {}).update(getattr(given, "_metadata", {}))

    module.register_load_state_dict_pre_hook(rename)  # type: ignore[no-untyped-call]


def model_part(given: StateDict, wanted: Iterable[str]) -> StateDict:
    """The model's weights, under its own names, in a state dict of whatever origin.

    One saved by a LightningModule has `model.` before the name of each of the model's weights,
    and others beside them; one saved by torch-lab or by the bare model has not. `wanted`, the
    names that the model has, decides, for a model may have a part named `model` itself.
    """
    wanted = set(wanted)
    names = {own_name(name) for name in given}
    prefixed = {name.removeprefix(MODEL) for name in names if name.startswith(MODEL)}
    if len(wanted & prefixed) > len(wanted & names):
        return split_off_model(given)[0]
    model = _renamed(given, str)
    for name in [name for name in model if name.startswith(_OTHERS) and name not in wanted]:
        del model[name]
    return model


def _renamed(
    state: StateDict,
    name_to: Callable[[str], str],
    prefix: str = "",
    path_to: Callable[[str], str] | None = None,
) -> OrderedDict[str, Any]:
    """The entries whose names begin with `prefix`, renamed; torch's versions go with them."""
    renamed = OrderedDict(
        (name_to(own_name(name)), value) for name, value in state.items() if name.startswith(prefix)
    )
    # torch keeps the version of each submodule beside the weights, and consults it on loading.
    versions = getattr(state, "_metadata", None)
    if versions is not None:
        to = path_to or (lambda path: name_to(f"{path}.").removesuffix("."))
        renamed._metadata = OrderedDict(  # type: ignore[attr-defined]
            (to(own_name(f"{path}.").removesuffix(".")), version)
            for path, version in versions.items()
            if f"{path}.".startswith(prefix)
        )
    return renamed


def model_weights(module: nn.Module) -> StateDict:
    """The weights under the model's own names: what a checkpoint holds and the bare model loads."""
    return _renamed(_target(module).state_dict(), str)


def load_weights(module: nn.Module, state_dict: StateDict, *, strict: bool = True) -> list[str]:
    """Load weights into `module.model`, or into `module` if that is no LabModule.

    A mismatch raises CheckpointMismatch; with `strict=False` what fits is loaded, and the lines
    returned say what did not. It raises still where nothing fits.
    """
    target = _target(module)
    own = target.state_dict()
    given = under_names_of(own, _as_named_in(own, state_dict))
    comparison = compare(own, given)
    if strict:
        load_strictly(target, given, comparison)
        return []
    shapes = comparison.shapes
    fitting = OrderedDict((n, value) for n, value in given.items() if own_name(n) not in shapes)
    left = target.load_state_dict(fitting, strict=False)
    missing = [own_name(name) for name in left.missing_keys if own_name(name) not in shapes]
    unexpected = [own_name(name) for name in left.unexpected_keys]
    comparison = replace(comparison, missing=missing, unexpected=unexpected)
    if own and set(own) <= set(left.missing_keys):
        raise comparison.nothing(module)
    return comparison.lines()


def _target(module: nn.Module) -> nn.Module:
    from torch_lab.modules.lab import LabModule  # which imports this file

    return module.model if isinstance(module, LabModule) else module


def _as_named_in(own: StateDict, state_dict: StateDict) -> StateDict:
    names = {own_name(name) for name in own}
    given = {own_name(name) for name in state_dict}
    if {f"{MODEL}{name}" for name in given} & names and not given & names:
        # A bare model's weights, for a LightningModule of the user's that keeps it as `.model`.
        return _renamed(state_dict, lambda name: f"{MODEL}{name}")
    return model_part(state_dict, names)


@dataclass(frozen=True)
class Comparison:
    """How the names and shapes in a checkpoint differ from the module's."""

    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    shapes: dict[str, str] = field(default_factory=dict)
    of_estimator: bool = False

    def lines(self) -> list[str]:
        """One line for each kind of difference, the names below it."""
        wrong = [f"{name}: {difference}" for name, difference in self.shapes.items()]
        return [
            *_listed("not in the checkpoint", self.missing),
            *_listed("only in the checkpoint", self.unexpected),
            *_listed("of another shape", wrong),
        ]

    def nothing(self, module: nn.Module) -> CheckpointMismatch:
        """What to raise where what fits was to be loaded, and none of it does."""
        if self.of_estimator:
            return _no_network(module)
        title = f"nothing in the checkpoint fits {type(module).__name__}:"
        return CheckpointMismatch(
            "\n".join([title, *self.lines()]),
            hint="It is of another model: name another checkpoint, or none to begin anew.",
        )

    def error(self, module: nn.Module) -> CheckpointMismatch:
        """What to raise where all of it must fit."""
        if self.of_estimator:
            return _no_network(module)
        return CheckpointMismatch(
            "\n".join([f"the checkpoint doesn't fit {type(module).__name__}:", *self.lines()]),
            hint='With "weights_only": True and "strict": False in hparams["checkpoint"] what fits'
            " is loaded.",
        )


def _is_estimator(value: Any) -> bool:
    if not isinstance(value, torch.Tensor) or value.dtype != torch.uint8 or value.ndim != 1:
        return False
    return bytes(value[: len(ESTIMATOR)].tolist()) == ESTIMATOR


def _no_network(module: nn.Module) -> CheckpointMismatch:
    return CheckpointMismatch(
        "the checkpoint holds an estimator, and the code builds a network,"
        f" {type(module).__name__}",
        hint="Name a checkpoint of a network, or none to begin anew.",
    )


def _listed(title: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = [f"    … and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return [f"  {title} ({len(names)}):", *(f"    {name}" for name in names[:_SHOWN]), *more]


def compare(own: StateDict, given: StateDict, *, drop: str = "") -> Comparison:
    """Compare two state dicts; names are told without the prefix `drop`."""

    def told(name: str) -> str:
        return own_name(name).removeprefix(drop)

    shapes = {told(n): _difference(n, own[n], v) for n, v in given.items() if n in own}
    return Comparison(
        missing=[told(name) for name in own if name not in given],
        unexpected=[told(name) for name in given if name not in own],
        shapes={name: difference for name, difference in shapes.items() if difference},
        of_estimator=any(map(_is_estimator, given.values())),
    )


def _difference(name: str, own: Any, given: Any) -> str:
    both = isinstance(own, torch.Tensor) and isinstance(given, torch.Tensor)
    if (
        not both
        or name.endswith(_EXTRA_STATE)
        or nn.parameter.is_lazy(own)
        or own.shape == given.shape
    ):
        return ""
    return f"{tuple(given.shape)} in the checkpoint, {tuple(own.shape)} in the model"


def load_strictly(module: nn.Module, given: StateDict, comparison: Comparison) -> None:
    """Load, and tell torch's complaint about names and shapes as CheckpointMismatch."""
    try:
        module.load_state_dict(given)
    except RuntimeError as error:
        raise translated(error, module, comparison) from None


def translated(error: RuntimeError, module: nn.Module, comparison: Comparison) -> Exception:
    """The error to raise in place of one that load_state_dict raised."""
    # Asked after torch itself: a module's loading hooks may accept names that look wrong.
    if "loading state_dict" in str(error) and comparison.lines():
        return comparison.error(module)
    return error
