"""XGBoost: its own `fit`, which waits after the rounds of each epoch.

`fit` runs in a thread of its own and is called once, so that all of its options mean what they
mean by hand. A callback of XGBoost's hands the booster over after an epoch's last round.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from torch_lab.errors import ConfigurationError
from torch_lab.estimators import arrays
from torch_lab.estimators.fitting.at_once import fit
from torch_lab.estimators.fitting.rounds import Schedule
from torch_lab.estimators.margins import Margins
from torch_lab.estimators.model import EstimatorModel
from torch_lab.utils.text import plural

# Parameters with which rounds draw at random: the generator is nowhere in the model.
_DRAWING = (
    *("subsample", "colsample_bytree", "colsample_bylevel", "colsample_bynode"),
    *("rate_drop", "skip_drop"),
)


def is_booster(estimator: Any) -> bool:
    """Whether it is one of XGBoost's classes that boosts in rounds."""
    if "xgboost" not in sys.modules:
        return False
    from xgboost import XGBModel

    return isinstance(estimator, XGBModel) and estimator.get_num_boosting_rounds() > 1


class Boosting:
    """Rounds of XGBoost, which go on where they were cut.

    Rounds that draw at random can't go on from a model: those before the cut are boosted again,
    without being looked at, and come out the same: after those of another run, if it began with
    its estimator.
    """

    interruptible = False

    def __init__(
        self,
        model: EstimatorModel,
        max_epochs: int | None,
        validation: tuple[Any, Mapping[str, Any]] | None,
        say: Callable[[str], None],
    ) -> None:
        self._model = model
        self._validation = validation
        patience = model.estimator.get_params().get("early_stopping_rounds")
        if patience and validation is None:
            raise ConfigurationError(
                f"early_stopping_rounds={patience} looks at validation data, and there are none",
                hint="Give val_data or val_dataloaders, or leave early_stopping_rounds out.",
            )
        self._say = say
        rounds, adds_up = model.estimator.get_num_boosting_rounds(), _can_be_cut(model.estimator)
        self._schedule = Schedule(rounds, max_epochs, adds_up=adds_up)
        self._fit: _Fit | None = None
        self.epochs = self._schedule.epochs
        self.line = self._schedule.line

    def step(self, x: Any, md: Mapping[str, Any], epoch: int) -> bool:
        """Boost to what the epoch ends with."""
        done = _rounds(self._model.estimator)
        until = self._schedule.until(epoch, done)
        if self._fit is None:
            self._fit = self._begun(x, md, done)
            self._model.margins = Margins()
        planned = self._schedule.base + self._schedule.rounds
        return self._fit.go_on(until) and _rounds(self._model.estimator) < planned

    def _begun(self, x: Any, md: Mapping[str, Any], done: int) -> _Fit:
        estimator, base = self._model.estimator, self._schedule.base
        options: dict[str, Any] = {}
        if estimator.get_params().get("early_stopping_rounds") and self._validation is not None:
            held, known = self._validation
            y = arrays.targets_for(known["y"])
            options = {"eval_set": [(arrays.given_to(estimator, held), y)], "verbose": False}
            if known.get("sample_weight") is not None:
                options["sample_weight_eval_set"] = [arrays.targets_for(known["sample_weight"])]
        own, again = done - base, False
        if own and _draws(estimator):
            again = not base or _can_be_cut(estimator)
            self._say(_about_draws(own, again))
        if again and base:
            options["xgb_model"] = estimator.get_booster()[:base]
        elif done and not again:
            options["xgb_model"] = estimator.get_booster()
        rounds = self._schedule.rounds - (0 if again else own)
        return _Fit(estimator, rounds, lambda: fit(estimator, x, md, **options))

    def close(self) -> None:
        """End the thread, if one is waiting."""
        self._model.margins = None
        if self._fit is not None:
            self._fit.close()


def _rounds(estimator: Any) -> int:
    return (
        int(estimator.get_booster().num_boosted_rounds()) if hasattr(estimator, "_Booster") else 0
    )


def _draws(estimator: Any) -> bool:
    """Whether a round depends on more than the model before it."""
    params = _params(estimator)
    drawn = any(params.get(name) not in (None, 0, 1) for name in _DRAWING)
    stateful = params.get("early_stopping_rounds") or params.get("callbacks")
    return bool(drawn or stateful or params.get("booster") == "dart")


def _can_be_cut(estimator: Any) -> bool:
    """Whether its first rounds are what they were before more were added: dart weighs all anew."""
    return _params(estimator).get("booster") in (None, "gbtree")


def _params(estimator: Any) -> dict[str, Any]:
    return {**estimator.get_params(), **(estimator.get_params().get("kwargs") or {})}


def _about_draws(own: int, again: bool) -> str:
    if again:
        return f"its rounds draw at random: {plural(own, 'round')} so far, boosted again"
    return (
        "its rounds depend on more than those before, and it began with another run's, which can't"
        " be had back: it goes on, but not exactly"
    )


class _Fit:
    """A call of `fit` that can be left waiting between two rounds."""

    def __init__(self, estimator: Any, rounds: int, call: Callable[[], None]) -> None:
        self._estimator = estimator
        self._rounds = rounds
        self._call = call
        self._until = 0
        self._closed = self._over = False
        self._error: BaseException | None = None
        self._wanted, self._reached = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, name="boosting", daemon=True)

    def go_on(self, until: int) -> bool:
        """Boost until there are so many rounds; whether `fit` is over."""
        self._until = until
        if self._over:
            return True
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._wanted.release()
        self._reached.acquire()
        if self._error is not None:
            raise self._error
        return self._over

    def close(self) -> None:
        """Let the thread end."""
        self._closed = True
        self._wanted.release()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        estimator = self._estimator
        # Not by set_params, which gives all parameters to a booster that is there already, where
        # some have no meaning: it takes no list of metrics.
        before = {name: vars(estimator)[name] for name in ("n_estimators", "callbacks")}
        waiting = _waiting(self, lambda: vars(estimator).update(before))
        callbacks = [*(before["callbacks"] or ()), waiting]
        try:
            vars(estimator).update(n_estimators=self._rounds, callbacks=callbacks)
            self._call()
        except BaseException as error:  # noqa: BLE001  any: raised where the rounds are asked for
            self._error = error
        finally:
            vars(estimator).update(before)
            self._over = True
            self._reached.release()

    def before_round(self, booster: Any) -> bool:
        """Wait if the epoch has its rounds; whether to end."""
        if self._closed:
            return True
        if booster.num_boosted_rounds() < self._until:
            return False
        self._estimator._Booster = booster  # as fit leaves it at its end
        self._reached.release()
        self._wanted.acquire()
        return self._closed


def _waiting(fitting: _Fit, begun: Callable[[], Any]) -> Any:
    """XGBoost's kind of callback, which is known only where XGBoost is."""
    from xgboost.callback import TrainingCallback

    class Waiting(TrainingCallback):
        def before_training(self, model: Any) -> Any:
            begun()
            return model

        # Not after one: early stopping, which comes last there, says by then how many rounds count.
        def before_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            return fitting.before_round(model)

    return Waiting()
