"""A comparison in words, and as data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch_lab.store.record import Best
from torch_lab.tasks.diff.code import FileDifference
from torch_lab.tasks.diff.comparing import Comparison, Pair, Section
from torch_lab.tasks.diff.sides import Side
from torch_lab.tasks.table import MISSING, columns, layout, number, plain, printable
from torch_lab.utils.metric_names import is_variant, usual_mode
from torch_lab.utils.text import plural

_MOST = 40  # packages that are listed
_RED, _GREEN, _BLUE, _BOLD = "31", "32", "36", "1"

Paint = Callable[[str, str], str]


def describe(
    found: Comparison, *, stat: bool = False, width: int | None = None, color: bool = False
) -> str:
    """What differs, for a reader; with `stat` of the code only how much."""
    paint = _painted if color else _bare
    sections = [
        list(_heads(found, paint)),
        _values("hparams", found.hparams, repr, width, paint),
        _values("run", found.facts, _text, width, paint),
        _metrics(found, width),
        _values("environment", found.machine, _text, width, paint),
        _values("packages", found.packages, _text, width, paint, most=_MOST),
        _same(found),
        _code(found, paint, width, stat=stat),
    ]
    return "\n".join("\n".join(lines) + "\n" for lines in sections if lines)


def as_data(found: Comparison) -> dict[str, Any]:
    """What differs, for `--json`: null where a side has nothing of the kind."""
    return {
        "a": _side_data(found.a),
        "b": _side_data(found.b),
        "hparams": _section_data(found.hparams),
        "run": _section_data(found.facts),
        "metrics": _section_data(found.metrics),
        "environment": _section_data(found.machine),
        "packages": _section_data(found.packages),
        "code": None if found.code is None else [_file_data(each) for each in found.code],
        "notes": [*found.a.notes, *found.b.notes],
    }


def _heads(found: Comparison, paint: Paint) -> Iterator[str]:
    sides = (("A", found.a), ("B", found.b))
    rows = [(name, printable(side.title), side.about) for name, side in sides]
    for line, code in zip(columns(rows, indent=""), (_RED, _GREEN), strict=True):
        yield paint(line, code)
    yield from (f"   {printable(note)}" for side in (found.a, found.b) for note in side.notes)


def _values(
    title: str,
    section: Section | None,
    show: Callable[[Any], str],
    width: int | None,
    paint: Paint,
    most: int | None = None,
) -> list[str]:
    """Key, A, B: side by side where there is room, else one below the other."""
    if section is None or not section.pairs:
        return []
    rows = [("", "A", "B"), *(_row(pair, show) for pair in section.pairs[:most])]
    cell = _cell(rows, width)
    fitting = [row for row in rows if max(map(len, row)) <= cell]
    lines = [title, *(_colored(line, paint) for line in layout(fitting, width=None))]
    if len(fitting) == 1:  # nothing but the heads
        del lines[1:]
    for key, a, b in (row for row in rows if row not in fitting):
        lines += [f"  {key}", f"    {paint(f'A {a}', _RED)}", f"    {paint(f'B {b}', _GREEN)}"]
    more = len(section.pairs) - len(rows) + 1
    return [*lines, f"  and {more} more: --json has all"] if more > 0 else lines


def _row(pair: Pair, show: Callable[[Any], str]) -> tuple[str, str, str]:
    a, b = (
        MISSING if side in pair.absent else printable(show(value))
        for side, value in (("a", pair.a), ("b", pair.b))
    )
    return printable(pair.key), a, b


def _cell(rows: Sequence[Sequence[str]], width: int | None) -> float:
    """How long a cell may be to stand in the table: a third of the line where not all fit."""
    natural = sum(max(len(row[i]) for row in rows) for i in range(3))
    gaps = 6
    return math.inf if width is None or natural + gaps <= width else (width - gaps) // 3


def _colored(cells: Sequence[str], paint: Paint) -> str:
    key, a, b = cells
    return f"  {key}  {paint(a, _RED)}  {paint(b.rstrip(), _GREEN)}".rstrip()


def _metrics(found: Comparison, width: int | None) -> list[str]:
    section = found.metrics
    if section is None:
        return []
    names = [pair.key for pair in section.pairs]
    pairs = [pair for pair in section.pairs if not is_variant(pair.key, names)]
    if not pairs:
        return []
    rows: list[Sequence[str]] = [("", "A", "B", "B - A", "best A", "best B")]
    rows += [_metric_row(pair, found) for pair in pairs]
    same = f" ({section.same} more are the same)" if section.same else ""
    return [f"metrics, their last values{same}", *columns(rows, width=width)]


def _metric_row(pair: Pair, found: Comparison) -> tuple[str, ...]:
    a, b = ({} if side in pair.absent else value for side, value in (("a", pair.a), ("b", pair.b)))
    lasts = a.get("last"), b.get("last")
    bests = [
        number(each.get(mode) if (mode := _mode(pair.key, side.best)) else None)
        for each, side in ((a, found.a), (b, found.b))
    ]
    return printable(pair.key), number(lasts[0]), number(lasts[1]), _change(*lasts), *bests


def _mode(name: str, best: Best | None) -> str | None:
    return best.mode if best is not None and best.monitor == name else usual_mode(name)


def _change(a: float | None, b: float | None) -> str:
    if a is None or b is None or not (math.isfinite(a) and math.isfinite(b)):
        return MISSING
    return f"{b - a:+.3g}"


def _code(found: Comparison, paint: Paint, width: int | None, *, stat: bool) -> list[str]:
    if not found.code:
        return []
    rows = [(_named(each), _extent(each)) for each in found.code]
    lines = ["code", *columns(rows, width=width)]
    if not stat:
        shown = [each.lines for each in found.code if each.lines]
        lines += [text for each in shown for text in ("", *_diff(each, paint))]
    return lines


def _same(found: Comparison) -> list[str]:
    """What was compared and is equal, in one line."""
    sections = {
        "hparams": found.hparams,
        "metrics": found.metrics,
        "environment": found.machine,
        "packages": found.packages,
    }
    same = [name for name, each in sections.items() if each and each.same and not each.pairs]
    if found.code is not None and not found.code and found.same_files:
        same.append(f"code ({plural(found.same_files, 'file')})")
    return [f"the same: {', '.join(same)}"] if same else []


def _named(each: FileDifference) -> str:
    """The path; of a file that has another in B, what differs in braces, as git writes it."""
    if each.before is None or each.after is None or each.before == each.after:
        return printable(each.path)
    old, new = each.before.split("/"), each.after.split("/")
    ahead = _alike(old, new)
    behind = _alike(old[ahead:][::-1], new[ahead:][::-1])
    middle = ("/".join(parts[ahead : len(parts) - behind]) for parts in (old, new))
    parts = [*old[:ahead], f"{{{' -> '.join(middle)}}}", *old[len(old) - behind :]]
    return printable("/".join(parts))


def _alike(a: Sequence[str], b: Sequence[str]) -> int:
    """How many parts two paths have in common from the beginning."""
    pairs = zip(a, b, strict=False)
    return next((i for i, (one, other) in enumerate(pairs) if one != other), min(len(a), len(b)))


def _extent(each: FileDifference) -> str:
    counts = f"+{each.added} -{each.removed}" if each.lines else ""
    status = "" if each.status == "changed" else each.status
    return ", ".join(part for part in (status, each.why, counts) if part)


def _diff(lines: Sequence[str], paint: Paint) -> Iterator[str]:
    yield from (paint(printable(line), _BOLD) for line in lines[:2])
    for line in lines[2:]:
        code = {"@": _BLUE, "+": _GREEN, "-": _RED}.get(line[:1])
        yield paint(printable(line), code) if code else printable(line)


def _painted(text: str, code: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m"


def _bare(text: str, _: str) -> str:
    return text


def _text(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:g}" if _is_number(value) else repr(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, float)


def _side_data(side: Side) -> dict[str, Any]:
    directory = None if side.directory is None else str(side.directory)
    data = {"kind": side.kind, "name": side.title, "id": side.id, "directory": directory}
    return data | {"experiment": side.folder.name, "script": side.script}


def _section_data(section: Section | None) -> dict[str, Any] | None:
    if section is None:
        return None
    return {pair.key: _pair_data(pair) for pair in section.pairs}


def _pair_data(pair: Pair) -> dict[str, Any]:
    """A key that a side doesn't have isn't there, unlike one that is null."""
    sides = {"a": pair.a, "b": pair.b}
    return {name: plain(value) for name, value in sides.items() if name not in pair.absent}


def _file_data(each: FileDifference) -> dict[str, Any]:
    data = {"path": each.path, "a": each.before, "b": each.after, "status": each.status}
    counts = {"added": each.added, "removed": each.removed, "why": each.why}
    return data | counts | {"diff": "\n".join(each.lines)}
