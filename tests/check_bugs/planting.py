"""Experiments with one bug each: one of tests/check_bugs/sound, changed in a place or two."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SOUND = Path(__file__).parent / "sound"
Changes = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Bug:
    """One mistake: what is changed, and how a finding about it looks.

    `code` is the finding's; `says` stands in its message, place or hint. `main` and `hparams` are
    texts of the two scripts and what stands there in their place.
    """

    name: str
    sound: str
    code: str
    says: str
    main: Changes = ()
    hparams: Changes = ()
    level: tuple[str, ...] = ("error", "warning")


def plant(bug: Bug, folder: Path) -> Path:
    """Write a bug's experiment; returns its hyperparameter script."""
    folder.mkdir(parents=True)
    for script, changes in (("__main__.py", bug.main), ("hparams.py", bug.hparams)):
        text = (SOUND / bug.sound / script).read_text()
        for old, new in changes:
            if old not in text:
                raise AssertionError(f"{bug.name}: {old!r} is not in {bug.sound}/{script}")
            text = text.replace(old, new)
        (folder / script).write_text(text)
    return folder / "hparams.py"
