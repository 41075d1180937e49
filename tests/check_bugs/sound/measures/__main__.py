"""Sizes of things, guessed from arrays by the neighbors that a search finds the number of."""

import numpy as np
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsRegressor
from torchmetrics import MeanAbsoluteError


def measured(n, seed):
    drawn = np.random.default_rng(seed)
    x = drawn.normal(size=(n, 5))
    y = x[:, 0] * 2 + x[:, 1] ** 2
    return x, y


def train_config(config):
    neighbors = {"n_neighbors": config["neighbors"]}
    return {
        "estimator": GridSearchCV(KNeighborsRegressor(), neighbors, cv=config["folds"]),
        "metrics": {"distance": MeanAbsoluteError()},
        "train_data": measured(400, 0),
        "val_data": measured(50, 1),
        "test_data": measured(50, 2),
    }


def infer_config(config):
    return {
        "estimator": GridSearchCV(KNeighborsRegressor(), {"n_neighbors": config["neighbors"]}),
        "predict_data": measured(10, 3)[0],
    }
