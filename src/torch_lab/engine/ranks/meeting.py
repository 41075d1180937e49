"""Where processes that torchrun or srun has started find rank 0, before there is a run.

Rank 0 leaves the port that it hears the others at, and a word that they know it by, in the store
that torch meets at later. What they say goes over connections of their own.
"""

from __future__ import annotations

import hmac
import json
import secrets
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from typing import Any

from torch.distributed import (  # type: ignore[attr-defined]  # C++ gives the stores
    DistError,
    DistStoreError,
    PrefixStore,
    TCPStore,
)

from torch_lab.engine.ranks.channel import Channel, Message
from torch_lab.errors import RankLost, TorchLabError, UsageError
from torch_lab.utils.launched import Launch, with_own_store
from torch_lab.utils.threads import ENDING

_HELLO = 10.0  # seconds for a process that has connected to say who it is
_SAY = 20.0  # seconds until it is said who is waited for
_LONGEST = 4096  # bytes of what one says that is not known yet
_AFRESH = 15  # seconds without a sign of life from a machine until it is asked for one
_BETWEEN, _TIMES = 5, 4  # … and how often it is asked before it is taken for gone
_WHERE = "torch_lab/meeting"


@dataclass(frozen=True)
class Joined:
    """A process of another rank, at the other end of a channel."""

    rank: int
    host: str
    channel: Channel


class Meeting:
    """Rank 0's side: it hears who is there, and tells them the run."""

    def __init__(self, launch: Launch, patience: float) -> None:
        self.launch = launch
        self.joined: dict[int, Joined] = {}
        self._patience = patience
        self._word = secrets.token_hex(16)
        self._server = _server()
        self._store = _store(launch, patience)  # others are served by it until this process ends
        _kept.append(self._store)
        port = self._server.getsockname()[1]
        store = _free_port() if launch.agents_store and launch.attempt else launch.port
        self.launch = with_own_store(launch, store)
        _rooms(self._store, launch).set(_WHERE, json.dumps([port, self._word, store]))

    def gather(self) -> None:
        """Wait until all are here; a failure of those who never come names them."""
        begin = time.monotonic()
        said = False
        while len(self.joined) < self.launch.world - 1:
            waited = time.monotonic() - begin
            if waited >= self._patience:
                raise self._absent()
            if waited >= _SAY and not said:
                said = True
                _say(f"waiting for {self._missing()}")
            self._hear(0.5)
        self._server.close()

    def tell(self, **message: Any) -> None:
        """Tell all who are here."""
        for each in self.joined.values():
            each.channel.send(**message)

    def dismiss(self) -> None:
        """There is nothing to do."""
        self.gather()
        self.tell(nothing=True)

    def close(self) -> None:
        """Let all go who have not been told of a run."""
        self._server.close()
        for each in self.joined.values():
            each.channel.close()

    def _hear(self, seconds: float) -> None:
        known = {each.channel.connection: each for each in self.joined.values()}
        for ready in wait([self._server, *known], seconds):
            if isinstance(ready, Connection):
                self._refuse_absence(known[ready])
            else:
                self._welcome()

    def _refuse_absence(self, each: Joined) -> None:
        if each.channel.receive() is None:
            raise RankLost(f"rank {each.rank} on {each.host} has ended before the run began")

    def _welcome(self) -> None:
        with suppress(OSError):
            connection = _connection(self._server.accept()[0])
            hello = _hello(connection)
            if hello is None or not hmac.compare_digest(str(hello.get("word")), self._word):
                connection.close()  # somebody who looks at ports
                return
            rank = int(hello["rank"])
            self.joined[rank] = Joined(rank, str(hello["host"]), Channel(connection))

    def _absent(self) -> RankLost:
        text = f"{self._missing()} did not join within {self._patience:g} s"
        return RankLost(
            f"{text}: {len(self.joined) + 1} of {self.launch.world} processes are here",
            hint=f"Look at what they say, and whether they reach {self.launch.address}:"
            f"{self.launch.port} from there. TORCH_LAB_JOIN_TIMEOUT says for how long to wait.",
        )

    def _missing(self) -> str:
        """Those who aren't here, by machine."""
        places: dict[str, list[int]] = {}
        for rank in range(1, self.launch.world):
            if rank not in self.joined:
                places.setdefault(self.launch.place(rank), []).append(rank)
        return " and ".join(f"{_ranks(ranks)} ({place})" for place, ranks in places.items())


@contextmanager
def opened(launch: Launch, patience: float) -> Iterator[Meeting]:
    """Rank 0's meeting; when it ends early, so do those who came.

    As soon as one has ended torchrun sends SIGTERM to all: rank 0 has still to say why.
    """
    meeting = None
    try:
        with _reachable(launch, patience):
            meeting = Meeting(launch, patience)
        yield meeting
    except BaseException:  # raised again: nobody is to wait for what doesn't come
        for each in ENDING:
            signal.signal(each, signal.SIG_IGN)
        if meeting is not None:
            meeting.close()
        raise


def join(launch: Launch, patience: float) -> tuple[Launch, Channel, Message | None]:
    """Where all meet from now on, the channel to rank 0, and the run that it tells of.

    None in place of a run where rank 0 has ended before.
    """
    with _reachable(launch, patience):
        rooms = _rooms(_store(launch, patience), launch)
        port, word, store = json.loads(rooms.get(_WHERE))
        connection = _connection(socket.create_connection((launch.address, port), patience))
    channel = Channel(connection)
    channel.send(word=word, rank=launch.rank, host=socket.gethostname())
    return with_own_store(launch, store), channel, channel.receive()


_kept: list[Any] = []  # a store ends when nobody holds it


def _store(launch: Launch, patience: float) -> TCPStore:
    """The store at the launcher's port; the one that torch.distributed takes later."""
    return TCPStore(
        launch.address,
        launch.port,
        launch.world,
        is_master=launch.rank == 0 and not launch.agents_store,
        timeout=timedelta(seconds=patience),
        wait_for_workers=False,
        multi_tenant=True,
    )


def _rooms(store: TCPStore, launch: Launch) -> PrefixStore:
    return PrefixStore(f"attempt {launch.attempt}", store)


@contextmanager
def _reachable(launch: Launch, patience: float) -> Iterator[None]:
    """What keeps processes from meeting, in words that say where."""
    place = f"{launch.address}:{launch.port}"
    try:
        yield
    except (DistError, DistStoreError, OSError, ValueError) as error:
        if launch.rank == 0:
            raise _not_opened(place, error) from error
        raise RankLost(
            f"rank {launch.rank} on {socket.gethostname()} does not reach rank 0 at {place}"
            f" within {patience:g} s",
            hint="Look at what rank 0 says, and at MASTER_ADDR and firewalls between machines.",
        ) from error


def _not_opened(place: str, error: Exception) -> TorchLabError:
    taken = "EADDRINUSE" in str(error)
    what = "the port is in use" if taken else str(error).splitlines()[0]
    return UsageError(
        f"rank 0 can't meet the other processes at {place}: {what}",
        hint="MASTER_PORT (torchrun: --master-port) names another port, MASTER_ADDR the machine"
        " of rank 0.",
    )


def _server() -> socket.socket:
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    return socket.create_server(("", 0), family=family, backlog=1024, dualstack_ipv6=dual)


def _free_port() -> int:
    """A port that nobody uses now."""
    with socket.create_server(("", 0)) as found:
        return int(found.getsockname()[1])


def _connection(made: socket.socket) -> Connection:
    """A connection that notices when the other machine is gone without a word."""
    made.settimeout(None)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    wanted = {"TCP_KEEPIDLE": _AFRESH, "TCP_KEEPINTVL": _BETWEEN, "TCP_KEEPCNT": _TIMES}
    wanted["TCP_USER_TIMEOUT"] = 1000 * (_AFRESH + _BETWEEN * _TIMES)
    for name, value in wanted.items():
        if hasattr(socket, name):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return Connection(made.detach())


def _hello(connection: Connection) -> Mapping[str, Any] | None:
    """What a process says first, if it is one of ours."""
    with suppress(EOFError, OSError, ValueError):
        if connection.poll(_HELLO):
            found = json.loads(connection.recv_bytes(_LONGEST))
            return found if isinstance(found, dict) else None
    return None


def _ranks(ranks: Sequence[int]) -> str:
    """ "rank 3", or "ranks 4-7"."""
    whole = len(ranks) > 2 and ranks[-1] - ranks[0] == len(ranks) - 1
    text = f"{ranks[0]}-{ranks[-1]}" if whole else ", ".join(map(str, ranks))
    return f"rank{'s' * (len(ranks) > 1)} {text}"


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
