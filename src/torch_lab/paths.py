"""Where a project keeps its files, as torch-lab 1.x had it; deprecated.

ROOT_DIR, DATA_DIR, PROCESSED_DIR and ARTIFACTS_DIR belong to the project of the file that asks
for them, else to that of the working directory.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch_lab import settings
from torch_lab.utils.deprecation import deprecated, user_frame
from torch_lab.utils.paths import marked_root, project_root


def get_task_dir_name(task: Any) -> str:
    """The folder in the artifacts folder of a ClearML task: a run's, or as 1.x named it."""
    _say()
    run: str = task.name
    return run if (_artifacts() / run).is_dir() else f"{run}-{task.id}"


def _project() -> Path:
    frame = user_frame()
    file = frame.f_globals.get("__file__") if frame is not None else None
    root = marked_root(Path(file)) if file else None
    return root or project_root(Path.cwd())


def _data() -> Path:
    return _project() / "data"


def _artifacts() -> Path:
    return settings.load(_project()).artifacts


def _artifacts_made() -> Path:
    folder = _artifacts()
    with suppress(OSError):  # it was there for whoever imported it; who writes will be told
        folder.mkdir(parents=True, exist_ok=True)
    return folder


_PLACES: dict[str, Callable[[], Path]] = {
    "ROOT_DIR": _project,
    "DATA_DIR": _data,
    "PROCESSED_DIR": lambda: _data() / "processed",
    "ARTIFACTS_DIR": _artifacts_made,
}


def _say() -> None:
    deprecated(
        __name__,
        "name folders in a module of your project, as Path(__file__).parents[1] / ...;"
        " torch_lab.runs() finds runs, whose folders have their names",
    )


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _say()
    return _PLACES[name]()


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
