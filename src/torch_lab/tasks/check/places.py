"""Where a hyperparameter is set."""

from __future__ import annotations

import re

from torch_lab.hparams.lines import located
from torch_lab.tasks.plan import Plan
from torch_lab.utils.paths import display

_BEGIN = re.compile(r"(?:line (?P<line>\d+)|(?P<place>[^\n]+?:\d+)): ")


def of_key(plan: Plan, key: str) -> str:
    """The line, or the option, that sets a key of the hparams; else the key itself."""
    for text in plan.options.overrides:
        if text.partition("=")[0].strip() == key:
            return f"--set {text}"
    script = plan.experiment.script
    (text,) = located(script, [f"{key}: "])
    place, _ = split(text, display(script))
    return place or key


def split(problem: str, script: str) -> tuple[str | None, str]:
    """A problem's place and words, where it begins with the line that it is about."""
    found = _BEGIN.match(problem)
    if found is None:
        return None, problem
    place = f"{script}:{found['line']}" if found["line"] else found["place"]
    return place, problem[found.end() :]
