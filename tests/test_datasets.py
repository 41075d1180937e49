"""BaseDataset and split."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from torch_lab.datasets import BaseDataset, DatasetPart, split
from torch_lab.errors import ConfigurationError

FRACTIONS = {"train": 0.7, "val": 0.2, "test": 0.1}


class Squares(BaseDataset):
    def __init__(self, count: int, transform: Any = None) -> None:
        super().__init__(transform)
        self.count = count

    def __len__(self) -> int:
        return self.count

    def get_raw_data(self, md: dict[str, Any]) -> torch.Tensor:
        return torch.tensor([float(md["index"])])

    def get_raw_label(self, md: dict[str, Any]) -> int:
        return md["i"] ** 2

    def get_additional_metadata(self, i: int) -> dict[str, Any]:
        return {"name": f"sample {i}"}


class Unlabelled(BaseDataset):
    """A dataset as 1.x experiments write them, without super().__init__()."""

    def __init__(self) -> None:
        self.data = [10.0, 20.0]

    def __len__(self) -> int:
        return len(self.data)

    def get_raw_data(self, md: dict[str, Any]) -> float:
        return self.data[md["i"]]


def double(x: Any, md: Any) -> Any:
    return 2 * x, {**md, "doubled": True}


class TestBaseDataset:
    def test_a_sample(self) -> None:
        x, md = Squares(5)[3]
        assert x == 3.0
        assert md == {"i": 3, "index": 3, "name": "sample 3", "y": 9}

    def test_the_transform_gets_both(self) -> None:
        x, md = Squares(5, double)[3]
        assert x == 6.0
        assert md["doubled"]
        assert Squares(5, double).get_raw(3)[0] == 3.0

    def test_no_label_no_y(self) -> None:
        assert Unlabelled()[1] == (20.0, {"i": 1, "index": 1})

    def test_the_label_can_be_read_with_the_data(self) -> None:
        class ByName(Squares):
            def get_raw_data(self, md: dict[str, Any]) -> Any:
                return md["name"], md["y"]

        assert ByName(3)[2][0] == ("sample 2", 4)

    def test_indices(self) -> None:
        data = Squares(5)
        assert data[-1][1]["index"] == 4
        assert data[torch.tensor(2)][1] == data[2][1]  # type: ignore[index]
        for wrong in (5, -6):
            with pytest.raises(IndexError, match="of 5"):
                data[wrong]
        assert len(list(iter(data))) == 5  # type: ignore[call-overload]

    def test_batches(self) -> None:
        x, md = next(iter(DataLoader(Squares(5), batch_size=2)))
        assert x.tolist() == [[0.0], [1.0]]
        assert md["y"].tolist() == [0, 1]
        assert md["name"] == ["sample 0", "sample 1"]

    def test_length_and_data_are_required(self) -> None:
        class Half(BaseDataset):
            def __len__(self) -> int:
                return 1

        with pytest.raises(TypeError, match="get_raw_data"):
            Half()  # type: ignore[abstract]


class Patients(Dataset[int]):
    """Three samples of each patient."""

    def __init__(self, patients: int) -> None:
        self.patients = patients

    def __len__(self) -> int:
        return 3 * self.patients

    def __getitem__(self, i: int) -> int:
        return i

    def sample_key(self, i: int) -> str:
        return f"patient {i // 3}"


class TestSplit:
    def test_each_sample_is_in_one_part(self) -> None:
        parts = split(Squares(1000), FRACTIONS)
        assert list(parts) == list(FRACTIONS)
        assert sorted(i for part in parts.values() for i in part.indices) == list(range(1000))
        for name, part in parts.items():
            assert len(part) == pytest.approx(1000 * FRACTIONS[name], abs=50)

    def test_samples_are_those_of_the_dataset(self) -> None:
        part = split(Squares(100, double), FRACTIONS)["val"]
        x, md = part[0]
        assert md["index"] == part.indices[0]
        assert x == 2.0 * part.indices[0]

    def test_more_data_moves_no_sample(self) -> None:
        few, many = (split(Squares(n), FRACTIONS) for n in (200, 500))
        for name in FRACTIONS:
            assert few[name].indices == [i for i in many[name].indices if i < 200]

    def test_a_larger_part_keeps_what_it_had(self) -> None:
        small, large = (
            split(Squares(300), {"train": f, "val": 1 - f})["train"].indices for f in (0.5, 0.8)
        )
        assert set(small) < set(large)

    def test_the_seed_decides(self) -> None:
        one, same, other = (
            split(Squares(100), FRACTIONS, seed)["val"].indices for seed in (1, 1, 2)
        )
        assert one == same != other

    def test_the_same_in_every_version(self) -> None:
        """Changing where samples go would mix training and validation data of earlier runs."""
        parts = split(Squares(24), {"train": 0.75, "val": 0.25})
        assert parts["val"].indices == [2, 4, 8, 12, 13]

    def test_samples_with_one_key_stay_together(self) -> None:
        parts = split(Patients(50), {"train": 0.6, "val": 0.4})
        patients = [{i // 3 for i in part.indices} for part in parts.values()]
        assert not patients[0] & patients[1]
        assert all(len(part) % 3 == 0 for part in parts.values())

    def test_a_part_can_be_split_again(self) -> None:
        train = split(Squares(4000), {"train": 0.5, "val": 0.5})["train"]
        halves = split(train, {"a": 0.5, "b": 0.5})
        assert len(halves["a"]) == pytest.approx(len(train) / 2, abs=100)
        assert {md["index"] for _, md in halves["a"]} <= set(train.indices)
        more = split(
            split(Squares(5000), {"train": 0.5, "val": 0.5})["train"], {"a": 0.5, "b": 0.5}
        )
        of_more = {md["index"] for _, md in more["a"]}
        assert {md["index"] for _, md in halves["a"]} == {i for i in of_more if i < 4000}

    def test_patients_stay_together_when_split_again(self) -> None:
        train = split(Patients(60), {"train": 0.7, "val": 0.3})["train"]
        halves = split(train, {"a": 0.5, "b": 0.5})
        one, other = ({i // 3 for i in part} for part in halves.values())
        assert not one & other

    def test_any_dataset(self) -> None:
        parts = split(TensorDataset(torch.arange(50)), {"train": 0.8, "val": 0.2})
        assert len(parts["train"]) + len(parts["val"]) == 50
        assert pickle.loads(pickle.dumps(parts["val"])).indices == parts["val"].indices
        assert repr(parts["val"]).startswith("DatasetPart('val', ")
        assert isinstance(parts["val"], DatasetPart)

    @pytest.mark.parametrize(
        "fractions", [{"train": 0.8, "val": 0.1}, {"a": 1.2, "b": -0.2}, {}, {"a": 1.1}]
    )
    def test_fractions_that_are_none(self, fractions: dict[str, float]) -> None:
        with pytest.raises(ConfigurationError, match="must sum to 1"):
            split(Squares(10), fractions)

    def test_a_part_without_samples(self) -> None:
        with pytest.raises(ConfigurationError, match='no sample of 3 falls into "val"'):
            split(Squares(3), {"train": 0.999, "val": 0.001})
        assert len(split(Squares(3), {"train": 1.0, "val": 0.0})["val"]) == 0
