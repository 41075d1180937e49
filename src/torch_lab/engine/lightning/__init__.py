"""Every touch of Lightning's private parts, and why each is needed.

Nothing outside of this folder names what Lightning keeps to itself; tests/engine/test_boundaries.py
fails when one of these touches stops fitting.
"""

from __future__ import annotations

from torch_lab.engine.lightning.counting import Tally, follow_loaders, planned_batches, tally
from torch_lab.engine.lightning.finders import Finder, finder_of, search_bar_on_terminals_only
from torch_lab.engine.lightning.launcher import Company, launch_by
from torch_lab.engine.lightning.logged import logged_state, restore_logged_state
from torch_lab.engine.lightning.loops import Boundary, install_loops, skip_idle_hooks
from torch_lab.engine.lightning.parts import (
    is_setting_up,
    keep_files_below,
    no_checkpoint_of_its_own_choice,
    saves_shards,
    shards,
    spawns_ranks,
)
from torch_lab.engine.lightning.progress import (
    accumulating,
    batches_done,
    in_mid_epoch,
    logged_step,
    tell_epoch,
)
from torch_lab.engine.lightning.signals import handle_no_signals
from torch_lab.engine.lightning.steps import Step, in_a_loop, step_of
from torch_lab.engine.lightning.stopping import (
    Stop,
    Trainer,
    ending_of,
    epochs_done,
    step_limit,
    stop_in_force,
)

__all__ = [
    "Boundary",
    "Company",
    "Finder",
    "Step",
    "Stop",
    "Tally",
    "Trainer",
    "accumulating",
    "batches_done",
    "ending_of",
    "epochs_done",
    "finder_of",
    "follow_loaders",
    "handle_no_signals",
    "in_a_loop",
    "in_mid_epoch",
    "install_loops",
    "is_setting_up",
    "keep_files_below",
    "launch_by",
    "logged_state",
    "logged_step",
    "no_checkpoint_of_its_own_choice",
    "planned_batches",
    "restore_logged_state",
    "saves_shards",
    "search_bar_on_terminals_only",
    "shards",
    "skip_idle_hooks",
    "spawns_ranks",
    "step_limit",
    "step_of",
    "stop_in_force",
    "tally",
    "tell_epoch",
]
