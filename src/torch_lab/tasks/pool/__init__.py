"""Several `train …` commands at a time, on slots: a GPU each, or a share of the cores.

    slots.py    what a command may use       starter.py  the process that they are forked from
    jobs.py     a command, and how it ended  starting.py its other end
    pool.py     starts, watches, ends them   child.py    the command's side
    memory.py   whom the system killed

Imports no torch; starter.py does, in a process of its own.
"""

from torch_lab.tasks.pool.jobs import Ended, Job, Running
from torch_lab.tasks.pool.pool import Pool
from torch_lab.tasks.pool.slots import Slot, slots

__all__ = ["Ended", "Job", "Pool", "Running", "Slot", "slots"]
