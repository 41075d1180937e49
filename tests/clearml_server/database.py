"""Documents (tasks, models, projects, queues, workers) and events, in one SQLite file."""

from __future__ import annotations

import json
import sqlite3
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clearml_server.refusals import invalid_id

Document = dict[str, Any]

_TABLES = """
PRAGMA journal_mode=WAL;
PRAGMA synchronous=OFF;
CREATE TABLE IF NOT EXISTS documents(
    kind TEXT, id TEXT, content TEXT, PRIMARY KEY(kind, id));
CREATE TABLE IF NOT EXISTS events(
    number INTEGER PRIMARY KEY, key TEXT UNIQUE, task TEXT, type TEXT, metric TEXT, variant TEXT,
    iter INTEGER, timestamp INTEGER, value REAL, content TEXT);
CREATE INDEX IF NOT EXISTS events_of_task ON events(task, type, timestamp);
"""


def now() -> str:
    """The time, as the server writes it."""
    return datetime.now(UTC).isoformat()


def new_id() -> str:
    """An id for a document."""
    return uuid.uuid4().hex


class Database:
    """One connection, used by one thread at a time."""

    def __init__(self, file: Path) -> None:
        self._lock = threading.RLock()
        self._sql = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._sql.executescript(_TABLES)
        self.prepare()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of a request's changes, or none of them."""
        with self._lock:
            self._sql.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._sql.execute("ROLLBACK")
                raise
            self._sql.execute("COMMIT")

    def prepare(self) -> None:
        """A fresh server has one queue."""
        if not self.all("queue"):
            queue = {"id": new_id(), "name": "default", "entries": [], "created": now()}
            self.put("queue", queue | {"tags": [], "system_tags": ["default"]})

    def forget(self) -> None:
        """Lose everything, as a server that was set up anew."""
        with self.transaction():
            self._sql.execute("DELETE FROM documents")
            self._sql.execute("DELETE FROM events")
            self.prepare()

    def get(self, kind: str, key: str) -> Document | None:
        """The document with an id, if there is one."""
        query = "SELECT content FROM documents WHERE kind=? AND id=?"
        found = self._sql.execute(query, (kind, key)).fetchone()
        return None if found is None else json.loads(found[0])

    def require(self, kind: str, key: object) -> Document:
        """The document with an id, else the error that the real server gives."""
        if not isinstance(key, str) or (found := self.get(kind, key)) is None:
            raise invalid_id(kind, key)
        return found

    def put(self, kind: str, document: Document) -> Document:
        """Store a document; its last update is now."""
        document["last_update"] = document["last_change"] = now()
        row = (kind, document["id"], json.dumps(document))
        self._sql.execute("INSERT OR REPLACE INTO documents VALUES(?,?,?)", row)
        return document

    def delete(self, kind: str, key: str) -> None:
        """Remove a document."""
        self._sql.execute("DELETE FROM documents WHERE kind=? AND id=?", (kind, key))

    def all(self, kind: str) -> list[Document]:
        """All documents of a kind, oldest first."""
        query = "SELECT content FROM documents WHERE kind=? ORDER BY rowid"
        rows = self._sql.execute(query, (kind,)).fetchall()
        found = [json.loads(content) for (content,) in rows]
        return sorted(found, key=lambda each: each.get("created") or "")

    def add_events(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Store events; one with a key that is there already takes its place."""
        columns = "key,task,type,metric,variant,iter,timestamp,value,content"
        query = f"INSERT OR REPLACE INTO events({columns}) VALUES(?,?,?,?,?,?,?,?,?)"
        self._sql.executemany(query, rows)

    def delete_events(self, task: str) -> None:
        """Remove all events of a task or model."""
        self._sql.execute("DELETE FROM events WHERE task=?", (task,))

    def events(self, task: str, kind: str | None, order: str = "iter, number") -> list[Document]:
        """A task's events, of one type or of all."""
        query = f"SELECT content FROM events WHERE task=? AND type=IFNULL(?, type) ORDER BY {order}"
        return [json.loads(content) for (content,) in self._sql.execute(query, (task, kind))]

    def scalars(self, task: str) -> list[tuple[str, str, int, float, int]]:
        """Metric, variant, iteration, value and time of each scalar, by iteration."""
        columns = "metric, variant, iter, value, timestamp"
        query = (
            f"SELECT {columns} FROM events WHERE task=? AND type='training_stats_scalar'"
            " AND value IS NOT NULL ORDER BY iter, timestamp"
        )
        return self._sql.execute(query, (task,)).fetchall()
