"""scikit-learn's estimators, saved and loaded by skops: types by name, data as numbers."""

from __future__ import annotations

import io
import json
import sys
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch_lab.errors import CheckpointDamaged, CheckpointUnsafe
from torch_lab.estimators.formats import standins, tree_check
from torch_lab.estimators.formats.envelope import SKOPS, Envelope
from torch_lab.estimators.formats.known import known_types
from torch_lab.estimators.formats.names import class_name, own_classes, plain
from torch_lab.estimators.formats.packages import installed, needed
from torch_lab.estimators.formats.shapes import Unsound

_SCHEMA = "schema.json"


class NoSkops(Exception):
    """skops has no form for this estimator."""


def is_one(estimator: Any) -> bool:
    """Whether skops is to be tried: for what is built on scikit-learn's base class."""
    base = getattr(sys.modules.get("sklearn.base"), "BaseEstimator", None)
    return base is not None and isinstance(estimator, base)


def pack(estimator: Any) -> Envelope:
    """The estimator as skops writes it; NoSkops where it has no form for it."""
    skops = needed("skops.io", f"saving {type(estimator).__name__}")
    try:
        with standins.in_place(estimator):
            payload = _dumps(estimator)
        found = skops.get_untrusted_types(data=payload)
    except Exception as error:  # any: it is then kept as a pickle, which says so
        raise NoSkops(str(error)) from error
    if not all(map(_is_importable, found)):
        raise NoSkops("a function or class without a name of its own")
    return Envelope(
        SKOPS,
        class_name(estimator),
        payload,
        installed("scikit-learn", "skops", "numpy"),
        strangers=sorted(set(found) - known_types()),
    )


class _Archive(zipfile.ZipFile):
    """Tells at once whether it has a name: skops asks for each array, of which there are many."""

    def namelist(self) -> Any:
        return self.NameToInfo.keys()


def _dumps(estimator: Any) -> bytes:
    """What skops.io.dumps makes, several times as fast for many trees.

    That writes a schema for the eye, which Python's fast encoder can't, and twice as long.
    """
    skops = needed("skops.io", f"saving {type(estimator).__name__}")
    try:
        from skops.io._utils import SaveContext, get_state

        made = io.BytesIO()
        with _Archive(made, "w") as archive:
            context = SaveContext(zip_file=archive)
            schema = get_state(estimator, context)
            versions = {"protocol": context.protocol, "_skops_version": installed("skops")["skops"]}
            archive.writestr(_SCHEMA, json.dumps({**schema, **versions}, separators=(",", ":")))
    except (ImportError, AttributeError, TypeError, KeyError):  # of another version's making
        return bytes(skops.dumps(estimator))
    return made.getvalue()


def load(saved: Envelope, into: Any, *, trust: bool) -> Any:
    """The estimator, made of types that are known to do nothing but hold data."""
    skops = needed("skops.io", "this checkpoint")
    _require_stored(saved.payload)
    _require_root(saved)
    untrusted = _untrusted(saved.payload)
    unknown = sorted(untrusted - known_types())
    if unknown and not trust:
        raise unsafe(saved, unknown)
    payload = _with_own_names(saved.payload, into) if trust else saved.payload
    if payload is not saved.payload:
        untrusted = _untrusted(payload)
    with _reading():
        loaded = skops.loads(payload, trusted=sorted(untrusted))
        standins.restore(loaded, trust=trust)
        if not trust:
            tree_check.require_sound(loaded)
    return loaded


def unsafe(saved: Envelope, unknown: list[str]) -> CheckpointUnsafe:
    """What to raise where the file needs trust."""
    what = ", ".join(unknown[:5]) + (f" and {len(unknown) - 5} more" if len(unknown) > 5 else "")
    culprit = f"it names {what}" if unknown else f"it holds a pickled {plain(saved.class_name)}"
    return CheckpointUnsafe(
        f"the checkpoint's estimator is refused: loading it could run code ({culprit})",
        hint="If you know where it comes from, load it with --trust.",
    )


def _untrusted(payload: bytes) -> set[str]:
    skops = needed("skops.io", "this checkpoint")
    with _reading():
        return set(skops.get_untrusted_types(data=payload))


def _require_stored(payload: bytes) -> None:
    """Refuse what unpacks to more than it is: `pack` compresses nothing."""
    with _reading(), zipfile.ZipFile(io.BytesIO(payload)) as archive:
        entries = archive.infolist()
        stored = all(each.compress_type == zipfile.ZIP_STORED for each in entries)
        if not stored or sum(each.file_size for each in entries) > len(payload):
            raise ValueError("it is not as torch-lab saves it")


def _require_root(saved: Envelope) -> None:
    """The header's class is the one that the file makes."""
    with _reading():
        root = _schema(saved.payload)
        module, _, qualname = saved.class_name.partition(":")
        if (root["__module__"], root["__class__"]) != (module, qualname.rpartition(".")[2]):
            raise ValueError("its header names another class than the file")


def _schema(payload: bytes) -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(payload)) as archive:
        root: dict[str, Any] = json.loads(archive.read(_SCHEMA))
    return root


@contextmanager
def _reading() -> Iterator[None]:
    """Tell whatever skops, zipfile or an estimator's __setstate__ says as CheckpointDamaged.

    scikit-learn's warnings about versions, one for each part, make way for one line of ours.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*unpickle estimator.*version")
            yield
    except (CheckpointDamaged, CheckpointUnsafe):
        raise
    except Unsound as error:
        raise CheckpointDamaged(f"the checkpoint's estimator is broken: {error}") from error
    except Exception as error:  # any: skops calls what the file names among what it trusts
        why = str(error).partition("\n")[0] or type(error).__name__
        raise CheckpointDamaged(f"the checkpoint's estimator can't be read: {why[:200]}") from error


def _is_importable(name: str) -> bool:
    module, _, own = name.rpartition(".")
    return hasattr(sys.modules.get(module), own)


def _with_own_names(payload: bytes, into: Any) -> bytes:
    """With the names that the classes of `into` have here: recorded code has names of its own."""
    renamed = {
        (module, name): kind.__module__
        for (module, name), kind in own_classes(into).items()
        if kind.__module__ != module
    }
    if not renamed:
        return payload
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(payload)) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, data if name != _SCHEMA else _renamed(data, renamed))
    return made.getvalue()


def _renamed(schema: bytes, names: dict[tuple[str, str], str]) -> bytes:
    def rename(node: dict[str, Any]) -> dict[str, Any]:
        key = (node.get("__module__"), node.get("__class__"))
        return {**node, "__module__": names[key]} if key in names else node

    return json.dumps(json.loads(schema, object_hook=rename)).encode()
