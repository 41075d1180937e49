"""Addresses, and what others say, as messages show them: short, printable, no credentials."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

from torch_lab.store.secrets import mask_text

CLOSED = "it closes the connection without an answer"
_ADDRESS = re.compile(r"0x[0-9a-f]{6,}")


def bare(url: str) -> str:
    """A server's address without user, password, path and query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that can't be read"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], "", "", ""))


def without_user(url: str) -> str:
    """An address without user and password."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that can't be read"
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def clean(text: object, limit: int = 200) -> str:
    """A text of foreign origin on one line: nothing unprintable, nothing secret, cut."""
    printable = "".join(each if each.isprintable() else " " for each in str(text)[:5000])
    line = mask_text(" ".join(printable.split()))
    return line if len(line) <= limit else f"{line[: limit - 3]}..."


def reason(error: BaseException) -> str:
    """Why a request failed, in the words of the system where it has some."""
    import ssl  # slow to import, and `lab show` needs only the functions above
    from http.client import RemoteDisconnected

    seen: set[int] = set()
    causes: list[BaseException] = [error]
    while causes:
        cause = causes.pop()
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        if type(cause).__name__.endswith(("Timeout", "TimeoutError")):
            return "no answer in time"
        if isinstance(cause, ssl.SSLError):
            said = getattr(cause, "verify_message", None) or cause.reason or "no TLS"
            return clean(f"no safe connection ({said})")
        if isinstance(cause, RemoteDisconnected):
            return CLOSED
        if isinstance(cause, OSError) and cause.strerror and cause.errno:
            return clean(cause.strerror[0].lower() + cause.strerror[1:])
        nested = [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]
        causes += [each for each in nested if isinstance(each, BaseException)]
    return clean(_ADDRESS.sub("", str(error)) or type(error).__name__)
