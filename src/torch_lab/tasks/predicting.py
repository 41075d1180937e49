"""A configuration applied with a run's weights; its callbacks write the results."""

from __future__ import annotations

import shlex
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from lightning_utilities.core.rank_zero import rank_zero_only

from torch_lab import experiment as experiments
from torch_lab.checkpoints import resolve as checkpoints
from torch_lab.checkpoints import weights
from torch_lab.checkpoints.resolve import Found
from torch_lab.data import make_exact
from torch_lab.engine import trainer as trainers
from torch_lab.engine.inputs import predictable
from torch_lab.engine.ranks import Follower, Lead, is_follower
from torch_lab.engine.ranks.channel import Channel
from torch_lab.engine.ranks.meeting import Meeting
from torch_lab.engine.stop import StopRequest
from torch_lab.engine.translation import misconfiguration
from torch_lab.errors import CheckpointMismatch
from torch_lab.experiment import Configuration, Experiment
from torch_lab.experiment.estimating import holds_estimator
from torch_lab.hparams import Hparams
from torch_lab.mirror import launch
from torch_lab.settings import Settings
from torch_lab.store import find
from torch_lab.store.record import CRASH
from torch_lab.tasks import report
from torch_lab.tasks.options import InferOptions
from torch_lab.tasks.plan import named_in_hparams, say
from torch_lab.utils.at_hand import at_hand
from torch_lab.utils.launched import Launch

NONE = "none"


@dataclass(frozen=True)
class Guest:
    """The place of a process that torchrun or srun has started, of another rank than 0."""

    launch: Launch
    channel: Channel


def predict(
    options: InferOptions,
    experiment: Experiment,
    hparams: Hparams,
    settings: Settings,
    place: Meeting | Guest | None = None,
) -> None:
    """Predict; a signal unwinds what is under way.

    `place` is this process's where torchrun or srun has started several.
    """
    if isinstance(place, Meeting):
        place.gather()
    follows = is_follower() or isinstance(place, Guest)
    stop = StopRequest(settings.grace_period, silent=follows)
    ranks = _ranks(stop, place)
    with stop.listening(), ranks.together(), _alone():
        if isinstance(place, Meeting) and isinstance(ranks, Lead):
            place.tell(predict=True)
            ranks.adopt(place.joined.values())
        _predict(options, experiment, hparams, settings, ranks)


def _ranks(stop: StopRequest, place: Meeting | Guest | None) -> Lead | Follower:
    if isinstance(place, Guest):
        return Follower(stop, place.channel, place.launch.rank, place.launch)
    if is_follower():
        return Follower.started(stop)
    return Lead(stop, launch=None if place is None else place.launch)


@contextmanager
def _alone() -> Iterator[None]:
    """Processes of other ranks run the same code: what it warns of is said once."""
    with warnings.catch_warnings():
        if _is_another_rank():
            warnings.simplefilter("ignore")
        yield


def _say(text: str) -> None:
    if not _is_another_rank():
        say(text)


def _is_another_rank() -> bool:
    return bool(getattr(rank_zero_only, "rank", 0))


def _predict(
    options: InferOptions,
    experiment: Experiment,
    hparams: Hparams,
    settings: Settings,
    ranks: Lead | Follower,
) -> None:
    for remark in experiments.require_arguments(experiment, options.args):
        _say(remark)
    trainers.check_gpus(options.gpus)
    found = _checkpoint(options, experiment, hparams, settings)
    pl.seed_everything(hparams.seed or 0, verbose=False)
    configuration = experiments.infer_configuration(experiment, hparams.config, options.args)
    with at_hand(configuration=configuration, hparams=hparams.as_dict()):
        if found is not None:
            with _overrides_told(found, options):
                _load(configuration.module, found.path, hparams, options)
        _apply(configuration, hparams, options, ranks)


@contextmanager
def _overrides_told(found: Found, options: InferOptions) -> Iterator[None]:
    """A checkpoint that doesn't fit may be of a run with another config: say how it was made."""
    try:
        yield
    except CheckpointMismatch as error:
        words = report.set_words(found.run.record) if found.run is not None else []
        if not set(words[1::2]) <= set(options.overrides):
            told = f"this run was trained with {shlex.join(words)}"
            error.hint = f"{told}\n{error.hint}" if error.hint else told
        raise


def _load(module: pl.LightningModule, path: Path, hparams: Hparams, options: InferOptions) -> None:
    strict, trust = hparams.checkpoint.strict, options.trust
    for line in weights.load_into(module, path, strict=strict, trust=trust):
        _say(line)


def _apply(
    configuration: Configuration, hparams: Hparams, options: InferOptions, ranks: Lead | Follower
) -> None:
    data, init = _data(configuration, hparams, ranks)
    with trainers.quiet(), misconfiguration(), tempfile.TemporaryDirectory() as nowhere:
        trainer = trainers.build(
            init,
            configuration.callbacks,
            directory=Path(nowhere),
            logger=None,
            gpus=_gpus(configuration, options),
            trust=options.trust,
            ranks=ranks,
        )
        # Its ckpt_path, if there is one, was resolved and loaded above.
        kwargs = hparams.trainer.predict | {"ckpt_path": None, "return_predictions": False}
        trainer.predict(configuration.module, **data, **kwargs)


def _data(
    configuration: Configuration, hparams: Hparams, ranks: Lead | Follower
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What to predict on, and `trainer.init` with who shares it out to several devices."""
    init = _settled(configuration, hparams, ranks)
    if configuration.datamodule is not None:
        predictable(configuration.datamodule)
        return {"datamodule": configuration.datamodule}, init
    if configuration.predict_dataloaders is None:  # the module has them itself
        predictable(getattr(configuration.module, "_orig_mod", configuration.module))
        return {}, init
    loaders, left = make_exact(configuration.predict_dataloaders, hparams.seed or 0, pad=False)
    # Lightning's own sharing fails where there are more devices than samples.
    init.setdefault("use_distributed_sampler", bool(left))
    module = getattr(configuration.module, "_orig_mod", configuration.module)
    module.allow_zero_length_dataloader_with_multiple_devices = True
    return {"dataloaders": loaders}, init


def _settled(
    configuration: Configuration, hparams: Hparams, ranks: Lead | Follower
) -> dict[str, Any]:
    """`trainer.init`; that of an estimator is for one process, on the CPU."""
    if not holds_estimator(configuration.module):
        return dict(hparams.trainer.init)
    from torch_lab.estimators.preparing import settled

    return settled(hparams.trainer.init, _say, ranks.launch)


def _gpus(configuration: Configuration, options: InferOptions) -> tuple[int, ...] | None:
    if not holds_estimator(configuration.module):
        return options.gpus
    from torch_lab.estimators.preparing import no_gpus

    no_gpus(options.gpus)
    return None


def _checkpoint(
    options: InferOptions, experiment: Experiment, hparams: Hparams, settings: Settings
) -> Found | None:
    """The weights asked for: by --checkpoint, else by hparams, else none."""
    section = hparams.checkpoint
    text, name = options.checkpoint, section.checkpoint_name
    if text is None:
        text = section.checkpoint_task_id or hparams.trainer.predict.get("ckpt_path")
    elif text != NONE:
        name = "last"
    if text is None or text == NONE:
        if text is None:
            _say(
                "warning: no checkpoint: the module is applied as it was built"
                " (--checkpoint RUN takes a run's, --checkpoint none says that you mean it)"
            )
        return None
    blame = nullcontext() if options.checkpoint else _blaming(hparams, options, text)
    with blame:
        found = checkpoints.resolve(
            text,
            name,
            settings.artifacts,
            cwd=Path.cwd(),
            say=_say,
            server=launch.wanted(settings, offline=False),
        )
    source = "" if options.checkpoint is not None else ", as hparams' checkpoint section says"
    _say(f"weights from {report.shown(found.path)}{source}")
    if options.checkpoint is None:
        _name_newer(found, experiment, settings)
    return found


def _blaming(hparams: Hparams, options: InferOptions, text: str) -> AbstractContextManager[None]:
    by_section = hparams.checkpoint.checkpoint_task_id is not None
    key = "checkpoint.checkpoint_task_id" if by_section else "trainer.predict.ckpt_path"
    return named_in_hparams(hparams, options.overrides, key, text)


def _name_newer(found: Found, experiment: Experiment, settings: Settings) -> None:
    """Say which runs of this script are newer than the checkpoint that hparams name."""
    since = found.run.record.created if found.run is not None else found.path.stat().st_mtime
    newer = [
        run.brief.name
        for run in find.runs(settings.artifacts)
        if (run.brief.experiment, Path(run.brief.script).stem)
        == (experiment.name, experiment.script_name)
        and run.brief.created > since
        and run.brief.dev_run is None
        and any(entry.kind != CRASH for entry in run.record.checkpoints)
    ]
    if newer:
        names = ", ".join(newer[:3]) + (f" and {len(newer) - 3} more" if len(newer) > 3 else "")
        _say(f"newer runs of this script: {names} (--checkpoint RUN takes one)")
