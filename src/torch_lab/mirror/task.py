"""What a run's task shows beside its events: pure translation of the record and its files."""

from __future__ import annotations

import json
import platform
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from torch_lab.mirror.hyperparams import SECTION
from torch_lab.mirror.hyperparams import as_hyperparams as as_hyperparams
from torch_lab.mirror.hyperparams import from_hyperparams as from_hyperparams
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import Record
from torch_lab.store.secrets import mask, mask_command, mask_text

FAMILY = "torch-lab"  # a system tag of every run's task, by which all are listed
_SHORTEST_NAME = 3  # the server refuses shorter ones, of a project that holds others too
_TYPES = (
    "training testing inference data_processing application monitor controller optimizer service"
    " qc custom"
)
_LARGEST_SCRIPT = 1_000_000  # a document of the server's database holds 16 MB


def definition(run: RunDirectory, record: Record) -> dict[str, Any]:
    """The fields of the task for tasks.create and tasks.edit, without project and parent."""
    environment = _environment(run)
    fields: dict[str, Any] = {
        "name": record.name.ljust(_SHORTEST_NAME, "_"),
        "type": task_type(record),
        "tags": _tags(record),
        "system_tags": [FAMILY, run_tag(record.id)],
        "comment": _comment(record),
        "hyperparams": {SECTION: as_hyperparams(record.hparams)},
        "configuration": _configuration(run, record, environment),
        "script": _script(run, record, environment),
        "runtime": _runtime(environment),
    }
    if record.queued is not None and record.queued.get("agent"):
        del fields["script"]  # what the agent runs, and would run again for a copy of the task
        fields["runtime"] |= abortable(record)
    return fields


def abortable(record: Record) -> dict[str, Any]:
    """What tells an agent to wait until the run has saved before it kills what it aborts.

    The SDK has it for its abort callbacks; a process that ends by itself ends the wait.
    """
    queued = record.queued or {}
    return {
        "_abort_callback_timeout": float(queued.get("patience") or 0.0),
        "_abort_poll_freq": 5.0,
        "_abort_callback_completed": "",
        "_exec_agent_hostname": record.host,
    }


def project_name(record: Record) -> str:
    """The project that the task belongs into; dev runs are in "test"."""
    if record.dev_run is not None:
        return "test"
    name = str(_task_section(record).get("project_name") or record.experiment)
    parts = [part for part in mask_text(name).strip().split("/") if part.strip()]
    first, *below = parts or ["torch-lab"]
    return "/".join([first.ljust(_SHORTEST_NAME, "_"), *below])


def run_tag(run_id: str) -> str:
    """The system tag by which a run's task is found again, half-made ones too."""
    return f"torch-lab-run:{run_id}"


def task_type(record: Record) -> str:
    """The type that hparams say, in the server's words; training where they are silent."""
    given = _task_section(record).get("task_type")
    if given is None:
        return "training" if record.dev_run is None else "testing"
    words = re.findall(r"\w+", str(given).lower())  # clearml's enum may have been kept by its repr
    return words[-1] if words and words[-1] in _TYPES.split() else "custom"


def ending(status: str, reason: str | None) -> tuple[str, dict[str, Any]]:
    """The call that gives a task the status that its run ended with, and what to say with it."""
    call, usual = _ENDINGS[status]
    said = mask_text(reason) if reason else usual
    message = said if status in ("completed", "failed") else f"{status}: {said}"
    return call, {"force": True, "status_reason": message[:_LONGEST], "status_message": status}


def ended(content: Mapping[str, Any]) -> tuple[str, str | None]:
    """The status of the run that a task mirrors, and why: `ending` and the like read back."""
    status, said = str(content.get("status")), str(content.get("status_message") or "")
    found = _STATUSES.get(status, "starting")
    if said in _ENDINGS and _ENDINGS[said][0] == f"tasks.{status}":
        found = said
    reason = str(content.get("status_reason") or "").removeprefix(f"{found}: ")
    return found, reason or None


_STATUSES = {"in_progress": "running", "stopped": "aborted", "queued": "queued"}
_STATUSES |= {"failed": "failed", "unknown": "lost"}
_STATUSES |= dict.fromkeys(("completed", "closed", "published", "publishing"), "completed")
_LONGEST = 2000
_ENDINGS = {
    "completed": ("tasks.completed", "completed"),
    "failed": ("tasks.failed", "failed"),
    "incomplete": ("tasks.failed", "it ended before every planned step was executed"),
    "lost": ("tasks.failed", "its process died without a word"),
    "aborted": ("tasks.stopped", "stopped by a signal"),
}


def _task_section(record: Record) -> Mapping[str, Any]:
    section = record.hparams.get("task")
    return section if isinstance(section, Mapping) else {}


def _tags(record: Record) -> list[str]:
    given = _task_section(record).get("tags") or ()
    tags = [given] if isinstance(given, str) else list(given)
    return [mask_text(str(tag)) for tag in tags]


def _comment(record: Record) -> str:
    # The server's own times are those of the sending, which may be days later.
    created = datetime.fromtimestamp(record.created, UTC)
    lines = [f"torch-lab run on {record.host}, {created:%Y-%m-%d %H:%M:%S} UTC"]
    lines.append(" ".join(mask_command(record.command)))
    if record.parent is not None:
        lines.append(f"from {record.parent.name}:{record.parent.checkpoint}")
    return "\n".join(lines)


# -- configuration objects ----------------------------------------------------------------------


def _configuration(
    run: RunDirectory, record: Record, environment: Mapping[str, Any]
) -> dict[str, dict[str, str]]:
    scripts = _scripts(run, record)
    objects = {name: _object(name, "py", text, "as it was") for name, text in scripts.items()}
    if environment:
        text = json.dumps(mask(environment), indent=1, ensure_ascii=False)
        objects["environment"] = _object("environment", "json", text, "the machine and packages")
    return objects


def _object(name: str, kind: str, text: str, description: str) -> dict[str, str]:
    return {"name": name, "type": kind, "value": text, "description": description}


def _scripts(run: RunDirectory, record: Record) -> dict[str, str]:
    """The experiment's two scripts by their file names, from the bundle, where they are masked."""
    hparams = PurePosixPath(record.script)
    wanted = {(hparams.parent / name).as_posix(): name for name in ("__main__.py", hparams.name)}
    try:
        with tarfile.open(run.source_bundle) as archive:
            return {wanted[path]: text for path, text in _members(archive, set(wanted))}
    except (OSError, EOFError, tarfile.TarError, zlib.error):
        return {}  # there is none yet, or it is damaged: the rest can be shown all the same


def _members(archive: tarfile.TarFile, wanted: set[str]) -> Iterator[tuple[str, str]]:
    for member in archive:
        file = archive.extractfile(member) if member.name in wanted and member.isfile() else None
        if file is not None:
            yield member.name, file.read(_LARGEST_SCRIPT).decode(errors="replace")
            wanted.discard(member.name)
        if not wanted:
            return


# -- git, packages, machine -------------------------------------------------------------------


def _script(run: RunDirectory, record: Record, environment: Mapping[str, Any]) -> dict[str, Any]:
    facts, diff = _git(run)
    return {
        "binary": _binary(environment),
        "repository": _without_user(facts.get("remote", "")),
        "branch": "" if facts.get("branch") == "detached" else facts.get("branch", ""),
        "version_num": facts.get("commit", ""),
        "entry_point": record.script,
        "working_dir": ".",
        "diff": diff,
        "requirements": {"pip": _requirements(environment)},
    }


def _git(run: RunDirectory) -> tuple[dict[str, str], str]:
    """What the head of git.diff says, and the changes below it."""
    try:
        text = run.git_diff.read_bytes().decode(errors="replace")
    except OSError:
        return {}, ""
    head, _, diff = text.partition("\n\n")
    lines = (line.removeprefix("# ").partition(": ") for line in head.splitlines())
    return {name: value for name, _, value in lines}, mask_text(diff)


def _without_user(remote: str) -> str:
    scheme, separator, rest = remote.partition("://")
    if remote == "none" or not separator:
        return "" if remote == "none" else remote
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}" if scheme != "ssh" else remote


def _binary(environment: Mapping[str, Any]) -> str:
    version = str(_part(environment, "python").get("version") or platform.python_version())
    return f"python{'.'.join(version.split('.')[:2])}"


def _requirements(environment: Mapping[str, Any]) -> str:
    packages = _part(environment, "packages")
    return "".join(f"{name}=={version}\n" for name, version in packages.items())


def _environment(run: RunDirectory) -> dict[str, Any]:
    try:
        content = json.loads(run.environment_file.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _part(environment: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = environment.get(name)
    return part if isinstance(part, Mapping) else {}


def _runtime(environment: Mapping[str, Any]) -> dict[str, Any]:
    """The machine, under the names that the SDK gives it and the web page shows."""
    python, cpu = _part(environment, "python"), _part(environment, "cpu")
    gpus = [gpu for gpu in environment.get("gpus") or () if isinstance(gpu, Mapping)]
    memory = _part(environment, "memory").get("total")
    facts = {
        "OS": environment.get("platform"),
        "hostname": environment.get("host"),
        "python_version": python.get("version"),
        "python_exec": python.get("executable"),
        "processor": cpu.get("model"),
        "cpu_cores": cpu.get("cores"),
        "memory_gb": round(memory / 2**30, 1) if memory else None,
        "gpu_count": len(gpus) if environment else None,
        "gpu_type": ", ".join(str(gpu.get("name")) for gpu in gpus),
        "gpu_memory": ", ".join(f"{round((gpu.get('memory') or 0) / 2**30)}GB" for gpu in gpus),
        "gpu_driver_version": gpus[0].get("driver") if gpus else None,
        "gpu_driver_cuda_version": _part(environment, "cuda").get("torch") if gpus else None,
    }
    return {name: value for name, value in facts.items() if value not in (None, "")}
