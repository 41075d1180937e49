"""The HTTP of clearml's sessions, bounded: what a server answers can't make them wait or wander.

clearml repeats a request for ever on a broken TLS connection, a broken body and a 503, waits 300
seconds for each answer, retries inside, takes an answer of any size and follows redirects
wherever they lead. Nothing here imports clearml but to put this in its place.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import requests
from clearml.backend_api import utils
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from torch_lab.errors import ServerUnreachable
from torch_lab.mirror.deadline import remaining
from torch_lab.mirror.words import CLOSED, bare, clean, reason
from torch_lab.utils.text import format_size

ANSWER = 64 << 20  # bytes of an answer that are read
_CONNECT, _READ = 5.0, 20.0  # seconds; what a deadline leaves counts in place of the second
_KNOWN = 300.0  # seconds for which a resolved name is taken to resolve at once
_ENCODINGS = ("", "identity", "gzip", "deflate")


class _Refused(requests.RequestException):  # type: ignore[misc]  # it ships no types
    """An answer that is not taken; the text says what the server does."""


# Of a server that was reached.
_BROKEN = (
    requests.TooManyRedirects,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)


class _Bounds:
    """How much of an answer is read, now, and what messages call the server that gives it."""

    size = ANSWER
    server = "ClearML server"


class _Last:
    """How the last request ended; clearml's storage logs and forgets it."""

    failure: ServerUnreachable | None = None
    status: int | None = None

    def forget(self) -> None:
        self.failure = self.status = None


last = _Last()


@contextmanager
def taking(size: int, server: str) -> Iterator[None]:
    """Read so many bytes of an answer of such a server, and no more, inside the block.

    Answers of which something is left unread then are closed at its end.
    """
    before = _Bounds.size, _Bounds.server
    _Bounds.size, _Bounds.server = size, server
    try:
        yield
    finally:
        _Bounds.size, _Bounds.server = before
        _close_beyond(0)


class _Body:
    """An answer's body, which ends with an error beyond the size that is taken."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._left = _Bounds.size

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[bytes]:
        for chunk in self._raw.stream(*args, **kwargs):
            yield self._counted(chunk)

    def read(self, amount: int | None = None, **kwargs: Any) -> bytes:
        bound = self._left + 1
        return self._counted(self._raw.read(min(amount or bound, bound), **kwargs))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def _counted(self, chunk: bytes) -> bytes:
        self._left -= len(chunk)
        if self._left < 0:
            self._raw.close()
            raise _Refused(f"sends more than {format_size(_Bounds.size)}")
        return chunk


_open: list[_Body] = []  # answers that are being read


def _close_beyond(count: int) -> None:
    """Close those that were begun after so many; else their connections wait for a collection."""
    while len(_open) > count:
        _open.pop().close()


class _Adapter(BaseAdapter):  # type: ignore[misc]  # as above
    """An adapter that keeps another one to the deadline and to the size of an answer."""

    def __init__(self, adapter: BaseAdapter) -> None:
        super().__init__()
        self._adapter = adapter

    def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        left = remaining()
        left = _READ if left is None else max(0.01, left)
        # The answer to a large upload may take as long as the deadline allows.
        kwargs["timeout"] = (min(_CONNECT, left), left)
        response = self._adapter.send(request, *args, **kwargs)
        response.raw = _Body(response.raw)
        _open.append(response.raw)
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        if encoding not in _ENCODINGS:
            raise _Refused("packs its answer in an unknown way")
        return response

    def close(self) -> None:
        self._adapter.close()


class Guarded(requests.Session):  # type: ignore[misc]  # as above
    """An HTTP session for clearml: no retries, no foreign redirects, one exception for all."""

    def mount(self, prefix: str | bytes, adapter: BaseAdapter) -> None:
        """Take an adapter for addresses that begin so, without its retries."""
        if isinstance(adapter, HTTPAdapter):
            adapter.max_retries = Retry(0, read=False)
        super().mount(prefix, adapter)

    def get_adapter(self, url: str) -> Any:
        """The adapter for an address, bounded."""
        return _Adapter(super().get_adapter(url))

    def merge_environment_settings(
        self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any
    ) -> Any:
        """What the environment adds: no certificates where the configuration says otherwise."""
        if verify is None and self.verify is not True:
            verify = self.verify
        return super().merge_environment_settings(url, proxies, stream, verify, cert)

    def send(self, request: Any, **kwargs: Any) -> Any:
        """The response to a request; ServerUnreachable for whatever is none."""
        last.forget()
        before = len(_open)
        try:
            response = self._sent(request, **kwargs)
        except BaseException as error:  # a deadline too: no connection is left open
            _close_beyond(before)
            last.failure = error if isinstance(error, ServerUnreachable) else None
            raise
        if not kwargs.get("stream"):
            del _open[before:]  # read to its end
        last.status = response.status_code
        return response

    def _sent(self, request: Any, **kwargs: Any) -> Any:
        _resolve(request.url, kwargs.get("proxies") or {})
        try:
            response = super().send(request, **kwargs)
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            raise _failure(request.url, error) from None
        if response.status_code >= 500 or response.status_code == 429:
            raise _failing(request.url, f"it answers {_status(response)}")
        return response

    def get_redirect_target(self, resp: Any) -> str | None:
        """Where to go on, if that is the same server and nothing but an address goes there."""
        target: str | None = super().get_redirect_target(resp)
        if target is not None and not _stays(resp.request, target):
            there = clean(bare(target), 80)
            raise _Refused(f"redirects to {there}, which is not followed")
        return target


def install() -> None:
    """Give clearml's sessions that are made from now on, for API and files, these bounds."""
    # Private: clearml makes each of its HTTP sessions of the class that this name stands for.
    vars(utils)["SessionWithTimeout"] = Guarded


def _failure(url: str, error: Exception) -> ServerUnreachable:
    """The exception for a request that came to nothing."""
    if isinstance(error, _Refused):
        return ServerUnreachable(f"{_name(url)} {error}")
    why = reason(error)
    if why == CLOSED or isinstance(error, _BROKEN):
        return _failing(url, why)
    return unreachable(url, why)


def unreachable(url: str, why: str) -> ServerUnreachable:
    """The exception for a server that gives no answer."""
    return ServerUnreachable(f"{_name(url)} can't be reached: {why}")


def _failing(url: str, why: str) -> ServerUnreachable:
    """The exception for a server that was reached, and is out of order."""
    return ServerUnreachable(f"{_name(url)} fails: {why}")


def _name(url: str) -> str:
    return f"the {_Bounds.server} at {bare(url)}"


def _status(response: Any) -> str:
    """An HTTP status as a message names it, with what a ClearML server says of it."""
    said = str(response.status_code)
    try:
        told = response.json()["meta"]["result_msg"]
    except (ValueError, KeyError, TypeError, RecursionError, requests.RequestException):
        told = None
    return f"{said}: {clean(told)}" if isinstance(told, str) and told else said


def _stays(request: Any, target: str) -> bool:
    """Whether a redirect stays on its host, with a request that loses nothing on the way."""
    if request.method not in ("GET", "HEAD") or request.body:
        return False
    here, there = urlsplit(request.url), urlsplit(requests.compat.urljoin(request.url, target))
    if here.hostname != there.hostname:
        return False
    return (here.scheme, here.port) == (there.scheme, there.port) or there.scheme == "https"


_resolved: dict[str, float] = {}


def _resolve(url: str, proxies: Any) -> None:
    """Look a name up in a thread: the C library can't be interrupted and may take a minute."""
    through = requests.utils.select_proxy(url, proxies) or url
    name = urlsplit(through if "//" in through else f"//{through}").hostname
    if not name or _is_address(name) or time.monotonic() - _resolved.get(name, -_KNOWN) < _KNOWN:
        return
    answer: list[OSError | None] = []
    thread = threading.Thread(target=_look_up, args=(name, answer), daemon=True)
    thread.start()
    left = remaining()
    thread.join(_CONNECT if left is None else min(_CONNECT, left))
    if not answer:
        raise unreachable(url, f"the name {name} is not resolved in time")
    if answer[0] is not None:
        raise unreachable(url, f"the name {name} is not known here")
    _resolved[name] = time.monotonic()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _look_up(name: str, answer: list[OSError | None]) -> None:
    try:
        socket.getaddrinfo(name, None)
    except (OSError, UnicodeError) as error:
        answer.append(error if isinstance(error, OSError) else OSError(str(error)))
    else:
        answer.append(None)
