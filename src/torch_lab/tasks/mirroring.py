"""A training's dealings with ClearML: all of them beside it, but for the wait at its end."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch_lab.errors import LockLost, ServerError, Stopped, StoreError
from torch_lab.mirror.asking import Asking, start_asking
from torch_lab.mirror.configured import configured
from torch_lab.mirror.delivery import Wait
from torch_lab.mirror.launch import Watch, aborted, wanted
from torch_lab.mirror.task import project_name
from torch_lab.settings import Settings
from torch_lab.store.console import LiveLine
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import Record, read
from torch_lab.tasks.plan import Plan, run_prefix, say

_CLAIM = 0.2  # seconds that a claim waits for the server, which was asked before torch was imported
_UNHURRIED = 3.0  # seconds, where nothing else is done meanwhile
_QUESTION = 20.0  # seconds after which no answer is waited for
_REQUIRED = 15.0  # seconds to wait for a server that is required
_AFTER_SIGNAL = 5.0  # seconds to wait at the end of a run that was told to stop
_HIGHEST = 1_000_000  # what a run's number may be at most; a server can say anything


@dataclass
class Mirroring:
    """What one training asks of ClearML: nothing where it is not to be mirrored."""

    settings: Settings
    watch: Watch | None = None
    offline: bool = False
    question: Asking | None = None
    run: RunDirectory | None = None

    @property
    def wanted(self) -> bool:
        """Whether a sender is to mirror this run."""
        return self.watch is not None

    @property
    def wanted_again(self) -> bool | None:
        """Whether a sender is to mirror this run from now on; None: as it was begun."""
        return True if self.wanted else False if self.offline else None

    def floor(self, patience: float = _CLAIM) -> int:
        """The least number for a new run by the server's tasks; 0 where it doesn't answer now."""
        question, self.question = self.question, None
        if question is None:
            return 0
        try:
            return above_highest(question.answer(patience))
        except ServerError:
            return 0
        finally:
            question.end()

    def follow(self, run: RunDirectory) -> None:
        """Be told which run this is; it has its record now."""
        self.run = run
        if self.watch is not None:
            self.watch.follow(run)

    @contextmanager
    def of_training(self) -> Iterator[None]:
        """A run is trained inside; when its books are closed, the sender gets a bounded time."""
        try:
            yield
        except BaseException as error:  # a signal too; raised again
            if isinstance(error, LockLost):  # another process goes on with the run
                self.run = None
            stopped = isinstance(error, (Stopped, KeyboardInterrupt))
            # Afterwards: people are to read first why it ended.
            error.afterwards = partial(self._deliver, stopped)  # type: ignore[attr-defined]
            raise
        finally:
            if self.question is not None:
                self.question.end()
        self._deliver()

    def _deliver(self, stopped: bool = False) -> None:
        if self.watch is None or self.run is None:
            return
        seconds = min(self.settings.sync_wait, _AFTER_SIGNAL if stopped else math.inf)
        line = LiveLine(sys.stderr)
        try:
            said = Wait(self.run, read(self.run).ended, self.watch, line.draw).result(seconds)
        except StoreError:  # the run's files can't be read: that has been said
            return
        finally:
            line.erase()
            self.watch.end()
        say(said)


def prepare(plan: Plan, *, new: bool) -> Mirroring:
    """Begin what takes time beside the imports: a sender, and the question of the run's number.

    Where a server is required and doesn't answer, this is where it ends.
    """
    offline = plan.options.offline or plan.settings.offline
    if plan.settings.require_server and not offline:
        _require(plan)
    if not wanted(plan.settings, offline=offline):
        return Mirroring(plan.settings, offline=offline)
    watch = Watch(plan.settings, say)
    watch.start()
    return Mirroring(plan.settings, watch, question=_question(plan) if new else None)


def servers_floor(plan: Plan) -> int:
    """The least number, by the server's tasks, for a run that is begun later, elsewhere."""
    offline = plan.options.offline or plan.settings.offline
    question = _question(plan) if wanted(plan.settings, offline=offline) else None
    return Mirroring(plan.settings, question=question).floor(_UNHURRIED)


def stopped_by(run: RunDirectory, record: Record, error: BaseException) -> str:
    """What stopped a run: a signal, and who sent it where that was the sender."""
    name = str(error) or "SIGINT"
    began = record.resumes[-1].time if record.resumes else record.created
    by_sender = isinstance(error, Stopped) and name == "SIGTERM" and aborted(run, began)
    return f"aborted in ClearML ({name})" if by_sender else name


def _question(plan: Plan) -> Asking | None:
    try:
        return start_asking("highest", timeout=_QUESTION, **asked_for_number(plan))
    except (OSError, ServerError):  # no process to be had: the number is then a local matter
        return None


def _require(plan: Plan) -> None:
    """Raise unless the server answers."""
    hint = "The setting require-server asks for one; without a server: --offline."
    if not configured():
        raise ServerError("no ClearML server is configured", hint=hint)
    question = start_asking("highest", timeout=_REQUIRED, **asked_for_number(plan))
    try:
        question.answer(_REQUIRED)
    except ServerError as error:
        error.hint = error.hint or hint
        raise
    finally:
        question.end()


def asked_for_number(plan: Plan) -> dict[str, Any]:
    """What the question for the highest number is about."""
    prefix = run_prefix(plan.experiment, plan.options.dev_run)
    begun = Record("", "", "starting", experiment=plan.experiment.name)
    begun = replace(begun, hparams={"task": plan.hparams.task}, dev_run=plan.options.dev_run)
    return {"project": project_name(begun), "prefix": prefix}


def above_highest(answer: Mapping[str, Any]) -> int:
    """One more than the highest number that the server knows."""
    highest = answer.get("highest")
    return highest + 1 if isinstance(highest, int) and 0 <= highest < _HIGHEST else 0
