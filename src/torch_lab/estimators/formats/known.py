"""Types that skops doesn't trust by itself, and that do nothing but hold data or compute.

Each was looked at: called with any arguments, none reads or writes a file, starts a process,
imports or evaluates anything. Trees are here because `tree_check` looks through what is in them.
"""

from __future__ import annotations

import sys
from inspect import isfunction

_TYPES = {
    "functools": "partial",  # of what is known itself
    "numpy": "dtype mean",
    "sklearn.calibration": "_CalibratedClassifier _SigmoidCalibration _TemperatureScaling",
    "sklearn.compose._column_transformer": "_RemainderColsList make_column_selector",
    "sklearn.ensemble._hist_gradient_boosting.predictor": "TreePredictor",
    "sklearn.feature_selection._mutual_info": "mutual_info_classif mutual_info_regression",
    "sklearn.feature_selection._univariate_selection": "chi2 f_classif f_regression r_regression",
    "sklearn.gaussian_process._gpc": "_BinaryGaussianProcessClassifierLaplace",
    "sklearn.gaussian_process.kernels": "CompoundKernel ConstantKernel DotProduct ExpSineSquared"
    " Exponentiation Hyperparameter Matern Product RBF RationalQuadratic Sum WhiteKernel",
    "sklearn._loss.loss": "HalfTweedieLoss HalfTweedieLossIdentity",
    "sklearn.metrics._scorer": "_PassthroughScorer _Scorer",
    "sklearn.model_selection._split": "GroupKFold KFold LeaveOneOut RepeatedKFold"
    " RepeatedStratifiedKFold ShuffleSplit StratifiedGroupKFold StratifiedKFold"
    " StratifiedShuffleSplit TimeSeriesSplit",
    "sklearn.multiclass": "_ConstantPredictor",
    "sklearn.neural_network._stochastic_optimizers": "AdamOptimizer SGDOptimizer",
    "sklearn.tree._tree": "Tree",
    "sklearn.utils._bunch": "Bunch",
    "sklearn.utils._metadata_requests": "MetadataRequest MethodMetadataRequest",
    "sklearn.utils.validation": "check_array",
    "xgboost.sklearn": "XGBClassifier XGBRFClassifier XGBRFRegressor XGBRanker XGBRegressor",
}


def known_types() -> set[str]:
    """Their names, and those of the metrics of scikit-learn."""
    named = {f"{module}.{name}" for module, names in _TYPES.items() for name in names.split()}
    metrics = vars(sys.modules.get("sklearn.metrics")) if "sklearn.metrics" in sys.modules else {}
    functions = (each for each in metrics.values() if isfunction(each))
    return named | {f"{each.__module__}.{each.__name__}" for each in functions}
