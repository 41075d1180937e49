"""The files of a new project, from template/."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from string import Template

_ENDING = ".in"


def project_files(package: str, version: str) -> dict[str, bytes]:
    """The content of each file, by its path in the project."""
    words = {"package": package, "distribution": package.replace("_", "-"), "version": version}
    top = files("torch_lab.tasks.init").joinpath("template")
    return dict(sorted(_filled(top, "", words)))


def _filled(
    folder: Traversable, path: str, words: Mapping[str, str]
) -> Iterator[tuple[str, bytes]]:
    for each in folder.iterdir():
        name = f"{path}{_name(each.name, words['package'])}"
        if each.is_dir():
            yield from _filled(each, f"{name}/", words)
        elif name.endswith(_ENDING):
            text = Template(each.read_text(encoding="utf-8")).substitute(words)
            yield name.removesuffix(_ENDING), text.encode()


def _name(name: str, package: str) -> str:
    return package if name == "package" else name.replace("dot_", ".", 1)
