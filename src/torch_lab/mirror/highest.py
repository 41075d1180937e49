"""The question of a new run's number: which is the highest that the server's tasks have?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from torch_lab.mirror.server import Server

_PAGE = 500
_PAGES = 20  # numbers rise with time: the newest ten thousand tasks hold the highest one


def highest(project: str, prefix: str) -> dict[str, Any]:
    """The greatest N of the tasks PREFIX_vN in a project; None where there is no such task."""
    server = Server.connect()
    exact = f"^{re.escape(project)}$"
    found = server.call("projects.get_all", name=exact, only_fields=["id", "name"])
    ids = [each["id"] for each in found.get("projects", []) if each.get("name") == project]
    return {"highest": max(_numbers(server, ids, prefix), default=None) if ids else None}


def _numbers(server: Server, projects: list[str], prefix: str) -> Iterator[int]:
    pattern = re.compile(re.escape(prefix) + r"_v(\d{1,9})", re.ASCII)
    for page in range(_PAGES):
        answer = server.call(
            "tasks.get_all",
            project=projects,
            name=f"^{re.escape(prefix)}_v[0-9]+$",
            only_fields=["id", "name"],
            order_by=["-created"],
            page=page,
            page_size=_PAGE,
        )
        names = [str(each.get("name")) for each in answer.get("tasks", [])]
        yield from (int(match[1]) for name in names if (match := pattern.fullmatch(name)))
        if len(names) < _PAGE:
            return
