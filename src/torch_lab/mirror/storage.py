"""Files on the server or wherever `output_uri` points, through clearml's StorageManager.

Nothing counts as sent before its size was read back, and nothing as fetched before its size and
hash were those that were asked for.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from torch_lab.errors import ServerError, ServerRefused, ServerUnreachable
from torch_lab.mirror.deadline import deadline as bounded
from torch_lab.mirror.server import clearml_under_bounds, quiet
from torch_lab.mirror.words import bare, clean, reason
from torch_lab.store.failures import storing
from torch_lab.utils.files import open_atomic
from torch_lab.utils.text import format_size

_CHUNK = 1 << 20
_ODD = re.compile(r"[^A-Za-z0-9._-]+")
# clearml registers a model under the first while it uploads, and under the second when it failed.
_MARKERS = ("uploading_file", "failed_uploading")
_CLOUDS = {
    "s3": ("boto3", "boto3"),
    "gs": ("google.cloud.storage", "google-cloud-storage"),
    "azure": ("azure.storage.blob", "azure-storage-blob"),
}
_NO_BOUND = 1 << 60  # bytes: a download has its own
_KEPT_FREE = 100 << 20  # bytes of the disk that a download of unknown size leaves


def address(base: str, *parts: str) -> str:
    """An address below `base`; parts become plain names, so that quoting changes nothing.

    A part may have slashes; a path without a scheme becomes a file:// address.
    """
    base = base.strip()
    if not urlsplit(base).scheme:
        base = f"file://{Path(base).expanduser().absolute()}"
    elif _is_http(base):
        base = _quoted(base)
    names = [_plain(name) for part in parts for name in part.split("/") if name.strip()]
    return "/".join([base.rstrip("/"), *names])


def upload(file: Path, url: str, *, deadline: float) -> None:
    """Send a file to an address; on return it is there, in its full size."""
    size = file.stat().st_size
    with _storage(url, deadline) as storage:
        # clearml quotes an http address itself, and the file server unquotes what it is asked for.
        target = unquote(url) if _is_http(url) else url
        with _translated(url, "written"):
            storage.upload_file(str(file), target, retries=1)
        if not _is_there(storage, url, size):
            raise ServerUnreachable(f"{shown_address(url)} is not there in full after its upload")


def download(
    url: str, target: Path, *, size: int | None, sha256: str | None, deadline: float
) -> None:
    """Copy what lies at an address to `target`, which appears only whole and as announced."""
    limit = _room(target) if size is None else size
    if size is not None and size > _room(target):
        raise ServerError(f"{shown_address(url)} has {format_size(size)}: the disk has less free")
    digest, count = hashlib.sha256(), 0
    with storing("write", target), _storage(url, deadline) as storage, open_atomic(target) as file:
        for chunk in _chunks(storage, url):
            count += len(chunk)
            if count > limit:
                raise _wrong(url, f"it has more than the {format_size(limit)} that are expected")
            digest.update(chunk)
            file.write(chunk)
        if size is not None and count != size:
            raise _wrong(url, f"it has {count} bytes, not {size}")
        if sha256 is not None and digest.hexdigest() != sha256.lower():
            raise _wrong(url, "its SHA-256 is not the one that was registered")


def present(url: str, size: int | None, *, deadline: float = 20.0) -> bool:
    """Whether there is a file at an address, of that size if one is given."""
    with _storage(url, deadline) as storage:
        return _is_there(storage, url, size)


def remove(url: str, *, deadline: float = 20.0) -> bool:
    """Delete what lies at an address; False where it could not be, or was not there."""
    with _storage(url, deadline), _translated(url, "deleted"):
        return bool(_helper(url).delete(url, silent=True))


def shown_address(url: str) -> str:
    """An address as messages show it: without user, password and query."""
    parts = urlsplit(url)
    return clean(f"{bare(url)}{parts.path}" if parts.scheme != "file" else f"file://{parts.path}")


def is_marker(url: str) -> bool:
    """Whether an address is what clearml registers in place of a file that is not there."""
    return urlsplit(url).path.rstrip("/").rpartition("/")[2] in _MARKERS


@contextmanager
def _storage(url: str, deadline: float) -> Iterator[Any]:
    """clearml's StorageManager within the bounds, if it can serve such an address."""
    _check(url)
    clearml_under_bounds()
    from torch_lab.mirror import guarded

    guarded.last.forget()
    with bounded(deadline, _server(url)), quiet(), guarded.taking(_NO_BOUND, "file server"):
        from clearml.storage import StorageManager

        yield StorageManager


def _check(url: str) -> None:
    """Refuse what is no address of a file, or of a kind that nothing here can reach."""
    scheme = urlsplit(url).scheme
    if is_marker(url):
        raise ServerError(
            f"{shown_address(url)} stands for a file that never arrived on the server",
            hint="`lab sync RUN` sends it, on the machine where the run was made.",
        )
    if scheme in _CLOUDS:
        _check_package(scheme)
    elif scheme not in ("http", "https") and not _local(url):
        raise ServerError(f"{clean(shown_address(url))} is no address of a file")


def _check_package(scheme: str) -> None:
    module, package = _CLOUDS[scheme]
    try:
        found = importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        raise ServerError(
            f"{scheme}:// addresses need the package {package}", hint=f"pip install {package}"
        )


def _local(url: str) -> Path | None:
    """The path of a file:// address or an absolute path."""
    path = Path(url.removeprefix("file://"))
    return path if path.is_absolute() and not urlsplit(str(path)).scheme else None


def _is_http(url: str) -> bool:
    return urlsplit(url).scheme in ("http", "https")


def _server(url: str) -> str:
    """Whom one waits for at an address."""
    return f"the file server at {bare(url)}" if _is_http(url) else shown_address(url)


def _helper(url: str) -> Any:
    """clearml's driver for an address."""
    from clearml.storage.helper import StorageHelper

    # Not StorageManager.get_stream: the oldest clearml has none, and where a driver can't be made
    # it fails on None.
    helper: Any = StorageHelper.get(url)  # type: ignore[no-untyped-call]
    if helper is None:
        raise ServerError(
            f"{shown_address(url)} can't be used: clearml finds no way to it",
            hint="Check the credentials for this storage in clearml.conf (sdk.aws, sdk.google …).",
        )
    return helper


def _chunks(storage: Any, url: str) -> Iterator[bytes]:
    """What lies at an address, piece by piece."""
    with _translated(url, "read"):
        stream = _opened(storage, url)
    while True:
        with _translated(url, "read"):
            chunk = next(stream, None)
        if not chunk:
            return
        yield chunk


def _opened(storage: Any, url: str) -> Iterator[bytes]:
    if _local(url):
        return _opened_file(storage, url)
    # It logs what fails and returns None.
    stream = _helper(url).download_as_stream(url, chunk_size=_CHUNK)
    if stream is None:
        raise _unread(url)
    return iter([stream] if isinstance(stream, bytes) else stream)


def _opened_file(storage: Any, url: str) -> Iterator[bytes]:
    """The pieces of a file in a folder; what waits or never ends, like a pipe, is refused."""
    # Of a file in reach it gives the very path, and honors path substitutions of clearml.conf.
    found = storage.get_local_copy(url, extract_archive=False)
    if found is None or not stat.S_ISREG(Path(found).stat().st_mode):
        raise ServerError(f"there is no file at {shown_address(url)}")
    return _read(Path(found))


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _is_there(storage: Any, url: str, size: int | None) -> bool:
    from torch_lab.mirror import guarded

    with _translated(url, "looked at"):
        found = storage.get_file_size_bytes(url, silence_errors=True)
    if found is None and guarded.last.failure is not None:
        raise guarded.last.failure
    if found is None or size is None or found == size:
        return found is not None
    # A server that packs what it sends tells another length, or none.
    return _is_http(url) and sum(map(len, _chunks(storage, url))) == size


@contextmanager
def _translated(url: str, action: str) -> Iterator[None]:
    """Turn what clearml and the drivers raise into our exceptions."""
    try:
        yield
    except ServerError:
        raise
    except Exception as error:  # noqa: BLE001  any: each driver raises its own
        raise _translation(url, action, error) from None


def _translation(url: str, action: str, error: Exception) -> ServerError:
    from torch_lab.mirror import guarded

    if isinstance(error.__context__, ServerError):
        return error.__context__
    status = guarded.last.status
    if _is_http(url) and status is not None and 400 <= status < 500:
        return _refused(url, action, status)
    return ServerUnreachable(f"{shown_address(url)} can't be {action}: {reason(error)}")


def _unread(url: str) -> ServerError:
    """Why there is no stream of an address."""
    from torch_lab.mirror import guarded

    if guarded.last.failure is not None:
        return guarded.last.failure
    if _is_http(url) and guarded.last.status is not None:
        return _refused(url, "read", guarded.last.status)
    return ServerUnreachable(f"{shown_address(url)} can't be read")


def _refused(url: str, action: str, status: int) -> ServerRefused:
    message = f"{shown_address(url)} can't be {action}: the file server answers {status}"
    return ServerRefused(message, code=status)


def _wrong(url: str, what: str) -> ServerError:
    return ServerError(f"{shown_address(url)} is not what was registered: {what}")


def _room(target: Path) -> int:
    """Bytes that a download may take."""
    with storing("look at", target.parent):
        return max(0, shutil.disk_usage(target.parent).free - _KEPT_FREE)


def _quoted(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=quote(unquote(parts.path))))


def _plain(name: str) -> str:
    """A name of letters, digits, dots and dashes, which no file system or server takes amiss."""
    return _ODD.sub("_", name.strip()).lstrip(".")[:120] or "_"
