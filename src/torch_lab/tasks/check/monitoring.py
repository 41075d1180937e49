"""Names that callbacks and schedulers wait for, against those that the trial saw logged."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from pytorch_lightning.utilities.model_helpers import is_overridden

from torch_lab.engine import monitors
from torch_lab.engine.trainer import listed
from torch_lab.tasks.check.findings import Finding, error, note, warning
from torch_lab.tasks.check.subject import Subject
from torch_lab.utils.metric_names import is_variant, usual_mode
from torch_lab.utils.tracebacks import is_user_file

_LOGGING = ("log", "log_dict", "log_metrics")


def monitoring(subject: Subject) -> Iterator[Finding]:
    """Monitors of names that nobody logs, or that look the wrong way."""
    callbacks, schedulers = _callbacks(subject), subject.trial.schedulers
    yield from _modes(subject, callbacks, schedulers)
    if not _all_is_logged(subject):
        return
    validates = "validate" in subject.trial.done
    names = sorted(subject.trial.logged)
    files = (subject.plan.experiment.configuration, subject.plan.experiment.script)
    for each in monitors.waiting(callbacks, schedulers, validates=validates):
        if each.name in subject.trial.logged:
            continue
        place = monitors.place(each, files)
        if _may_come(each.name, subject, callbacks):
            told = f"{each.owner}: the trial of a batch did not log it"
            yield note("monitor", told, place)
        else:
            plain = [name for name in names if not is_variant(name, names)]
            hint = f"Logged are {monitors.listed(plain, validates=validates)}."
            yield error("monitor", monitors.told(each, names), place, hint)


def _callbacks(subject: Subject) -> list[Any]:
    """Those of the Trainer's arguments, of the configuration, and of the module itself."""
    init, module = subject.plan.hparams.trainer.init, subject.module
    found = [*listed(init.get("callbacks")), *subject.configuration.callbacks]
    if is_overridden("configure_callbacks", module):
        with suppress(Exception):  # any, of the user's code: training will tell
            found += listed(module.configure_callbacks())
    return found


def _all_is_logged(subject: Subject) -> bool:
    """Whether the trial came to all of an epoch's ends."""
    trial = subject.trial
    validates = any(True for _ in trial.of("validate"))
    return "train" in trial.done and (not validates or "validate" in trial.done)


def _may_come(name: str, subject: Subject, callbacks: list[Any]) -> bool:
    """Whether a line of the experiment logs such a name, though not in the first batch."""
    kinds = [type(each) for each in (subject.module, *callbacks)]
    files = {file for kind in kinds for file in _files(kind)}
    return any(re.fullmatch(form, name) for file in files for form in _logged_in(file))


def _files(kind: type) -> Iterator[Path]:
    for base in kind.__mro__:
        with suppress(TypeError, OSError):
            file = inspect.getfile(base)
            if is_user_file(file):
                yield Path(file)


def _logged_in(file: Path) -> Iterator[str]:
    """The names that a file's calls of `log` spell out, as patterns."""
    try:
        nodes = list(ast.walk(ast.parse(file.read_bytes())))
    except (OSError, ValueError, SyntaxError):  # gone or changed since it was imported
        return
    for node in nodes:
        match node:
            case ast.Call(func=ast.Attribute(attr=attr), args=[first, *_]) if attr in _LOGGING:
                yield from (_pattern(each) for each in ast.walk(first) if _is_text(each))


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def _pattern(node: Any) -> str:
    if isinstance(node, ast.Constant):
        return rf"{re.escape(str(node.value))}(_step|_epoch)?"
    parts = [_pattern(each) if _is_text(each) else ".+" for each in node.values]
    return "".join(parts)


# -- which way is better ---------------------------------------------------------------------


def _modes(subject: Subject, callbacks: list[Any], schedulers: list[Any]) -> Iterator[Finding]:
    files = (subject.plan.experiment.configuration, subject.plan.experiment.script)
    for owner, name, mode in _watching(callbacks, schedulers):
        best = _best(subject, name)
        if mode in ("min", "max") and best is not None and best != mode:
            place = monitors.place(monitors.Monitor(owner, name), files)
            what = "the smaller the better" if mode == "min" else "the greater the better"
            yield warning(
                "monitor-mode",
                f'{owner} watches {name} with mode="{mode}": {what}',
                place,
                f'Say mode="{best}".',
            )


def _watching(callbacks: list[Any], schedulers: list[Any]) -> Iterator[tuple[str, str, Any]]:
    for each in callbacks:
        if isinstance(name := getattr(each, "monitor", None), str):
            yield type(each).__name__, name, getattr(each, "mode", None)
    for config in schedulers:
        if config.reduce_on_plateau and config.monitor is not None:
            mode = getattr(config.scheduler, "mode", None)
            yield type(config.scheduler).__name__, config.monitor, mode


def _best(subject: Subject, name: str) -> str | None:
    """Which way is up for a metric: as the metric says of itself, else as such names say."""
    own = getattr(subject.module, "_stages", {}).get("validate")
    metric = getattr(own, "metrics", {}).get(name.partition("/")[0])
    higher = getattr(metric, "higher_is_better", None)
    if higher is not None:
        return "max" if higher else "min"
    return usual_mode(name)
