"""`train --queue`: a run handed to a ClearML queue, after all that can be known of it here is.

The run gets its name, its id and its directory here; the directory says "queued" until an agent
that sees it begins the run there, or for good, where the agent has a file system of its own.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from torch_lab import experiment as experiments
from torch_lab.errors import ServerError, ServerUnreachable, UsageError
from torch_lab.mirror.asking import ask
from torch_lab.mirror.configured import configured
from torch_lab.store import claim, environment, source
from torch_lab.store.lock import Heartbeat, Lock
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import QUEUED, Record, RecordWriter, read
from torch_lab.store.secrets import MASK, mask, mask_text
from torch_lab.tasks import mirroring, report
from torch_lab.tasks.options import TrainOptions
from torch_lab.tasks.pinning import pinned
from torch_lab.tasks.plan import Plan, new_record, plan, say
from torch_lab.tasks.table import flatten

_ANSWER = 20.0  # seconds for a question
_DRAFT = 1500.0  # seconds for the task with the run's code


def hand_over(options: TrainOptions, queue: str) -> None:
    """Put a run into a queue; returns when it is there."""
    _require_sense(options)
    if not configured():
        raise ServerError(
            "--queue needs a ClearML server, and none is configured",
            hint="`clearml-init` writes a clearml.conf; docs/clearml.md has the rest.",
        )
    assert options.script is not None
    ready = plan(options.script, options)
    if ready.settings.offline:
        raise UsageError("--queue needs the ClearML server, and the setting `offline` is true")
    experiments.require_function(ready.experiment, "train_config")
    hparams, parent = pinned(ready)
    ready = replace(ready, hparams=hparams)
    record = new_record(ready, hparams.seed, parent)
    _remark_on_secrets(record)
    asked = mirroring.asked_for_number(ready)
    answer = ask("queue", timeout=_ANSWER, name=queue, **asked)
    floor = mirroring.above_highest(answer)
    directory = claim.claim(ready.settings.artifacts, asked["prefix"], floor=floor)
    record = replace(
        record,
        name=directory.name,
        id=claim.new_id(),
        created=round(time.time(), 3),
        reason=f"it was on the way into the queue {queue}",  # as whoever is killed leaves it
        queued={"queue": queue, "agent": None},
    )
    print(report.headline(record, directory))
    draft = _drafted(ready, directory, record)
    _enqueue(ready, directory, str(draft["task_id"]), str(answer["queue"]))
    print(f"queued in {queue}: {draft['page']}")
    print(f"  next      {shlex.join(['lab', 'show', directory.name])}")


def _require_sense(options: TrainOptions) -> None:
    """Raise where another option means nothing to a run that an agent begins."""
    if options.resume is not None:
        raise UsageError(
            "--queue takes a new run, and --resume goes on with one",
            hint="To train on in a queue, start a run from its checkpoint:"
            " checkpoint.checkpoint_task_id.",
        )
    if options.gpus is not None:
        raise UsageError(
            "-g can't be given with --queue: the queue's agent has its own GPUs",
            hint="trainer.init.devices says how many of them the run is to use.",
        )
    if options.offline:
        raise UsageError("--offline can't be given with --queue: a queue is on the server")
    hidden = [text for text in options.overrides if mask_text(text).endswith(MASK)]
    if hidden:
        raise UsageError(
            f"--set {mask_text(hidden[0])} is a secret, which isn't sent",
            hint="Let the script read it from the environment, and set it where the agent runs.",
        )


def _remark_on_secrets(record: Record) -> None:
    masked: Mapping[str, Any] = flatten(mask(record.hparams))
    keys = [key for key, value in masked.items() if isinstance(value, str) and MASK in value]
    if keys:
        say(f"{', '.join(keys)}: secrets aren't sent; the agent's environment has to have them")


def _drafted(ready: Plan, directory: RunDirectory, record: Record) -> dict[str, Any]:
    """The task, whole, in no queue yet; meanwhile the run is this process's.

    When the lock is given back the record says "queued": from then on the run is an agent's.
    """
    root = ready.experiment.root
    with _held(ready, directory, record) as writer:
        environment.write_git(directory, root)
        source.bundle(ready.experiment.directory, root, directory.source_bundle)
        draft = ask(
            "draft",
            timeout=_DRAFT,
            run=str(directory.path.absolute()),
            root=str(root.absolute()),
            trust=ready.options.trust,
        )
        queued = {**(record.queued or {}), "task": draft["task_id"], "page": draft["page"]}
        writer.update(status=QUEUED, reason=None, queued=queued)
    return draft


@contextmanager
def _held(ready: Plan, directory: RunDirectory, record: Record) -> Iterator[RecordWriter]:
    """The run's books; what ends the block early is noted there."""
    lock = Lock.acquire(directory, lost_after=ready.settings.lost_after)
    heartbeat = Heartbeat(directory, lock.check)
    writer = RecordWriter(directory, lock, record)
    try:
        heartbeat.start()
        writer.update()
        yield writer
    except BaseException as error:  # a signal too; raised again
        error.run_directory = directory  # type: ignore[attr-defined]
        writer.update(**_never_queued(str(error).partition("\n")[0] or type(error).__name__))
        raise
    finally:
        heartbeat.stop()
        lock.release()


def _never_queued(reason: str) -> dict[str, Any]:
    ended = round(time.time(), 3)
    return {"status": "failed", "reason": f"it was never queued: {reason}", "ended": ended}


def _enqueue(ready: Plan, directory: RunDirectory, task: str, queue_id: str) -> None:
    """The last step. Where its outcome isn't known the record still says "queued": `lab runs` asks
    the server, which knows."""
    try:
        ask("enqueue", timeout=_ANSWER, task=task, queue=queue_id)
    except ServerUnreachable as error:
        error.hint = f"Whether it is in the queue is not known: `lab show {directory.name}` asks."
        raise
    except ServerError as error:
        with _held(ready, directory, read(directory)) as writer:
            writer.update(**_never_queued(error.message))
        raise
