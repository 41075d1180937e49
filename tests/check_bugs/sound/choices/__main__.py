"""One of several models by its name, and keys that only a part of the code reads."""

import torch
from torch import nn
from torch.utils.data import DataLoader

from torch_lab.modules import LabModule, TrainLabModule


def mlp(i, o, h=16):
    return nn.Sequential(nn.Linear(i, h), nn.ReLU(), nn.Linear(h, o))


def train_config(config):
    x = torch.randn(60, 8)
    if config["augment"]:
        x = x + config["noise"] * torch.randn_like(x)
    net = mlp(8, 1, **config[config["model"]])
    optimizer = {"optimizer": torch.optim.Adam, "optimizer_kwargs": {"lr": config["lr"]}}
    if config["scheduler"] is not None:
        optimizer |= {
            "scheduler": config["scheduler"],
            "scheduler_kwargs": {"gamma": config["scheduler_gamma"]},
        }
    data = [(a, {"y": a.sum().view(1)}) for a in x]
    return {
        "module": TrainLabModule(net, nn.MSELoss(), optimizer),
        "train_dataloaders": DataLoader(data, 10, shuffle=True),
    }


def infer_config(config, target):
    print(config["export"]["opset"], config["export"]["names"])
    return {
        "module": LabModule(mlp(8, 1, **config[config["model"]])),
        "predict_dataloaders": DataLoader([(torch.randn(8), {})], 1),
    }
