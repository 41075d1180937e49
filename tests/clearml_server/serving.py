"""HTTP: each request to the API or to the files, unless a fault comes between."""

from __future__ import annotations

import contextlib
import io
import json
import re
import socket
import threading
import time
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from clearml_server.api import Call, answer
from clearml_server.api.auth import API_VERSION, check
from clearml_server.database import Database, new_id
from clearml_server.faults import Fault, Faults
from clearml_server.files import Folder
from clearml_server.refusals import Refused

_SERVICES = "auth|debug|events|models|projects|queues|server|tasks|users|workers|organization"
_ENDPOINT = re.compile(rf"/(?:api/)?(?:v([\d.]+)/)?((?:{_SERVICES})\.[a-z_]+)")


class State:
    """What the server has, and what is wrong with it."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.database = Database(root / "clearml.sqlite")
        self.folder = Folder(root / "files")
        self.faults = Faults()


class Listener(ThreadingHTTPServer):
    """The public port; it can stop listening and listen again."""

    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True
    stop_listening: Callable[[], None]  # what the fault "refuse" calls

    def __init__(self, port: int, state: State) -> None:
        self.state = state
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is none of the server's business."""

    def hang_up(self) -> None:
        """Break all connections off."""
        with self._lock:
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)


class _Body:
    """A request's body: of a length, or in chunks."""

    def __init__(self, handler: Handler) -> None:
        self._from = handler.rfile
        self._chunked = "chunked" in (handler.headers.get("Transfer-Encoding") or "").lower()
        self.length = int(handler.headers.get("Content-Length") or 0)
        self._left = 0 if self._chunked else self.length

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            return b"".join(iter(lambda: self.read(1 << 16), b""))
        if self._chunked and not self._left:
            self._left = self._next_chunk()
        read = self._from.read(min(size, self._left)) if self._left else b""
        if self._left and not read:
            raise ConnectionError("the request ends before its end")
        self._left -= len(read)
        if self._chunked and read and not self._left:
            self._from.readline()
        return read

    def _next_chunk(self) -> int:
        size = int(self._from.readline().partition(b";")[0] or b"0", 16)
        if size == 0:
            self._chunked = False
            self._from.readline()
        return size


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    server: Listener

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        called = _ENDPOINT.fullmatch(path)
        name = called[2] if called else f"files.{self.command}"
        fault = self.server.state.faults.of(name)
        with contextlib.suppress(ConnectionError, TimeoutError):
            if fault is None or not self._fails(fault, name, path):
                self._serve(name, path)
            self.wfile.flush()
            return
        self.close_connection = True

    do_POST = do_PUT = do_HEAD = do_DELETE = do_GET

    def _serve(self, name: str, path: str) -> None:
        if name.startswith("files."):
            self._file(path)
        else:
            said = self._call(name)
            self._send(said["meta"]["result_code"], json.dumps(said).encode())

    # The API

    def _call(self, name: str) -> dict[str, Any]:
        code, subcode, said, data = 200, 0, "OK", {}
        content = _Body(self).read()
        try:
            check(self.headers.get("Authorization") or "")
            data = self._data(name, content)
        except Refused as refused:
            code, subcode, said = refused.code, refused.subcode, refused.message
        except Exception as problem:  # noqa: BLE001 - whatever is wrong here, the client is answered
            traceback.print_exc()
            code, said = 500, f"General data error: {type(problem).__name__}: {problem}"
        request = new_id()
        ids = {"id": request, "trx": request}
        endpoint = {"name": name, "requested_version": API_VERSION, "actual_version": "1.0"}
        result = {"result_code": code, "result_subcode": subcode, "result_msg": said}
        meta = ids | {"endpoint": endpoint} | result | {"error_stack": "", "error_data": {}}
        return {"meta": meta, "data": data}

    def _data(self, name: str, content: bytes) -> dict[str, Any]:
        database, worker = self.server.state.database, self.headers.get("X-ClearML-Worker") or ""
        if "json-lines" in (self.headers.get("Content-Type") or ""):
            batch = [json.loads(line) for line in content.splitlines() if line.strip()]
            if name == "events.add_batch":
                return answer(name, Call(database, {}, worker, batch))
            return [answer(name, Call(database, each, worker)) for each in batch][-1]
        body = json.loads(content) if content else {}
        return answer(name, Call(database, body, worker))

    # The files

    def _file(self, path: str) -> None:
        folder = self.server.state.folder
        try:
            if self.command in ("POST", "PUT"):
                kept = folder.store(_Body(self), self.headers.get("Content-Type") or "")
                self._send(200, json.dumps(kept).encode())
            elif path == "/":
                self._send(200, b"{}")
            elif self.command == "DELETE":
                self._send(200 if folder.delete(path) else 404, b"")
            else:
                self._download(path)
        except Refused as refused:
            self._send(refused.code, refused.message.encode())

    def _download(self, path: str) -> None:
        file = self.server.state.folder.path(path)
        if not file.is_file():
            self._send(404, b"no such file")
            return
        self._head(200, file.stat().st_size, "application/octet-stream")
        if self.command != "HEAD":
            self.server.state.folder.send(path, self.wfile)

    # Answers

    def _head(self, status: int, length: int, kind: str, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(length), **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(
        self, status: int, content: bytes, kind: str = "application/json", **headers: str
    ) -> None:
        self._head(status, len(content), kind, **headers)
        if self.command != "HEAD":
            self.wfile.write(content)

    # What goes wrong

    def _fails(self, fault: Fault, name: str, path: str) -> bool:
        """Let a fault happen; False where the request is served after all."""
        if fault.kind == "slow":
            said = self._do_silently(name, path) if fault.done else b""
            time.sleep(fault.seconds)
            self.wfile.write(said)
            return fault.done
        if fault.kind == "cut":
            self._cut()
        if fault.done:
            self._do_silently(name, path)
        elif fault.kind != "redirect":
            _Body(self).read()
        getattr(self, f"_{fault.kind}")(fault)
        return True

    def _do_silently(self, name: str, path: str) -> bytes:
        """Do what was asked, and keep the answer back."""
        answer_to = self.wfile
        self.wfile = held = io.BytesIO()
        try:
            self._serve(name, path)
        finally:
            self.wfile = answer_to
            self._headers_buffer: list[bytes] = []
        return held.getvalue()

    def _cut(self, fault: Fault | None = None) -> None:
        """Read half of what is sent, then break off."""
        body = _Body(self)
        body.read(max(1, min(body.length // 2, 1 << 20)))
        self._drop(fault)

    def _drop(self, fault: Fault | None) -> None:
        raise ConnectionAbortedError("by a fault")

    def _refuse(self, fault: Fault) -> None:
        threading.Thread(target=self.server.stop_listening, daemon=True).start()
        self._drop(fault)

    def _hang(self, fault: Fault) -> None:
        faults = self.server.state.faults
        faults.hanging += 1
        faults.healed.wait()
        faults.hanging -= 1
        self._drop(fault)

    def _error(self, fault: Fault) -> None:
        said = b"<html><body><h1>The server is under maintenance</h1></body></html>"
        if fault.status == 500:
            meta = {"result_code": 500, "result_subcode": 100, "result_msg": "General data error"}
            said = json.dumps({"meta": meta | {"id": new_id()}, "data": {}}).encode()
        self._send(fault.status, said, "application/json" if fault.status == 500 else "text/html")

    def _garbage(self, fault: Fault) -> None:
        self._send(200, b'\x00\xff{"meta": [[[not json' * 20)

    def _redirect(self, fault: Fault) -> None:
        self._send(307, b"", Location=fault.to + self.path)
        self.close_connection = True

    def _huge(self, fault: Fault) -> None:
        self._head(200, fault.size, "application/json")
        block = b" " * (1 << 20)
        for _ in range(fault.size // len(block)):
            self.wfile.write(block)

    def _trickle(self, fault: Fault) -> None:
        self._head(200, 10_000, "application/json")
        for _ in range(10_000):
            self.wfile.write(b" ")
            self.wfile.flush()
            if self.server.state.faults.healed.wait(fault.seconds):
                self._drop(fault)
