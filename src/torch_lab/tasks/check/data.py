"""What the data are like: loaders without batches, values that can't be meant, shared samples."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor
from torch.utils.data import DataLoader, WeightedRandomSampler

from torch_lab.tasks.check import mentions
from torch_lab.tasks.check.failures import place, said
from torch_lab.tasks.check.findings import Finding, error, note, warning
from torch_lab.tasks.check.samples import (
    Key,
    Survey,
    has_indices,
    in_order,
    sampler_of,
    survey,
    tensors,
)
from torch_lab.tasks.check.spoken import number, part
from torch_lab.tasks.check.subject import Source, Subject

_APART = 20.0  # times, that two stages' inputs are unlike in size
_FEW = 8
_MISSING = {"isnan", "isfinite", "nan_to_num", "nanmean", "nanmedian", "nansum"}


def data(subject: Subject) -> Iterator[Finding]:
    """All that the loaders and their samples tell."""
    for source in subject.trial.sources:
        yield from _batches(source)
        yield from _sampler(source)
        yield from _loaded(source)
        found = survey(source)
        missing = () if _copes(source, subject) else _nan(source, found, subject)
        yield from (each for each in missing if not _expected(subject))
        if source.stage == "train":
            yield from _alike(source, found)
            if not subject.is_estimator:  # what networks, and their steps, depend on
                yield from _scale(source, found)
                yield from _order(source)
    yield from _unlike(subject)


def _batches(source: Source) -> Iterator[Finding]:
    if source.length != 0:
        return
    size, samples = getattr(source.loader, "batch_size", None), _samples(source)
    whole = getattr(source.loader, "drop_last", False) and samples
    why = f": drop_last leaves nothing of {samples} samples in batches of {size}" if whole else ""
    make = error if source.stage == "train" else warning
    yield make(
        "empty-loader",
        f"{source.name} has no batch{why}",
        None,
        "Make the batches smaller, or keep the last one." if whole else "Its dataset is empty.",
    )


def _samples(source: Source) -> int | None:
    try:
        return len(source.dataset)
    except Exception:  # noqa: BLE001  any: a __len__ of the user's, or none
        return None


def _sampler(source: Source) -> Iterator[Finding]:
    loader = source.loader
    sampler = sampler_of(loader) if isinstance(loader, DataLoader) else None
    samples = _samples(source)
    if isinstance(sampler, WeightedRandomSampler) and samples:
        count = len(sampler.weights)
        if count != samples:
            make = warning if count < samples else error
            yield make(
                "sampler",
                f"{source.name}: WeightedRandomSampler has {count} weights for {samples} samples",
                None,
                "It wants a weight for each sample, not for each class.",
            )


def _loaded(source: Source) -> Iterator[Finding]:
    found = survey(source)
    failed = found.failed
    if failed is not None and found.samples:  # else it takes a worker's set-up, perhaps
        index, wrong = failed
        yield error(
            "sample",
            f"{source.name}: sample {index} can't be loaded: {said(wrong)}",
            place(wrong),
            "Others could; is the dataset's length right?"
            if isinstance(wrong, (IndexError, KeyError))
            else None,
        )


def _copes(source: Source, subject: Subject) -> bool:
    """Whether the batch that was tried has NaN, and its loss has not: they are expected."""
    loss = subject.trial.losses.get(source.stage)
    finite = loss is not None and bool(torch.isfinite(loss).all())
    return finite and any(_has_nan(each) for _, each in tensors(source.batch))


def _expected(subject: Subject) -> bool:
    """Whether the code looks for them, though not in the batch that was tried."""
    return not _MISSING.isdisjoint(mentions.of(subject.plan.experiment).used)


def _has_nan(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and bool(torch.isnan(tensor).any())


def _nan(source: Source, found: Survey, subject: Subject) -> Iterator[Finding]:
    for index, sample in zip(found.indices, found.samples, strict=True):
        for key, tensor in tensors(sample):
            if _has_nan(tensor):
                yield warning(
                    "nan-data",
                    f"{source.name}: sample {index} has NaN in {part(key).replace('batch', '…')}",
                    None,
                    "One is enough to make the loss NaN: fill it in or leave the sample out."
                    if not subject.is_estimator
                    else "Not every estimator takes one: fill it in or leave the sample out.",
                )
                return


def _inputs(found: Survey) -> Iterator[tuple[Key, Tensor]]:
    """The floating-point columns with several values to a sample."""
    for key, tensor in tensors(found.batch):
        many = tensor.dim() > 1 and tensor.shape[0] == len(found.samples)
        if many and tensor.is_floating_point() and tensor.numel():
            yield key, tensor


def _alike(source: Source, found: Survey) -> Iterator[Finding]:
    """Inputs that are the same for all samples."""
    if len(found.samples) < _FEW:
        return
    columns = list(_inputs(found))
    # A mask or a grid may well be: something else differs then.
    if all(bool((tensor == tensor[:1]).all()) for _, tensor in columns):
        for key, _ in columns[:1]:
            yield warning(
                "same-inputs",
                f"{source.name}: {part(key)} is the same in all of {len(found.samples)} samples",
                None,
                "Does the dataset use the index it is asked for?",
            )


def _input(found: Survey) -> Iterator[tuple[Key, Tensor]]:
    """The first of the columns: what a network is given."""
    yield from islice(_inputs(found), 1)


def _scale(source: Source, found: Survey) -> Iterator[Finding]:
    for key, tensor in _input(found):
        if tensor.dim() < 3:
            continue
        low, high = float(tensor.min()), float(tensor.max())
        if low >= 0 and 100 < high <= 255 and bool((tensor == tensor.round()).all()):
            yield note(
                "unscaled",
                f"{source.name}: {part(key)} has whole numbers {number(low)} to {number(high)}",
                None,
                "Networks learn better from values around 0: divide by 255, then normalize.",
            )
        elif low >= 0 and 0.5 / 255 < high <= 1.01 / 255:
            yield warning(
                "scaled-twice",
                f"{source.name}: {part(key)} has values {number(low)} to {number(high)} only",
                None,
                "Is it divided by 255 twice? ToTensor does so, too.",
            )


def _order(source: Source) -> Iterator[Finding]:
    loader = source.loader
    ordered = isinstance(loader, DataLoader) and has_indices(loader) and in_order(loader)
    if ordered and (source.length or 0) > 1:
        yield note(
            "unshuffled",
            f"{source.name} is not shuffled: all epochs have the same batches",
            None,
            "Give it shuffle=True, unless the order matters.",
        )


def _unlike(subject: Subject) -> Iterator[Finding]:
    """Inputs whose size differs a lot between the stages."""
    train = [dict(_input(survey(each))) for each in subject.trial.of("train")]
    if not train:
        return
    for source in (*subject.trial.of("validate"), *subject.trial.of("test")):
        found = survey(source)
        for key, tensor in _input(found):
            other = train[0].get(key)
            if other is None or len(found.samples) < _FEW:
                continue
            one, two = (float(each.abs().nanmean()) for each in (other, tensor))
            if one > 0 and two > 0 and max(one / two, two / one) > _APART:
                yield warning(
                    "ranges-differ",
                    f"{source.name}: {part(key)} is {number(two)} in size at the mean, and"
                    f" {number(one)} in train_dataloaders",
                    None,
                    "Scale and normalize both alike.",
                )
