"""Scripts imported as real modules, under a name that every process can import.

A script below a package is imported under its dotted name. The import root is the parent of the
topmost folder with an `__init__.py` between the project's root and the script; folders without
one are namespace packages. Everything else gets a name from torch_lab.utils.loose.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import stat
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from torch_lab.errors import ScriptError, TorchLabError
from torch_lab.utils import twins
from torch_lab.utils.paths import absolute, display, project_root
from torch_lab.utils.roots import make_importable, same_file, shield_children
from torch_lab.utils.text import nearest
from torch_lab.utils.tracebacks import is_user_file

_running: list[Path] = []  # the scripts being executed, outermost first


def import_script_as_module(path: str | os.PathLike[str]) -> ModuleType:
    """Import a Python script under its real name.

    Each call executes it anew, so that its values are fresh; a `__main__.py` is imported once.
    """
    script = existing_script(path)
    with _executing(script), _import_errors(script):
        importlib.invalidate_caches()  # files may have come in the same clock tick
        name = _importable_name(script)
        if script.stem == "__main__":
            shield_children()
            return _own_file(importlib.import_module(name), script)
        return _executed(name, script)


def existing_script(path: str | os.PathLike[str]) -> Path:
    """The absolute path of a Python script, or an error that says what is wrong with it."""
    script = absolute(path)
    try:
        mode = script.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        hint = _nearest_script(script)
        raise ScriptError(f"{display(script)} does not exist", hint=hint) from None
    except OSError as error:
        raise ScriptError(f"{display(script)} can't be read: {error.strerror}") from error
    if stat.S_ISDIR(mode):
        raise ScriptError(f"{display(script)} is a folder, not a script", hint=_listing(script))
    if script.suffix != ".py" or not stat.S_ISREG(mode):
        raise ScriptError(f"{display(script)} is not a Python script (.py)")
    return script


@dataclass(frozen=True)
class _Place:
    """Where a script's name begins: the folders and stem below the import root."""

    root: Path
    parts: tuple[str, ...]
    packaged: bool


def _place(script: Path) -> _Place:
    project = project_root(script)
    folders = [folder for folder in script.parents if folder.is_relative_to(project)]
    packages = [f for f in folders if f != project and (f / "__init__.py").is_file()]
    root = packages[-1].parent if packages else project
    parts = (*script.parent.relative_to(root).parts, script.stem)
    return _Place(root, parts, bool(packages))


def import_root(script: Path) -> Path:
    """The folder that a script's dotted name begins below."""
    return _place(absolute(script)).root


def _importable_name(script: Path) -> str:
    recorded = sys.modules.get("torch_lab.utils.recorded")  # there only where a run's code is used
    if recorded is not None and (name := recorded.recorded_name(script)) is not None:
        return str(name)
    place = _place(script)
    if place.packaged and not any("." in part for part in place.parts):
        make_importable(place.root, place.parts[0])
        return ".".join(place.parts)
    from torch_lab.utils.loose import loose_name  # installs its finder: only where it is needed

    return loose_name(place.root, place.parts)


def _own_file(module: ModuleType, script: Path) -> ModuleType:
    _refuse_other_file(module.__name__, getattr(module, "__file__", None), script)
    return module


def _executed(name: str, script: Path) -> ModuleType:
    spec = importlib.util.find_spec(name)
    _refuse_other_file(name, spec.origin if spec else None, script)
    assert spec is not None
    return _run(spec, script)


def _run(spec: ModuleSpec, script: Path) -> ModuleType:
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(spec.name)
    sys.modules[spec.name] = module  # its functions and classes pickle by this name
    try:
        # Compiled from the file itself: a cached .pyc may be older by less than the clock's tick.
        code = compile(script.read_bytes(), str(script), "exec", dont_inherit=True)
        exec(code, module.__dict__)
    except BaseException:  # a signal too; raised again
        if before is None:
            del sys.modules[spec.name]
        else:
            sys.modules[spec.name] = before
        raise
    return module


def _refuse_other_file(name: str, found: str | None, script: Path) -> None:
    if found is None or not same_file(found, script):
        raise ScriptError(
            f"{display(script)}: its name, {name}, leads to {found or 'no file'}",
            hint="another module of that name hides the script: rename or remove one of them",
        )


@contextmanager
def _executing(script: Path) -> Iterator[None]:
    if script in _running:
        circle = [*_running[_running.index(script) :], script]
        raise ScriptError("scripts load each other: " + " -> ".join(map(display, circle)))
    _running.append(script)
    try:
        yield
    finally:
        _running.pop()


@contextmanager
def _import_errors(script: Path) -> Iterator[None]:
    try:
        yield
    except TorchLabError:
        raise
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise ScriptError(_message(error, script), hint=_hint(error, script)) from error


def _hint(error: BaseException, script: Path) -> str | None:
    """What to do about the two things that scripts from elsewhere do."""
    if isinstance(error, SystemExit):
        return (
            "Scripts are imported, not run: values come from hparams, arguments reach infer_config."
            '\nMove what ends this one below `if __name__ == "__main__":`, or remove it.'
        )
    if isinstance(error, ModuleNotFoundError) and (error.name or "").startswith("lightning"):
        return "\n  ".join(["torch-lab uses pytorch_lightning. Change", *twins.changes(script)])
    return None


def _message(error: BaseException, script: Path) -> str:
    if isinstance(error, SyntaxError) and not (error.filename or "<").startswith("<"):
        return _syntax_message(error)
    return _traced_message(error, script)


def _syntax_message(error: SyntaxError) -> str:
    where = f"{display(error.filename or '')}:{error.lineno or 1}"
    lines = [f"{where}: {type(error).__name__}: {error.msg}"]
    if error.text:
        lines.append(f"    {error.text.strip()}")
    return "\n".join(lines)


def _traced_message(error: BaseException, script: Path) -> str:
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(script) or is_user_file(frame.filename)
    ]
    reason = "".join(traceback.format_exception_only(error)).strip()
    if not frames:
        return f"{display(script)} can't be imported: {reason}"
    *outer, last = [f"{display(frame.filename)}:{frame.lineno}" for frame in frames]
    message = f"{last}: {reason}"
    if frames[-1].line:
        message += f"\n    {frames[-1].line}"
    return message + "".join(f"\n  from {where}" for where in reversed(outer))


def _scripts(folder: Path) -> list[str]:
    names = (path.name for path in folder.glob("*.py"))
    return sorted(name for name in names if not name.startswith("__"))


def _listing(folder: Path, holds: str = "it holds", its: str = "its scripts") -> str:
    names = _scripts(folder)
    if not names:
        return f"{holds} no Python scripts"
    more = ", ..." * (len(names) > 8)
    return f"{its}: " + ", ".join(display(folder / name) for name in names[:8]) + more


def _nearest_folder(folder: Path) -> str:
    beside = folder.parent.iterdir() if folder.parent.is_dir() else ()
    match = nearest(folder.name, [path.name for path in beside if path.is_dir()])
    return f"; did you mean {display(folder.parent / match)}?" if match else ""


def _nearest_script(script: Path) -> str | None:
    if not script.parent.is_dir():
        return f"there is no folder {display(script.parent)}{_nearest_folder(script.parent)}"
    stems = {Path(name).stem: name for name in _scripts(script.parent)}
    match = nearest(script.stem, stems)
    if match is None:
        named = str(script.parent) if script.parent == Path.cwd() else display(script.parent)
        return _listing(script.parent, f"{named} holds", "the scripts there")
    return f"did you mean {display(script.parent / stems[match])}?"
