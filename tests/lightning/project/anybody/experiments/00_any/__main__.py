"""The configuration of whichever case the hyperparameters name."""

from __future__ import annotations

from anybody import cases


def train_config(config):
    return cases.CASES[config["case"]].configuration()
