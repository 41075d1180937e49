"""The search: free slots get trials, ended ones are told, what others left is gone on with."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch_lab.errors import RunError, StorageAway, TorchLabError, UsageError
from torch_lab.experiment import Experiment
from torch_lab.settings import Settings
from torch_lab.store import record as records
from torch_lab.store.find import StoredRun
from torch_lab.tasks.pool import Ended, Job, Pool, Slot
from torch_lab.tasks.sweep import asking, membership
from torch_lab.tasks.sweep.design import DEFAULT_TRIALS, GRID, Design, Sweep
from torch_lab.tasks.sweep.ledger import DEATHS, KEY, OVERRIDES, REASON, RUN, Trials
from torch_lab.tasks.sweep.membership import PRUNER, Membership
from torch_lab.tasks.sweep.space import combinations

_MOST_DEATHS = 3  # times that a trial's process is killed before the trial has failed
_HOPELESS = 3  # trials that fail before any other is over


@dataclass(frozen=True)
class Order:
    """A sweep that is to be searched."""

    experiment: Experiment
    settings: Settings
    design: Design
    sweep: Sweep
    storage: str
    overrides: tuple[str, ...] = ()
    offline: bool = False
    trust: bool = False
    force: bool = False


class Search:
    """One process's part of a sweep; `say` gets a line when a trial begins and when it ends."""

    def __init__(
        self, order: Order, trials: Trials, slots: Sequence[Slot], say: Callable[[str], None]
    ) -> None:
        self._order = order
        self._trials = trials
        self._say = say
        self.pool = Pool(slots)
        grid = order.design.sampler == GRID
        self._combinations = combinations(order.sweep) if grid else None
        if self._combinations is not None:
            trials.be_grid(self._combinations)
        self._under_way: dict[int, Any] = {}
        self._untold: list[Ended] = []  # what has ended and can't be told, for the storage is away
        self._away_since: float | None = None
        self._failures = 0
        self._problem: BaseException | None = None
        self.progress = self._progress()

    @property
    def limit(self) -> int:
        """How many trials there are to be."""
        wanted = self._order.design.trials
        if self._combinations is None:
            return wanted or DEFAULT_TRIALS
        return min(wanted or len(self._combinations), len(self._combinations))

    def run(self) -> None:
        """Search until all trials are over or in other hands; raises what has stopped it."""
        with tempfile.TemporaryDirectory(prefix="sweep-") as logs, self._trials.owners.beating():
            try:
                for ended in self.pool.run(self._jobs(Path(logs))):
                    self._untold.append(ended)
                    with suppress(StorageAway):  # it is told later: here, or by the next start
                        self._tell_ends()
            finally:
                with suppress(StorageAway):  # who is dead has nothing
                    self._let_go()
        if self._problem is not None:
            raise self._problem

    def in_other_hands(self) -> list[Any]:
        """The trials that other processes work on."""
        owners = self._trials.owners
        return [t for t in self._open() if owners.is_alive(t) and not owners.is_mine(t)]

    def _may_be_left(self) -> bool:
        """Whether others have trials of whom nobody knows yet whether they live."""
        return any(map(self._trials.owners.is_doubtful, self._open()))

    def _open(self) -> list[Any]:
        """The trials that are not over."""
        return [t for t in self._trials.all()[: self.limit] if not t.state.is_finished()]

    # -- what comes next ------------------------------------------------------------------------

    def _jobs(self, logs: Path) -> Iterator[Job | None]:
        """What is to be started; None while there is nothing, but may be later."""
        while self._problem is None:
            job: Job | None = None
            try:
                self._tell_ends()
                trial = self._left_behind() or self._trials.new(self.limit)
                if trial is not None:
                    job = self._job(trial, logs)
                elif not (self._under_way or self._may_be_left()):
                    return
                self._be_back()
                if trial is not None and job is None:
                    continue
            except StorageAway as error:
                self._be_away(error)
            except BaseException as error:  # noqa: BLE001  the user's sweep() raises anything: the
                self._problem = error  # trials under way come to their ends first
                return
            yield job

    def _left_behind(self) -> Any | None:
        """A trial that was begun and that nobody works on, now this process's own."""
        owners = self._trials.owners
        for trial in self._open():
            if trial.number in self._under_way:
                continue
            mine = owners.is_mine(trial) and not owners.is_free(trial)
            if mine or (not owners.is_alive(trial) and owners.take(trial)):
                return trial
        return None

    def _job(self, trial: Any, logs: Path) -> Job | None:
        """The command that trains a trial; None if it is over, or never to be trained."""
        run = self._run_of(trial)
        if run is not None and self._judge(trial, run):
            return None
        texts = self._texts(trial)
        if texts is None:
            return None
        self._under_way[trial.number] = trial
        going_on = f", goes on as {run.record.name}" if run else ""
        self._say(f"trial {trial.number} begins: {', '.join(texts) or 'as it is'}{going_on}")
        words = [word for text in (*self._order.overrides, *texts) for word in ("--set", text)]
        order = self._order
        flags = {"--offline": order.offline, "--trust": order.trust, "--force": order.force}
        words += [name for name, given in flags.items() if given]
        argv = ("train", str(self._order.experiment.script), *words)
        env = self._member(trial).as_environment()
        return Job(argv, logs / f"{trial.number}.log", str(trial.number), env)

    def _texts(self, trial: Any) -> tuple[str, ...] | None:
        """A trial's hyperparameters as `--set` takes them, asked for once; None: it is pruned."""
        from optuna.exceptions import TrialPruned

        if OVERRIDES in trial.user_attrs:
            return tuple(trial.user_attrs[OVERRIDES])
        proposal = self._trials.proposal(trial, self._combinations)
        given = self._order.overrides
        try:
            values = self._order.sweep(proposal)
            texts = asking.texts_of(self._order.experiment, values, given)[len(given) :]
        except TrialPruned:
            self._over(trial, "pruned", reason="sweep(trial) raised TrialPruned")
            return None
        self._trials.note(trial, OVERRIDES, list(texts))
        return texts

    def _member(self, trial: Any) -> Membership:
        order, design = self._order, self._order.design
        return Membership(
            study=design.name,
            trial=trial.number,
            trial_id=trial._trial_id,
            key=trial.user_attrs[KEY],
            storage=order.storage,
            artifacts=str(order.settings.artifacts),
            prefix=order.experiment.run_prefix,
            metric=design.metric,
            mode=design.mode,
            pruner=design.pruner,
            pruner_kwargs=dict(design.pruner_kwargs),
            searcher=self._trials.owners.process,
            lost_after=order.settings.lost_after,
        )

    def _progress(self) -> str:
        """How far the search is, in a line."""
        trials, design = self._trials.all(), self._order.design
        line = f"{sum(t.state.is_finished() for t in trials)} of {self.limit} trials over"
        best = self._trials.best()
        if best is None:
            return line
        return f"{line}, the best so far: trial {best.number}, {design.metric} {best.value:.4g}"

    # -- a storage that is away -------------------------------------------------------------------

    def _be_away(self, error: StorageAway) -> None:
        """Wait for the storage: while anything is trained, and for as long as others would."""
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
            self._say(f"{error.message}; nothing is begun until it can be")
        if now - self._away_since > self._order.settings.lost_after and not self.pool.running:
            self._halt(error)

    def _be_back(self) -> None:
        if self._away_since is not None:
            self._away_since = None
            self._say("the sweep's storage is back")

    # -- what has ended -------------------------------------------------------------------------

    def _tell_ends(self) -> None:
        """Tell the storage what has ended; what it can't be told stays."""
        while self._untold:
            self._settle(self._untold[0])
            ended = self._untold.pop(0)
            del self._under_way[int(ended.job.label)]

    def _settle(self, ended: Ended) -> None:
        trial = self._under_way[int(ended.job.label)]
        run = self._run_of(trial)
        if run is not None and self._judge(trial, run):
            return
        if self.pool.signum is not None:
            return  # it is let go, and goes on another time
        if run is not None and run.status == "aborted":
            self._fail(trial, run, f"aborted: {run.record.reason}")
        elif ended.status < 0:
            self._died(trial, run, ended)
        elif ended.status == 2:
            self._halt(UsageError(f"trial {trial.number} can't be trained:\n{ended.said.strip()}"))
        else:
            said = ended.said.strip().splitlines()
            self._fail(trial, run, said[-1] if said else f"exit status {ended.status}")

    def _judge(self, trial: Any, run: StoredRun) -> bool:
        """Tell what a run has come to; False if it hasn't ended for good."""
        record = run.record
        if run.status == "completed":
            stopped = (record.ledger or {}).get("stopped") or {}
            value = self._value(record)
            if stopped.get("by") == PRUNER:
                self._over(trial, "pruned", run, reason=stopped.get("why"))
            elif value is None:
                self._halt(_no_metric(self._order.design.metric, record))
            else:
                self._over(trial, "complete", run, value=value)
            return True
        if run.status in ("failed", "incomplete"):
            self._fail(trial, run, record.reason or run.status)
            return True
        return False

    def _value(self, record: records.Record) -> float | None:
        """The best that a run has reached."""
        summary = record.metrics.get(self._order.design.metric)
        value = None if summary is None else getattr(summary, self._order.design.mode)
        return None if value is None or value != value else float(value)

    def _died(self, trial: Any, run: StoredRun | None, ended: Ended) -> None:
        """A process that something has killed is started again, but not for ever."""
        deaths = int(self._trials.get(trial).user_attrs.get(DEATHS, 0)) + 1
        self._trials.note(trial, DEATHS, deaths)
        why = f"signal {-ended.status}" + (", out of memory" if ended.out_of_memory else "")
        if deaths < _MOST_DEATHS:
            self._say(f"trial {trial.number} was killed ({why}): it goes on")
        else:
            self._fail(trial, run, f"killed {deaths} times ({why})")

    def _fail(self, trial: Any, run: StoredRun | None, reason: str) -> None:
        self._over(trial, "fail", run, reason=reason.splitlines()[0] if reason else "")
        self._failures += 1
        sound = any(t.state.name in ("COMPLETE", "PRUNED") for t in self._trials.all())
        if self._failures >= _HOPELESS and not sound:
            self._halt(
                RunError(
                    f"{self._failures} trials have failed and none is completed, the last one"
                    f" with: {reason}",
                    hint=f"`train {self._order.experiment.script.name}` alone may show more.",
                )
            )

    def _over(
        self,
        trial: Any,
        outcome: str,
        run: StoredRun | None = None,
        *,
        value: float | None = None,
        reason: str | None = None,
    ) -> None:
        notes: dict[str, Any] = {}
        if run is not None:
            notes[RUN] = {"name": run.record.name, "id": run.record.id}
        if reason:
            notes[REASON] = reason
        if not self._trials.tell(trial, outcome, value=value, **notes):
            return
        words = {"complete": "completed", "pruned": "pruned", "fail": "failed"}[outcome]
        if value is not None:
            words += f": {self._order.design.metric} {value:.4g}"
            best = self._trials.best()
            words += ", the best so far" if best and best.number == trial.number else ""
        words += f": {reason}" if reason else ""
        self._say(f"trial {trial.number} {words}" + (f" ({run.record.name})" if run else ""))
        self.progress = self._progress()

    def _halt(self, error: TorchLabError) -> None:
        """Begin no more trials, and say why when those under way are over."""
        self._problem = self._problem or error

    def _let_go(self) -> None:
        """What is not over is anybody's."""
        for trial in self._trials.all():
            if not trial.state.is_finished() and self._trials.owners.is_mine(trial):
                with suppress(RuntimeError):  # it was finished this moment
                    self._trials.owners.free(trial)

    def _run_of(self, trial: Any) -> StoredRun | None:
        settings, prefix = self._order.settings, self._order.experiment.run_prefix
        runs = membership.runs_of(settings.artifacts, prefix, settings.lost_after)
        return runs.get(trial.user_attrs[KEY])


def _no_metric(metric: str, record: records.Record) -> UsageError:
    from torch_lab.utils.text import suggestion

    return UsageError(
        f"run {record.name} has no value of the sweep's metric {metric!r}",
        hint=f"{suggestion(metric, record.metrics)} (SWEEP['metric'], or --metric)",
    )
