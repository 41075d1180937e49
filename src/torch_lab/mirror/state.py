"""mirror.json: what the server has acknowledged of a run. The sender that holds its lock writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from torch_lab.errors import StoreError
from torch_lab.store.failures import storing
from torch_lab.store.paths import RunDirectory
from torch_lab.utils.files import write_atomic

FORMAT = 1


@dataclass
class Mirror:
    """What is known of a run's task; positions count bytes of files that only grow."""

    server: str = ""  # the API's address; of another server nothing here holds
    task_id: str | None = None
    project: str = ""  # the project's id
    page: str | None = None  # where a browser shows the task
    status: str = ""  # as the server was last told, or as it last said of a queued one
    defined: dict[str, str] = field(default_factory=dict)  # a digest of each field as it was sent
    positions: dict[str, int] = field(default_factory=dict)  # "metrics/0000.jsonl": bytes
    in_flight: dict[str, int] = field(default_factory=dict)  # lines up to here may have been sent
    said: list[str] = field(default_factory=list)  # names of which the log tells that they are NaN
    anew: bool = False  # what was sent is superseded: all events go, then all are sent again
    models: dict[str, dict[str, Any]] = field(default_factory=dict)  # "last", "best"
    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)  # by name
    left: dict[str, Any] = field(default_factory=dict)  # what is still to be sent, for people
    problem: str | None = None  # why nothing was sent lately
    abort: float | None = None  # when the run was aborted on the server
    done: bool = False  # the run has ended and all of it is acknowledged
    ended: float | None = None  # the record's end that was sent; a resumed run ends again
    seal: str = ""  # what the run's files were when it was done
    extra: dict[str, Any] = field(default_factory=dict)  # keys of a newer torch-lab, kept


_KEYS = tuple(each.name for each in fields(Mirror) if each.name != "extra")
_EMPTY = Mirror()


def read(run: RunDirectory) -> Mirror | None:
    """The mirror of a run; None where there is none yet, or none that is whole."""
    try:
        with storing("read", run.mirror_file):
            content = json.loads(run.mirror_file.read_bytes())
        version = content.pop("format")
    except (StoreError, ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return None  # what the server has can be found out again
    if not isinstance(version, int) or version > FORMAT:
        raise StoreError(
            f"{run.mirror_file} was written by a newer torch-lab (format {version!r})",
            hint="Update torch-lab to read it.",
        )
    known = {key: content.pop(key) for key in _KEYS if key in content}
    sound = all(_fits(key, value) for key, value in known.items())
    return Mirror(**known, extra=content) if sound else None


def write(run: RunDirectory, mirror: Mirror, check: Callable[[], None] | None = None) -> None:
    """Replace mirror.json, on disk on return; `check` may still refuse by raising."""
    content = asdict(mirror)
    extra = content.pop("extra")
    text = json.dumps({"format": FORMAT, **content, **extra}, indent=1) + "\n"
    with storing("write", run.mirror_file):
        write_atomic(run.mirror_file, text.encode(), before_replace=check)


def _fits(key: str, value: object) -> bool:
    """Whether a value has the type of its field's default; None is as good where that is None."""
    default = getattr(_EMPTY, key)
    if default is None:
        return value is None or isinstance(value, (str, int, float))
    if key in ("positions", "in_flight"):
        return isinstance(value, dict) and all(type(each) is int for each in value.values())
    return isinstance(value, type(default))
