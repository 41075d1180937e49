"""Values of options that are more than text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch_lab.errors import UsageError


def gpu_list(text: str | None) -> tuple[int, ...] | None:
    """The GPUs of `-g 0,1`."""
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    words = [word for word in words if word]
    wrong = [word for word in words if not (word.isascii() and word.isdigit())]
    if wrong or not words:
        what = f"got {', '.join(map(repr, wrong))}" if wrong else f"got {text!r}"
        raise UsageError(
            f"--gpu-devices takes the numbers of GPUs, {what}",
            hint="write `-g 0` for the first GPU, `-g 0,1` for the first two",
        )
    _refuse_duplicates(words)
    return tuple(map(int, words))


def _refuse_duplicates(words: Sequence[str]) -> None:
    numbers = list(map(int, words))
    twice = sorted({number for number in numbers if numbers.count(number) > 1})
    if twice:
        raise UsageError(f"--gpu-devices names GPU {', '.join(map(str, twice))} more than once")


def batch_limit(text: str | None) -> int | float | None:
    """The batches of `--dev-run`: a number of them, or a fraction of all."""
    if text is None:
        return None
    number = _number(text)
    if isinstance(number, int) and number > 0:
        return number
    if isinstance(number, float) and 0.0 < number <= 1.0:
        return number
    raise UsageError(
        f"--dev-run takes a number of batches or a fraction of them, got {text!r}",
        hint="write `--dev-run 3` for three batches, `--dev-run 0.1` for a tenth of them",
    )


def _number(text: str) -> int | float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return math.nan


def assignments(texts: Sequence[str]) -> tuple[str, ...]:
    """The KEY=VALUE of `--set`; what they mean is decided where the hparams are known."""
    for text in texts:
        key, equals, _ = text.partition("=")
        if not equals or not key.strip():
            raise UsageError(
                f"--set takes KEY=VALUE, got {text!r}",
                hint="for instance `--set lr=1e-3` or `--set trainer.init.max_epochs=5`",
            )
    return tuple(texts)


def count(name: str, text: str | None) -> int | None:
    """A number of things to show."""
    if text is None:
        return None
    number = _number(text)
    if not isinstance(number, int) or number < 1:
        raise UsageError(f"{name} takes a positive number, got {text!r}", hint=f"write `{name} 5`")
    return number
