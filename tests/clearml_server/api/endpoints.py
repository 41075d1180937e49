"""The table of endpoints, and what each is called with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from clearml_server.database import Database, Document
from clearml_server.refusals import Refused

USER = {"id": "local", "name": "Local User", "company": "local"}


@dataclass(frozen=True)
class Call:
    """One request: its body, who sent it, and the state it works on."""

    database: Database
    body: Document
    worker: str = ""
    batch: list[Document] | None = None  # of a request in JSON lines


Endpoint = Callable[[Call], dict[str, Any]]
ENDPOINTS: dict[str, Endpoint] = {}


def endpoint(*names: str) -> Callable[[Endpoint], Endpoint]:
    """Enter a function under its public names."""

    def enter(function: Endpoint) -> Endpoint:
        ENDPOINTS.update(dict.fromkeys(names, function))
        return function

    return enter


def answer(name: str, call: Call) -> dict[str, Any]:
    """What an endpoint says; its changes are kept together."""
    if name not in ENDPOINTS:
        raise Refused(404, 0, f"Endpoint not found: {name}")
    with call.database.transaction():
        return ENDPOINTS[name](call)
