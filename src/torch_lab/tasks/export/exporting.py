"""A run's model rebuilt, written, read back, compared, and only then given its name."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from torch import nn

from torch_lab.checkpoints import resolve as checkpoints
from torch_lab.checkpoints.resolve import Found
from torch_lab.errors import ExportError
from torch_lab.estimators.naming import full_name_of
from torch_lab.mirror import launch
from torch_lab.settings import Settings
from torch_lab.store import find
from torch_lab.store.find import StoredRun
from torch_lab.tasks.export import estimators, program, weights
from torch_lab.tasks.export.calls import Call, Differs, answered, difference
from torch_lab.tasks.export.example import example
from torch_lab.tasks.export.metadata import Metadata, metadata, with_shapes
from torch_lab.tasks.export.options import ExportOptions
from torch_lab.tasks.export.subject import (
    Subject,
    estimator_of,
    owner_of,
    subject_of,
    uncompiled,
)
from torch_lab.tasks.rebuilding import Rebuilt, Wording, assign, discard, rebuild
from torch_lab.utils.files import open_atomic
from torch_lab.utils.paths import display
from torch_lab.utils.text import plural

WORDING = Wording("lab export", "--trust", "--set {key}=VALUE")
Model = Callable[..., Any]
Answers = Mapping[int, Mapping[str, Any]]  # by the number of samples


@dataclass(frozen=True)
class Exported:
    """A file that was written, and how what is read back compares with the module.

    `samples` are the numbers of them, of the data at `source`, whose outputs were compared; `apart`
    is the largest difference of an output. None where `problem` says why there are no outputs.
    `shared` are names for tensors that have another name, too. `loading` is the line of Python that
    reads an estimator.
    """

    file: Path
    size: int
    metadata: Metadata
    parameters: int | None  # None of an estimator
    samples: tuple[int, ...] = ()
    source: str = ""
    apart: float | None = None
    problem: str = ""
    shared: Mapping[str, str] = field(default_factory=dict)
    loading: str = ""


def export(options: ExportOptions, settings: Settings, say: Callable[[str], None]) -> Exported:
    """Write the trained model of a run as `options` say."""
    run, found = _found(options.run, settings, say)
    try:
        rebuilt = rebuild(
            run,
            found.path,
            trust=options.trust,
            change=lambda hparams: assign(hparams, options.overrides),
            wording=WORDING,
            say=say,
        )
        return write(options, run, found, rebuilt)
    finally:
        discard(run)


def write(options: ExportOptions, run: StoredRun, found: Found, rebuilt: Rebuilt) -> Exported:
    """Write a module that was built again, as `options` say."""
    module = uncompiled(rebuilt.module)
    estimator = estimator_of(module)
    estimators.require_fitting(options.out.suffix, estimator, run.record.name)
    try:
        seen: _Seen | None = _seen(module, options, rebuilt, run.record.name)
    except ExportError as error:
        if options.is_program:
            raise
        seen, problem = None, error.message.partition(": ")[2]
    else:
        problem = ""
    if estimator is not None:
        return _as_estimator(module.model, options, metadata(run, found, estimator), seen, problem)
    owner = owner_of(module)
    about = metadata(run, found, seen.subject.model if seen else owner)
    if seen is not None:
        about = seen.told(about, options)
    count = sum(each.numel() for each in owner.parameters())
    export = _Export(options, owner, seen, about, problem, count)
    return export.as_program(rebuilt.root) if options.is_program else export.as_weights()


def _as_estimator(
    model: Any, options: ExportOptions, about: Metadata, seen: _Seen | None, problem: str
) -> Exported:
    """Write the estimator in a model; the model itself answers with what is read back."""
    estimator = model.estimator
    versions = {**about.versions, **estimators.versions(estimator)}
    about = replace(about, model=full_name_of(estimator), versions=versions)
    about = seen.told(about, options) if seen else about
    done = estimators.written(options.out.suffix, estimator, about.as_json(), about.run)
    model.estimator = done.read
    try:
        apart = seen.apart(seen.subject.model, about.run, None) if seen else None
    finally:
        model.estimator = estimator
    with _writing(options.out) as file:
        file.write(done.content)
    return Exported(
        file=options.out,
        size=len(done.content),
        metadata=about,
        parameters=None,
        samples=tuple(seen.answers) if seen else (),
        source=seen.call.source if seen else "",
        apart=apart,
        problem=problem,
        loading=estimators.loading(options.out, done, estimator),
    )


def _found(text: str, settings: Settings, say: Callable[[str], None]) -> tuple[StoredRun, Found]:
    """The run, and the checkpoint that was named, else its best, else its last."""
    if text.endswith(checkpoints.SUFFIX) and ":" not in text:
        found = checkpoints.resolve(text, "last", settings.artifacts, cwd=Path.cwd(), say=say)
        if found.run is None:
            raise ExportError(
                f"{text} lies in no run's directory: which code it is of isn't known",
                hint="Name a run, or a checkpoint of it: `lab export RUN:NAME`.",
            )
        return found.run, found
    run, name = find.resolve(text, settings.artifacts, lost_after=settings.lost_after)
    names = [entry.name for entry in run.record.checkpoints]
    name = name or ("best" if "best" in names else "last")
    server = launch.wanted(settings, offline=False)
    return run, checkpoints.of_run(run, name, say=say, server=server)


@dataclass(frozen=True)
class _Seen:
    """A model, and what it was seen to answer before anything was written."""

    subject: Subject
    call: Call
    answers: Answers

    def told(self, about: Metadata, options: ExportOptions) -> Metadata:
        """The metadata with the model's inputs and outputs."""
        samples = self.call.samples
        named, rows = self.call.named(self.subject.model), None if options.samples else samples
        return with_shapes(about, named, self.answers[samples], rows)

    def apart(self, model: Model, run: str, hint: str | None) -> float:
        """How far the outputs of what was read back are from the module's."""
        first = self.call.samples
        rest = [samples for samples in self.answers if samples != first]
        found = [self._apart(model, first, run, None)]
        return max(found + [self._apart(model, samples, run, hint) for samples in rest])

    def _apart(self, model: Model, samples: int, run: str, hint: str | None) -> float:
        try:
            found = answered(model, self.call.resized(samples))
            return difference(self.answers[samples], found)
        except Differs as error:
            why = f"gives other outputs than the module: {error}"
        except Exception as error:  # noqa: BLE001  what torch.export made may raise anything
            why = f"fails: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        raise ExportError(
            f"run {run} can't be exported: with {plural(samples, 'sample')} what is read back from"
            f" the file {why}",
            hint=hint,
        )


def _seen(module: Any, options: ExportOptions, rebuilt: Rebuilt, run: str) -> _Seen:
    subject = subject_of(module, run)
    with _unchanged(module, run):
        call = estimators.in_rows(
            example(rebuilt, subject, options.input, run), estimator_of(module)
        )
        call = call.resized(options.samples or max(2, call.samples))
        return _Seen(subject, call, _answers(subject, call, options, run))


def _answers(subject: Subject, call: Call, options: ExportOptions, run: str) -> Answers:
    few = () if options.samples else (1, 2, max(3, call.samples))
    answers: dict[int, Mapping[str, Any]] = {}
    for samples in sorted({*few, call.samples}):
        try:
            answers[samples] = answered(subject.model, call.resized(samples))
        except Exception as error:  # the user's code may raise anything
            if samples != call.samples:
                continue  # a model may need more than one, or just so many
            raise ExportError(
                f"run {run} can't be exported: its model fails with {plural(samples, 'sample')} of"
                f" {call.source}: {type(error).__name__}: {error}"
            ) from error
    try:
        difference(answers[call.samples], answered(subject.model, call))
    except Differs as error:
        raise ExportError(
            f"run {run} can't be exported: its model, called twice with the same, answers"
            f" differently: {error}"
        ) from error
    return answers


@contextlib.contextmanager
def _unchanged(module: nn.Module, run: str) -> Iterator[None]:
    """Put back what calling a module changes of its weights, and refuse to go on with such a one.

    What is written is what was trained.
    """
    if estimator_of(module) is not None:  # none changes in predicting
        yield
        return
    before = {name: tensor.clone() for name, tensor in weights.tensors(module).items()}
    try:
        yield
    finally:
        changed = weights.differing(module, before)
        if changed:
            module.load_state_dict(before, strict=False)
    if changed:
        raise ExportError(f"run {run} can't be exported: calling it changes {changed[0]}")


@dataclass(frozen=True)
class _Export:
    """One file on its way to its name."""

    options: ExportOptions
    owner: nn.Module
    seen: _Seen | None
    about: Metadata
    problem: str
    parameters: int

    def as_weights(self) -> Exported:
        """Write the weights alone; the model itself answers with what is read back."""
        with _writing(self.options.out) as file:
            shared = weights.write(file, self.owner, self.about.as_json())
            file.flush()
            self._check_weights(weights.read(Path(file.name)))
            apart = self._apart(self.seen.subject.model, None) if self.seen else None
        return self._exported(apart, shared)

    def _check_weights(self, found: Mapping[str, Any]) -> None:
        wrong = weights.differing(self.owner, found)
        if wrong:
            raise ExportError(
                f"run {self.about.run} can't be exported: {wrong[0]} is not what was written to"
                f" {display(self.options.out)} when it is read back"
            )
        weights.put(self.owner, found)

    def as_program(self, root: Path) -> Exported:
        """Write the model as a program, which answers by itself."""
        assert self.seen is not None
        call, subject, options = self.seen.call, self.seen.subject, self.options
        origin = program.Origin(self.about.run, root, options.samples)
        fixed = f"--batch-size {call.samples} exports it for just so many samples at a time."
        with _writing(options.out) as file:
            program.write(file, subject, call, self.about.as_json(), origin)
            file.flush()
            apart = self._apart(program.load(Path(file.name)), None if options.samples else fixed)
        return self._exported(apart, {})

    def _apart(self, model: Model, hint: str | None) -> float:
        assert self.seen is not None
        return self.seen.apart(model, self.about.run, hint)

    def _exported(self, apart: float | None, shared: Mapping[str, str]) -> Exported:
        return Exported(
            file=self.options.out,
            size=self.options.out.stat().st_size,
            metadata=self.about,
            parameters=self.parameters,
            samples=tuple(self.seen.answers) if self.seen else (),
            source=self.seen.call.source if self.seen else "",
            apart=apart,
            problem=self.problem,
            shared=shared,
        )


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[BinaryIO]:
    """A file that gets its name when the block ends well."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with open_atomic(out) as file:
            yield file
    except OSError as error:
        raise ExportError(
            f"can't write {display(out)}: {error.strerror or error}",
            hint="Name another place: --out FILE.",
        ) from error
