"""The tests' own port: what goes wrong from now on, what was asked, what the web page would do."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from clearml_server.api import Call, answer
from clearml_server.faults import Fault
from clearml_server.refusals import Refused
from clearml_server.serving import Listener, State

# Below the ports that systems hand out by themselves, so that a port which the server gives up
# for a while is still free when it comes back.
_PORTS = range(20_000, 32_000)


class Switch:
    """The public port, on or off."""

    def __init__(self, state: State, port: int) -> None:
        self._state = state
        self._lock = threading.Lock()
        self._listener: Listener | None = self._listen_anywhere() if port == 0 else self._on(port)
        self.port = self._listener.server_address[1]
        self._serve()

    def _on(self, port: int) -> Listener:
        return Listener(port, self._state)

    def _listen_anywhere(self) -> Listener:
        for port in random.sample(_PORTS, 50):
            try:
                return self._on(port)
            except OSError:
                continue
        raise RuntimeError("no free port")

    def _serve(self) -> None:
        assert self._listener is not None
        self._listener.stop_listening = self.off
        threading.Thread(target=self._listener.serve_forever, args=(0.02,), daemon=True).start()

    def off(self) -> None:
        """Connections are refused from now on, and those there are end."""
        with self._lock:
            if self._listener is not None:
                self._listener.shutdown()
                self._listener.server_close()
                self._listener.hang_up()
                self._listener = None

    def on(self) -> None:
        """Listen again, on the same port."""
        with self._lock:
            if self._listener is None:
                self._listener = self._on(self.port)
                self._serve()


class Control:
    """The actions, by name."""

    def __init__(self, state: State, switch: Switch) -> None:
        self._state, self._switch = state, switch
        self.actions: dict[str, Callable[[dict[str, Any]], Any]] = {
            "fault": self._fault,
            "heal": self._heal,
            "counts": lambda body: dict(state.faults.counts),
            "hanging": lambda body: state.faults.hanging,
            "forget": lambda body: state.database.forget(),
            "call": lambda body: answer(body["endpoint"], Call(state.database, body["body"])),
        }

    def _fault(self, body: dict[str, Any]) -> None:
        fault = Fault(**body)
        if fault.kind == "refuse" and not fault.after:
            self._switch.off()
        else:
            self._state.faults.add(fault)

    def _heal(self, body: dict[str, Any]) -> None:
        self._state.faults.heal()
        self._switch.on()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, said = 200, None
        try:
            said = self.server.control.actions[self.path.strip("/")](body)  # type: ignore[attr-defined]
        except (Refused, ValueError, TypeError, KeyError) as problem:
            status, said = 400, f"{type(problem).__name__}: {problem}"
        content = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class Serving:
    """A running server: the public port and the tests' own."""

    def __init__(self, root: Path, port: int) -> None:
        state = State(root)
        switch = Switch(state, port)
        self.port = switch.port
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.control = Control(state, switch)  # type: ignore[attr-defined]
        self.control_port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
