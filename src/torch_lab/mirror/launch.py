"""The training's side of its mirror: a sender is started and watched, and never needed.

Nothing here talks to a server or waits for one, and whatever becomes of a sender, training goes
on: it reads the record's files, which the run can do without it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from torch_lab.errors import StoreError
from torch_lab.mirror import senders, state
from torch_lab.mirror.configured import configured
from torch_lab.mirror.senders import AWAY, State
from torch_lab.mirror.words import clean
from torch_lab.settings import Settings
from torch_lab.store.paths import RunDirectory
from torch_lab.utils.threads import leave_signals_to_main

TICK = 0.5  # seconds between two looks while there is something to tell
PAUSE = 5.0  # seconds between two looks later on
AGAIN = (1.0, 300.0)  # seconds before a sender that died at once is started again: first, at most
_STILLBORN = 10.0  # seconds; a sender that lives for less died at once
_GIVING_WAY = 20.0  # seconds that another sender has to end
_LARGEST_LOG = 1_000_000  # bytes
_ROOT = Path(__file__).parents[2]
# Found like this wherever torch-lab lies, and whatever lies in the working directory. The thread
# that starts it has the ending signals blocked, which a child inherits.
_CODE = (
    "import signal, sys; sys.path.append(sys.argv.pop(1));"
    " signal.pthread_sigmask(signal.SIG_SETMASK, ());"
    " from torch_lab.cli.exit import leave; from torch_lab.cli.sync import command;"
    " leave(lambda: command(sys.argv[1:]))"
)
# clearml's word to the children of a process that has a task open.
_NOT_FOR_IT = ("CLEARML_PROC_MASTER_ID", "TRAINS_PROC_MASTER_ID")


def wanted(settings: Settings, *, offline: bool) -> bool:
    """Whether a training is to be mirrored: a server is configured, and nobody said offline."""
    return not (offline or settings.offline) and configured()


class Watch:
    """A thread that keeps a sender at work while this process trains, and tells its news once."""

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._say = say
        self._said: set[str] = set()
        self._sender: subprocess.Popen[bytes] | None = None
        self._began = time.monotonic()
        self._started = 0.0
        self._pause = 0.0
        self._deaths = 0
        self._outdated = 0  # the sender that is to give way to one of ours
        self._run: RunDirectory | None = None
        self._woken = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._watch, name="sender", daemon=True)

    def start(self) -> None:
        """Begin; returns at once. A sender that reaches no server gives way to one of ours.

        It may have been started for another server, or be waiting until it asks again.
        """
        news = self.news()
        if news.state in AWAY:
            self._outdated = news.pid
            senders.hurry(self._settings.artifacts)
        self._began = time.monotonic()
        self._thread.start()

    def follow(self, run: RunDirectory) -> None:
        """Tell of this run from now on."""
        self._run = run
        self._woken.set()

    def end(self) -> None:
        """Look after the sender no more; it goes on by itself."""
        self._ended = True
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(1)
        if self._sender is not None:
            self._sender.returncode = 0  # else Python warns that it still runs, as it is to do

    def hurry(self) -> None:
        """Start a sender at once if there is none, whatever became of the ones before."""
        self._pause = 0.0
        self._woken.set()

    def news(self) -> State:
        """What the sender that is at work says of itself."""
        news = senders.current(self._settings.artifacts, self._settings.lost_after)
        outdated = news.pid == self._outdated and time.monotonic() - self._began < _GIVING_WAY
        return State() if outdated else news

    @property
    def failed(self) -> bool:
        """Whether senders could not be started, or died at once, again and again."""
        return self._deaths > 1

    def _watch(self) -> None:
        leave_signals_to_main()
        while not self._ended:
            try:
                self._keep_alive()
                self._tell()
            except Exception:  # noqa: BLE001, S110  whatever a sender has left there, training goes on
                pass
            self._woken.wait(TICK if self._expecting() else PAUSE)
            self._woken.clear()

    def _expecting(self) -> bool:
        return time.monotonic() - self._started < PAUSE or not self._said

    # -- the sender ----------------------------------------------------------------------------

    def _keep_alive(self) -> None:
        status = self._sender.poll() if self._sender is not None else None
        if self._sender is not None and status is None:
            return
        if senders.lives(self._settings.artifacts, self._settings.lost_after):
            self._deaths, self._pause = 0, 0.0
            return
        if self._sender is not None:
            self._bury(status)
        if time.monotonic() - self._started >= self._pause:
            self._begin()

    def _begin(self) -> None:
        self._started = time.monotonic()
        try:
            self._sender = spawn(self._settings)
        except (OSError, ValueError) as error:
            self._count(clean(error))

    def _bury(self, status: int | None) -> None:
        """Note that the sender has died; one that does so at once is started less and less."""
        self._sender = None
        if time.monotonic() - self._started > _STILLBORN:
            self._deaths, self._pause = 0, 0.0
        else:
            self._count(f"exit status {status}, see {senders.log_file(self._settings.artifacts)}")

    def _count(self, reason: str) -> None:
        self._deaths += 1
        first, longest = AGAIN
        self._pause = min(first * 2 ** min(self._deaths - 1, 20), longest)
        if self._deaths > 1:
            self._warn(f"the sender ends at once ({reason})")

    # -- what people are told ------------------------------------------------------------------

    def _tell(self) -> None:
        news = self.news()
        if news.state in AWAY:
            self._warn(problem(news))
        elif news.state == "connected":
            self._tell_page()

    def _tell_page(self) -> None:
        if self._run is None or "page" in self._said:
            return
        mirror = state.read(self._run)
        if mirror is not None and mirror.page:
            self._once("page", f"ClearML: {clean(mirror.page)}")

    def _warn(self, why: str) -> None:
        if self._begun():
            text = f"nothing more is sent to ClearML for now: {why}"
            then = "the run goes on, and the rest is sent later"
        else:
            text = f"nothing is sent to ClearML: {why}"
            then = "this run is recorded locally, and sent later"
        self._once("warning", f"warning: {text}; {then}")

    def _begun(self) -> bool:
        """Whether something of the run is on the server."""
        try:
            mirror = state.read(self._run) if self._run is not None else None
        except StoreError:  # of a newer torch-lab
            return False
        return mirror is not None and mirror.task_id is not None

    def _once(self, what: str, text: str) -> None:
        if what not in self._said:
            self._said.add(what)
            self._say(text)


def problem(news: State) -> str:
    """Why the sender sends nothing."""
    return clean(news.problem or f"the ClearML server is {news.state}")


def spawn(settings: Settings) -> subprocess.Popen[bytes]:
    """Start a sender that outlives this process; should there be one already, it ends at once."""
    log, me = senders.log_file(settings.artifacts), str(os.getpid())
    log.parent.mkdir(parents=True, exist_ok=True)
    grown = log.exists() and log.stat().st_size > _LARGEST_LOG
    with log.open("wb" if grown else "ab") as output:
        return subprocess.Popen(
            [sys.executable, "-P", "-c", _CODE, str(_ROOT), "--follow", "--beside", me],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # signals to the training's group are not for it
            cwd=settings.root,
            env=_environment(settings),
        )


def _environment(settings: Settings) -> dict[str, str]:
    """This process's, so that the sender finds the same folder and the same server."""
    kept = {name: text for name, text in os.environ.items() if name not in _NOT_FOR_IT}
    kept["TORCH_LAB_ARTIFACTS"] = str(settings.artifacts.absolute())
    for name in ("CLEARML_CONFIG_FILE", "TRAINS_CONFIG_FILE"):
        if kept.get(name):  # it may be relative to where this process stands
            kept[name] = os.path.abspath(os.path.expanduser(kept[name]))  # noqa: PTH100, PTH111
    return kept


def aborted(run: RunDirectory, since: float) -> bool:
    """Whether the sender has stopped this run because it was aborted on the server."""
    try:
        mirror = state.read(run)
    except StoreError:
        return False
    return mirror is not None and (mirror.abort or 0.0) >= since
