"""XGBoost's margins.

XGBoost adds one tree after the other to a sample's margin, and goes on from a margin that it is
given in the same way.
"""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np


class Trees:
    """Margins of a booster's trees, one training long."""

    def __init__(self, estimator: Any) -> None:
        self._estimator = estimator
        self._bare: Any = None

    @property
    def rounds(self) -> int:
        """How many rounds predict takes by itself."""
        booster = self._estimator.get_booster()
        best = booster.attr("best_iteration")
        return int(booster.num_boosted_rounds()) if best is None else int(best) + 1

    def margin(self, given: Any, first: int, last: int, base: Any) -> Any:
        """What the rounds from `first` to before `last` add to `base`."""
        more = {} if base is None else {"base_margin": base}
        return self._estimator.predict(
            given, output_margin=True, iteration_range=(first, last), **more
        )

    def predicted(self, method: str, margin: Any) -> Any:
        """What predictions margins come to."""
        if self._bare is None:
            self._bare = _without_trees(self._estimator)
        rows = np.zeros((len(margin), 1), dtype=np.float32)
        return getattr(self._bare, method)(rows, base_margin=margin)


def only_adds(estimator: Any) -> bool:
    """Whether a round leaves the trees before it, and what they count, as they are."""
    if type(estimator).__module__ != "xgboost.sklearn" or estimator.callbacks:
        return False  # methods and callbacks of the user's own may do anything
    config = json.loads(estimator.get_booster().save_config())["learner"]
    boosting = config["gradient_booster"]
    return bool(
        config["generic_param"]["device"] == "cpu"  # elsewhere trees are added up by themselves
        and boosting["name"] == "gbtree"
        and boosting["gbtree_train_param"]["process_type"] == "default"
        and not boosting["specified_updater"]
    )


def _without_trees(estimator: Any) -> Any:
    """The estimator with no trees, for samples of one feature.

    From margins it makes what the estimator itself does, whose samples may be wide.
    """
    from xgboost import Booster

    model = json.loads(bytes(estimator.get_booster()[:1].save_raw("json")))
    learner = model["learner"]
    learner |= {"attributes": {}, "feature_names": [], "feature_types": []}
    learner["learner_model_param"]["num_feature"] = "1"
    trees = learner["gradient_booster"]["model"]
    trees |= {"trees": [], "tree_info": [], "iteration_indptr": [0]}
    trees["gbtree_model_param"]["num_trees"] = "0"
    trees["cats"] = {"enc": [], "feature_segments": [], "sorted_idx": []}
    bare = copy.copy(estimator)
    bare._Booster = Booster({"nthread": estimator.n_jobs or 0})
    bare._Booster.load_model(bytearray(json.dumps(model).encode()))
    return bare
