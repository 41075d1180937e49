"""Sweeps over the tiny project, and what became of their trials."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from typing import Any

from e2e.tiny_project import EXPERIMENT, Lab

SEARCH = f"{EXPERIMENT}/search.py"
STUDY = "00_tiny-search"


def write(lab: Lab, asks: str, **design: Any) -> None:
    """The script of a sweep: what `sweep` returns, and SWEEP."""
    lab.write(
        SEARCH,
        f"""\
from torch_lab.hparams import extend

hparams = extend("hparams.py", {{"trainer.init.max_epochs": 1}})
SWEEP = {design!r}


def sweep(trial):
    return {{{asks}}}
""",
    )


def trials(lab: Lab, *options: str) -> list[dict[str, Any]]:
    """What `--status --json` says of each trial."""
    done = lab.do("lab", "sweep", SEARCH, "--status", "--json", *options)
    assert done.status == 0, done.err
    found: list[dict[str, Any]] = json.loads(done.out)
    return found


def runs(lab: Lab) -> list[dict[str, Any]]:
    """The records of the sweep's runs."""
    found = []
    for file in lab.artifacts.glob("*/run.json"):
        with suppress(FileNotFoundError):  # a run that is taken back as its sweep was killed
            found.append(json.loads(file.read_text()))
    return [record for record in found if (record["sweep"] or {}).get("study") == STUDY]


def check(lab: Lab, count: int, *options: str) -> list[dict[str, Any]]:
    """All trials are there and completed, each has one run, with the trial's hyperparameters."""
    found, records = trials(lab, *options), runs(lab)
    assert [each["trial"] for each in found if each["state"] == "completed"] == [
        each["trial"] for each in found
    ], found
    assert len(found) == count
    times = Counter(record["sweep"]["trial"] for record in records)
    assert times == Counter(each["trial"] for each in found), "a run for each trial, and no other"
    by_trial = {record["sweep"]["trial"]: record for record in records}
    for each in found:
        record = by_trial[each["trial"]]
        assert record["status"] == "completed"
        assert (record["name"], record["overrides"]) == (each["run"], each["overrides"])
    return found
