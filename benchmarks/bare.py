"""What the same costs without torch-lab: Lightning alone, and a plain loop.

python -m benchmarks.bare lightning|plain FOLDER      eight epochs of the small convolution net
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from benchmarks.models import EPOCHS, convnet, image_loaders


def plain_epoch(
    model: nn.Module, optimizer: torch.optim.Optimizer, loader: DataLoader[Any]
) -> list[float]:
    """Train for an epoch without any library; returns when each batch began."""
    begins = []
    for x, md in loader:
        begins.append(time.perf_counter())
        optimizer.zero_grad()
        cross_entropy(model(x), md["y"]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return begins


def plain(folder: Path) -> None:
    """Train, validate and save in a plain loop."""
    model, (train, val) = convnet(), image_loaders()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(EPOCHS):
        plain_epoch(model.train(), optimizer, train)
        with torch.inference_mode():
            losses = [cross_entropy(model.eval()(x), md["y"]) for x, md in val]
        print(f"epoch {epoch}: {torch.stack(losses).mean():.4f}")
        torch.save([model.state_dict(), optimizer.state_dict()], folder / "last.pt")


def lightning(folder: Path) -> None:
    """The script that somebody would write: Lightning with its defaults."""
    import pytorch_lightning as pl

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = convnet()

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            loss = cross_entropy(self.model(batch[0]), batch[1]["y"])
            self.log("loss/train", loss)
            return loss

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("loss/validate", cross_entropy(self.model(batch[0]), batch[1]["y"]))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=1e-3)

    pl.seed_everything(0)
    trainer = pl.Trainer(max_epochs=EPOCHS, accelerator="cpu", default_root_dir=folder)
    train, val = image_loaders()
    trainer.fit(Module(), train, val)


if __name__ == "__main__":
    {"lightning": lightning, "plain": plain}[sys.argv[1]](Path(sys.argv[2]))
