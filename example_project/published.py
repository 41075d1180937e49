"""A folder as a ClearML Dataset: published for others, and fetched from them.

ClearML's SDK waits without end for a server that is away. Here it works in a process of its own,
which is ended when the time is up; so no script and no training hangs.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

PROJECT = "digits"
SOON = 10.0  # seconds for the server to answer at all
SLOWEST = 100_000  # bytes a second of a connection that is worth waiting for

# What a new Python runs; the last line that it prints is the answer, in JSON.
REACH = """
from clearml.backend_api import Session
Session()
print("true")
"""
PUBLISH = """
import json, sys
from clearml import Dataset
folder, project, name = sys.argv[1:]
dataset = Dataset.create(dataset_project=project, dataset_name=name)
dataset.add_files(folder)
dataset.upload(show_progress=False)
dataset.finalize()
print(json.dumps(dataset.id))
"""
FETCH = """
import json, sys
from clearml import Dataset
project, name = sys.argv[1:]
which = {"dataset_project": project, "dataset_name": name} if project else {"dataset_id": name}
print(json.dumps(Dataset.get(only_completed=True, **which).get_local_copy()))
"""


class UnavailableError(Exception):
    """No server that answers, or no such Dataset on it; the message says which."""


def publish(folder: Path, name: str) -> str:
    """Upload the files of a folder as a Dataset's next version; return its id."""
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    ask(REACH, seconds=SOON)
    return ask(PUBLISH, str(folder), PROJECT, name, seconds=60 + size / SLOWEST)


@cache
def fetched(dataset: str | None, otherwise: str) -> str:
    """Return a folder with a Dataset; the other one where none is named, or none can be had."""
    if dataset is None:
        return otherwise
    try:
        folder = fetch(dataset)
    except UnavailableError as error:
        print(f"ClearML Dataset {dataset}: {error}; {otherwise} is used")
        return otherwise
    print(f"ClearML Dataset {dataset} is in {folder}")
    return str(folder)


def fetch(dataset: str, seconds: float = 600.0) -> Path:
    """Return a folder with the newest version of a Dataset, or with the one that has this id."""
    by_id = re.fullmatch(r"[0-9a-f]{32}", dataset) is not None
    ask(REACH, seconds=SOON)
    return Path(ask(FETCH, "" if by_id else PROJECT, dataset, seconds=seconds))


def ask(code: str, *arguments: str, seconds: float) -> str:
    """Run code that uses ClearML's SDK, for so long at most; return its answer."""
    command = [sys.executable, "-c", code, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"the ClearML server didn't answer in {seconds:.0f} s") from None
    if done.returncode:
        raise UnavailableError(reason(done.stderr))
    answer: str = json.loads(done.stdout.splitlines()[-1])
    return answer


def reason(said: str) -> str:
    """Return the first line of the exception at the end of what was printed."""
    found = re.findall(r"^[\w.]*(?:Error|Exception|Failure)\w*: (.+)$", said, re.MULTILINE)
    return found[-1] if found else "ClearML's SDK failed"
