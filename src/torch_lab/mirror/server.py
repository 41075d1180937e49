"""The ClearML server: every call returns or raises within its deadline, whatever it answers.

clearml's own code reads the configuration and logs in; the bounds around it are ours.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

from torch_lab.errors import ServerError, ServerRefused, ServerUnreachable
from torch_lab.mirror.deadline import deadline as bounded
from torch_lab.mirror.words import bare, clean, without_user
from torch_lab.store.secrets import MASK

_VERSION = (2, 23)  # of the API; a server that speaks an older one is asked in its own
_BATCH = 2 << 20  # bytes of events in a request
_NO_TASK, _NONE_ADDED = 101, 131  # subcodes of 400
_UNKNOWN_TASK = "nvalid task"
_HINT = "Say where the server is in ~/clearml.conf (`clearml-init` writes one)."
_WHO_ASKS = "Check api.credentials in clearml.conf, or CLEARML_API_ACCESS_KEY and _SECRET_KEY."


class Server:
    """A ClearML server that this process is logged in to."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._version = _spoken(session.api_version)
        self.host = without_user(session.host)
        self.web = _found(session.get_app_server_host)
        self.files = _found(session.get_files_server_host)

    @classmethod
    def connect(cls, deadline: float = 10.0) -> Server:
        """Log in to the server that clearml's configuration names."""
        backend = clearml_under_bounds()
        with bounded(deadline), quiet():
            return cls(_login(backend))

    def call(self, endpoint: str, *, deadline: float = 20.0, **body: Any) -> dict[str, Any]:
        """What the server answers to a call like `tasks.get_all`."""
        return self._ask(endpoint, deadline, json=body)

    def add_events(self, events: Sequence[Mapping[str, Any]], *, deadline: float = 30.0) -> None:
        """Send events, in as many requests as their size asks for, all within the deadline."""
        headers = {"Content-Type": "application/json-lines"}
        with bounded(deadline, self._name):
            for batch in _batches(json.dumps(each, allow_nan=False) for each in events):
                answer = self._ask("events.add_batch", deadline, data=batch, headers=headers)
                if answer.get("errors"):
                    raise _not_added(clean(answer.get("errors_info") or "no reason given"))

    def page(self, project_id: str, task_id: str) -> str:
        """Where a browser shows a task."""
        return f"{self.web}/projects/{project_id}/experiments/{task_id}/output/log"

    @property
    def _name(self) -> str:
        return f"the ClearML server at {bare(self.host)}"

    def _ask(self, endpoint: str, deadline: float, **content: Any) -> dict[str, Any]:
        service, _, action = endpoint.partition(".")
        with bounded(deadline, self._name), quiet(), self._translated():
            answer = self._session.send_request(service, action, self._version, **content)
            return self._data(endpoint, answer.status_code, answer.content)

    def _data(self, endpoint: str, status: int, content: bytes) -> dict[str, Any]:
        """The data of an answer; what is no answer of a ClearML server raises ValueError."""
        answer = json.loads(content)
        meta, data = answer["meta"], answer.get("data")
        code, subcode = int(meta["result_code"]), int(meta.get("result_subcode") or 0)
        if code == status == 200:
            if not isinstance(data, dict):
                raise ValueError("no data")
            return data
        if not 400 <= code < 500:
            raise ValueError("an unknown status")
        said = self._masked(meta.get("result_msg") or "no reason given")
        if subcode == _NONE_ADDED and _UNKNOWN_TASK in said:
            subcode = _NO_TASK
        raise ServerRefused(
            f"{self._name} refuses {endpoint}: {said} ({code}/{subcode})",
            code=code,
            subcode=subcode,
        )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except ServerError:
            raise
        except Exception as error:  # noqa: BLE001  any: of an answer of any shape
            raise _translation(self._session.host, error) from None

    def _masked(self, text: object) -> str:
        secrets = (self._session.access_key, self._session.secret_key, self._session.raw_token)
        return _without(str(text), secrets)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep clearml from printing, warning and logging inside the block."""
    before = logging.root.manager.disable
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)


def clearml_under_bounds() -> Any:
    """clearml's session module, under our bounds; imported here because it takes a second."""
    # What a server's vault says is applied to the configuration, to the environment and to files
    # of this machine: none of that for a server that could be anybody's.
    os.environ["CLEARML_DISABLE_VAULT_SUPPORT"] = "1"
    with quiet():
        from clearml.backend_api.session import session

        from torch_lab.mirror import guarded
    guarded.install()
    return session


def _login(backend: Any) -> Any:
    from clearml.backend_interface.base import InterfaceBase

    if backend.Session._offline_mode:
        raise ServerError("CLEARML_OFFLINE_MODE is set: there is no server", hint="Unset it.")
    try:
        session = backend.Session()
    except backend.MissingConfigError:
        raise ServerError("no ClearML server is configured", hint=_HINT) from None
    except backend.ConfigurationError as error:
        raise ServerError(f"clearml.conf can't be read: {clean(error)}") from None
    except ServerError:
        raise
    except Exception as error:  # noqa: BLE001  any: a refusal, or of an answer of any shape
        raise _translation(_configured_host(backend), error) from None
    # Private: clearml's storage uses this session then, where it would log in once more.
    InterfaceBase._set_default_session(session)
    return session


def _configured_host(backend: Any) -> str:
    return _found(backend.Session.get_api_server_host) or "an unknown address"


def _translation(host: str, error: Exception) -> ServerError:
    """What an exception of clearml's means."""
    name = f"the ClearML server at {bare(host)}"
    within = error.__context__
    if isinstance(within, ServerError):
        return within  # clearml wraps what happened while it logged in
    login = re.match(r"Failed getting token \(error (\d+) from .*?\): (.*)", str(error), re.DOTALL)
    if login and login[1] in ("400", "401", "403"):
        said = _without(login[2], _configured_secrets())
        return ServerRefused(
            f"{name} refuses the credentials: {said}", code=int(login[1]), hint=_WHO_ASKS
        )
    return ServerUnreachable(f"{name} answers, but not as a ClearML server does")


def _configured_secrets() -> list[str | None]:
    from clearml.backend_api.session import defs
    from clearml.config import config_obj

    names = ("access_key", "secret_key")
    read = [config_obj.get(f"api.credentials.{name}", None) for name in names]
    variables = (defs.ENV_ACCESS_KEY, defs.ENV_SECRET_KEY, defs.ENV_AUTH_TOKEN)
    return [*read, *(each.get() for each in variables)]


def _without(text: str, secrets: Iterable[str | None]) -> str:
    for secret in secrets:
        if secret:
            text = text.replace(secret, MASK)
    return clean(text)


def _found(look: Any) -> str:
    """An address of the configuration, without credentials; empty where none can be told."""
    try:
        return without_user(str(look()))
    except ValueError:
        return ""


def _spoken(version: str) -> str:
    """The version of the API to ask in: ours, or the server's where that is older."""
    try:
        major, minor = map(int, version.split("."))
    except ValueError:
        major, minor = _VERSION
    return ".".join(map(str, min(_VERSION, (major, minor))))


def _batches(lines: Iterable[str]) -> Iterator[bytes]:
    batch: list[bytes] = []
    size = 0
    for line in lines:
        encoded = line.encode()
        if batch and size + len(encoded) > _BATCH:
            yield b"\n".join(batch)
            batch, size = [], 0
        batch.append(encoded)
        size += len(encoded) + 1
    if batch:
        yield b"\n".join(batch)


def _not_added(told: str) -> ServerRefused:
    message = f"the ClearML server takes only a part of these events: {told}"
    return ServerRefused(message, code=400, subcode=_NO_TASK if _UNKNOWN_TASK in told else 0)
