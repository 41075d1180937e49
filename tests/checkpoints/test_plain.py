"""Training state as plain data: what comes back, and what is refused by name."""

from __future__ import annotations

import datetime
import enum
import re
import warnings
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from lightning_fabric.utilities.data import AttributeDict
from torch import nn

from torch_lab.checkpoints import files, plain
from torch_lab.checkpoints.plain import TAG
from torch_lab.errors import CheckpointDamaged, SaveFailed


class Color(enum.Enum):
    RED = Path("red")


class Level(enum.IntEnum):
    HIGH = 3


class Word(enum.StrEnum):
    YES = "yes"


class Score(NamedTuple):
    value: float
    where: Any


Point = namedtuple("Point", "x y")
UTC = datetime.timezone(datetime.timedelta(hours=2))


@pytest.fixture
def round_trip(tmp_path: Path) -> Any:
    """Through a file, the way that a checkpoint goes."""

    def through(value: Any) -> Any:
        files.save({"value": value}, tmp_path / "a.ckpt")
        return files.load(tmp_path / "a.ckpt")["value"]

    return through


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 3, 2**100, 1.5, float("inf"), 1j, "text", "\ud800", b"bytes"),
        *([], [1, [2]], (), (1, (2, [3])), set(), {1, (2, 3)}, {}, {"a": {1: [2]}}),
        *(frozenset({1, (2, Path("a"))}), {Path("a"), Path("b")}, {(Path("a"), 1)}),
        {Path("a"): 1, (1, Path("b")): 2, None: 3, 1.5: 4, True: 5, Level.HIGH: 6},
        OrderedDict([("b", 1), ("a", Path("c"))]),
        OrderedDict([(Path("b"), 1), (Path("a"), 2)]),
        *(defaultdict(list, {"a": [Path("b")]}), defaultdict(None, a=1), defaultdict(Counter)),
        *(Counter("abca"), deque([1, Path("a")], maxlen=3), deque(), bytearray(b"ab")),
        *(Path("/a/b"), range(2, 9, 3), slice(1, None), slice(Path("a"), None, (1, 2))),
        *(datetime.datetime(2026, 1, 2, 3, 4, 5, 6), datetime.datetime(2026, 1, 2, tzinfo=UTC)),
        *(datetime.date(2026, 1, 2), datetime.time(1, 2, 3), datetime.timedelta(100_000, 1, 1)),
        *(Color.RED, Level.HIGH, Word.YES, {Color.RED: Level.HIGH}),
        *(Score(1.5, Path("a")), Point(1, [Score(2.0, None)])),
        *(torch.float16, torch.device("cuda:1"), torch.Size([1, 2]), np.dtype("f4")),
        *(np.float64(1.5), np.int32(3), np.bool_(True), np.str_("a"), np.datetime64("2026-01-02")),
        *({TAG: "path", "value": "a"}, {TAG: {TAG: 1}}, OrderedDict({TAG: 1}), [{TAG: Path("a")}]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_comes_back(round_trip: Any, value: Any) -> None:
    got = round_trip(value)
    assert got == value
    assert type(got) is type(value)
    assert repr(got) == repr(value)  # order, inner types, maxlen, factories


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(10)[::3],
        np.array(3.0),
        np.zeros((0, 3), np.float16),
        np.arange(3, dtype=">i4"),
        np.array(["a", "bb"]),
        np.array(["2026-01-02"], dtype="datetime64[D]"),
        np.array([(1, 2.5, [1, 2])], dtype=[("a", "i4"), ("b", "f8"), ("c", "u1", (2,))]),
        np.array([True, False]),
    ],
    ids=lambda array: f"{array.dtype} {array.shape}",
)
def test_arrays_come_back(round_trip: Any, array: np.ndarray) -> None:
    got = round_trip(array)
    assert got.dtype == array.dtype
    assert got.shape == array.shape
    assert np.array_equal(got, array)
    got[...] = got  # writable


@pytest.mark.parametrize(
    "tensor",
    [
        torch.randn(2, 3),
        torch.randn(2, 3).t(),
        torch.tensor(1),
        torch.empty(0, 3),
        torch.ones(2, dtype=torch.bfloat16),
        torch.ones(2).to(torch.float8_e4m3fn),
        torch.tensor([1 + 1j]).conj(),
        torch.ones(1).expand(1000),
        torch.ones(1, 2, 3, 4).to(memory_format=torch.channels_last),
        torch.eye(3).to_sparse(),
    ],
    ids=lambda tensor: f"{tensor.dtype} {tuple(tensor.shape)} {tensor.layout}",
)
def test_tensors_come_back(round_trip: Any, tensor: torch.Tensor) -> None:
    got = round_trip([tensor])[0]
    assert (got.dtype, got.shape, got.layout) == (tensor.dtype, tensor.shape, tensor.layout)
    assert torch.equal(got.to_dense(), tensor.to_dense())
    if tensor.layout is torch.strided:
        assert got.stride() == tensor.stride()


def test_csr_and_quantized_tensors_come_back(round_trip: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls both of them beta, or deprecated
        csr = torch.eye(3).to_sparse_csr()
        quantized = torch.quantize_per_tensor(torch.randn(3), 0.1, 0, torch.qint8)
        got = round_trip([csr, quantized])
    assert torch.equal(got[0].to_dense(), csr.to_dense())
    assert torch.equal(got[1].int_repr(), quantized.int_repr())


def test_parameters_stay_parameters_and_subclasses_give_their_values(round_trip: Any) -> None:
    class Tagged(torch.Tensor):
        pass

    parameter, tagged = round_trip([nn.Parameter(torch.ones(2)), torch.ones(3).as_subclass(Tagged)])
    assert type(parameter) is nn.Parameter
    assert type(tagged) is torch.Tensor
    assert torch.equal(tagged, torch.ones(3))


def test_mappings_give_their_items(round_trip: Any) -> None:
    got = round_trip([AttributeDict(a=1, b=Path("c")), MappingProxyType({"a": 1})])
    assert got == [{"a": 1, "b": Path("c")}, {"a": 1}]
    assert [type(each) for each in got] == [dict, dict]


def test_versions_beside_a_state_dict_come_back(round_trip: Any) -> None:
    state = nn.Sequential(nn.BatchNorm1d(2)).state_dict()
    assert round_trip(state)._metadata == state._metadata


class TestSize:
    """torch.save writes whole storages; a checkpoint holds what it needs."""

    def size(self, tmp_path: Path, value: Any) -> int:
        files.save({"value": value}, tmp_path / "a.ckpt")
        return (tmp_path / "a.ckpt").stat().st_size

    def test_a_view_of_a_large_tensor_stands_alone(self, tmp_path: Path, round_trip: Any) -> None:
        large = torch.arange(1_000_000.0)
        value = {"rows": [large[:3], large[5:2000:500]], "again": large[:3]}
        assert self.size(tmp_path, value) < 10_000
        got = round_trip(value)
        assert torch.equal(got["rows"][1], large[5:2000:500])
        assert got["rows"][0].data_ptr() == got["again"].data_ptr()

    def test_shared_weights_are_written_once_and_stay_shared(
        self, tmp_path: Path, round_trip: Any
    ) -> None:
        weight = torch.randn(50_000)
        assert self.size(tmp_path, [weight, weight, weight[:10]]) < 210_000
        got = round_trip([weight, weight])
        assert got[0].data_ptr() == got[1].data_ptr()

    def test_views_that_need_all_of_it_are_not_copied(self) -> None:
        flat = torch.randn(100)
        tree = {"a": flat[:40].view(4, 10), "b": OrderedDict(c=flat[40:])}
        assert plain.lean(tree) is tree

    def test_a_whole_tensor_covers_for_its_views(self) -> None:
        flat = torch.randn(100)
        tree = [flat, flat[:3]]
        assert plain.lean(tree) is tree


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
        (torch.optim.SGD, "builtins.type"),
        (lambda: 1, "builtins.function"),
        (torch.Generator(), "torch._C.Generator"),
        (defaultdict(lambda: 0), "collections.defaultdict"),
        (np.array([None]), "numpy.ndarray"),
        (np.ma.array([1], mask=[True]), "numpy.ma.MaskedArray"),
        (nn.parameter.UninitializedParameter(), "torch.nn.parameter.UninitializedParameter"),
        (re.IGNORECASE | re.MULTILINE, "re.RegexFlag"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_has_no_plain_form_is_named_with_its_place(value: Any, kind: str) -> None:
    state = {"callbacks": {"Counting": {"seen": [1, {"x": value}]}}}
    where = r"checkpoint\['callbacks'\]\['Counting'\]\['seen'\]\[1\]\['x'\] holds a "
    with pytest.raises(SaveFailed, match=where + re.escape(kind).replace(r"numpy\.ma", ".*")):
        plain.encode(state, "checkpoint")


def test_classes_that_could_not_be_found_again_are_refused() -> None:
    class Local(enum.Enum):
        A = 1

    for value in (Local.A, namedtuple("Hidden", "x")(1)):
        with pytest.raises(SaveFailed, match="no plain form"):
            plain.encode(value)


def test_lossy_keeps_a_repr_for_people() -> None:
    got = plain.encode({"model": nn.Linear(1, 2), "path": Path("a")}, lossy=True)
    assert plain.decode(got) == {"model": repr(nn.Linear(1, 2)), "path": Path("a")}


def test_where_the_class_is_not_imported_the_bare_value_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoded = plain.encode([Level.HIGH, Score(1.5, 2)])
    monkeypatch.delitem(__import__("sys").modules, __name__)
    assert plain.decode(encoded) == [3, (1.5, 2)]


@pytest.mark.parametrize(
    "value",
    [
        {TAG: "of the future", "value": 1},
        {TAG: "path"},
        {TAG: [1], "value": 1},
        {TAG: "path", "value": 3},
        {TAG: "ndarray", "value": ["O", [1], torch.zeros(8, dtype=torch.uint8)]},
        {TAG: "ndarray", "value": ["<f8", [9], torch.zeros(8, dtype=torch.uint8)]},
        {TAG: "defaultdict", "value": ["eval", {}]},
        {TAG: "datetime", "value": "tomorrow"},
    ],
    ids=str,
)
def test_tags_that_make_no_sense_are_damage(value: Any) -> None:
    with pytest.raises(CheckpointDamaged, match="can't read"):
        plain.decode(value)


def test_a_tag_can_name_no_function(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("enum", "namedtuple"):
        value = {TAG: kind, "value": ["os", "system", *(["x"] if kind == "enum" else []), [1]]}
        assert plain.decode(value) in ([1], (1,))
