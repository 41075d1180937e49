"""The ledger of a run in words, for `lab show` and a run's last lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch_lab.utils.text import plural


def rows(ledger: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Which epochs were trained, what of each, what was wrong, and who stopped it."""
    for entry in ledger.get("epochs") or ():
        yield "trained", _epochs(entry, int(ledger.get("processes") or 1))
    if under_way := ledger.get("open"):
        of = "" if under_way.get("planned") is None else f" of {under_way['planned']}"
        yield "", f"epoch {under_way.get('epoch')}: {under_way.get('batches')}{of} batches so far"
    for fault in ledger.get("faults") or ():
        yield "fault", str(fault)
    if stopped := stop(ledger):
        yield "stopped", stopped


def stop(ledger: Mapping[str, Any] | None) -> str | None:
    """Who asked for training's end before a limit was reached, and why."""
    stopped = (ledger or {}).get("stopped")
    if not stopped:
        return None
    why = f": {stopped['why']}" if stopped.get("why") else ""
    return f"by {stopped.get('by')}{why}"


def _epochs(entry: Mapping[str, Any], processes: int) -> str:
    first, last = entry.get("first"), entry.get("last")
    text = f"epoch {first}: " if first == last else f"epochs {first} to {last}, each: "
    text += _count(entry.get("batches"), entry.get("planned"), "batch", "batches")
    if entry.get("samples") is not None:
        samples = _count(entry["samples"], entry.get("planned_samples"), "sample", "samples")
        text += f", {samples}"
    text += f" in {processes} processes" if processes > 1 else ""
    return text + (f"; ended by {entry['ended_by']}" if entry.get("ended_by") else "")


def _count(done: Any, planned: Any, one: str, many: str) -> str:
    if planned is None or planned == done:
        return plural(int(done or 0), one, many)
    return f"{done} of {planned} {many}"
