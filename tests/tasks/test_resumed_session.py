"""The books of a run that is gone on with: what is found under its lock counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from store.store_helpers import everything_in, new_run, write_record
from torch_lab.errors import UsageError
from torch_lab.settings import Settings
from torch_lab.tasks import session


def test_a_run_that_ended_while_its_lock_was_waited_for(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    write_record(run, status="completed")
    before = everything_in(run.path)
    settings = Settings(tmp_path, tmp_path)
    with pytest.raises(UsageError, match="is completed: there is nothing to resume"):
        session.resumed(cast(Any, None), settings, run).__enter__()
    assert everything_in(run.path) == before
