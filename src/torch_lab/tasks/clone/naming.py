"""What a clone is called: the next number, and its title made a valid name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from torch_lab.errors import UsageError
from torch_lab.experiment.listing import experiments
from torch_lab.utils.names import as_name

_NUMBERED = re.compile(r"(\d+)(?![^\W_])", re.ASCII)
_LONGEST = 100  # a run's name holds it, and a script's


def title_name(title: str) -> str:
    """The title as a part of a folder's name."""
    name = as_name(title)
    if not name:
        raise UsageError(
            f"the title {title!r} has no letter that a folder's name may have",
            hint='letters and digits of ASCII: `lab clone 00_digits "wider net"`',
        )
    if len(name) > _LONGEST:
        raise UsageError(
            f"the title is {len(name)} letters long: a run's name has to hold it",
            hint=f"at most {_LONGEST}; what else there is to say goes into a docstring",
        )
    return name


def next_name(title: str, parent: Path, root: Path) -> str:
    """The clone's name: one number above all experiments of the project and all folders here."""
    names = [each.name for each in (*parent.iterdir(), *experiments(root)) if each.is_dir()]
    number = _next_number(names)
    given, _, rest = title.partition("_")
    if rest and given.isdecimal() and int(given) == int(number):
        return f"{number}_{rest}"  # whoever has counted is right
    return f"{number}_{title}"


def _next_number(names: Iterable[str]) -> str:
    """One more than the highest, with as many digits at least."""
    found = (_NUMBERED.match(name) for name in names)
    numbers = [each[1] for each in found if each]
    highest = max(numbers, key=lambda text: (int(text), len(text)), default=None)
    if highest is None:
        return "00"
    return f"{int(highest) + 1:0{len(highest)}d}"
