"""A server by hand: it answers what a test wants, byte for byte, and keeps what it was told."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from clearml_server.api.auth import ACCESS_KEY, SECRET_KEY, token

Answer = Callable[["Handler"], None]


@dataclass
class Told:
    """A request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Wild:
    """What the server answers, by patterns of the path; what nobody planned is answered well."""

    url: str
    answers: dict[str, Answer] = field(default_factory=dict)
    told: list[Told] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def environment(self) -> dict[str, str]:
        """What makes clearml use this server."""
        hosts = {f"CLEARML_{name}_HOST": self.url for name in ("API", "WEB", "FILES")}
        keys = {"CLEARML_API_ACCESS_KEY": ACCESS_KEY, "CLEARML_API_SECRET_KEY": SECRET_KEY}
        return {**hosts, **keys, "CLEARML_CONFIG_FILE": "/nonexistent/clearml.conf"}

    def paths(self) -> list[str]:
        return [each.path for each in self.told]


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    wild: Wild

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.wild.told.append(Told(self.command, self.path, dict(self.headers), body))
        found = (make for pattern, make in self.wild.answers.items() if fnmatch(self.path, pattern))
        answer = next(found, logged_in if self.path.endswith("auth.login") else meaning({}))
        with contextlib.suppress(OSError):
            answer(self)
            self.wfile.flush()

    do_POST = do_PUT = do_HEAD = do_DELETE = do_GET

    def raw(self, content: bytes) -> None:
        """Write bytes as they are, and end the connection after them."""
        self.close_connection = True
        self.wfile.write(content)
        self.wfile.flush()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away."""


@contextlib.contextmanager
def wild_server(tls: ssl.SSLContext | None = None) -> Iterator[Wild]:
    """A server on a free port."""
    handler = type("Bound", (Handler,), {})
    listener = _Listener(("127.0.0.1", 0), handler)
    if tls is not None:
        listener.socket = tls.wrap_socket(listener.socket, server_side=True)
    scheme = "http" if tls is None else "https"
    handler.wild = wild = Wild(f"{scheme}://127.0.0.1:{listener.server_port}")
    thread = threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield wild
    finally:
        wild.closing.set()
        listener.shutdown()
        listener.server_close()
        thread.join()


@pytest.fixture
def wild() -> Iterator[Wild]:
    """A server to be told what to answer."""
    with wild_server() as made:
        yield made


# Answers


def plain(content: bytes, status: int = 200, **headers: str) -> Answer:
    """Bytes with a length, and more headers: `Content_Encoding="gzip"`."""

    def answer(handler: Handler) -> None:
        handler.send_response(status)
        for name, value in {"Content_Length": str(len(content)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(content)

    return answer


def meaning(data: Any, code: int = 200, subcode: int = 0, said: str = "OK") -> Answer:
    """An answer as a ClearML server gives it."""
    meta = {"result_code": code, "result_subcode": subcode, "result_msg": said}
    return plain(json.dumps({"meta": meta, "data": data}).encode(), status=code)


def logged_in(handler: Handler) -> None:
    """The answer to auth.login."""
    meaning({"token": token()})(handler)


def redirect(to: str, status: int = 302) -> Answer:
    """An answer that sends elsewhere."""
    return plain(b"", status=status, Location=to)


def endless(piece: bytes, every: float = 0.0, head: bytes = b"") -> Answer:
    """The same bytes for ever."""

    def answer(handler: Handler) -> None:
        handler.close_connection = True
        handler.wfile.write(head)
        while not handler.wild.closing.is_set():
            handler.wfile.write(piece)
            handler.wfile.flush()
            time.sleep(every)

    return answer


def silence(handler: Handler) -> None:
    """No answer, while the connection stays."""
    handler.wild.closing.wait(60)
    handler.close_connection = True
