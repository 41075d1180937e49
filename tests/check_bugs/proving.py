"""`lab check` asked about many experiments at once, in a process that needn't import torch."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from helpers import Project
from zygote import Zygote

Findings = list[dict[str, Any]]


def project(root: Path) -> Path:
    """An empty project; returns where its experiments go."""
    made = Project(root)
    made.write("pyproject.toml", '[project]\nname = "bugs"\nversion = "0"\n')
    made.write("bugs/__init__.py", "")
    return root / "bugs" / "experiments"


def checked(
    zygote: Zygote, scripts: Sequence[Path], root: Path, said: Path, *words: str
) -> list[Findings]:
    """What is found about each script, in their order; `said` is where the command's words go."""
    said.mkdir(parents=True, exist_ok=True)
    out, err = (said / f"{uuid.uuid4().hex}.{end}" for end in ("out", "err"))
    names = [str(each.relative_to(root)) for each in scripts]
    pid = zygote.start("lab", "check", "--json", *words, *names, cwd=root, log=out, errors=err)
    status = zygote.wait(pid)
    assert status in (0, 2), err.read_text()
    reports = json.loads(out.read_text())
    assert [each["script"] for each in reports] == names
    assert (status == 2) == any(
        _is_error(each) for report in reports for each in report["findings"]
    )
    return [each["findings"] for each in reports]


def _is_error(finding: dict[str, Any]) -> bool:
    return bool(finding["level"] == "error")


def told(findings: Findings) -> str:
    """Findings as a failing test shows them."""
    return "\n".join(f"    {each}" for each in findings) or "    nothing"
