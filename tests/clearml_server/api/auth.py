"""Who is asking: a token for an access key and its secret."""

from __future__ import annotations

import base64
import hmac
import json
import time
from typing import Any

from clearml_server.api.endpoints import USER, Call, endpoint
from clearml_server.refusals import Refused

API_VERSION = "2.31"
ACCESS_KEY = "TESTACCESSKEY0123456789"
SECRET_KEY = "test-secret-Zx8q3VtW1mB5nR7yK2pL9sD4fG6hJ0aC"
_SIGNING_KEY = b"for tests only"
_LIFETIME = 30 * 24 * 3600


def _encoded(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def _signed(payload: dict[str, Any]) -> str:
    head = _encoded(b'{"alg":"HS256","typ":"JWT"}') + b"." + _encoded(json.dumps(payload).encode())
    return (head + b"." + _encoded(hmac.new(_SIGNING_KEY, head, "sha256").digest())).decode()


def token() -> str:
    """A new token, signed; it says what the server is, which the SDK reads from it."""
    identity = {"user": USER["id"], "company": USER["company"], "role": "user"}
    names = {"user_name": USER["name"], "company_name": "Local Company"}
    versions = {"api_version": API_VERSION, "server_version": "2.0.0", "server_build": "0"}
    times = {"iat": int(time.time()), "exp": int(time.time()) + _LIFETIME}
    return _signed(
        {"identity": identity | names, **versions, **times}
        | {"auth_type": "Bearer", "env": "<unknown>", "feature_set": "basic"}
    )


def check(authorization: str) -> None:
    """Refuse credentials and tokens that this server did not give."""
    kind, _, given = authorization.partition(" ")
    if kind == "Basic":
        if base64.b64decode(given) != f"{ACCESS_KEY}:{SECRET_KEY}".encode():
            raise Refused(401, 22, "Unauthorized (invalid credentials) (failed to locate provided)")
    elif kind == "Bearer":
        head, _, signature = given.rpartition(".")
        good = _encoded(hmac.new(_SIGNING_KEY, head.encode(), "sha256").digest()).decode()
        if not hmac.compare_digest(signature, good):
            raise Refused(401, 30, "Unauthorized (invalid token)")
    else:
        raise Refused(401, 20, "Unauthorized (missing credentials)")


@endpoint("auth.login")
def login(call: Call) -> dict[str, Any]:
    return {"token": token()}


@endpoint("debug.ping", "server.info")
def ping(call: Call) -> dict[str, Any]:
    return {"msg": "clearml_server", "version": "2.0.0"}


@endpoint("users.get_current_user")
def current_user(call: Call) -> dict[str, Any]:
    return {"user": {"id": USER["id"], "name": USER["name"], "company": {"id": USER["company"]}}}


@endpoint("users.get_all", "users.get_all_ex")
def users(call: Call) -> dict[str, Any]:
    return {"users": [{"id": USER["id"], "name": USER["name"]}]}
