"""Who works on a trial: one sweep process at a time, of all that share a storage.

A trial has the attribute "owner": a token, the process, and a generation that goes up with each
change of hands. Storages have no way to change a value only if it is still what it was; what they
do have is that of two studies with one name only one is made. So a generation is won by making the
study NAME/TRIAL.GENERATION. Whoever wants it says so first, in the trial's attribute
"wants GENERATION TOKEN": where all who did are dead and the owner is still the old one, nobody
ever has that generation, and the next one can be won.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from torch_lab.store.host import Liveness, Process, this_process
from torch_lab.utils.threads import leave_signals_to_main

OWNER = "owner"
_BEAT, _WANTS = "beat ", "wants "
_SHARE = 4  # beats in the time after which a silent process is taken for dead


class Owners:
    """This process among those that share a study."""

    def __init__(
        self, study: Any, lost_after: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._study = study
        self._lost_after = lost_after
        self._clock = clock
        self.process = asdict(this_process())
        self._seen: dict[str, tuple[Any, float]] = {}
        self._moved: set[str] = set()
        self._ended = threading.Event()
        self.token = uuid.uuid4().hex[:12]

    def claim(self, generation: int = 1) -> dict[str, Any]:
        """What names this process as a trial's owner."""
        return {"token": self.token, "generation": generation, "process": self.process}

    def is_mine(self, trial: Any) -> bool:
        """Whether this process has a trial."""
        return bool((trial.user_attrs.get(OWNER) or {}).get("token") == self.token)

    def is_free(self, trial: Any) -> bool:
        """Whether its owner has given a trial up."""
        return bool((trial.user_attrs.get(OWNER) or {}).get("free"))

    def is_alive(self, trial: Any) -> bool:
        """Whether a trial's owner lives, or may: of what can't be seen only silence tells."""
        owner = trial.user_attrs.get(OWNER) or {}
        return not owner.get("free") and self._lives(owner)

    def is_doubtful(self, trial: Any) -> bool:
        """Whether a trial's owner can't be seen, and has given no sign of life yet."""
        owner = trial.user_attrs.get(OWNER) or {}
        return self.is_alive(trial) and _is_far(owner) and owner["token"] not in self._moved

    def where(self, trial: Any) -> str:
        """The owner of a trial in words."""
        process = (trial.user_attrs.get(OWNER) or {}).get("process") or {}
        return f"process {process.get('pid')} on {process.get('host')}"

    def take(self, trial: Any) -> bool:
        """Become the owner of a trial whose owner has freed it or is dead; False if another did."""
        generation = int((trial.user_attrs.get(OWNER) or {}).get("generation", 0)) + 1
        while not self._win(trial, generation):
            if not self._is_void(trial, generation):
                return False
            generation += 1
        storage, trial_id = self._study._storage, trial._trial_id
        now = storage.get_trial(trial_id)
        behind = int((now.user_attrs.get(OWNER) or {}).get("generation", 0)) >= generation
        if now.state.is_finished() or behind:
            return False
        storage.set_trial_user_attr(trial_id, OWNER, self.claim(generation))
        return True

    def free(self, trial: Any) -> None:
        """Let others have a trial that is not finished."""
        storage = self._study._storage
        now = storage.get_trial(trial._trial_id)
        if not now.state.is_finished() and self.is_mine(now):
            owner = {**now.user_attrs[OWNER], "free": True}
            storage.set_trial_user_attr(trial._trial_id, OWNER, owner)

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Give signs of life to those who can't see this process."""
        thread = threading.Thread(target=self._beat, name="sweep", daemon=True)
        self._study.set_user_attr(f"{_BEAT}{self.token}", 0)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _beat(self) -> None:
        leave_signals_to_main()
        count = 0
        while not self._ended.wait(self._lost_after / _SHARE):
            count += 1
            try:
                self._study.set_user_attr(f"{_BEAT}{self.token}", count)
            except Exception:  # noqa: BLE001  of a database's driver: a missed beat
                continue

    # -- taking ---------------------------------------------------------------------------------

    def _win(self, trial: Any, generation: int) -> bool:
        from optuna.exceptions import DuplicatedStudyError

        storage, name = self._study._storage, self._study.study_name
        wish = f"{_WANTS}{generation} {self.token}"
        try:
            storage.set_trial_user_attr(trial._trial_id, wish, self.process)
            storage.create_new_study(self._study.directions, f"{name}/{trial.number}.{generation}")
        except (DuplicatedStudyError, RuntimeError):  # another has it, or the trial is finished
            return False
        return True

    def _is_void(self, trial: Any, generation: int) -> bool:
        """Whether all who wanted a generation are dead, and none has become the owner."""
        now = self._study._storage.get_trial(trial._trial_id)
        owner = now.user_attrs.get(OWNER) or {}
        if now.state.is_finished() or int(owner.get("generation", 0)) >= generation:
            return False
        start = f"{_WANTS}{generation} "
        wishes = {k[len(start) :]: v for k, v in now.user_attrs.items() if k.startswith(start)}
        wishes.pop(self.token, None)
        return not any(self._lives({"token": t, "process": p}) for t, p in wishes.items())

    def _lives(self, owner: Mapping[str, Any]) -> bool:
        try:
            process = Process(**owner["process"])
        except (KeyError, TypeError):
            return False
        liveness = process.liveness()
        if liveness in (Liveness.ALIVE, Liveness.DEAD):
            return liveness is Liveness.ALIVE
        return self._beats(str(owner["token"]))

    def _beats(self, token: str) -> bool:
        beats = self._study._storage.get_study_user_attrs(self._study._study_id)
        now, clock = beats.get(f"{_BEAT}{token}"), self._clock()
        before, since = self._seen.setdefault(token, (now, clock))
        if before != now:
            self._moved.add(token)
            self._seen[token] = (now, clock)
            return True
        return clock - since < self._lost_after


def _is_far(owner: Mapping[str, Any]) -> bool:
    return Process(**owner["process"]).liveness() not in (Liveness.ALIVE, Liveness.DEAD)
