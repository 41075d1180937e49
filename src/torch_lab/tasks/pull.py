"""`lab pull`: a run that only the server knows, brought here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch_lab.errors import RunNotFound, UsageError
from torch_lab.settings import Settings
from torch_lab.store import find
from torch_lab.store.find import StoredRun
from torch_lab.utils.paths import display

if TYPE_CHECKING:
    from torch_lab.mirror.finding import Model, Task
    from torch_lab.mirror.pulling import Pulled


def pull(text: str, settings: Settings, say: Callable[[str], None]) -> Pulled:
    """Bring the run here that the text names on the server, or finish one that is here in part."""
    here = _here(text, settings)
    # This process asks the server itself: it neither trains nor lists.
    from torch_lab.mirror import finding, pulling
    from torch_lab.mirror.server import Server

    if here is not None:
        pulling.refuse_whole(here)
    server = Server.connect()
    task_id = find.task_of(here) if here is not None else None
    found = finding.find(server, [(task_id or text, None)], prefer_runs=True)
    if found is None:
        raise RunNotFound(
            f'no run "{text}" in {display(settings.artifacts)}, and the ClearML server at'
            f" {server.host} has no task of that name",
            hint="`lab runs --server` lists the runs that it has.",
        )
    task, _ = found
    if task.run_id is None:
        raise _no_run(task, finding.models(server, task))
    return pulling.pull(server, task, settings.artifacts, lost_after=settings.lost_after, say=say)


def _no_run(task: Task, known: Sequence[Model]) -> UsageError:
    """What a task is good for that is no run."""
    from torch_lab.mirror import finding

    words = finding.typed(task, known)[:1]
    return UsageError(
        f"task {task.title} ({task.id}) is no run of torch-lab 2: {finding.has(known)}",
        hint=f"Its checkpoints are fetched when they are named: {words[0]}" if words else None,
    )


def _here(text: str, settings: Settings) -> StoredRun | None:
    try:
        return find.resolve(text, settings.artifacts, cwd=Path.cwd())[0]
    except RunNotFound as error:
        if not error.unknown:
            raise
        return None


def describe(pulled: Pulled) -> str:
    """What was brought, and what was not."""
    record = pulled.record
    lines = [
        f"run {record.name} (id {record.id[:8]}, {record.status})"
        f" in {display(pulled.directory.path)}"
    ]
    names = ", ".join(entry.name for entry in record.checkpoints)
    lines.append(f"  checkpoints   {names or 'none'}")
    if pulled.missing:
        lines.append(f"  not on the server: {', '.join(pulled.missing)}")
    lines += [f"  can't be used: {what}" for what in pulled.failed]
    return "\n".join(lines) + "\n"
