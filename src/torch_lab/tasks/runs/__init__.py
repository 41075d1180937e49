"""`lab runs`: the runs there are, filtered, sorted, grouped, as a table or as data.

Imports the store and the tables of tasks, nothing that takes long.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch_lab.store.find import StoredRun
from torch_lab.store.record import QUEUED
from torch_lab.tasks.runs.data import as_data as as_data
from torch_lab.tasks.runs.data import run_data as run_data
from torch_lab.tasks.runs.filters import Condition as Condition
from torch_lab.tasks.runs.filters import Filter as Filter
from torch_lab.tasks.runs.filters import parse_filter as parse_filter
from torch_lab.tasks.runs.filters import select as select
from torch_lab.tasks.runs.groups import group_keys as group_keys
from torch_lab.tasks.runs.groups import split as split
from torch_lab.tasks.runs.judging import MODES as MODES
from torch_lab.tasks.runs.judging import contenders as contenders
from torch_lab.tasks.runs.judging import mode_of as mode_of
from torch_lab.tasks.runs.judging import ranked as ranked
from torch_lab.tasks.runs.judging import require_metric as require_metric
from torch_lab.tasks.runs.live import live as live
from torch_lab.tasks.runs.meaning import duration as duration
from torch_lab.tasks.runs.meaning import known_keys as known_keys
from torch_lab.tasks.runs.meaning import metrics_of as metrics_of
from torch_lab.tasks.runs.meaning import values_of as values_of
from torch_lab.tasks.runs.table import nothing as nothing
from torch_lab.tasks.runs.table import table as table
from torch_lab.tasks.runs.words import is_filter as is_filter
from torch_lab.tasks.runs.words import is_pattern as is_pattern
from torch_lab.tasks.runs.words import like as like
from torch_lab.tasks.runs.words import none_found as none_found
from torch_lab.tasks.runs.words import offer_all as offer_all
from torch_lab.tasks.slurm_queue import as_slurm_says


def told(runs: Sequence[StoredRun], *, again: bool = False) -> list[StoredRun]:
    """The runs, those that wait in a queue with what Slurm or the ClearML server says."""
    found = as_slurm_says(runs)
    if any(run.status == QUEUED for run in found):
        from torch_lab.tasks.queue_status import as_the_server_says

        found = as_the_server_says(found, again=again)
    return found
