"""What the same costs without torch-lab: Lightning alone, and a plain loop.

python -m benchmarks.bare lightning|plain FOLDER              epochs of the small convolution net
python -m benchmarks.bare forest|rounds|judged|staged FOLDER  an estimator, fitted and judged
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy, nll_loss
from torch.utils.data import DataLoader

from benchmarks.models import EPOCHS, convnet, estimator, image_loaders, scores


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


def forest(folder: Path) -> None:
    """Call `fit`, then the metrics for both splits; saved as torch-lab saves it."""
    import pytorch_lightning  # noqa: F401  what `train` imports
    import skops.io

    train, val = map(arrays, image_loaders())
    model = estimator("forest").fit(*train)
    for split, (x, y) in {"train": train, "validate": val}.items():
        predicted = torch.from_numpy(model.predict_proba(x)).float()
        print({f"{name}/{split}": judge(metric, predicted, y) for name, metric in scores().items()})
    skops.io.dump(model, folder / "forest.skops")


def rounds(folder: Path) -> None:
    """Call `fit` with both splits to be judged after each round, by XGBoost's own metrics."""
    import pytorch_lightning  # noqa: F401  what `train` imports

    train, val = map(arrays, image_loaders())
    model = estimator("rounds").set_params(eval_metric=["merror", "auc", "mlogloss"])
    model.fit(*train, eval_set=[train, val])
    model.save_model(folder / "rounds.ubj")


def judged(folder: Path) -> None:
    """Call `fit`, and after each round compute and print what `train` logs."""
    import pytorch_lightning  # noqa: F401  what `train` imports
    from xgboost import XGBClassifier
    from xgboost.callback import TrainingCallback

    splits = dict(zip(("train", "validate"), map(arrays, image_loaders()), strict=True))
    metrics = {split: scores() for split in splits}

    class Judge(TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            for split, (x, y) in splits.items():
                predicted = torch.from_numpy(model.inplace_predict(x))
                found = {name: judge(each, predicted, y) for name, each in metrics[split].items()}
                loss = nll_loss(predicted.log(), torch.from_numpy(y))
                print(epoch, split, found, float(loss))
            return False

    model: XGBClassifier = estimator("rounds").set_params(callbacks=[Judge()])
    model.fit(*splits["train"])
    model.save_model(folder / "judged.ubj")


def staged(folder: Path) -> None:
    """Call `fit`, then compute and print of each round what `train` logs."""
    import pytorch_lightning  # noqa: F401  what `train` imports
    import skops.io

    train, val = map(arrays, image_loaders())
    model = estimator("staged").fit(*train)
    for split, (x, y) in {"train": train, "validate": val}.items():
        metrics = scores()
        for epoch, predicted in enumerate(model.staged_predict_proba(x)):
            made = torch.from_numpy(predicted).float()
            found = {name: judge(each, made, y) for name, each in metrics.items()}
            print(epoch, split, found, float(nll_loss(made.log(), torch.from_numpy(y))))
    skops.io.dump(model, folder / "staged.skops")


def arrays(loader: DataLoader[Any]) -> tuple[Any, Any]:
    """All samples of a loader, a row each, and their targets."""
    batches = [(x.flatten(1), md["y"]) for x, md in loader]
    x, y = (torch.cat(parts).numpy() for parts in zip(*batches, strict=True))
    return x, y


def judge(metric: Any, predicted: torch.Tensor, y: Any) -> float:
    metric.reset()
    metric.update(predicted, torch.from_numpy(y))
    return float(metric.compute())


if __name__ == "__main__":
    subjects = (lightning, plain, forest, rounds, judged, staged)
    {each.__name__: each for each in subjects}[sys.argv[1]](Path(sys.argv[2]))
