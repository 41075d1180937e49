"""A fitted estimator alone, in the format of its library: skops, or XGBoost's UBJ."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch_lab.errors import ConfigurationError, ExportError
from torch_lab.estimators.formats.packages import installed, needed
from torch_lab.estimators.naming import takes_rows
from torch_lab.tasks.export.calls import Call
from torch_lab.tasks.export.options import OF_ESTIMATORS, OF_NETWORKS, SKOPS, UBJ
from torch_lab.utils.recorded import plain_name

ABOUT = "torch-lab.json"  # in a .skops file, which is a zip archive
_ATTRIBUTE = "torch-lab"  # of a booster
_SCHEMA = "schema.json"


@dataclass(frozen=True)
class Written:
    """An estimator as bytes, the same read back from them, and the types that reading it trusts."""

    content: bytes
    read: Any
    trusted: tuple[str, ...] = ()


def require_fitting(suffix: str, estimator: Any, run: str) -> None:
    """Refuse a file that can't hold what the run has: an estimator, or None for a network."""
    if estimator is None:
        if suffix in OF_ESTIMATORS:
            raise ExportError(
                f"run {run} has trained a network, which no {suffix} file can hold",
                hint=f"--out FILE{OF_NETWORKS[0]} or FILE{OF_NETWORKS[1]} can.",
            )
        return
    own = UBJ if xgboost_class(estimator) else SKOPS
    if suffix in OF_NETWORKS or (suffix == UBJ and own != UBJ):
        raise ExportError(
            f"run {run} has fitted {type(estimator).__name__}, which no {suffix} file can hold",
            hint=f"--out FILE{own} may.",
        )


def in_rows(call: Call, estimator: Any) -> Call:
    """The call with samples as the estimator itself takes them: most take rows of values."""
    if estimator is None or not takes_rows(estimator):
        return call
    return call.mapped(lambda value: value.flatten(1) if value.dim() > 2 else value)


def written(suffix: str, estimator: Any, about: str, run: str) -> Written:
    """The estimator as the bytes of such a file, which hold `about`, too."""
    try:
        return _ubj(estimator, about) if suffix == UBJ else _skops(estimator, about)
    except ConfigurationError:  # its library isn't installed
        raise
    except Exception as error:  # what the libraries can't write or read may raise anything
        why = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        raise ExportError(
            f"run {run} can't be exported: no {suffix} file can hold its"
            f" {type(estimator).__name__}: {why}",
            hint="torch_lab.runs() gives it to Python: run.load_estimator().",
        ) from error


def versions(estimator: Any) -> dict[str, str]:
    """Those of the libraries that the file is read with."""
    names = ["xgboost"] if xgboost_class(estimator) else ["scikit-learn", "skops"]
    return installed(*names)


def loading(file: Path, done: Written, estimator: Any) -> str:
    """The line of Python that reads the file."""
    if file.suffix == UBJ:
        kind = xgboost_class(estimator)
        return f'model = xgboost.{kind.__name__ if kind else ""}(); model.load_model("{file.name}")'
    trusted = f", trusted={json.dumps(list(done.trusted))}" if done.trusted else ""
    return f'skops.io.load("{file.name}"{trusted})'


# -- XGBoost ---------------------------------------------------------------------------------


def xgboost_class(estimator: Any) -> type[Any] | None:
    """The class of XGBoost's that it is an instance of, if it is."""
    for kind in type(estimator).__mro__:
        if kind.__module__.startswith("xgboost.") and hasattr(kind, "get_booster"):
            return kind
    return None


def _ubj(estimator: Any, about: str) -> Written:
    kind = xgboost_class(estimator)
    assert kind is not None
    estimator.get_booster().set_attr(**{_ATTRIBUTE: about})
    with tempfile.TemporaryDirectory() as folder:  # the ending of its name says the format
        path = Path(folder, f"model{UBJ}")
        estimator.save_model(path)
        content = path.read_bytes()
    read = kind()
    read.load_model(bytearray(content))
    return Written(content, read)


# -- skops -----------------------------------------------------------------------------------


def _skops(estimator: Any, about: str) -> Written:
    sio = needed("skops.io", "a .skops file")
    content = sio.dumps(estimator)
    types = sio.get_untrusted_types(data=content)
    read = sio.loads(content, trusted=types)  # of this process's own making
    changed = _with(content, about, types)
    return Written(changed, read, tuple(sorted(map(_plain, types))))


def _plain(name: str) -> str:
    module, _, kind = name.rpartition(".")
    return f"{plain_name(module)}.{kind}"


def _with(content: bytes, about: str, types: Iterable[str]) -> bytes:
    """The archive with what it says of itself, and the names that a run's own code goes by."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename == _SCHEMA:
                data = _with_plain_names(data, types)
            new.writestr(entry, data)
        new.writestr(zipfile.ZipInfo(ABOUT), about)
    return made.getvalue()


def _with_plain_names(schema: bytes, types: Iterable[str]) -> bytes:
    text = schema.decode()
    for module in {name.rpartition(".")[0] for name in types}:
        text = text.replace(json.dumps(module), json.dumps(plain_name(module)))
    return text.encode()
