"""Slow or fast? One linear layer on the wave, in the way of torch-lab 1.x."""

import os
from pathlib import Path
from typing import Any, Dict

import pytorch_lightning as pl
import torch
from torch import nn, optim
from torch.utils.data import DataLoader
from torchmetrics import MeanSquaredError, Metric

from torch_lab.metrics import MetricWrapper, PooledMean
from torch_lab.modules import LabModule, TrainLabModule
from torch_lab.transforms import TransformCompose
from waves import transforms as t
from waves.callbacks import WaveWriter
from waves.datasets import UnknownWaveDataset, WaveDataset


def model_config(config: Dict[str, Any]) -> nn.Module:
    return nn.Sequential(
        nn.Linear(8, config["n_features"]),
        nn.BatchNorm1d(config["n_features"]),
        nn.ReLU(),
        nn.Linear(config["n_features"], 2),
    )


def transform_config(config: Dict[str, Any]) -> TransformCompose:
    return TransformCompose(
        t.Scale(1 / 2),
        t.OneHot(),
        lambda x, md: (x.astype("float32"), md),
    )


def num_workers(config: Dict[str, Any]) -> int:
    return min(config.get("num_workers", 0), os.cpu_count() or 0)


def metrics(config: Dict[str, Any]) -> Dict[str, Metric]:
    return {
        "mse": MeanSquaredError(),
        "mse_of_shares": MetricWrapper(
            lambda y_pred, y: (y_pred.softmax(1), y), MeanSquaredError()
        ),
        "hits": PooledMean(lambda y_pred, y: (y_pred.argmax(1) == y.argmax(1)).float().mean()),
    }


def train_config(config: Dict[str, Any]) -> Dict[str, Any]:
    transform = transform_config(config)
    train_dataset = WaveDataset(
        config["data"], slice(None, 32), transform=t.RandomFlip(0.4) + transform
    )
    val_dataset = WaveDataset(config["data"], slice(32, None), transform=transform)
    return dict(
        module=TrainLabModule(
            model_config(config),
            loss_function=nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 2.0])),
            metrics=metrics(config),
            optimizer_config={
                "optimizer": optim.AdamW,
                "optimizer_kwargs": dict(
                    lr=config["learning_rate"], weight_decay=config["weight_decay"]
                ),
                "scheduler": optim.lr_scheduler.MultiStepLR,
                "scheduler_kwargs": dict(milestones=config["milestones"], gamma=config["gamma"]),
                "monitor": config["monitor"],
            },
        ),
        train_dataloaders=DataLoader(
            train_dataset,
            batch_size=config["batch_size"],
            num_workers=num_workers(config),
            shuffle=True,
        ),
        val_dataloaders=DataLoader(
            val_dataset,
            batch_size=config["batch_size"],
            num_workers=num_workers(config),
            shuffle=False,
        ),
        callbacks=[
            pl.callbacks.EarlyStopping(
                monitor=config["monitor"], min_delta=0.0001, patience=config["patience"], mode="min"
            ),
        ],
    )


def infer_config(config: Dict[str, Any], weights_path: str, output_path: str) -> Dict[str, Any]:
    model = model_config(config)
    if weights_path != "-":
        model.load_state_dict(torch.load(weights_path)["state_dict"])
    return dict(
        module=LabModule(
            model,
            output_transform=lambda y_pred, md: (y_pred.argmax(1).cpu().numpy(), md),
        ),
        predict_dataloaders=DataLoader(
            UnknownWaveDataset(config["data"], transform=transform_config(config)),
            batch_size=config["batch_size"],
            num_workers=num_workers(config),
            shuffle=False,
        ),
        callbacks=[WaveWriter(Path(output_path).expanduser())],
    )
