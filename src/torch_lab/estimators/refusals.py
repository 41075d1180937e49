"""What a library refuses to fit or to predict, as the mistake that it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from typing import Any

from torch_lab.errors import ConfigurationError, TorchLabError
from torch_lab.estimators import naming
from torch_lab.utils.tracebacks import is_user_file

_OURS = Path(__file__).parents[1]
# XGBoost's: when and where in its own code, and what it checked there.
_BEFORE = re.compile(r"^\[[\d:]+\] \S+:\d+: (Check failed: [^:]*:)?\s*")
_AFTER = "Stack trace:"


@contextmanager
def told(estimator: Any) -> Iterator[None]:
    """Within, a ValueError of the library's own is a ConfigurationError.

    One that came through the user's code, a transformer of a pipeline for instance, stays.
    """
    try:
        yield
    except ValueError as error:
        if isinstance(error, TorchLabError) or not _is_librarys_own(error):
            raise
        first, _, more = _words(error).partition("\n")
        raise ConfigurationError(
            f"{naming.name_of(estimator)} refuses what it was given: {first}",
            hint=_hint(first) or more or "Mend the data, or what the estimator is made with.",
        ) from error


def _is_librarys_own(error: ValueError) -> bool:
    files = [frame.f_code.co_filename for frame, _ in walk_tb(error.__traceback__)]
    return not (any(map(is_user_file, files)) or Path(files[-1]).is_relative_to(_OURS))


def _words(error: ValueError) -> str:
    text = _BEFORE.sub("", str(error).partition(_AFTER)[0].strip())
    return text or type(error).__name__


def _hint(text: str) -> str:
    if text.startswith("Invalid classes inferred from unique values of `y`"):
        return "XGBoost counts classes from 0 on: scikit-learn's LabelEncoder makes them so."
    return ""
