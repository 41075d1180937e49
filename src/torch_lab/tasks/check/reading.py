"""What is read of the config while the experiment is built and tried."""

from __future__ import annotations

import argparse
import ast
import inspect
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dis import opname
from linecache import getlines
from textwrap import dedent
from typing import Any

from torch_lab.utils.paths import display
from torch_lab.utils.tracebacks import is_user_file

Path = tuple[str, ...]  # the keys that lead to a value

_NAMESPACES = (argparse.Namespace, types.SimpleNamespace)


class Reads:
    """Notes which keys of a config are read, and how.

    `named` are the keys that a line asked for by name; `taken` those that went with all others
    into something that may use them (`Adam(parameters, **config["optimizer"])`); `attributes`
    those that became attributes of an object or `**kwargs` of a function of the user's. `absent`
    are keys that were asked for and are not there, with the line that asked.
    """

    def __init__(self) -> None:
        self.named: set[Path] = set()
        self.taken: set[Path] = set()
        self.attributes: set[Path] = set()
        self.absent: dict[Path, str | None] = {}
        self.given_up = False  # the config could not be watched

    def watch(self, config: Any) -> Any:
        """The config, a dict or an instance of its type, in a form that notes what is read.

        It is a copy, of which only dicts are watched; they are dicts still.
        """
        return _watched(deepcopy(config), self, ()) if type(config) is dict else config


class Watched(dict[Any, Any]):
    """A dict that tells what is read of it."""

    def __init__(self, items: Mapping[Any, Any], reads: Reads, path: Path) -> None:
        super().__init__(items)
        self.reads = reads
        self.path = path

    def _asked(self, key: Any) -> None:
        if not isinstance(key, str):
            return
        path = (*self.path, key)
        if dict.__contains__(self, key):
            self.reads.named.add(path)
        else:
            self.reads.absent.setdefault(path, _place())

    def _poured(self, into: set[Path]) -> None:
        into.update((*self.path, key) for key in dict.keys(self) if isinstance(key, str))

    def __getitem__(self, key: Any) -> Any:
        if _by_name():
            self._asked(key)
        return super().__getitem__(key)

    def get(self, key: Any, default: Any = None) -> Any:
        """As of a dict."""
        self._asked(key)
        return super().get(key, default)

    def pop(self, key: Any, *default: Any) -> Any:
        """As of a dict."""
        self._asked(key)
        return super().pop(key, *default)

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """As of a dict."""
        self._asked(key)
        return super().setdefault(key, default)

    def __contains__(self, key: object) -> bool:
        self._asked(key)
        return super().__contains__(key)

    # dict(config) and f(**config) come through these only where the class has its own.
    def __iter__(self) -> Any:
        self._poured(self.reads.taken)
        return super().__iter__()

    def keys(self) -> Any:
        """As of a dict."""
        self._poured(self.reads.attributes if _become_attributes() else self.reads.taken)
        return super().keys()

    def values(self) -> Any:
        """As of a dict."""
        self._poured(self.reads.taken)
        return super().values()

    def items(self) -> Any:
        """As of a dict."""
        self._poured(self.reads.taken)
        return super().items()

    def copy(self) -> Watched:
        """A copy that tells, too."""
        return Watched(dict(dict.items(self)), self.reads, self.path)

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> Watched:
        plain = {key: deepcopy(value, memo) for key, value in dict.items(self)}
        return Watched(plain, self.reads, self.path)

    def __or__(self, other: Any) -> Any:
        return {**self, **other} if isinstance(other, Mapping) else NotImplemented

    def __ror__(self, other: Any) -> Any:
        return {**other, **self} if isinstance(other, Mapping) else NotImplemented

    def __reduce__(self) -> Any:
        self._poured(self.reads.taken)  # nobody sees what another process reads
        return dict, (dict(dict.items(self)),)


def _watched(value: Any, reads: Reads, path: Path) -> Any:
    if type(value) is dict:
        items = {key: _watched(each, reads, (*path, str(key))) for key, each in value.items()}
        return Watched(items, reads, path)
    return value


def _by_name() -> bool:
    """Whether the caller's caller has written `config["key"]`; `**config` comes here as well."""
    return _instruction(sys._getframe(2)).startswith("BINARY_")


def _instruction(frame: types.FrameType) -> str:
    return opname[frame.f_code.co_code[frame.f_lasti]]


def _place() -> str | None:
    """The user's line that asks."""
    frame: types.FrameType | None = sys._getframe(2)
    while frame is not None:
        if is_user_file(frame.f_code.co_filename):
            return f"{display(frame.f_code.co_filename)}:{frame.f_lineno}"
        frame = frame.f_back
    return None


# -- where a whole dict goes ---------------------------------------------------------------------


def _become_attributes() -> bool:
    """Whether a user's line gives all keys to `Namespace(**config)` or a function's `**kwargs`."""
    frame = sys._getframe(2)
    if not is_user_file(frame.f_code.co_filename):
        return False
    return any(map(_keeps_what_it_gets, _called_with_all(frame)))


def _keeps_what_it_gets(called: Any) -> bool:
    if called in _NAMESPACES:
        return True
    if not is_user_file(getattr(inspect.getmodule(called), "__file__", None) or "<none>"):
        return False
    try:
        parameters = inspect.signature(called).parameters.values()
    except (TypeError, ValueError):
        return False
    names = [each.name for each in parameters if each.kind is inspect.Parameter.VAR_KEYWORD]
    return any(not _passes_on(called, name) for name in names)


def _passes_on(called: Any, name: str) -> bool:
    """Whether a function gives its `**kwargs` to another, which may be a library's."""
    begun = vars(called).get("__init__", called) if isinstance(called, type) else called
    try:
        tree = ast.parse(dedent(inspect.getsource(begun)))
    except (OSError, TypeError, SyntaxError):
        return False
    given = (
        keyword.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg is None
    )
    return any(isinstance(each, ast.Name) and each.id == name for each in given)


def _called_with_all(frame: types.FrameType) -> Iterable[Any]:
    """What is called with the `**` that a frame is at: the innermost such call around it."""
    begin, end = _span(frame)
    around = [node for node in _calls_in(frame) if _begin(node) <= begin and end <= _end(node)]
    if around:
        found = _value(max(around, key=_begin).func, frame)
        if found is not None:
            yield found


def _calls_in(frame: types.FrameType) -> Iterable[ast.Call]:
    """The calls with `**` in a frame's file."""
    try:
        tree = ast.parse("".join(getlines(frame.f_code.co_filename)))
    except SyntaxError:  # it changed since it was imported
        return []
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    return [node for node in calls if any(each.arg is None for each in node.keywords)]


def _begin(node: ast.Call) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _end(node: ast.Call) -> tuple[int, int]:
    return node.end_lineno or 0, node.end_col_offset or 0


def _span(frame: types.FrameType) -> tuple[tuple[int, int], tuple[int, int]]:
    """Where what is being executed begins and ends, as the compiler noted it."""
    places = list(frame.f_code.co_positions())
    first, last, begin, end = places[frame.f_lasti // 2]
    line = frame.f_lineno
    return (first or line, begin or 0), (last or line, end or 0)


def _value(node: ast.expr, frame: types.FrameType) -> Callable[..., Any] | None:
    """What a name, or an attribute of one, stands for in a frame."""
    if isinstance(node, ast.Attribute):
        return getattr(_value(node.value, frame), node.attr, None)
    if isinstance(node, ast.Name):
        return {**frame.f_builtins, **frame.f_globals, **frame.f_locals}.get(node.id)
    return None
