"""Keys of the config that nothing reads, and those that are asked for and not there."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch_lab.tasks.check import mentions
from torch_lab.tasks.check.findings import Finding, warning
from torch_lab.tasks.check.places import of_key
from torch_lab.tasks.check.reading import Path, Reads
from torch_lab.tasks.check.subject import Subject
from torch_lab.utils.text import nearest


def keys(subject: Subject) -> Iterator[Finding]:
    """What the hparams set in vain, and what the code looks for under another name."""
    config = subject.plan.hparams.config
    if subject.reads.given_up:
        return
    said = mentions.of(subject.plan.experiment)
    if not isinstance(subject.config, Mapping):
        yield from _fields(subject, subject.config, said, "config")
        return
    chosen = _chosen(config, subject.reads, said)
    unread = [
        path
        for path in _paths(config)
        if not _is_read(path, subject.reads, said)
        and not any(_kind(config, path[: end + 1]) in chosen for end in range(len(path)))
    ]
    missed = dict(_missed(subject.reads.absent, unread))
    for path in unread:
        name = ".".join(("config", *path))
        if path in missed:
            asked, place = missed[path]
            yield warning(
                "absent-key",
                f'config.get("{asked}") finds nothing; the hparams have {name}, which is not read',
                place,
                f'Name both alike: "{path[-1]}" or "{asked}".',
            )
        else:
            told = f"{name} is never read: it changes nothing"
            yield warning("unread-key", told, of_key(subject.plan, name), _meant(path, said))


def _meant(path: Path, said: mentions.Mentions) -> str:
    match = nearest(path[-1], said.texts | said.attributes)
    return f'Did you mean "{match}"?' if match else "Remove it, or use it in train_config."


def _paths(config: Mapping[Any, Any], above: Path = ()) -> Iterator[Path]:
    """All keys; those in a dict only where the dict has any."""
    for key, value in config.items():
        path = (*above, str(key))
        if isinstance(value, Mapping) and value:
            yield from _paths(value, path)
        else:
            yield path


def _is_read(path: Path, reads: Reads, said: mentions.Mentions) -> bool:
    above = [path[: end + 1] for end in range(len(path))]
    if path in reads.named or any(each in reads.taken for each in above):
        return True
    if any(each in reads.attributes for each in above):
        return said.somewhere(path[-1])
    if len(path) > 1 and not _is_watched(path, reads):
        # Given away whole: who knows to whom. Or of a part that this trial doesn't come to.
        return path[:-1] in reads.named or _is_read(path[:-1], reads, said)
    return path[-1] in said.texts


def _chosen(config: Any, reads: Reads, said: mentions.Mentions) -> set[tuple[Path, bool]]:
    """What kinds of keys were read that no line spells out: `config[config["model"]]`."""
    return {_kind(config, path) for path in reads.named if not said.somewhere(path[-1])}


def _kind(config: Any, path: Path) -> tuple[Path, bool]:
    """The dict that a key is in, and whether it holds a dict itself."""
    for key in path:
        config = config.get(key) if isinstance(config, Mapping) else None
    return path[:-1], isinstance(config, Mapping)


def _is_watched(path: Path, reads: Reads) -> bool:
    """Whether any of the keys beside it was read by name."""
    beside = path[:-1]
    return any(each[:-1] == beside for each in reads.named)


def _missed(
    absent: Mapping[Path, str | None], unread: Iterable[Path]
) -> Iterator[tuple[Path, tuple[str, str | None]]]:
    """Keys that are not read, and the one that was asked for in their place."""
    for asked, place in absent.items():
        beside = {path[-1]: path for path in unread if path[:-1] == asked[:-1]}
        match = nearest(asked[-1], beside)
        if match is not None:
            yield beside[match], (asked[-1], place)


def _fields(subject: Subject, config: Any, said: mentions.Mentions, name: str) -> Iterator[Finding]:
    """The fields of a dataclass or the like that no line names."""
    if said.opaque:
        return
    if said.as_dict and not dataclasses.is_dataclass(config):
        return
    for field in _names(config):
        value = getattr(config, field, None)
        if _names(value):
            yield from _fields(subject, value, said, f"{name}.{field}")
        elif field not in said.attributes and field not in said.texts:
            key = f"{name}.{field}"
            yield warning(
                "unread-key",
                f"{key} is never read: it changes nothing",
                of_key(subject.plan, key),
                "Remove the field, or use it in train_config.",
            )


def _names(config: Any) -> list[str]:
    if isinstance(config, type) or config is None:
        return []
    if dataclasses.is_dataclass(config):
        return [field.name for field in dataclasses.fields(config)]
    return [*getattr(type(config), "model_fields", ())]
