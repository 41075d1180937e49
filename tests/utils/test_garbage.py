"""What is made to stay is looked through by no search, and still known at the end."""

import subprocess
import sys

_IMPORTING = """
import gc, sys
from torch_lab.utils.importing import importing

with importing():
    import pytorch_lightning
    assert not gc.isenabled()
assert gc.isenabled()
print(gc.get_freeze_count() > 100_000, len(gc.get_objects()) < 10_000)

made = [object()]  # as a notebook's: what comes later may go again
frozen = gc.get_freeze_count()
with importing():
    assert gc.isenabled()
print(gc.get_freeze_count() == frozen)
"""

_OF_A_FORK = """
import gc, os
from torch_lab.utils.garbage import made_to_stay, objects

with made_to_stay():
    mine = [[]]
if os.fork() == 0:
    os._exit(any(each is mine for each in objects()))  # it would copy all of them
print(os.waitstatus_to_exitcode(os.wait()[1]), any(each is mine for each in objects()))
"""


def test_what_is_imported_is_passed_over_by_searches() -> None:
    assert _said(_IMPORTING) == "True True\nTrue\n"


def test_it_is_known_at_the_end_where_it_was_made() -> None:
    assert _said(_OF_A_FORK) == "0 True\n"


def test_searches_go_on_after_an_import_that_failed() -> None:
    script = """
import gc
from torch_lab.utils.importing import importing

try:
    with importing():
        import torch_lab_absent
except ImportError:
    print(gc.isenabled(), gc.get_freeze_count())
"""
    assert _said(script) == "True 0\n"


def _said(script: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout
