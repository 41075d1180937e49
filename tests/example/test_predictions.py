from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from example_project.callbacks import PredictionsToCsv
from example_project.models import DigitNet
from torch_lab.data import DataLoader
from torch_lab.datasets import BaseDataset
from torch_lab.modules import LabModule


class Few(BaseDataset):
    def __len__(self) -> int:
        return 7

    def get_raw_data(self, md: dict[str, Any]) -> torch.Tensor:
        return torch.full((1, 8, 8), md["index"] / 7)

    def get_raw_label(self, md: dict[str, Any]) -> int:
        return int(md["index"])


def probabilities(y_pred: torch.Tensor, md: dict[str, Any]) -> tuple[torch.Tensor, dict[str, Any]]:
    return y_pred.softmax(dim=1), md


def predict(path: Path, module: pl.LightningModule, dataset: BaseDataset) -> PredictionsToCsv:
    callback = PredictionsToCsv(path)
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[callback],
    )
    trainer.predict(module, DataLoader(dataset, batch_size=3), return_predictions=False)
    return callback


pytestmark = [  # Lightning's own: about loaders without workers, and with torch 2.13
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
]


def test_a_row_for_each_image(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "out.csv"
    model = DigitNet(width=2)
    predict(path, LabModule(model, probabilities), Few())
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["index"]) for row in rows] == list(range(7))
    assert [int(row["label"]) for row in rows] == list(range(7))
    x = torch.stack([Few()[i][0] for i in range(7)])
    expected = model.eval()(x).softmax(dim=1).max(dim=1)
    assert [int(row["digit"]) for row in rows] == expected.indices.tolist()
    written = [float(row["probability"]) for row in rows]
    assert written == pytest.approx(expected.values.tolist(), abs=1e-4)
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    class Broken(Few):
        def get_raw_data(self, md: dict[str, Any]) -> torch.Tensor:
            if md["index"] == 5:
                raise RuntimeError("unreadable image")
            return super().get_raw_data(md)

    path = tmp_path / "out.csv"
    path.write_text("from before")
    with pytest.raises(RuntimeError, match="unreadable image"):
        predict(path, LabModule(DigitNet(width=2), probabilities), Broken())
    assert path.read_text() == "from before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("size", [4, 8, 28])
def test_the_network_takes_images_of_any_size(size: int) -> None:
    assert DigitNet(width=2).eval()(torch.rand(3, 1, size, size)).shape == (3, 10)
