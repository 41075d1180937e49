"""Every touch of Lightning's private parts, and why each is needed.

Nothing outside of this folder names what Lightning keeps to itself; tests/engine/test_boundaries.py
fails when one of these touches stops fitting.
"""

from __future__ import annotations

from torch_lab.engine.lightning.finders import Finder, finder_of, search_bar_on_terminals_only
from torch_lab.engine.lightning.logged import logged_state, restore_logged_state
from torch_lab.engine.lightning.loops import Boundary, install_loops, skip_idle_hooks
from torch_lab.engine.lightning.parts import (
    is_setting_up,
    keep_files_below,
    no_checkpoint_of_its_own_choice,
    spawns_ranks,
)
from torch_lab.engine.lightning.progress import (
    accumulating,
    batches_done,
    in_mid_epoch,
    logged_step,
    tell_epoch,
)
from torch_lab.engine.lightning.steps import Step, in_a_loop, step_of

__all__ = [
    "Boundary",
    "Finder",
    "Step",
    "accumulating",
    "batches_done",
    "finder_of",
    "in_a_loop",
    "in_mid_epoch",
    "install_loops",
    "is_setting_up",
    "keep_files_below",
    "logged_state",
    "logged_step",
    "no_checkpoint_of_its_own_choice",
    "restore_logged_state",
    "search_bar_on_terminals_only",
    "skip_idle_hooks",
    "spawns_ranks",
    "step_of",
    "tell_epoch",
]
