"""What git says of the project: which files count, and what differs from the last commit."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

from torch_lab.store.secrets import mask_text

FORMAT = 1
LARGEST_DIFF = 1_000_000
_TIMEOUT = 20
# Never in a diff, tracked or not.
_SECRET_FILES = (".env*", "*.pem", "*.key", "clearml.conf")


def git_state(root: Path) -> str:
    """Commit, branch, remote and the uncommitted changes of tracked files, secrets masked.

    A text that `git apply` takes; without git or before the first commit it says so.
    """
    top = ask(root, "rev-parse", "--show-toplevel")
    if top is None:
        return _header(state="no git repository here, or no git")
    commit = _commit(root)
    branch = _branch(root)
    facts = {"branch": branch or "detached", "remote": _remote(root, branch)}
    if commit is None:
        return _header(**facts, state="no commit yet")
    diff, cut = _diff(root)
    state = "clean" if not diff else "uncommitted changes follow"
    return _header(commit=commit, **facts, state=state + cut) + (f"\n{diff}" if diff else "")


def head(root: Path) -> dict[str, str]:
    """The commit that is checked out, and its branch; nothing without git, or before the first."""
    commit = _commit(root)
    branch = _branch(root)
    return {} if commit is None else {"commit": commit, "branch": branch or "detached"}


def recorded(diff: Path) -> dict[str, str]:
    """The facts at the head of what `git_state` told; none where there is no such file."""
    facts: dict[str, str] = {}
    try:
        with diff.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if not line.startswith("# "):
                    break
                name, _, value = line[2:].partition(":")
                facts[name.strip()] = value.strip()
    except OSError:
        return {}
    facts.pop("format", None)
    return facts


def listed_files(folder: Path, *, untracked: bool = True) -> list[str] | None:
    """Tracked and untracked files below a folder, relative to it, that git doesn't ignore.

    None where git can't say. A repository within it is listed as a name ending in "/".
    """
    others = ["--others", "--exclude-standard"] if untracked else []
    output = _run(folder, "ls-files", "-z", "--cached", *others)
    if output is None:
        return None
    return sorted({os.fsdecode(name) for name in output.split(b"\0") if name})


def ask(folder: Path, *words: str) -> str | None:
    """The first line of git's answer; None when it has none."""
    output = _run(folder, *words)
    lines = os.fsdecode(output).splitlines() if output else []
    return lines[0] if lines else None


def _commit(root: Path) -> str | None:
    return ask(root, "rev-parse", "--verify", "--quiet", "HEAD")


def _branch(root: Path) -> str | None:
    return ask(root, "symbolic-ref", "--short", "--quiet", "HEAD")


def _remote(root: Path, branch: str | None) -> str:
    """The remote that the branch follows, else origin, else the first there is."""
    followed = ask(root, "config", "--get", f"branch.{branch}.remote") if branch else None
    for name in (followed, "origin", ask(root, "remote")):
        url = ask(root, "remote", "get-url", name) if name else None
        if url:
            return mask_text(url)
    return "none"


def _header(**facts: str) -> str:
    lines = [f"# format: {FORMAT}", *(f"# {name}: {value}" for name, value in facts.items())]
    return "\n".join(lines) + "\n"


def _diff(root: Path) -> tuple[str, str]:
    """The masked diff, and a note when it is cut."""
    words = ["diff", "HEAD", "--no-color", "--no-ext-diff", "--no-textconv", "--submodule=short"]
    words += ["--src-prefix=a/", "--dst-prefix=b/"]
    patterns = [f":(top,exclude,glob)**/{pattern}" for pattern in _SECRET_FILES]
    output = _run(root, *words, "--", ":(top)", *patterns, limit=LARGEST_DIFF + 1)
    if output is None:
        return "", "; git diff failed"
    text = output.decode(errors="surrogateescape")
    if len(output) <= LARGEST_DIFF:
        return mask_text(text), ""
    whole_lines = text[: text.rfind("\n") + 1]
    return mask_text(whole_lines), f", cut after {LARGEST_DIFF:,} bytes"


def _run(folder: Path, *words: str, limit: int = -1) -> bytes | None:
    """What git prints, at most `limit` bytes; None when it fails, is missing or takes too long."""
    try:
        process = subprocess.Popen(
            ["git", "-C", str(folder), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
        )
    except OSError:
        return None
    deadline = threading.Timer(_TIMEOUT, process.kill)
    deadline.daemon = True
    deadline.start()
    try:
        with process:
            output = process.stdout.read(limit) if process.stdout else b""
            cut = 0 < limit <= len(output)
            if cut:
                process.kill()
    finally:
        deadline.cancel()
    return output if cut or process.returncode == 0 else None


def _environment() -> dict[str, str]:
    """Without the variables by which a git hook points at another repository."""
    kept = {name: value for name, value in os.environ.items() if name not in _GIT_VARIABLES}
    return kept | {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}


_GIT_VARIABLES: Sequence[str] = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_PREFIX",
    "GIT_EXTERNAL_DIFF",
)
