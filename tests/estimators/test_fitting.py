"""Each way of training gives what fit, or partial_fit, gives by hand."""

from __future__ import annotations

import numpy as np
import pytest
import pytorch_lightning as pl
from fitted import batches, classes, trained, values
from sklearn.cluster import KMeans
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from torch.utils.data import DataLoader as TorchDataLoader
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix

from torch_lab.modules import plots

xgboost = pytest.importorskip("xgboost")


def accuracy():
    return {"accuracy": MulticlassAccuracy(3, average="micro")}


AT_ONCE = {
    "logistic": lambda: LogisticRegression(),
    "forest": lambda: RandomForestClassifier(10, random_state=0),
    "bayes": lambda: GaussianNB(),
}
ROUNDS = {
    "boosting": lambda: GradientBoostingClassifier(n_estimators=6, subsample=0.7, random_state=0),
    "histograms": lambda: HistGradientBoostingClassifier(
        max_iter=6, max_features=0.5, random_state=0
    ),
    "xgboost": lambda: xgboost.XGBClassifier(n_estimators=6, n_jobs=1),
    "xgboost drawing": lambda: xgboost.XGBClassifier(n_estimators=6, subsample=0.5, n_jobs=1),
    "growing forest": lambda: RandomForestClassifier(6, random_state=0, warm_start=True),
}


@pytest.mark.parametrize("name", AT_ONCE)
def test_at_once(tmp_path, name):
    x, y = classes()
    by_hand = AT_ONCE[name]().fit(x, y)
    module = trained(
        tmp_path, AT_ONCE[name](), train_data=(x, y), val_data=(x, y), metrics=accuracy()
    )
    found = module.model.estimator
    assert np.array_equal(found.predict_proba(x), by_hand.predict_proba(x))
    assert module.way == "trained by fit, at once"
    assert len(module.seen) == 1
    assert module.seen[0]["accuracy/validate"] == pytest.approx(by_hand.score(x, y))


@pytest.mark.parametrize("name", ROUNDS)
@pytest.mark.parametrize("max_epochs", [-1, 4])
def test_rounds(tmp_path, name, max_epochs):
    x, y = classes()
    by_hand = ROUNDS[name]().fit(x, y)
    estimator = ROUNDS[name]()
    module = trained(
        tmp_path,
        estimator,
        init={"max_epochs": max_epochs},
        train_data=(x, y),
        val_data=(x, y),
        metrics=accuracy(),
    )
    found = module.model.estimator
    assert np.array_equal(found.predict_proba(x), by_hand.predict_proba(x))
    assert (
        found.get_params() == (by_hand if name.startswith("xgb") else ROUNDS[name]()).get_params()
    )
    assert len(module.seen) == (6 if max_epochs == -1 else 4)
    losses = [each["loss/validate"] for each in module.seen]
    assert losses[-1] < losses[0]


def test_each_of_many_boosting_rounds_is_logged(tmp_path):
    x, y = classes()
    boosting = xgboost.XGBClassifier(n_estimators=130, max_depth=1, n_jobs=1)
    module = trained(tmp_path, boosting, train_data=(x, y), val_data=(x, y))
    assert len(module.seen) == 130
    assert module.way == (
        "trained in 130 rounds, a round an epoch;"
        " trainer.init.max_epochs makes it fewer epochs of several rounds"
    )


def test_many_rounds_of_a_booster_that_weighs_all_trees_anew(tmp_path):
    x, y = classes()
    dart = xgboost.XGBClassifier(n_estimators=102, booster="dart", max_depth=1, n_jobs=1)
    module = trained(tmp_path, dart, train_data=(x, y), val_data=(x, y))
    assert len(module.seen) == 100


def test_many_members_that_are_asked_again_each_time(tmp_path):
    x, y = classes()
    forest = RandomForestClassifier(130, max_depth=1, random_state=0, warm_start=True)
    module = trained(tmp_path, forest, train_data=(x, y), val_data=(x, y))
    assert len(module.seen) == 100
    assert module.way == "trained in 130 rounds, at most 2 an epoch"
    by_hand = RandomForestClassifier(130, max_depth=1, random_state=0).fit(x, y)
    found = module.model.estimator
    assert np.array_equal(found.predict_proba(x), by_hand.predict_proba(x))


# What numpy says of the tensors that torchmetrics hands to matplotlib.
@pytest.mark.filterwarnings("ignore:__array__ implementation")
@pytest.mark.parametrize("stops", [False, True], ids=["at its end", "early"])
def test_plots_of_rounds_pause_and_the_last_is_drawn(tmp_path, monkeypatch, stops):
    epoch, drawn = [0], []

    class Kept:
        def figure(self, name, figure, **_):
            drawn.append((name, epoch[0]))

    class Epoch(pl.Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            epoch[0] = trainer.current_epoch

    monkeypatch.setattr(plots, "record", Kept)
    x, y = classes()
    early = pl.callbacks.EarlyStopping("loss/validate", patience=3, min_delta=10.0)
    trained(
        tmp_path,
        ROUNDS["xgboost"](),
        train_data=(x, y),
        val_data=(x, y),
        metrics={"confusion": MulticlassConfusionMatrix(3)},
        callbacks=[Epoch(), early] if stops else [Epoch()],
    )
    last = 3 if stops else 5
    assert sorted(drawn) == [
        (f"confusion/{stage}", epoch) for stage in ("train", "validate") for epoch in (0, last)
    ]


def test_rounds_of_regressors(tmp_path):
    x, y = values()
    for number, make in enumerate(
        (
            lambda: GradientBoostingRegressor(n_estimators=4, random_state=0),
            lambda: xgboost.XGBRegressor(n_estimators=4, n_jobs=1),
        )
    ):
        module = trained(tmp_path / str(number), make(), train_data=(x, y), val_data=(x, y))
        expected = make().fit(x, y).predict(x)
        assert np.array_equal(module.model.estimator.predict(x), expected)
        loss = float(np.mean((expected.astype(np.float32) - y) ** 2))
        assert module.seen[-1]["loss/validate"] == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: SGDClassifier(loss="log_loss", random_state=0),
        lambda: MLPClassifier(5, random_state=0),
        lambda: GaussianNB(),
    ],
)
def test_passes(tmp_path, make):
    x, y = classes()
    by_hand = make()
    for _ in range(3):
        for start in (0, 50, 100):
            part = slice(start, start + 50)
            by_hand.partial_fit(x[part], y[part], classes=np.arange(3))
    module = trained(
        tmp_path,
        make(),
        init={"max_epochs": 3},
        train_dataloaders=batches(x, y, 50),
        val_data=(x, y),
        metrics=accuracy(),
    )
    assert np.array_equal(module.model.estimator.predict_proba(x), by_hand.predict_proba(x))
    assert len(module.seen) == 3
    assert module.way == "trained by partial_fit, a batch a step"


def test_passes_learn_the_classes_from_the_data(tmp_path):
    x, y = classes()
    order = np.argsort(y)  # the first batch has one class alone
    loader = batches(x[order], y[order], 20)
    made = SGDClassifier(loss="log_loss", random_state=0)
    module = trained(tmp_path, made, init={"max_epochs": 1}, train_dataloaders=loader)
    assert module.model.estimator.classes_.tolist() == [0, 1, 2]


def test_a_loader_is_collected_in_its_order(tmp_path):
    x, y = classes()
    dataset = [(row.reshape(2, 4), {"y": int(label)}) for row, label in zip(x, y, strict=True)]
    loader = TorchDataLoader(dataset, batch_size=32)
    by_hand = LogisticRegression().fit(x, y)
    module = trained(
        tmp_path, LogisticRegression(), train_dataloaders=loader, val_dataloaders=loader
    )
    assert np.array_equal(module.model.estimator.coef_, by_hand.coef_)
    assert module.last["loss/train"] == pytest.approx(module.last["loss/validate"])


class Nearest:
    """A user's own: fit and predict, and nothing else."""

    def fit(self, x, y):
        assert x.ndim == 3  # as the batches are
        self.means = {int(c): x[y == c].mean(axis=0) for c in np.unique(y)}

    def predict(self, x):
        far = {c: np.abs(x - mean).sum(axis=(1, 2)) for c, mean in self.means.items()}
        return np.array([min(far, key=lambda c: far[c][i]) for i in range(len(x))])


def test_a_users_own_class_gets_batches_as_they_are(tmp_path):
    x, y = classes()
    x = x.reshape(len(x), 2, 4)
    by_hand = Nearest()
    by_hand.fit(x, y)
    module = trained(tmp_path, Nearest(), train_data=(x, y), val_data=(x, y), metrics=accuracy())
    share = float(np.mean(by_hand.predict(x) == y))
    assert module.seen[0]["accuracy/validate"] == pytest.approx(share)
    assert module.seen[0]["loss/validate"] == pytest.approx(1 - share)


def test_without_targets(tmp_path):
    x, _ = classes()
    by_hand = KMeans(3, n_init=1, random_state=0).fit(x)
    made = KMeans(3, n_init=1, random_state=0)
    module = trained(tmp_path, made, train_data=(x, None), val_data=(x, None))
    assert np.array_equal(module.model.estimator.labels_, by_hand.labels_)
    assert module.seen[0]["loss/validate"] == pytest.approx(by_hand.inertia_ / len(x), rel=1e-4)


def test_weights_of_samples(tmp_path):
    x, y = classes()
    weight = np.linspace(0.1, 2, len(x))
    by_hand = LogisticRegression().fit(x, y, sample_weight=weight)
    module = trained(
        tmp_path, LogisticRegression(), train_data=(x, {"y": y, "sample_weight": weight})
    )
    assert np.array_equal(module.model.estimator.coef_, by_hand.coef_)


def test_xgboost_stops_by_itself(tmp_path):
    x, y = classes()
    options = {"n_estimators": 40, "early_stopping_rounds": 2, "learning_rate": 1.0, "n_jobs": 1}
    by_hand = xgboost.XGBClassifier(**options).fit(
        x[:80], y[:80], eval_set=[(x[80:], y[80:])], verbose=False
    )
    module = trained(
        tmp_path,
        xgboost.XGBClassifier(**options),
        train_data=(x[:80], y[:80]),
        val_data=(x[80:], y[80:]),
    )
    found = module.model.estimator
    assert found.best_iteration == by_hand.best_iteration < 37
    assert np.array_equal(found.predict_proba(x), by_hand.predict_proba(x))
