"""A client that shows what the server answers, without anything between."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from clearml_server.api.auth import ACCESS_KEY, SECRET_KEY, token
from clearml_server.fixture import ClearMLServer


@dataclass(frozen=True)
class Answer:
    """One answer's code and subcode, and what it holds."""

    code: int
    subcode: int
    data: Any
    said: str


class Client:
    """A connection for each request."""

    def __init__(self, server: ClearMLServer, timeout: float = 30) -> None:
        self._server, self._timeout = server, timeout

    def raw(
        self, method: str, path: str, content: bytes = b"", **headers: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        """The status, headers and content of an answer."""
        made = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=self._timeout)
        with closing(made) as connection:
            connection.request(method, path, content, headers)
            response = connection.getresponse()
            return response.status, dict(response.headers), response.read()

    def call(self, endpoint: str, **body: Any) -> Answer:
        """Ask an endpoint."""
        return self._api(endpoint, json.dumps(body).encode(), "application/json")

    def send(self, events: Sequence[Mapping[str, Any]]) -> Answer:
        """Add events."""
        lines = "\n".join(json.dumps(each) for each in events)
        return self._api("events.add_batch", lines.encode(), "application/json-lines")

    def _api(self, endpoint: str, content: bytes, kind: str) -> Answer:
        headers = {"Authorization": f"Bearer {token()}", "Content-Type": kind}
        status, _, said = self.raw("POST", f"/v2.23/{endpoint}", content, **headers)
        answer = json.loads(said)
        meta = answer["meta"]
        assert meta["result_code"] == status
        return Answer(status, meta["result_subcode"], answer["data"], meta["result_msg"])

    def login(self, key: str = ACCESS_KEY, secret: str = SECRET_KEY) -> int:
        """The status of a login."""
        given = base64.b64encode(f"{key}:{secret}".encode()).decode()
        return self.raw("POST", "/auth.login", Authorization=f"Basic {given}")[0]

    def upload(self, path: str, content: bytes) -> int:
        """Upload a file as the SDK does; the answer's status."""
        head = f'--b\r\nContent-Disposition: form-data; name="f"; filename="{path}"\r\n\r\n'
        form = head.encode() + content + b"\r\n--b--\r\n"
        kind = {"Content-Type": "multipart/form-data; boundary=b"}
        return self.raw("POST", "/", form, **kind)[0]
