"""One script examined in this process: planned, built, tried, and looked at by every check."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytorch_lightning as pl

from torch_lab import experiment as experiments
from torch_lab.engine import trainer as trainers
from torch_lab.engine.logger import RunLogger
from torch_lab.errors import HparamsError, TorchLabError
from torch_lab.experiment import Configuration, clearml_calls
from torch_lab.experiment.estimating import holds_estimator
from torch_lab.tasks.check import places
from torch_lab.tasks.check.checks import CHECKS, OF_ESTIMATORS, Check
from torch_lab.tasks.check.facts import facts
from torch_lab.tasks.check.failures import failure, for_want_of_a_task, hint, place, said
from torch_lab.tasks.check.findings import Finding, by_seriousness, error, note, warning
from torch_lab.tasks.check.guard import Guard, Withheld
from torch_lab.tasks.check.inferring import infer
from torch_lab.tasks.check.reading import Reads
from torch_lab.tasks.check.subject import Subject
from torch_lab.tasks.check.telling import Report
from torch_lab.tasks.check.trainer import without_refused
from torch_lab.tasks.check.trial import Rehearsal
from torch_lab.tasks.options import TrainOptions
from torch_lab.tasks.plan import Plan, plan
from torch_lab.utils.paths import display
from torch_lab.utils.tracebacks import summary

_ON_DEVICES = ("accelerator", "devices", "num_nodes", "precision", "strategy")
_OF_DEVICES = re.compile(r"backend|accelerator|device|gpu|cuda|precision|strategy", re.IGNORECASE)


def examine(script: Path, overrides: tuple[str, ...] = ()) -> Report:
    """Everything that can be found about a script; leaves the process with what it imported."""
    report = Report(script)
    with _apart() as folder:
        report.findings += by_seriousness(_found(script, overrides, folder, report))
    return report


@contextmanager
def _apart() -> Iterator[Path]:
    """A folder for whatever is written, temporary files of the experiment's too."""
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="torch-lab-check-") as name:
        tempfile.tempdir = name
        try:
            yield Path(name).resolve()
        finally:
            tempfile.tempdir = before


def _found(
    script: Path, overrides: tuple[str, ...], folder: Path, report: Report
) -> Iterator[Finding]:
    try:
        ready = plan(script, TrainOptions(script, overrides=overrides, offline=True))
    except HparamsError as wrong:
        for problem in wrong.problems:
            where, words = places.split(problem, display(script))
            yield error("hparams", words, where or str(wrong.source))
        return
    except (Exception, SystemExit) as wrong:  # noqa: BLE001  any, of the user's script
        code = "hparams" if isinstance(wrong, TorchLabError) else "script"
        yield failure(wrong, code)
        return
    yield from _looked_at(ready, folder, report)


def _looked_at(ready: Plan, folder: Path, report: Report) -> Iterator[Finding]:
    reads, configuration = Reads(), None
    try:
        configuration = _built(ready, reads)
    except (Exception, SystemExit) as wrong:  # noqa: BLE001  any, of the user's code
        yield for_want_of_a_task(failure(wrong, "configuration"), wrong, ready)
    if not ready.hparams.task.get("sdk") and (calls := clearml_calls.remark(ready.experiment.root)):
        yield note("clearml", calls)
    accelerator, refused = _accelerator(ready, configuration, folder)
    yield from refused
    init = ready.hparams.trainer.init
    init = without_refused(init) if refused else init
    subject = None
    if configuration is not None:
        subject = Subject(ready, configuration, reads)
        kind, checks = _kind_of_trial(configuration)
        yield from kind(subject, folder, accelerator, init).run()
        for check in checks:
            yield from _made(check, subject, folder)
        report.facts = facts(subject)
    if (yield from infer(ready, folder, accelerator, init, subject)) and report.facts:
        report.facts["stages"].append("predict")


def _kind_of_trial(configuration: Configuration) -> tuple[type[Rehearsal], tuple[Check, ...]]:
    """How a network, or an estimator, is tried, and the checks that have a meaning for it."""
    if not holds_estimator(configuration.module):
        return Rehearsal, CHECKS
    from torch_lab.tasks.check.fitting import Fitting

    return Fitting, OF_ESTIMATORS


def _made(check: Check, subject: Subject, folder: Path) -> list[Finding]:
    """What a check finds; one that fails itself hides nothing of the others."""
    try:
        with Guard(folder).armed():
            return list(check(subject))
    except Withheld:  # as the trial has told
        return []
    except Exception as wrong:  # noqa: BLE001  any, of objects of the user's that it looks into
        told = f"the check of {check.__name__} failed itself: {summary(wrong)}"
        return [warning("check", told, place(wrong))]


def _built(ready: Plan, reads: Reads) -> Configuration:
    experiments.require_function(ready.experiment, "train_config")
    seed = ready.hparams.seed
    pl.seed_everything(0 if seed is None else seed, verbose=False)
    config = ready.hparams.config
    try:
        return experiments.train_configuration(ready.experiment, config, reads.watch)
    except Exception:  # noqa: BLE001  any: a plain dict may do better, and fails in plainer words
        reads.given_up = True
        pl.seed_everything(0 if seed is None else seed, verbose=False)
        return experiments.train_configuration(ready.experiment, config)


def _accelerator(
    ready: Plan, configuration: Configuration | None, folder: Path
) -> tuple[str, list[Finding]]:
    """On what to try, and what Lightning's Trainer refuses of what hparams ask for."""
    init = {"inference_mode": False} | ready.hparams.trainer.init
    init.pop("logger", None)
    if configuration is not None and holds_estimator(
        configuration.module
    ):  # on the CPU, by one process; the trial refuses others
        init |= {"accelerator": "cpu", "devices": 1, "num_nodes": 1}
    callbacks = configuration.callbacks if configuration is not None else ()
    try:
        with trainers.quiet():
            built = trainers.build(
                init, callbacks, directory=folder, logger=RunLogger(folder, None)
            )
        trainers.refuse_what_cannot_join(built, init)
    except Exception as wrong:  # noqa: BLE001  any: what Lightning says is told
        return "cpu", [_refusal(ready, wrong)]
    return {"cuda": "gpu"}.get(kind := built.strategy.root_device.type, kind), []


def _refusal(ready: Plan, wrong: Exception) -> Finding:
    """What the Trainer doesn't take, and where it is set."""
    text, init = said(wrong), ready.hparams.trainer.init
    found = re.match(r"trainer\.init\.(\w+)", text)
    key = found[1] if found else None
    if key is None and _OF_DEVICES.search(text):
        key = next((each for each in _ON_DEVICES if each in init), None)
    code = "device" if key in _ON_DEVICES else "trainer"
    where = place(wrong) if key is None else places.of_key(ready, f"trainer.init.{key}")
    return error(code, text, where, hint(wrong))
