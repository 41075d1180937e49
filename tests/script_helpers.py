"""Small projects for tests that import scripts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

SOURCE = Path(__file__).parents[1] / "src"


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(text))
    return path


def make_package(root: Path, name: str = "my_project") -> Path:
    """A project's root with an empty package in it."""
    write(root / "pyproject.toml")
    write(root / name / "__init__.py")
    return root / name


@contextmanager
def clean_imports(folder: Path) -> Iterator[None]:
    """Forget what was imported from `folder`, and what that changed."""
    path, environment = [*sys.path], dict(os.environ)
    try:
        yield
    finally:
        sys.path[:] = path
        os.environ.clear()
        os.environ.update(environment)
        for name, module in [*sys.modules.items()]:
            if str(folder) in str(getattr(module, "__spec__", None)):
                del sys.modules[name]


def python(
    code: str, *args: str, cwd: Path | None = None, path: tuple[Path, ...] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter that finds torch_lab, and nothing through where it stands."""
    folders = os.pathsep.join(map(str, [*path, SOURCE]))
    return subprocess.run(
        [sys.executable, "-P", "-W", "error::ImportWarning", "-c", dedent(code), *args],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": folders, **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def output(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout.strip()
