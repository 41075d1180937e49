"""Letters of two kinds, with gaps in what is known of them, by trees that are added one by one."""

import torch
from pytorch_lightning.callbacks import EarlyStopping
from sklearn.ensemble import HistGradientBoostingClassifier
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import BinaryAccuracy, BinaryAUROC

from torch_lab.callbacks import RunCheckpoint


def letters(n, seed):
    drawn = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 6, generator=drawn)
    y = (x[:, 0] + x[:, 1] > 0).long()
    x[torch.rand(n, 6, generator=drawn) < 0.1] = torch.nan
    return TensorDataset(x, y)


def collate(samples):
    x, y = zip(*samples, strict=True)
    return torch.stack(x), {"y": torch.stack(y)}


def train_config(config):
    return {
        "estimator": HistGradientBoostingClassifier(
            learning_rate=config["rate"], max_iter=config["rounds"], early_stopping=False
        ),
        "metrics": {"accuracy": BinaryAccuracy(), "auroc": BinaryAUROC()},
        "train_dataloaders": DataLoader(letters(200, 0), 50, collate_fn=collate),
        "val_dataloaders": DataLoader(letters(80, 1), 50, collate_fn=collate),
        "callbacks": [
            RunCheckpoint(monitor="auroc/validate", mode="max"),
            EarlyStopping("loss/validate", patience=5),
        ],
    }
