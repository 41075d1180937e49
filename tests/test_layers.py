"""The import direction of the design, enforced: strictly downward, sideways only by the table."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "torch_lab"

LEVELS = [
    {"errors", "settings", "hparams", "utils"},
    {
        "experiment",
        "store",
        "modules",
        "datasets",
        "transforms",
        "metrics",
        "metric_states",
        "data",
        "estimators",
        "recording",
        "paths",
        "typing",
    },
    {"callbacks", "checkpoints", "engine", "loggers", "mirror"},
    {"tasks", "access"},
    {"cli"},
    {"__main__"},
]
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}

# Within a level: who may import whom.
SIDEWAYS = {
    "utils": {"errors"},
    "settings": {"errors", "utils"},
    "hparams": {"errors", "utils"},
    "datasets": {"transforms"},
    "recording": {"store"},
    "experiment": {"estimators", "modules"},
    "estimators": {"data", "metrics", "metric_states", "modules", "recording", "store"},
    "modules": {"metric_states", "recording"},
    "callbacks": {"checkpoints"},
    "checkpoints": {"mirror"},
    "engine": {"callbacks", "checkpoints", "loggers"},
    "access": {"tasks"},
}

HEAVY = {"torch", "pytorch_lightning", "lightning_fabric", "torchmetrics", "lightning", "clearml"}
# What training and the reading verbs import of the mirror; the rest runs in processes of its own.
LIGHT_FILES = {"mirror/__init__.py", "mirror/asking.py", "mirror/configured.py"} | {
    "mirror/launch.py",
    "mirror/sdk.py",
    "mirror/senders.py",
    "mirror/state.py",
}
LIGHT_ROOMS = LEVELS[0] | {"experiment", "store", "recording", "cli", "__main__", "__init__"}

FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(nodes: Iterator[ast.AST]) -> Iterator[tuple[int, str]]:
    """The line and dotted name of each import, relative ones excluded."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def at_import(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when the module is imported; type checkers' branches do not."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield child
            yield from at_import(child)


def allowed(room: str, other: str) -> bool:
    """Whether files of one room may import from another."""
    if room == "__init__":
        return False  # its names are lazy
    return LEVEL[other] < LEVEL[room] or other == room or other in SIDEWAYS.get(room, ())


def test_every_room_has_a_level():
    rooms = {room_of(file) for file in FILES} - {"__init__"}
    assert rooms <= LEVEL.keys()


def test_the_table_has_no_circles():
    for room, others in SIDEWAYS.items():
        for other in others:
            assert LEVEL[room] == LEVEL[other]
            assert room not in SIDEWAYS.get(other, ())


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_go_downward(file):
    room = room_of(file)
    wrong = []
    for line, name in imported(ast.walk(ast.parse(file.read_text()))):
        top, *rest = name.split(".")
        if top != "torch_lab" or not rest or rest[0] == "__version__":
            continue
        if rest[0] not in LEVEL or not allowed(room, rest[0]):
            wrong.append(f"line {line}: {name}")
    assert not wrong, f"{room} may not import these"


@pytest.mark.parametrize(
    "file",
    [
        file
        for file in FILES
        if room_of(file) in LIGHT_ROOMS or str(file.relative_to(PACKAGE)) in LIGHT_FILES
    ],
    ids=lambda file: str(file.relative_to(PACKAGE)),
)
def test_light_rooms_import_nothing_heavy(file):
    names = imported(at_import(ast.parse(file.read_text())))
    assert not [(line, name) for line, name in names if name.split(".")[0] in HEAVY]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_only_the_mirror_imports_clearml(file):
    if room_of(file) != "mirror":
        names = imported(ast.walk(ast.parse(file.read_text())))
        assert not [(line, name) for line, name in names if name.split(".")[0] == "clearml"]


@pytest.mark.parametrize(
    "folder", sorted({file.parent for file in FILES}), ids=lambda folder: folder.name
)
def test_every_folder_says_what_lives_there(folder):
    docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
    assert docstring, f"{folder.name}/__init__.py has no docstring"
