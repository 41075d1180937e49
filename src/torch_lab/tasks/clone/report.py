"""What is said of a clone."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from torch_lab.experiment.listing import scripts
from torch_lab.tasks.clone.making import Clone
from torch_lab.tasks.clone.rewriting import Line
from torch_lab.utils.paths import display
from torch_lab.utils.text import plural

_SHOWN = 6
_WIDTH = 80


def describe(clone: Clone) -> str:
    """Where it is, what was made of its title, what was rewritten and what was not."""
    lines = [*_renamed(clone), _headline(clone)]
    lines += _section("rewritten", _places(clone.changed, clone.directory.name))
    lines += _section(
        f"still names {clone.source.name}: change what is to be the clone's own",
        _places(clone.left, clone.source.name),
    )
    lines += _section("not copied", _left_out(clone))
    lines += _section("masked when it was recorded: put in what was there", clone.masked)
    lines += _section("what it imports is not as that run had it", clone.different)
    return "\n".join([*lines, *_next(clone)]) + "\n"


def _renamed(clone: Clone) -> Iterator[str]:
    name = clone.directory.name.partition("_")[2]
    if clone.title not in (name, clone.directory.name):
        yield f"the title {clone.title!r} becomes {name}"


def _headline(clone: Clone) -> str:
    what = clone.source.name
    if clone.source.run is not None:
        what = f"the code of run {clone.source.run.record.name}"
    count = plural(len(clone.files.copied), "file")
    return f"{display(clone.directory)}: {what}, {count}"


def _section(title: str, lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    more = [f"    and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return [f"  {title}", *(f"    {line}" for line in lines[:_SHOWN]), *more]


def _places(lines: Sequence[Line], name: str) -> list[str]:
    heads = [f"{line.file}:{line.number}" for line in lines]
    width = max(map(len, heads), default=0)
    texts = [_cut(line.text, line.text.rfind(name)) for line in lines]
    return [f"{head:<{width}}  {text}" for head, text in zip(heads, texts, strict=True)]


def _cut(text: str, at: int) -> str:
    """A long line around what it is shown for."""
    if len(text) <= _WIDTH:
        return text
    start = min(max(0, at - _WIDTH // 2), len(text) - _WIDTH)
    end = start + _WIDTH
    return f"{'…' * (start > 0)}{text[start:end]}{'…' * (end < len(text))}"


def _left_out(clone: Clone) -> list[str]:
    """By the topmost folder that nothing was copied of."""
    folders = {str(each) for name in clone.files.copied for each in PurePosixPath(name).parents}
    reasons: dict[str, str] = {}
    for name, reason in clone.files.left_out.items():
        path = PurePosixPath(name)
        tops = [str(each) for each in (*reversed(path.parents), path) if str(each) not in folders]
        top = tops[0]
        reasons[top if top == name else f"{top}/"] = reason
    return [f"{name} ({reason})" for name, reason in reasons.items()]


def _next(clone: Clone) -> list[str]:
    names = scripts(clone.directory)
    if not names:
        return []
    overrides: tuple[str, ...] = ()
    name = names[0]
    if (run := clone.source.run) is not None:
        name = PurePosixPath(run.record.script).stem
        overrides = run.record.overrides
    script = display(clone.directory / f"{name}.py")
    words = ["train", script, *(word for each in overrides for word in ("--set", each))]
    return ["next", f"  {shlex.join(words)}"]
