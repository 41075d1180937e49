"""An estimator as bytes that load without running code, where its kind allows that.

skops for scikit-learn, UBJ for XGBoost; what neither can hold is a pickle, which nothing loads
without trust. Level of `estimators`.
"""

from __future__ import annotations

from torch_lab.estimators.formats.packing import dump, is_safe, load, strangers

__all__ = ["dump", "is_safe", "load", "strangers"]
