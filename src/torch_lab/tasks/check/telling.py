"""What was found about a script, for a reader and for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch_lab.tasks.check.findings import LEVELS, Finding
from torch_lab.tasks.table import plain
from torch_lab.utils.paths import display
from torch_lab.utils.text import format_size, plural

_COLORS = {"error": "1;31", "warning": "1;33", "note": "1;36"}


@dataclass
class Report:
    """What was found about one script, and what was seen of it."""

    script: Path
    findings: list[Finding] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def fails(self) -> bool:
        """Whether anything is an error."""
        return any(each.level == "error" for each in self.findings)

    def as_data(self) -> dict[str, Any]:
        """As JSON has it."""
        findings = [asdict(each) for each in self.findings]
        data: dict[str, Any] = plain({"findings": findings, "facts": self.facts})
        return {"script": display(self.script), **data}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Report:
        """The report that `as_data` has told."""
        findings = [Finding(**each) for each in data["findings"]]
        return cls(Path(data["script"]), findings, dict(data["facts"]))


def describe(report: Report, *, color: bool = False) -> str:
    """The findings, the most serious first, then what was tried."""
    lines = [f"{display(report.script)}: {_count(report.findings)}"]
    for each in report.findings:
        lines += [f"  {line}" for line in _finding(each, color)]
    lines += [f"  {line}" for line in _facts(report.facts)]
    return "\n".join(lines) + "\n"


def _count(findings: list[Finding]) -> str:
    counts = Counter(each.level for each in findings)
    told = [plural(counts[level], level) for level in LEVELS if counts[level]]
    return ", ".join(told) or "nothing found"


def _finding(finding: Finding, color: bool) -> Iterator[str]:
    level: str = finding.level
    if color:
        level = f"\x1b[{_COLORS[level]}m{level}\x1b[0m"
    first, *more = finding.message.splitlines() or [""]
    yield f"{level} ({finding.code}): {first}"
    yield from (f"  {line}" for line in more)
    if finding.place is not None:
        yield f"  at {finding.place}"
    yield from (f"  {line}" for line in (finding.hint or "").splitlines())


def _facts(facts: Mapping[str, Any]) -> Iterator[str]:
    if not facts:
        return
    losses = [f"{stage} {_shown(loss)}" for stage, loss in facts["losses"].items()]
    told = f"; loss {', '.join(losses)}" if losses else ""
    yield f"tried on {facts['device']}: {', '.join(facts['stages']) or 'nothing'}{told}"
    parameters = facts.get("estimator") or f"{facts['parameters']:,} parameters"
    if facts["trained"] != facts["parameters"]:
        parameters += f", {facts['trained']:,} of them trained"
    if facts["memory_bytes"]:
        parameters += f"; training holds about {format_size(facts['memory_bytes'])}"
    if facts["checkpoint_bytes"]:
        parameters += f", a checkpoint takes {format_size(facts['checkpoint_bytes'])}"
    yield parameters


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
