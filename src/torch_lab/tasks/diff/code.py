"""The code of two sides, file by file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from torch_lab.experiment.finding import CONFIGURATION
from torch_lab.experiment.origin import ORIGIN
from torch_lab.tasks.diff.sides import EXPERIMENT, Side, is_hparams

LONGEST = 20_000  # lines of a file that are still compared one by one


@dataclass(frozen=True)
class FileDifference:
    """One file that differs; `before` or `after` is None where only the other side has it.

    `lines` is a unified diff, empty where the file isn't text, is too long or has only moved.
    """

    before: str | None
    after: str | None
    added: int = 0
    removed: int = 0
    lines: tuple[str, ...] = ()
    why: str | None = None  # there are no lines

    @property
    def path(self) -> str:
        """The name that the file goes by."""
        return self.after or self.before or ""

    @property
    def status(self) -> str:
        """What became of it on the way from A to B."""
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"


def differences(a: Side, b: Side) -> tuple[list[FileDifference], int]:
    """The files that differ, and how many are the same.

    Files of the two experiments' folders are compared by their names there, others by their paths.
    Left out: other experiments that neither mentions, and hyperparameter scripts whose values are
    compared already.
    """
    mine, yours = _chosen(a, b), _chosen(b, a)
    found, same = [], 0
    for old, new in _renamed(mine, yours):
        found.append(FileDifference(mine.pop(old)[0], yours.pop(new)[0], why="renamed"))
    for key in sorted({*mine, *yours}):
        before, after = mine.get(key), yours.get(key)
        if before is not None and after is not None and before[1] == after[1]:
            same += 1
        else:
            found.append(_difference(before, after))
    return found, same


_File = tuple[str, bytes]  # its path, and what is in it
_Key = tuple[bool, str]  # whether it is of the experiment; its name there, or its path


def _chosen(side: Side, other: Side) -> dict[_Key, _File]:
    code = side.code or {}
    passed_over = _strangers(side, other)
    chosen: dict[_Key, _File] = {}
    for path, content in code.items():
        name = PurePosixPath(path)
        own = name.is_relative_to(side.folder)
        if not own and any(name.is_relative_to(folder) for folder in passed_over):
            continue
        key = (own, name.relative_to(side.folder).as_posix() if own else path)
        if not (own and _is_said(key[1], content, side, other)):
            chosen[key] = (path, content)
    return chosen


def _renamed(mine: Mapping[_Key, _File], yours: Mapping[_Key, _File]) -> list[tuple[_Key, _Key]]:
    """The files that B has under another name, where there is no doubt which."""
    left, right = _by_content(mine, yours), _by_content(yours, mine)
    pairs = [(left[content], right[content]) for content in left if content in right]
    return [(old[0], new[0]) for old, new in pairs if len(old) == len(new) == 1]


def _by_content(
    files: Mapping[_Key, _File], others: Mapping[_Key, _File]
) -> dict[bytes, list[_Key]]:
    """The files that aren't among the others, but for empty ones."""
    found: dict[bytes, list[_Key]] = {}
    for key, (_, content) in files.items():
        if key not in others and content.strip():
            found.setdefault(content, []).append(key)
    return found


def _strangers(side: Side, other: Side) -> list[PurePosixPath]:
    """The folders of experiments beside the side's own that neither side's code names."""
    texts = [content for each in (side, other) for content in _own(each).values()]
    beside = {
        PurePosixPath(path).parent
        for path in side.code or {}
        if PurePosixPath(path).name == CONFIGURATION
        and PurePosixPath(path).parent.parent == side.folder.parent
    }
    named = {each for each in beside if any(each.name.encode() in text for text in texts)}
    return sorted((beside - named) | {other.folder})


def _own(side: Side) -> Mapping[str, bytes]:
    code = side.code or {}
    return {p: c for p, c in code.items() if PurePosixPath(p).is_relative_to(side.folder)}


def _is_said(name: str, content: bytes, side: Side, other: Side) -> bool:
    """Whether it is a hyperparameter script of which the values tell all, or which isn't meant.

    Nor is what is noted of a clone's origin any code.
    """
    if name == ORIGIN:
        return True
    if EXPERIMENT in (side.kind, other.kind) or "/" in name or not name.endswith(".py"):
        return False
    scripts = {PurePosixPath(each.script or "").name for each in (side, other)}
    return is_hparams(content) and scripts != {name}


def _difference(before: _File | None, after: _File | None) -> FileDifference:
    names = (before[0] if before else None, after[0] if after else None)
    old, new = (_lines(each[1]) if each else [] for each in (before, after))
    if old is None or new is None:
        return FileDifference(*names, why="not text")
    if max(len(old), len(new)) > LONGEST:
        return FileDifference(*names, why=f"more than {LONGEST:,} lines")
    lines = tuple(_unified(old, new, *names))
    changes = [line[:1] for line in lines[2:]]
    return FileDifference(*names, changes.count("+"), changes.count("-"), lines)


def _lines(content: bytes) -> list[str] | None:
    if b"\0" in content:
        return None
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    lines = text.split("\n")
    if lines[-1] == "":
        return lines[:-1]
    return [*lines[:-1], f"{lines[-1]}\n\\ No newline at end of file"]


def _unified(a: list[str], b: list[str], before: str | None, after: str | None) -> Iterator[str]:
    from difflib import unified_diff  # slow to import, and only needed where something differs

    old = f"a/{before}" if before else "/dev/null"
    new = f"b/{after}" if after else "/dev/null"
    for text in unified_diff(a, b, old, new, lineterm=""):
        yield from text.split("\n")
