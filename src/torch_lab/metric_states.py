"""The state of a torchmetrics metric in the midst of an epoch, as plain data, and back.

Beside its declared states a metric may keep plain attributes that updates change, such as the
range of MinMaxMetric; which those are shows by comparing with what it was made with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

# For each metric by name, for each part of it by path.
Attributes = dict[str, dict[str, dict[str, Any]]]


class _Blank(Metric):
    def update(self) -> None: ...
    def compute(self) -> None: ...


_OF_EVERY_METRIC = frozenset(vars(_Blank()))


def pristine_attributes(metrics: Mapping[str, nn.Module]) -> Attributes:
    """The plain attributes that metrics keep beside their states, some of which updates change."""
    return {
        name: {path: _copied(_plain_attributes(part)) for path, part in parts_of(metric)}
        for name, metric in metrics.items()
    }


def parts_of(metric: nn.Module) -> Iterator[tuple[str, Metric]]:
    """The metric and those it is made of."""
    for each in metric.modules():
        if isinstance(each, MetricCollection):
            each.values()  # metrics with equal states share one's until somebody looks at them
    for path, part in metric.named_modules():
        if isinstance(part, Metric):
            yield path, part


def metric_state(metric: Metric, pristine: Mapping[str, Any]) -> dict[str, Any]:
    """What updates have changed in a metric whose attributes were `pristine` before."""
    changed = {
        name: on_cpu(value)
        for name, value in _plain_attributes(metric).items()
        if name not in pristine or not _same(value, pristine[name])
    }
    states = {name: on_cpu(getattr(metric, name)) for name in metric._defaults}
    return {"updates": metric.update_count, "states": states, "attributes": changed}


def restore_metric(metric: Metric, state: Mapping[str, Any]) -> None:
    """Give a metric the state that `metric_state` found."""
    for name, value in {**state["states"], **state["attributes"]}.items():
        setattr(metric, name, moved(value, state_device(metric, name)))
    metric._update_count = state["updates"]
    metric._computed = None


def state_device(metric: Metric, name: str) -> torch.device:
    """Where a metric keeps a state."""
    held = getattr(metric, name, None)
    if isinstance(held, Tensor):
        return held.device
    return torch.device("cpu") if metric.compute_on_cpu else metric.device


def own_attributes(metric: Metric) -> dict[str, Any]:
    """All that a metric keeps beside its declared states and what every metric has."""
    left_out = _OF_EVERY_METRIC | metric._defaults.keys()
    return {name: value for name, value in vars(metric).items() if name not in left_out}


def _plain_attributes(metric: Metric) -> dict[str, Any]:
    found = {**vars(metric), **dict(metric.named_buffers(recurse=False))}
    left_out = _OF_EVERY_METRIC | metric._defaults.keys()
    return {n: value for n, value in found.items() if n not in left_out and _is_plain(value)}


def _is_plain(value: Any) -> bool:
    if type(value) in (list, tuple):
        return all(map(_is_plain, value))
    if type(value) is dict:
        return all(type(key) in (str, int) and _is_plain(each) for key, each in value.items())
    # Exact types: an Enum's member can be a str too.
    return value is None or type(value) in (bool, int, float, str) or isinstance(value, Tensor)


def _same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        return one.dtype == other.dtype and torch.equal(one.cpu(), other.cpu())
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return bool(one == other)


def _copied(value: Any) -> Any:
    return _mapped(value, lambda tensor: tensor.detach().clone())


def on_cpu(value: Any) -> Any:
    """Nested plain data with its tensors copied to the CPU."""
    return _mapped(value, lambda tensor: tensor.detach().to("cpu", copy=True))


def moved(value: Any, device: torch.device) -> Any:
    """Nested plain data with its tensors copied to a device."""
    return _mapped(value, lambda tensor: tensor.to(device, copy=True))


def _mapped(value: Any, function: Any) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, (list, tuple)):
        return type(value)(_mapped(each, function) for each in value)
    if isinstance(value, dict):
        return {key: _mapped(each, function) for key, each in value.items()}
    return value
