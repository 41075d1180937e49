"""Estimators as bytes: what comes back, and what a strange file can't do."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
import torch
import xgboost
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC, SVR
from sklearn.tree import DecisionTreeClassifier

from torch_lab.errors import (
    CheckpointDamaged,
    CheckpointMismatch,
    CheckpointUnsafe,
    ConfigurationError,
    SaveFailed,
)
from torch_lab.estimators import formats
from torch_lab.estimators.formats import boosters, envelope, packages, tree_check, ubj
from torch_lab.estimators.formats.envelope import Envelope
from torch_lab.estimators.formats.shapes import Unsound

X = np.random.default_rng(0).random((60, 4), dtype=np.float32)
Y = np.arange(60) % 3


class Centroids(ClassifierMixin, BaseEstimator):
    """A user's own."""

    def __init__(self, power: float = 2.0) -> None:
        self.power = power

    def fit(self, x: Any, y: Any) -> Centroids:
        self.classes_ = np.unique(y)
        self.means_ = np.stack([x[y == each].mean(0) for each in self.classes_])
        return self

    def predict(self, x: Any) -> Any:
        apart = np.abs(x[:, None] - self.means_[None]) ** self.power
        return self.classes_[apart.sum(-1).argmin(1)]


class Bare:
    """A user's own that knows nothing of scikit-learn."""

    def fit(self, x: Any, y: Any) -> Bare:
        self.common = int(np.bincount(y).argmax())
        return self

    def predict(self, x: Any) -> Any:
        return np.full(len(x), self.common)


def touch(path: str) -> None:
    """What a payload would do."""
    Path(path).touch()


class Payload:
    """Touches a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return touch, (str(self.path),)


def quiet(line: str) -> None:
    raise AssertionError(line)


def there_and_back(estimator: Any, x: Any = X, y: Any = Y, **given: Any) -> Any:
    unfitted = clone(estimator)
    return formats.load(formats.dump(estimator.fit(x, y)), into=unfitted, say=quiet, **given)


SAFE = {
    "linear": LogisticRegression(),
    "dummy": DummyClassifier(),
    "passes": SGDClassifier(loss="log_loss"),
    "forest": RandomForestClassifier(3),
    "boosting": GradientBoostingClassifier(n_estimators=2),
    "histograms": HistGradientBoostingClassifier(max_iter=2, min_samples_leaf=5),
    "categories": HistGradientBoostingClassifier(max_iter=2, categorical_features=[0]),
    "neighbors": KNeighborsClassifier(algorithm="kd_tree"),
    "vectors": SVC(),
    "search": GridSearchCV(
        DecisionTreeClassifier(), {"max_depth": [1, 2]}, cv=2, scoring="f1_micro"
    ),
    "votes": VotingClassifier([("a", LogisticRegression()), ("b", DecisionTreeClassifier())]),
    "functions": make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()),
    "xgboost": xgboost.XGBClassifier(n_estimators=2, n_jobs=1),
    "xgboost exact": xgboost.XGBClassifier(
        n_estimators=2, tree_method="exact", gamma=0.5, n_jobs=1
    ),
    "xgboost dart": xgboost.XGBClassifier(n_estimators=2, booster="dart", n_jobs=1),
    "xgboost inside": make_pipeline(
        StandardScaler(), xgboost.XGBClassifier(n_estimators=2, n_jobs=1)
    ),
}


@pytest.mark.parametrize("kind", SAFE)
def test_predictions_are_the_same_without_trust(kind):
    estimator = SAFE[kind]
    x = np.concatenate([Y[:, None], X], 1) if kind == "categories" else X
    loaded = there_and_back(estimator, x)
    assert formats.is_safe(estimator)
    assert np.array_equal(loaded.predict(x), estimator.predict(x))
    if hasattr(estimator, "predict_proba"):
        assert np.array_equal(loaded.predict_proba(x), estimator.predict_proba(x))
    assert repr(loaded) == repr(clone(estimator))


@pytest.mark.parametrize(
    "estimator",
    [
        xgboost.XGBRegressor(n_estimators=2, n_jobs=1),
        xgboost.XGBRegressor(n_estimators=2, multi_strategy="multi_output_tree", n_jobs=1),
        xgboost.XGBRegressor(n_estimators=2, booster="gblinear", n_jobs=1),
        SVR(),
    ],
    ids=["one", "vectors", "linear", "svr"],
)
def test_regressors_too(estimator):
    y = np.stack([Y, -Y], 1) if getattr(estimator, "multi_strategy", None) else Y
    loaded = there_and_back(estimator, X, y)
    assert np.array_equal(loaded.predict(X), estimator.predict(X))


@pytest.mark.parametrize("kind", ["linear", "xgboost", "search"])
def test_unfitted_ones_are_saved_too(kind):
    unfitted = clone(SAFE[kind])
    loaded = formats.load(formats.dump(unfitted), into=clone(unfitted), say=quiet)
    assert "_Booster" not in vars(loaded)
    assert not [name for name in vars(loaded) if name.endswith("_") and not name.startswith("_")]


def test_saving_leaves_the_estimator_as_it_is():
    estimator = clone(SAFE["xgboost inside"]).fit(X, Y)
    booster = estimator[-1].get_booster()
    formats.dump(estimator)
    assert estimator[-1].get_booster() is booster


def test_what_was_learned_is_the_files_and_hyperparameters_are_the_codes():
    said: list[str] = []
    state = formats.dump(SVC(kernel="linear", C=2.0, verbose=False).fit(X, Y))
    loaded = formats.load(state, into=SVC(kernel="rbf", C=5.0), say=said.append)
    assert (loaded.kernel, loaded.C) == ("rbf", 5.0)
    assert said == [
        "hyperparameter C is 5.0 (float) here, and was 2.0 (float) where it was trained",
        "hyperparameter kernel is 'rbf' (str) here, and was 'linear' (str) where it was trained",
    ]


def test_those_of_parts_too():
    said: list[str] = []
    state = formats.dump(clone(SAFE["xgboost inside"]).fit(X, Y))
    other = make_pipeline(StandardScaler(), xgboost.XGBClassifier(n_estimators=9, max_depth=3))
    loaded = formats.load(state, into=other, say=said.append)
    assert loaded[-1].max_depth == 3
    assert loaded[-1].objective == "multi:softprob"
    assert len(said) == 1
    assert "xgbclassifier__max_depth is 3" in said[0]


def test_another_version_is_told(monkeypatch):
    packed = envelope.unpack(formats.dump(clone(SAFE["linear"]).fit(X, Y)))
    old = Envelope(packed.format, packed.class_name, packed.payload, {"scikit-learn": "1.2.0"})
    said: list[str] = []
    formats.load(old.pack(), into=LogisticRegression(), say=said.append)
    assert said[0].startswith("the estimator was saved with scikit-learn 1.2.0, and this is ")
    assert said[0].endswith("what it predicts may differ")


@pytest.mark.parametrize(
    ("into", "words"),
    [
        (SGDClassifier(), "the checkpoint holds a LogisticRegression, and the code builds a SGDC"),
        (xgboost.XGBClassifier(), "and the code builds a XGBClassifier"),
    ],
)
def test_another_class_is_refused(into, words):
    with pytest.raises(CheckpointMismatch, match=words) as error:
        formats.load(formats.dump(LogisticRegression().fit(X, Y)), into=into)
    hint = "It is of another estimator: name another checkpoint, or none to begin anew."
    assert error.value.hint == hint


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (
            make_pipeline(StandardScaler(), SVC()),
            "the checkpoint's estimator has a LogisticRegression as logi.*'s nothing",
        ),
        (make_pipeline(LogisticRegression()), "has a StandardScaler as standardscaler, and the"),
    ],
)
def test_other_parts_are_refused(other, words):
    state = formats.dump(make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y))
    with pytest.raises(CheckpointMismatch, match=words):
        formats.load(state, into=other)


# What needs trust


@pytest.mark.parametrize(
    ("estimator", "stranger"),
    [(Centroids(), "test_formats.Centroids"), (Bare(), "test_formats.Bare")],
    ids=["skops", "pickle"],
)
def test_the_users_own_need_trust(estimator, stranger):
    state = formats.dump(estimator.fit(X, Y))
    assert formats.strangers(state) == [stranger]
    assert not formats.is_safe(estimator)
    with pytest.raises(CheckpointUnsafe) as error:
        formats.load(state, into=type(estimator)())
    words = "the checkpoint's estimator is refused: loading it could run code (it "
    assert error.value.message.startswith(words)
    assert error.value.hint == "If you know where it comes from, load it with --trust."
    loaded = formats.load(state, into=type(estimator)(), trust=True)
    assert np.array_equal(loaded.predict(X), estimator.predict(X))


def test_what_has_no_form_at_all_is_told():
    odd = Bare()
    odd.common = lambda: 0
    with pytest.raises(SaveFailed, match="Bare can't be saved") as error:
        formats.dump(odd)
    assert error.value.hint == (
        "Use functions and classes of a module in it, no lambdas and nothing local."
    )


def test_a_torn_pickle_is_damage_even_with_trust():
    with pytest.raises(CheckpointDamaged, match="the pickled estimator can't be read"):
        formats.load(packed("pickle", b"no pickle", Bare()), into=Bare(), trust=True)


def test_a_lambda_inside_has_no_form_either():
    with pytest.raises(SaveFailed, match="FunctionTransformer can't be saved"):
        formats.dump(FunctionTransformer(lambda x: x))


# Strange files: each would leave a mark if its code ran


def packed(kind: str, payload: bytes, estimator: Any, **changes: Any) -> torch.Tensor:
    """A file of a stranger's, which says of itself what it likes."""
    name = f"{type(estimator).__module__}:{type(estimator).__qualname__}"
    made = Envelope(kind, name, payload, **{"strangers": [], **changes})
    return made.pack()


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("estimator", [LogisticRegression(), xgboost.XGBClassifier(), Bare()])
def test_a_pickle_is_never_loaded_without_trust(tmp_path, monkeypatch, estimator, forced):
    if forced:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    state = packed("pickle", pickle.dumps(Payload(tmp_path / "mark")), estimator)
    with pytest.raises(CheckpointUnsafe, match="it holds a pickled"):
        formats.load(state, into=estimator)
    assert not (tmp_path / "mark").exists()
    with pytest.raises(CheckpointMismatch):  # with trust, whatever it is
        formats.load(state, into=estimator, trust=True)
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize("kind", ["skops", "ubj"])
def test_a_pickle_that_says_it_is_something_else(tmp_path, kind):
    into = xgboost.XGBClassifier() if kind == "ubj" else LogisticRegression()
    state = packed(kind, pickle.dumps(Payload(tmp_path / "mark")), into)
    with pytest.raises(CheckpointDamaged):
        formats.load(state, into=into)
    assert not (tmp_path / "mark").exists()


def test_skops_that_says_it_is_ubj_and_the_reverse():
    state = packed("ubj", skops.io.dumps(LogisticRegression()), LogisticRegression())
    with pytest.raises(CheckpointMismatch):
        formats.load(state, into=LogisticRegression())
    raw = boosters.to_bytes(clone(SAFE["xgboost"]).fit(X, Y).get_booster())
    with pytest.raises(CheckpointDamaged):
        formats.load(packed("skops", raw, xgboost.XGBClassifier()), into=xgboost.XGBClassifier())


HOSTILE = {
    "a function": lambda mark: partial(os.system, f"touch {mark}"),
    "a method": lambda mark: Centroids().predict,
    "another class": lambda mark: Centroids(),
    "a builtin": lambda mark: eval,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_skops_with_strange_types_is_refused(tmp_path, kind):
    estimator = LogisticRegression().fit(X, Y)
    estimator.predict = HOSTILE[kind](tmp_path / "mark")
    with pytest.raises(CheckpointUnsafe, match="could run code"):
        formats.load(formats.dump(estimator), into=LogisticRegression())
    assert not (tmp_path / "mark").exists()


def forged(estimator: Any, change: Any) -> torch.Tensor:
    """A skops file with another schema."""
    old = zipfile.ZipFile(io.BytesIO(envelope.unpack(formats.dump(estimator)).payload))
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "schema.json":
                data = json.dumps(change(json.loads(data))).encode()
            new.writestr(name, data)
    return packed("skops", made.getvalue(), estimator)


def changed(schema: Any, old: str, **values: Any) -> Any:
    """The schema with values of the nodes of one class changed."""
    if isinstance(schema, dict):
        found = {key: changed(each, old, **values) for key, each in schema.items()}
        return {**found, **values} if found.get("__class__") == old else found
    return [changed(each, old, **values) for each in schema] if isinstance(schema, list) else schema


@pytest.mark.parametrize(
    "values",
    [
        {"__module__": "os", "__class__": "system"},
        {"__module__": "builtins", "__class__": "exec", "__loader__": "ConstructorFromReduceNode"},
        {"__module__": "test_formats", "__class__": "touch", "__loader__": "FunctionNode"},
        {"__module__": "never_imported_module", "__class__": "Anything"},
    ],
)
def test_a_forged_schema_is_refused(values):
    state = forged(LogisticRegression().fit(X, Y), lambda s: changed(s, "ndarray", **values))
    with pytest.raises((CheckpointUnsafe, CheckpointDamaged)):
        formats.load(state, into=LogisticRegression())


@pytest.mark.parametrize(
    "change",
    [
        lambda schema: {**schema, "protocol": -1},
        lambda schema: {**schema, "__loader__": "CachedNode"},
        lambda schema: {**schema, "__class__": "SVC", "__module__": "sklearn.svm._classes"},
        lambda schema: [],
        lambda schema: {**schema, "content": {"__loader__": "OperatorFuncNode"}},
    ],
)
def test_a_schema_without_sense_is_damage(change):
    with pytest.raises(CheckpointDamaged, match="the checkpoint's estimator can't be read"):
        formats.load(forged(LogisticRegression(), change), into=LogisticRegression())


def test_a_file_that_unpacks_to_more_than_it_is():
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", "0" * 1_000_000)
    state = packed("skops", bomb.getvalue(), LogisticRegression())
    with pytest.raises(CheckpointDamaged, match="not as torch-lab saves it"):
        formats.load(state, into=LogisticRegression())


@pytest.mark.parametrize(
    "name", ["os:system", "builtins:exec", "never_imported:Class", "", "a:b:c", "x" * 9999]
)
def test_the_headers_class_is_never_imported(name):
    state = Envelope("skops", name, b"").pack()
    with pytest.raises(CheckpointMismatch, match="the code builds a LogisticRegression"):
        formats.load(state, into=LogisticRegression())


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (torch.zeros(3), "expected a row of bytes"),
        (torch.zeros(3, dtype=torch.uint8), "doesn't begin as one"),
        (envelope.MAGIC, "its header has no end"),
        (envelope.MAGIC + b"{\n", "its header is no JSON"),
        (envelope.MAGIC + b"[" * 100_000 + b"\n", "its header is no JSON"),
        (envelope.MAGIC + b"[]\n", "names no format"),
        (envelope.MAGIC + b'{"format": "pickle2"}\n', "names no format"),
        (envelope.MAGIC + b'{"format": "ubj"}\n', "lacks what it must hold"),
        (envelope.MAGIC + b'{"format": "ubj", "class": "a:b", "params": 1}\n', "lacks what"),
        (envelope.MAGIC + b'{"format": "ubj", "class": "a:b", "strangers": 1}\n', "lacks what"),
    ],
)
def test_what_is_no_estimator_at_all(data, words):
    state = (
        data
        if isinstance(data, torch.Tensor)
        else torch.frombuffer(bytearray(data), dtype=torch.uint8)
    )
    with pytest.raises(CheckpointDamaged) as error:
        formats.load(state, into=LogisticRegression(), trust=True)
    assert "the checkpoint holds no estimator that can be read: " in error.value.message
    assert words in error.value.message


# Forged numbers, which compiled code would follow out of its memory


def with_nodes(estimator: Any, change: Any) -> torch.Tensor:
    """A forest whose first tree has other nodes."""
    tree = estimator.estimators_[0].tree_
    state = tree.__getstate__()
    change(state)
    tree.__setstate__(state)
    return formats.dump(estimator)


TREES = {
    "a child out of reach": lambda state: state["nodes"]["left_child"].__setitem__(0, 10**6),
    "a negative child": lambda state: state["nodes"]["right_child"].__setitem__(0, -7),
    "a circle": lambda state: state["nodes"]["left_child"].__setitem__(0, 0),
    "two parents": lambda state: state["nodes"]["left_child"].__setitem__(
        0, state["nodes"]["right_child"][0]
    ),
    "a feature out of reach": lambda state: state["nodes"]["feature"].__setitem__(0, 4),
    "less depth than it has": lambda state: state.update(max_depth=0),
}


@pytest.mark.parametrize("kind", TREES)
def test_forged_trees_are_refused(kind):
    estimator = RandomForestClassifier(2, random_state=0).fit(X, Y)
    with pytest.raises(CheckpointDamaged, match="the checkpoint's estimator is broken"):
        formats.load(with_nodes(estimator, TREES[kind]), into=RandomForestClassifier(2))


def test_a_tree_that_has_more_nodes_than_it_says():
    estimator = DecisionTreeClassifier().fit(X, Y)
    state = forged(estimator, _with_one_node)
    with pytest.raises(CheckpointDamaged, match="a tree without its nodes"):
        formats.load(state, into=DecisionTreeClassifier())


def _with_one_node(schema: Any) -> Any:
    count = schema["content"]["content"]["tree_"]["content"]["content"]["node_count"]
    count.update(content="1", __id__=-1)
    return schema


def forge_boosting(estimator: Any) -> None:
    estimator.estimators_ = np.concatenate([estimator.estimators_] * 2, 1)


def forge_features(estimator: Any) -> None:
    estimator.n_features_in_ = 2


FORGED = {
    "more stages than classes": (GradientBoostingClassifier(n_estimators=1), forge_boosting),
    "fewer features": (GradientBoostingClassifier(n_estimators=1), forge_features),
    "a forest of fewer": (RandomForestClassifier(2), forge_features),
    "a tree of fewer": (DecisionTreeClassifier(), forge_features),
    "histograms of fewer": (HistGradientBoostingClassifier(max_iter=1), forge_features),
    "a histogram's nodes": (
        HistGradientBoostingClassifier(max_iter=1, min_samples_leaf=5),
        lambda made: made._predictors[0][0].nodes["left"].__setitem__(0, 10**6),
    ),
    "a histogram's feature": (
        HistGradientBoostingClassifier(max_iter=1, min_samples_leaf=5),
        lambda made: made._predictors[0][0].nodes["feature_idx"].__setitem__(0, 10**6),
    ),
    "a histogram's categories": (
        HistGradientBoostingClassifier(max_iter=1, min_samples_leaf=5),
        lambda made: made._predictors[0][0].nodes["is_categorical"].__setitem__(0, 1),
    ),
    "support vectors": (SVC(), lambda made: made._n_support.__imul__(100)),
    "coefficients": (SVR(), lambda made: setattr(made, "_dual_coef_", np.zeros((1, 1)))),
    "a method": (
        DecisionTreeClassifier(),
        lambda made: setattr(made, "_validate_X_predict", np.positive),
    ),
    "a boosting within": (
        GradientBoostingClassifier(n_estimators=1, init=GradientBoostingClassifier(n_estimators=1)),
        lambda made: forge_boosting(made.init_),
    ),
    "a tree elsewhere": (
        LogisticRegression(),
        lambda made: setattr(made, "spare", [DecisionTreeClassifier().fit(X, Y).tree_]),
    ),
}


@pytest.mark.parametrize("kind", FORGED)
def test_forged_estimators_are_refused(kind):
    unfitted, forge = FORGED[kind]
    estimator = clone(unfitted).fit(X, Y)
    tree_check.require_sound(estimator)
    forge(estimator)
    with pytest.raises(CheckpointDamaged, match="the checkpoint's estimator is broken"):
        formats.load(formats.dump(estimator), into=clone(unfitted))


@pytest.mark.parametrize("metric", ["pyfunc", "nothing", ["euclidean"]])
def test_a_search_tree_of_an_unknown_metric(metric):
    words = "the checkpoint's estimator has a KDTree of an unknown metric"
    estimator = KNeighborsClassifier(algorithm="kd_tree").fit(X, Y)
    estimator.effective_metric_ = metric
    with pytest.raises(CheckpointDamaged, match=words):
        formats.load(formats.dump(estimator), into=KNeighborsClassifier(algorithm="kd_tree"))


@pytest.mark.parametrize("part", ["nothing", 5, "booster"])
def test_a_part_that_nobody_can_make_again(part):
    estimator = LogisticRegression().fit(X, Y)
    estimator.spare = {"__torch_lab__": part, "ubj": "text"}
    words = "the checkpoint's estimator has a part that can't be made again"
    with pytest.raises(CheckpointDamaged, match=words):
        formats.load(formats.dump(estimator), into=LogisticRegression())


def booster_of(estimator: Any) -> bytes:
    return boosters.to_bytes(clone(estimator).fit(X, Y).get_booster())


def replaced(data: bytes, name: bytes, at: int, value: bytes) -> bytes:
    """The UBJ with some bytes of the first array of a name changed."""
    start = data.index(name) + len(name) + len(b"[$l#L") + 8 + at
    return data[:start] + value + data[start + len(value) :]


FAR = (10**6).to_bytes(4, "big")
UBJ = {
    "a child out of reach": (b"left_children", 0, FAR),
    "a circle": (b"left_children", 0, bytes(4)),
    "a parent out of reach": (b"parents", 4, FAR),
    "a feature out of reach": (b"split_indices", 0, FAR),
    "a group out of reach": (b"tree_info", 0, FAR),
    "rounds out of reach": (b"iteration_indptr", 4, FAR),
}


@pytest.mark.parametrize("kind", UBJ)
def test_forged_boosters_are_refused(kind):
    good = booster_of(SAFE["xgboost"])
    bad = replaced(good, *UBJ[kind])
    assert good != bad
    assert len(good) == len(bad)
    with pytest.raises(CheckpointDamaged, match="the checkpoint's booster is broken"):
        formats.load(packed("ubj", bad, xgboost.XGBClassifier()), into=xgboost.XGBClassifier())


def test_so_is_one_inside_a_pipeline():
    estimator = clone(SAFE["xgboost inside"]).fit(X, Y)
    payload = envelope.unpack(formats.dump(estimator)).payload
    with zipfile.ZipFile(io.BytesIO(payload)) as archive:
        good = next(archive.read(n) for n in archive.namelist() if n.endswith(".bin"))
    bad = payload.replace(good, replaced(good, *UBJ["a circle"]))
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(payload)) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, replaced(good, *UBJ["a circle"]) if data == good else data)
    assert bad != payload
    with pytest.raises(CheckpointDamaged, match="the checkpoint's booster is broken"):
        formats.load(packed("skops", made.getvalue(), estimator), into=clone(estimator))


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"{}x",
        b"Z",
        b"{" + b"L" + (2**62).to_bytes(8, "big"),
        b"{L" + (1).to_bytes(8, "big") + b"a[$l#L" + (2**62).to_bytes(8, "big"),
        b"{L" + (1).to_bytes(8, "big") + b"a[#L" + (2**62).to_bytes(8, "big"),
        b"{L" + (1).to_bytes(8, "big") + b"a[$l#l\xff\xff\xff\xff",
        b"{L" + (1).to_bytes(8, "big") + b"aq",
        b"{L" + (1).to_bytes(8, "big") + b"\xff[]}",
        (b"{L" + (1).to_bytes(8, "big") + b"a") * 200,
        b"{L" + (1).to_bytes(8, "big") + b"aZL" + (1).to_bytes(8, "big") + b"aZ}",
    ],
)
def test_ubj_that_lies_about_its_lengths(data):
    with pytest.raises(Unsound):
        ubj.read(data)


def test_a_booster_that_xgboost_itself_refuses():
    good = booster_of(SAFE["xgboost"])
    bad = good.replace(b"multi:softprob", b"multi:hardprob")
    with pytest.raises(CheckpointDamaged, match="the checkpoint's booster can't be read: "):
        formats.load(packed("ubj", bad, xgboost.XGBClassifier()), into=xgboost.XGBClassifier())


@pytest.mark.parametrize("end", [1, 100, -1])
def test_torn_boosters(end):
    torn = booster_of(SAFE["xgboost"])[:end]
    with pytest.raises(CheckpointDamaged):
        formats.load(packed("ubj", torn, xgboost.XGBClassifier()), into=xgboost.XGBClassifier())


def test_hostile_words_beside_a_booster_change_nothing():
    estimator = clone(SAFE["xgboost"]).fit(X, Y)
    state = packed(
        "ubj",
        boosters.to_bytes(estimator.get_booster()),
        estimator,
        params={"objective": "os.system", "callbacks": ["os:system"], "max_depth": 99},
        learned={"n_classes_": "3", "evals_result_": [], "predict": "os:system"},
    )
    into = clone(estimator)
    loaded = formats.load(state, into=into, say=lambda _: None)
    assert loaded.get_params() | {"objective": None} == into.get_params() | {"objective": None}
    assert loaded.objective == "multi:softprob"
    assert not hasattr(loaded, "n_classes_")
    assert not hasattr(loaded, "evals_result_")


# Packages that aren't there


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("skops.io", "pip install 'torch-lab[sklearn]'"),
        ("xgboost", "pip install 'torch-lab[xgboost]'"),
    ],
)
def test_an_absent_package_comes_with_its_install_line(monkeypatch, module, words):
    for name in [module, module.partition(".")[0]]:
        monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(ConfigurationError, match="this checkpoint needs") as error:
        packages.needed(module, "this checkpoint")
    assert words in str(error.value)
