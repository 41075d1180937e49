"""The packages that estimators come from: where one is absent, the line that installs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from torch_lab.errors import ConfigurationError

_EXTRAS = {"sklearn": "sklearn", "skops": "sklearn", "xgboost": "xgboost"}
_TITLES = {"sklearn": "scikit-learn"}


def needed(module: str, why: str) -> ModuleType:
    """The module, imported; ConfigurationError that begins with `why` where it isn't installed."""
    package = module.partition(".")[0]
    try:
        return import_module(module)
    except ImportError as error:
        title = _TITLES.get(package, package)
        absent = (error.name or "").partition(".")[0] == package
        said = "is not installed" if absent else f"can't be imported: {error}"
        raise ConfigurationError(
            f"{why} needs {title}, which {said}",
            hint=f"pip install 'torch-lab[{_EXTRAS[package]}]'",
        ) from error


def installed(*names: str) -> dict[str, str]:
    """The versions of the distributions that are installed, by name."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def differences(saved: Mapping[str, object]) -> Iterator[str]:
    """A line for each package of another minor version than the one that saved."""
    for name, then in saved.items():
        now = installed(name).get(name) if name in _WATCHED and isinstance(then, str) else None
        if now is not None and _minor(now) != _minor(str(then)):
            yield (
                f"the estimator was saved with {name} {str(then)[:30]}, and this is {now}:"
                " what it predicts may differ"
            )


_WATCHED = ("scikit-learn", "xgboost")


def _minor(text: str) -> tuple[str, ...]:
    return tuple(text.split(".")[:2])
