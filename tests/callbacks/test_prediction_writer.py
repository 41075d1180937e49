"""PredictionWriter with Lightning's Trainer alone; tests/e2e/test_infer_writes.py has `infer`."""

from __future__ import annotations

import csv
import gzip
import json
import math
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader as TorchDataLoader
from torch.utils.data import DistributedSampler, IterableDataset, Subset

from torch_lab.callbacks import PredictionWriter
from torch_lab.callbacks.predictions import spill as spilling
from torch_lab.callbacks.predictions.spill import Spill, Spilled, merged
from torch_lab.data import DataLoader
from torch_lab.datasets import BaseDataset
from torch_lab.errors import ConfigurationError, RunError
from torch_lab.modules import LabModule
from torch_lab.store.host import this_process
from torch_lab.transforms import TransformSeparate
from zygote import Zygote

NAMES = ['a "b"', "c,d", "e\nf", "", "ü — 漢字", "\udcff", "g"]


class Samples(BaseDataset):
    def __init__(self, n: int = 7) -> None:
        super().__init__()
        self.n = n

    def __len__(self) -> int:
        return self.n

    def get_raw_data(self, md: dict[str, Any]) -> torch.Tensor:
        return torch.tensor([md["index"] / 10, 1.0])

    def get_additional_metadata(self, i: int) -> dict[str, Any]:
        return {"name": NAMES[i % len(NAMES)], "box": [i, i + 1]}


class Numbers(torch.nn.Module):
    """x → 10 x0, x1 + 0.1: what it makes of sample i is known."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([(10 * x[:, 0]).round(), x[:, 1] + 0.1], dim=1)


class Plain(pl.LightningModule):
    """A LightningModule whose predict_step is a function of the batch."""

    def __init__(self, step: Any) -> None:
        super().__init__()
        self.step = step

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        return self.step(batch)


def predict(
    writer: PredictionWriter, loaders: Any, module: pl.LightningModule | None = None, **kwargs: Any
) -> None:
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[writer],
        **kwargs,
    )
    trainer.predict(module or LabModule(Numbers()), loaders, return_predictions=False)


def write(path: Path, step: Any = None, n: int = 7, size: int = 3, **kwargs: Any) -> Path:
    module = None if step is None else Plain(step)
    predict(PredictionWriter(path, **kwargs), DataLoader(Samples(n), batch_size=size), module)
    return path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# -- what a row holds --------------------------------------------------------------------------


def test_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "new" / "folder" / "out.csv")
    found = rows(path)
    assert list(found[0]) == ["index", "name", "y_pred_0", "y_pred_1"]
    assert [row["index"] for row in found] == list("0123456")
    assert [row["name"] for row in found] == [*NAMES[:5], "\\udcff", "g"]
    assert {row["y_pred_1"] for row in found} == {"1.1"}, "as short as float32 allows"
    assert [float(row["y_pred_0"]) for row in found] == list(range(7))
    assert list(path.parent.iterdir()) == [path]
    assert capsys.readouterr().out == f"7 predictions written to {path}\n"


def test_json_lines(tmp_path: Path) -> None:
    found = lines(write(tmp_path / "out.jsonl"))
    assert found[2] == {"index": 2, "name": "e\nf", "y_pred": [2.0, 1.1]}
    assert lines(write(tmp_path / "out.ndjson")) == found


def test_parquet_is_typed(tmp_path: Path) -> None:
    table = pq.read_table(write(tmp_path / "out.parquet", size=7, columns=["index", "y_pred"]))
    assert str(table.schema.field("index").type) == "int64"
    assert str(table.schema.field("y_pred").type) == "list<element: float>"
    assert table.to_pylist()[3] == {"index": 3, "y_pred": [3.0, np.float32(1.1)]}


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_packed(tmp_path: Path, ending: str) -> None:
    packed = write(tmp_path / f"out{ending}.gz").read_bytes()
    assert gzip.decompress(packed) == write(tmp_path / f"out{ending}").read_bytes()
    assert write(tmp_path / f"again{ending}.gz").read_bytes() == packed


def test_out_is_taken_before_y_pred_and_may_name_its_columns(tmp_path: Path) -> None:
    def classes(y_pred: torch.Tensor, md: Any) -> tuple[dict[str, torch.Tensor], Any]:
        best = y_pred.max(dim=1)
        return {"digit": best.indices, "score": best.values}, md

    writer = PredictionWriter(tmp_path / "out.csv")
    predict(writer, DataLoader(Samples(2)), LabModule(Numbers(), classes))
    assert (tmp_path / "out.csv").read_text() == (
        'index,name,digit,score\n0,"a ""b""",1,1.1\n1,"c,d",1,1.1\n'
    )


class Pair(NamedTuple):
    mean: torch.Tensor
    spread: torch.Tensor


@pytest.mark.parametrize(
    ("step", "columns", "first"),
    [
        (lambda batch: batch[0][:, 0], "y_pred", [0.0]),
        (lambda batch: batch[0][:, :1], "y_pred", [0.0]),
        (lambda batch: batch[0].numpy(), "y_pred_0 y_pred_1", [0.0, 1.0]),
        (lambda batch: {"a": batch[0][:, 0], "b": batch[1]["name"]}, "a b", [0.0, 'a "b"']),
        (lambda batch: {"a": {"b": batch[0][:, 0]}}, "a.b", [0.0]),
        (lambda batch: (batch[0][:, 0], batch[0][:, 1]), "y_pred_0 y_pred_1", [0.0, 1.0]),
        (lambda batch: Pair(batch[0][:, 0], batch[0][:, 1]), "mean spread", [0.0, 1.0]),
        (lambda batch: [x.tolist() for x in batch[0]], "y_pred", ["[0.0, 1.0]"]),
        (lambda batch: [{"n": len(x), "x": x} for x in batch[0]], "n x", [2.0, "[0.0, 1.0]"]),
        (lambda batch: batch[0].bfloat16()[:, 1], "y_pred", [1.0]),
        (lambda batch: batch[0].reshape(-1, 1, 2), "y_pred", ["[[0.0, 1.0]]"]),
        (lambda batch: batch[0][:, 1] > 0, "y_pred", ["True"]),
    ],
    ids=[
        *("vector", "column", "array", "dict", "nested", "tuple", "named", "list", "dicts"),
        *("bfloat16", "deep", "bool"),
    ],
)
def test_any_module(tmp_path: Path, step: Any, columns: str, first: list[Any]) -> None:
    found = rows(write(tmp_path / "out.csv", step))
    assert list(found[0]) == ["index", *columns.split()]
    values = list(found[0].values())[1:]
    pairs = zip(values, first, strict=True)
    assert [v if isinstance(e, str) else float(v) for v, e in pairs] == first
    assert len(found) == 7


class Heads(torch.nn.Module):
    """Several outputs, as `made` makes them of the first number: 0, 0.1, 0.2, …"""

    def __init__(self, made: Any) -> None:
        super().__init__()
        self.made = made

    def forward(self, x: torch.Tensor) -> Any:
        return self.made(x[:, 0])


def of_heads(path: Path, made: Any, size: int, transform: Any = None, **kwargs: Any) -> list[Any]:
    module = LabModule(Heads(made), transform)
    predict(PredictionWriter(path, **kwargs), DataLoader(Samples(6), batch_size=size), module)
    return lines(path)


@pytest.mark.parametrize("size", [1, 2, 3, 6])
@pytest.mark.parametrize(
    ("made", "names"),
    [
        (lambda v: (v, -v), "y_pred_0 y_pred_1"),
        (lambda v: (v[:, None], -v), "y_pred_0 y_pred_1"),
        (lambda v: Pair(v, -v), "mean spread"),
        (lambda v: {"a": v, "n": {"c": -v}}, "a n.c"),
        (lambda v: {"a": v, "n": {"c": {"d": -v}}}, "a n.c.d"),
        (lambda v: {"a": (v, -v)}, "a_0 a_1"),
        (lambda v: ({"a": v}, {"a": -v}), "y_pred_0.a y_pred_1.a"),
    ],
    ids=["tuple", "column", "named", "nested", "deep", "within", "dicts"],
)
def test_heads_are_columns_whatever_the_batch_size(
    tmp_path: Path, size: int, made: Any, names: str
) -> None:
    path, first, second = tmp_path / "out.jsonl", *names.split()
    wanted = [(i, round(i / 10, 1), round(-i / 10, 1)) for i in range(6)]
    found = of_heads(path, made, size)
    assert list(found[0]) == ["index", "name", first, second]
    assert [(r["index"], r[first], r[second]) for r in found] == wanted
    renamed = of_heads(path, made, size, columns={"id": "index", "b": second})
    assert [(r["id"], r["b"]) for r in renamed] == [(i, b) for i, _, b in wanted]
    step = Plain(lambda batch: made(batch[0][:, 0]))
    predict(PredictionWriter(path), DataLoader(Samples(6), batch_size=size), step)
    assert [list(r.values()) for r in lines(path)] == [list(each) for each in wanted]


def test_a_row_function_gets_its_samples_heads(tmp_path: Path) -> None:
    def row(sample: dict[str, Any]) -> dict[str, Any]:
        return {"i": sample["md"]["index"], "heads": [float(v > 0) for v in sample["y_pred"]]}

    found = of_heads(tmp_path / "out.jsonl", lambda v: (v + 1, -v), 2, row=row)
    assert found == [{"i": i, "heads": [1.0, 0.0]} for i in range(6)]


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_a_list_holds_samples(tmp_path: Path, size: int) -> None:
    """Such as detections: how many there are in a sample has nothing to do with the batch."""

    def detected(v: torch.Tensor) -> list[dict[str, Any]]:
        return [{"boxes": torch.ones(round(10 * float(x)) % 4, 2), "kind": "a"} for x in v]

    found = of_heads(tmp_path / "out.jsonl", detected, size)
    assert list(found[0]) == ["index", "name", "boxes", "kind"]
    assert [len(r["boxes"]) for r in found] == [0, 1, 2, 3, 0, 1]
    found = of_heads(tmp_path / "out.jsonl", lambda v: [x.repeat(2) for x in v], size)
    assert [r["y_pred"][1] for r in found] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    found = of_heads(tmp_path / "out.jsonl", lambda v: tuple(f"{x:.1f}" for x in v), size)
    assert [r["y_pred"] for r in found] == ["0.0", "0.1", "0.2", "0.3", "0.4", "0.5"]
    rows_of = {"row": lambda sample: {"n": len(sample["y_pred"]["boxes"])}}
    found = of_heads(tmp_path / "out.jsonl", detected, size, **rows_of)
    assert [r["n"] for r in found] == [0, 1, 2, 3, 0, 1]


def test_a_list_of_batches(tmp_path: Path) -> None:
    found = of_heads(tmp_path / "out.jsonl", lambda v: [v, -v], 3)
    assert [(r["y_pred_0"], r["y_pred_1"]) for r in found][4] == (0.4, -0.4)


# What a transform makes of a batch, or of a sample: columns are the same.
OF_EITHER = {
    "vector": lambda y, md: (torch.stack([y, -y], -1), md),
    "number": lambda y, md: (y * 2, md),
    "heads": lambda y, md: ((y, -y), md),
    "dict": lambda y, md: ({"a": y, "b": torch.stack([y, -y], -1), "n": {"c": -y}}, md),
    "named": lambda y, md: (Pair(y, -y), md),
    "md": lambda y, md: (y, {**md, "twice": 2 * y}),
}


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("kind", OF_EITHER)
def test_separated_samples_make_the_columns_of_the_batch(
    tmp_path: Path, kind: str, ending: str, size: int
) -> None:
    texts = []
    for transform in (OF_EITHER[kind], TransformSeparate(OF_EITHER[kind])):
        path = tmp_path / f"out{ending}"
        module = LabModule(Heads(lambda v: v), transform)
        predict(PredictionWriter(path), DataLoader(Samples(4), batch_size=size), module)
        texts.append(path.read_bytes())
    assert texts[0] == texts[1]


def test_separated_metadata_is_reached_by_its_keys(tmp_path: Path) -> None:
    def transform(y: Any, md: dict[str, Any]) -> tuple[Any, Any]:
        return {"label": "high" if y > 0.25 else "low"}, md

    chosen = {"who": "name", "box": "box", "label": "label"}
    path, separate = tmp_path / "out.jsonl", TransformSeparate(transform)
    found = of_heads(path, lambda v: v, 2, separate, columns=chosen)
    assert found[3] == {"who": "", "box": [3, 4], "label": "high"}

    def row(sample: dict[str, Any]) -> dict[str, Any]:
        return {"who": sample["md"]["name"], "label": sample["out"]["label"]}

    found = of_heads(path, lambda v: v, 2, separate, row=row)
    assert found[1] == {"who": "c,d", "label": "low"}


def test_columns_are_chosen_and_renamed(tmp_path: Path) -> None:
    path = write(tmp_path / "out.csv", columns={"nr": "i", "box": "box", "v": "y_pred"})
    assert path.read_text().splitlines()[:2] == ["nr,box,v_0,v_1", '0,"[0, 1]",0.0,1.1']
    path = write(tmp_path / "out.jsonl", columns={"y_pred": "y_pred", 'a "%s"': "index"})
    assert lines(path)[1] == {"y_pred": [1.0, 1.1], 'a "%s"': 1}
    with pytest.raises(
        ConfigurationError, match=r'have no "y_perd", which columns= names\n.*y_pred'
    ):
        write(tmp_path / "out.csv", columns=["y_perd"])


def test_rows_are_computed(tmp_path: Path) -> None:
    def row(sample: dict[str, Any]) -> dict[str, Any]:
        assert sample["y_pred"].shape == (2,)
        return {
            "who": Path("folder") / str(int(sample["md"]["index"])),
            "none": None,
            "nan": float("nan"),
            "least": sample["y_pred"].argmin(),
            "both": sample["y_pred"],
            "deep": {"x": (1, float("inf"))},
        }

    found = rows(write(tmp_path / "out.csv", row=row))
    assert found[3] == {
        "who": "folder/3",
        "none": "",
        "nan": "nan",
        "least": "1",
        "both_0": "3.0",
        "both_1": "1.1",
        "deep": '{"x": [1, "Infinity"]}',
    }
    assert lines(write(tmp_path / "out.jsonl", row=row))[3] == {
        "who": "folder/3",
        "none": None,
        "nan": "NaN",
        "least": 1,
        "both": [3.0, 1.1],
        "deep": {"x": [1, "Infinity"]},
    }
    table = pq.read_table(write(tmp_path / "out.parquet", row=row)).to_pylist()
    assert math.isnan(table[3]["nan"])
    assert table[3]["deep"] == {"x": [1.0, math.inf]}
    assert table[3]["none"] is None


def test_a_row_function_gets_any_modules_prediction(tmp_path: Path) -> None:
    path = write(
        tmp_path / "out.jsonl",
        lambda batch: batch[0],
        row=lambda sample: {"i": sample["index"], "sum": sample["y_pred"].sum()},
    )
    assert lines(path)[0] == {"i": 0, "sum": 1.0}


def test_float32_round_trips(tmp_path: Path) -> None:
    numbers = torch.rand(200, generator=torch.Generator().manual_seed(0)) ** 9
    special = torch.tensor([0.1, 1e-45, 3.4028235e38, float("inf"), float("nan"), -0.0])
    numbers = torch.cat([numbers, special])

    def step(batch: Any) -> torch.Tensor:
        return numbers[batch[1]["index"]]

    found = rows(write(tmp_path / "out.csv", step, n=len(numbers)))
    again = torch.tensor([float(row["y_pred"]) for row in found])
    assert torch.equal(again.nan_to_num(7), numbers.nan_to_num(7))
    found = lines(write(tmp_path / "out.jsonl", step, n=len(numbers)))
    assert (
        torch.tensor([float(row["y_pred"]) for row in found])
        .nan_to_num(7)
        .equal(numbers.nan_to_num(7))
    )
    table = pq.read_table(write(tmp_path / "out.parquet", step, n=len(numbers)))
    assert (
        torch.from_numpy(table["y_pred"].to_numpy().copy())
        .nan_to_num(7)
        .equal(numbers.nan_to_num(7))
    )


# -- order -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [DataLoader, TorchDataLoader])
@pytest.mark.parametrize(
    "kwargs",
    [
        {"batch_size": 3},
        {"batch_size": 3, "shuffle": True},
        {"batch_size": 3, "num_workers": 2, "shuffle": True},
        {"batch_size": 3, "sampler": [4, 0, 6, 2, 1, 5, 3]},
        {"batch_size": 2, "sampler": [0, 0, 1, 2, 3, 2, 4, 5, 6, 0]},
        {"batch_size": 4, "drop_last": True},
    ],
    ids=["in order", "shuffled", "workers", "sampler", "repeating", "drop_last"],
)
@pytest.mark.filterwarnings("ignore:.*sampler has shuffling enabled")
def test_each_sample_once_in_the_datasets_order(
    tmp_path: Path, kind: Any, kwargs: dict[str, Any]
) -> None:
    path = tmp_path / "out.csv"
    predict(PredictionWriter(path), kind(Samples(), **kwargs))
    assert [row["index"] for row in rows(path)] == list("0123456")


def test_order_is_that_of_the_subset_that_is_predicted_on(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    part = Subset(Samples(), [5, 1, 3])
    predict(PredictionWriter(path), DataLoader(part, batch_size=2, sampler=[2, 0, 1]))
    assert [row["index"] for row in rows(path)] == ["5", "1", "3"]


def test_several_loaders(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    loaders = [DataLoader(Samples(2)), TorchDataLoader(Samples(3), batch_size=2)]
    predict(PredictionWriter(path, columns=["dataloader", "index"]), loaders)
    assert path.read_text().split() == ["dataloader,index", "0,0", "0,1", "1,0", "1,1", "1,2"]
    predict(PredictionWriter(path), {"a": loaders[0], "b": loaders[1]})
    assert list(rows(path)[0])[:2] == ["dataloader", "index"]


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield from ((torch.tensor([float(n)]), {"n": n}) for n in (3, 1, 2))


def test_an_iterable_dataset_is_written_as_it_comes(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    predict(PredictionWriter(path), DataLoader(Stream(), batch_size=2), LabModule(torch.nn.ReLU()))
    assert path.read_text().split() == ["n,y_pred", "3,3.0", "1,1.0", "2,2.0"]


def test_items_that_are_batches(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    data = [(torch.full((n, 1), float(n)), {"n": torch.arange(n)}) for n in (1, 2)]
    for kind in (DataLoader, TorchDataLoader):
        predict(PredictionWriter(path), kind(data, batch_size=None), LabModule(torch.nn.ReLU()))
        assert path.read_text().split() == ["n,y_pred", "0,1.0", "0,2.0", "1,2.0"]


def test_two_writers_and_a_limit(tmp_path: Path) -> None:
    writers = [PredictionWriter(tmp_path / f"{n}.csv", columns=["index"]) for n in "ab"]
    predict(writers[0], DataLoader(Samples(), batch_size=2), limit_predict_batches=2)
    assert writers[0].rows == 4
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(writers),
    )
    loader = TorchDataLoader(Samples(), batch_size=2)
    trainer.predict(LabModule(Numbers()), loader, return_predictions=False)
    texts = [(tmp_path / f"{n}.csv").read_text().split() for n in "ab"]
    assert texts == [["index", *"0123456"]] * 2


def test_sorted_runs_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spilling, "_SORTED_AT_ONCE", 100)
    shuffled = torch.randperm(1000, generator=torch.Generator().manual_seed(0)).tolist()
    shares = [shuffled, list(range(0, 1500, 2)), []]
    for rank, share in enumerate(shares):
        spill = Spill(tmp_path / str(rank))
        for n in range(0, len(share), 7):
            part = share[n : n + 7]
            spill.add([(0, i, 0) for i in part], [(i, f"{i}") for i in part])
        spill.close({"rank": rank})
    files = [Spilled(tmp_path / str(rank)) for rank in range(3)]
    assert [file.about["rank"] for file in files] == [0, 1, 2]
    assert [len(file.runs()) for file in files[1:]] == [1, 0]
    assert len(files[0].runs()) > 5
    wanted = sorted(set(range(1000)) | set(shares[1]))
    assert list(merged(files)) == [(i, f"{i}") for i in wanted]
    for file in files:
        file.close()


def test_memory_does_not_grow_with_the_rows(tmp_path: Path, zygote: Zygote) -> None:
    """A process each: what it needs at most is much the same for twenty times as many rows."""
    peaks = [peak(tmp_path, zygote, count) for count in (10_000, 200_000)]
    assert peaks[1] - peaks[0] < 4e6, peaks


def peak(folder: Path, zygote: Zygote, count: int) -> int:
    root, script, log = Path(__file__).parents[2], folder / "measured.py", folder / f"{count}.txt"
    script.write_text(
        f"import runpy, sys\nsys.path.insert(0, {str(root)!r})\n"
        'runpy.run_module("benchmarks.predictions", run_name="__main__", alter_sys=True)\n'
    )
    zygote.script(script, "lab", folder / "out.csv", str(count), cwd=root, log=log)
    return int(1e6 * json.loads(log.read_text().splitlines()[-1])["peak"])


def test_the_indices_that_were_used_are_forgotten(tmp_path: Path) -> None:
    """Lightning keeps them under a name of its own: this fails when it is called otherwise."""
    kept: list[Any] = []

    class Looking(PredictionWriter):
        def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            kept.extend(trainer.predict_dataloaders.batch_sampler.seen_batch_indices)
            super().on_predict_end(trainer, pl_module)

    for kind in (DataLoader, TorchDataLoader):
        kept.clear()
        predict(Looking(tmp_path / "out.csv"), kind(Samples(), batch_size=3))
        assert kept == [(), (), [6]]


def test_a_padded_share_is_written_without_repeats(tmp_path: Path) -> None:
    """What a DistributedSampler of the user's own repeats, on one process here."""
    path = tmp_path / "out.csv"
    sampler: Any = DistributedSampler(Samples(3), num_replicas=2, rank=1, shuffle=False)
    predict(
        PredictionWriter(path),
        TorchDataLoader(Samples(3), batch_size=3, sampler=sampler),
        use_distributed_sampler=False,
    )
    assert [row["index"] for row in rows(path)] == ["0", "1"]


# -- complete or not there ---------------------------------------------------------------------


class Broken(Samples):
    def get_raw_data(self, md: dict[str, Any]) -> torch.Tensor:
        if md["index"] == 5:
            raise self.error
        return super().get_raw_data(md)

    error: BaseException = RuntimeError("unreadable")


@pytest.mark.parametrize("ending", [".csv", ".jsonl.gz", ".parquet"])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.filterwarnings("ignore:.*sampler has shuffling enabled")
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, ending: str, shuffle: bool
) -> None:
    path = tmp_path / f"out{ending}"
    path.write_text("from before")
    loader = DataLoader(Broken(), batch_size=1, shuffle=shuffle)
    with pytest.raises(RuntimeError, match="unreadable"):
        predict(PredictionWriter(path), loader)
    assert path.read_text() == "from before"
    assert list(tmp_path.iterdir()) == [path]


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    broken = Broken()
    broken.error = KeyboardInterrupt()
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        predict(PredictionWriter(tmp_path / "out.csv"), DataLoader(broken, batch_size=1))
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_predict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.csv"
    predict(PredictionWriter(path), DataLoader(Samples()), limit_predict_batches=0)
    assert capsys.readouterr().out == f"no predictions: {path} was not written\n"
    assert list(tmp_path.iterdir()) == []


def test_training_is_none_of_its_business(tmp_path: Path) -> None:
    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            return self.layer(batch[0]).mean()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        max_steps=1,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        callbacks=[PredictionWriter(tmp_path / "folder" / "out.csv")],
    )
    trainer.fit(Module(), DataLoader(Samples()))
    assert list(tmp_path.iterdir()) == []


def left_over(target: Path, name: str, owner: Any) -> Path:
    folder = target.with_name(f".{target.name}.{name}.tmp")
    folder.mkdir()
    (folder / "owner.json").write_text(json.dumps(asdict(owner)))
    (folder / "rows").write_text("half")
    return folder


def test_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "out[1].csv"
    here = this_process()
    dead = left_over(path, "dead", replace(here, started="0"))
    living = left_over(path, "living", here)
    elsewhere = left_over(path, "elsewhere", replace(here, host="another"))
    other = left_over(tmp_path / "out1.csv", "other", replace(here, started="0"))
    write(path)
    assert not dead.exists()
    assert living.exists()
    assert elsewhere.exists()
    assert other.exists()


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """As on a full disk: writing beyond that fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".jsonl", ".parquet"])
def test_a_full_disk(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"out{ending}"
    path.write_text("from before")

    def step(batch: Any) -> torch.Tensor:
        return torch.rand(len(batch[0]), 300)

    with largest_file(20_000), pytest.raises(RunError) as caught:
        write(path, step, n=200, size=20)
    assert str(caught.value) == (
        f"can't write predictions to {path}: File too large\n"
        "What was there under that name is as it was."
    )
    assert path.read_text() == "from before"
    assert list(tmp_path.iterdir()) == [path]


# -- mistakes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "out.csb",
            "PredictionWriter('out.csb'): the ending says the format, and '.csb' is none\n"
            "Did you mean .csv? There are .csv, .csv.gz, .jsonl, .jsonl.gz, .ndjson, .ndjson.gz,"
            " .parquet.",
        ),
        (
            "out",
            "PredictionWriter('out'): the ending says the format, and there is none\n"
            "There are .csv, .csv.gz, .jsonl, .jsonl.gz, .ndjson, .ndjson.gz, .parquet.",
        ),
    ],
    ids=["unknown", "none"],
)
def test_endings(name: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        PredictionWriter(name)
    assert str(caught.value) == message


def test_parquet_without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigurationError) as caught:
        PredictionWriter("out.parquet")
    assert str(caught.value) == (
        "PredictionWriter('out.parquet'): Parquet needs pyarrow, which is missing here\n"
        "pip install 'torch-lab[parquet]', or write .csv or .jsonl."
    )


def test_places_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "out.csv").mkdir()
    for path, why in (
        (tmp_path / "file" / "out.csv", f"{tmp_path / 'file'} is no folder"),
        (tmp_path / "out.csv", "there is a folder of that name"),
    ):
        with pytest.raises(ConfigurationError) as caught:
            write(path, lambda batch: pytest.fail("it could have been known before"))
        assert caught.value.message == f"can't write predictions to {path}: {why}"


@pytest.mark.parametrize("columns", ["y_pred", [], {}, {"a": 1}, ["a", 1], 3])
def test_columns_are_names(columns: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        PredictionWriter("out.csv", columns=columns)
    assert str(caught.value) == (
        "PredictionWriter(columns=…) takes a list of names, or a dict of column → name;"
        f" got {columns!r} ({type(columns).__name__})\n"
        "Names are those of what predict_step returns and of md's keys:"
        ' columns=["y_pred"].'
    )


def test_row_is_a_function() -> None:
    with pytest.raises(ConfigurationError) as caught:
        PredictionWriter("out.csv", row=3)  # type: ignore[arg-type]
    assert str(caught.value) == (
        "PredictionWriter(row=…) takes a function; got 3 (int)\n"
        "It gets a sample's prediction, a dict, and returns a dict of columns."
    )


def test_columns_and_row_exclude_each_other() -> None:
    with pytest.raises(ConfigurationError, match="takes columns= or row=, not both"):
        PredictionWriter("out.csv", columns=["index"], row=dict)


@pytest.mark.parametrize("size", [1, 7])
def test_every_row_needs_the_same_columns(tmp_path: Path, size: int) -> None:
    def row(sample: dict[str, Any]) -> dict[str, Any]:
        index = int(sample["md"]["index"])
        return {"a": 1, "b": 2} if index != 4 else {"a": 1}

    with pytest.raises(ConfigurationError) as caught:
        write(tmp_path / "out.csv", row=row, size=size)
    assert str(caught.value) == (
        "predictions: sample 4 has the columns a; the first row has a, b\n"
        "Every row needs the same columns: give None where there is no value."
    )


def test_vectors_of_different_lengths_in_a_csv(tmp_path: Path) -> None:
    def row(sample: dict[str, Any]) -> dict[str, Any]:
        return {"a": torch.zeros(3 if sample["md"]["index"] == 4 else 2)}

    with pytest.raises(ConfigurationError) as caught:
        write(tmp_path / "out.csv", row=row)
    assert str(caught.value) == (
        "predictions: sample 4 has the columns a_0, a_1, a_2; the first row has a_0, a_1\n"
        "A CSV spreads a vector over columns, so that all need one length; .jsonl and .parquet"
        " keep vectors whole."
    )
    write(tmp_path / "out.jsonl", row=row)


def test_a_column_of_two_types_in_parquet(tmp_path: Path) -> None:
    def row(sample: dict[str, Any]) -> dict[str, Any]:
        return {"a": 1 if sample["md"]["index"] < 3 else "x"}

    with pytest.raises(ConfigurationError, match=r'column "a" of a Parquet file has to hold one'):
        write(tmp_path / "out.parquet", row=row)


@pytest.mark.filterwarnings("ignore:predict returned None")
@pytest.mark.parametrize(
    ("step", "message"),
    [
        (lambda batch: None, "predict_step returned None: there is nothing to write"),
        (lambda batch: {"a": batch[0], "loss": torch.tensor(1.0)}, "loss is 1.0 (float), not one"),
        (lambda batch: {"a": batch[0], "b": batch[0][:2]}, "b holds 2 for a batch of 3 samples"),
        (lambda batch: {"out": {"index": batch[0]}, "md": {"index": batch[0]}}, None),
    ],
    ids=["none", "scalar", "shorter", "twice"],
)
def test_predictions_that_make_no_rows(tmp_path: Path, step: Any, message: str | None) -> None:
    if message is None:  # `md`'s own gives way
        assert list(rows(write(tmp_path / "out.csv", step))[0])[:1] == ["index_0"]
        return
    with pytest.raises(ConfigurationError) as caught:
        write(tmp_path / "out.csv", step)
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []
