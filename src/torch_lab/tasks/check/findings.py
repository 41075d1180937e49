"""What a check finds: plain values, so that they travel between processes and into JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, looks wrong, or is worth knowing before training.

    An error is certain: training fails, or can't be what was meant. A warning is likely so. A
    note may well be as it is meant to be. `code` is the check's short name, `place` a line of the
    user's code or a key of the hparams, `hint` what to type or change.
    """

    level: Level
    code: str
    message: str
    place: str | None = None
    hint: str | None = None


def error(code: str, message: str, place: str | None = None, hint: str | None = None) -> Finding:
    """What is certainly wrong."""
    return Finding("error", code, message, place, hint)


def warning(code: str, message: str, place: str | None = None, hint: str | None = None) -> Finding:
    """What is most likely not meant."""
    return Finding("warning", code, message, place, hint)


def note(code: str, message: str, place: str | None = None, hint: str | None = None) -> Finding:
    """What is worth knowing."""
    return Finding("note", code, message, place, hint)


def by_seriousness(findings: Iterable[Finding]) -> list[Finding]:
    """Each once, errors first, otherwise as they were found."""
    once = dict.fromkeys(findings)
    return sorted(once, key=lambda each: LEVELS.index(each.level))
