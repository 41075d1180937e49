"""Several scripts, each an ordinary `train` in a process of its own."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch_lab.errors import Stopped, TorchLabError, UsageError
from torch_lab.tasks import slurm
from torch_lab.tasks.many.rows import Row, labels
from torch_lab.tasks.many.screen import Screen
from torch_lab.tasks.options import TrainOptions
from torch_lab.tasks.plan import Plan, hparams_scripts, plan, refuse_twice
from torch_lab.tasks.pool import Job, Pool, Slot, slots
from torch_lab.utils import launched
from torch_lab.utils.importing import importing
from torch_lab.utils.paths import absolute, display
from torch_lab.utils.streams import PipeProof
from torch_lab.utils.text import plural

_SIGNALED = 128  # and more is the exit status of what a signal has ended
_MARGIN = 15.0  # seconds beyond the grace period, until those that have not ended are killed


def train_many(scripts: Sequence[Path], options: TrainOptions, jobs: int | None) -> int:
    """Train all of them; returns the worst exit status."""
    scripts = hparams_scripts(scripts)
    _require_sense(scripts, options)
    with importing():  # it imports torch to count GPUs, and so do scripts
        places = _slots(options, jobs, len(scripts))
        pool = Pool(places, every=1.0)
        pool.prepare()
        try:
            plans = _checked(scripts, options)
        except BaseException:  # a signal too; raised again
            pool.close()
            raise
    folder, names = labels(list(map(absolute, scripts)))
    print(_headline(len(scripts), folder, places, jobs))
    pool.patience = max(each.settings.grace_period for each in plans) + _MARGIN
    with tempfile.TemporaryDirectory(prefix="torch-lab-train-") as logs:
        return _train(_rows(scripts, names, plans, options, Path(logs)), pool)


def _train(rows: Sequence[Row], pool: Pool) -> int:
    try:
        _run(rows, pool)
    except Stopped as stopped:
        if any(row.ended is None or row.ended.exit_status > _SIGNALED for row in rows):
            slurm.requeue_after(stopped.signum)
        raise
    return max(row.ended.exit_status for row in rows if row.ended is not None)


def _run(rows: Sequence[Row], pool: Pool) -> None:
    """Train them, showing how it goes and what came of it."""
    screen = Screen(PipeProof(sys.stdout), rows)
    by_job = {row.job.log: row for row in rows}

    def update() -> None:
        for running in pool.running:
            by_job[running.job.log].running = running
        if pool.signum is not None:
            screen.stopping(pool.signum)
        screen.update()

    pool.on_tick = update
    try:
        for ended in pool.run(row.job for row in rows):
            row = by_job[ended.job.log]
            row.ended = ended
            screen.ended(row)
            update()
    finally:
        screen.close()
        screen.summary()


def _rows(
    scripts: Sequence[Path],
    names: Sequence[str],
    plans: Sequence[Plan],
    options: TrainOptions,
    logs: Path,
) -> list[Row]:
    words, places = _words(options), list(map(absolute, scripts))
    return [
        Row(
            script=script,
            label=name,
            job=Job(
                ("train", str(script), *words),
                logs / f"{number}.log",
                name,
                env=_turn(places, number),
            ),
            lost_after=ready.settings.lost_after,
        )
        for number, (script, name, ready) in enumerate(zip(scripts, names, plans, strict=True))
    ]


def _turn(places: Sequence[Path], number: int) -> dict[str, str]:
    """Which one a command is where several have the same script."""
    place = places[number]
    return {slurm.TURN: str(places[:number].count(place))} if places.count(place) > 1 else {}


def _words(options: TrainOptions) -> list[str]:
    """The options that each command gets; the GPU is its slot's."""
    words = [] if options.dev_run is None else ["--dev-run", repr(options.dev_run)]
    words += [word for text in options.overrides for word in ("--set", text)]
    words += [] if options.resume is None else ["--resume", options.resume]
    flags = {"--offline": options.offline, "--force": options.force, "--trust": options.trust}
    return [*words, *(name for name, given in flags.items() if given)]


# -- what is checked first -------------------------------------------------------------------


def _require_sense(scripts: Sequence[Path], options: TrainOptions) -> None:
    if (found := launched.launch()) is not None:
        raise UsageError(
            f"{found.by} starts the processes of one run, and there are {len(scripts)} scripts",
            hint="Start one command for each, or all of them by one `train` without it.",
        )
    refuse_twice(scripts, options.resume)


def _slots(options: TrainOptions, jobs: int | None, count: int) -> list[Slot]:
    found = slots(options.gpus, jobs, most=count)
    if options.gpus is not None:
        from torch_lab.engine.trainer import check_gpus

        check_gpus(options.gpus)
    return found


def _checked(scripts: Sequence[Path], options: TrainOptions) -> list[Plan]:
    """The plans of all scripts; nothing is started where one of them is wrong."""
    plans: list[Plan] = []
    errors: list[TorchLabError] = []
    for script in dict.fromkeys(scripts):
        try:
            plans.append(plan(script, replace(options, script=script)))
        except TorchLabError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        problems = "\n\n".join(map(str, errors))
        raise UsageError(f"{len(errors)} scripts are wrong, so none is trained\n\n{problems}")
    found = dict(zip(dict.fromkeys(scripts), plans, strict=True))
    return [found[script] for script in scripts]


def _headline(count: int, folder: Path | None, places: Sequence[Slot], jobs: int | None) -> str:
    """How many at a time, on what."""
    threads = plural(places[0].threads, "CPU thread")
    what = plural(count, "script") + (f" in {display(folder)}" if folder is not None else "")
    if places[0].gpus is not None:
        named = ", ".join(str(gpu) for slot in places for gpu in slot.gpus or ())
        gpus = f"GPU {named}" if len(places) == 1 else f"GPUs {named}"
        return f"{what}, one at a time on each of {gpus}, {threads} each"
    advice = "" if jobs is not None else " (-j N: N at a time)"
    return f"{what}, {len(places)} at a time, {threads} each{advice}"
