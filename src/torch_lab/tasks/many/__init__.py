"""`train A B C`: several scripts on a pool's slots, a live table of them, a summary at the end.

May import the pool and what reads runs; torch only to count GPUs and where scripts do.
"""

from torch_lab.tasks.many.training import train_many

__all__ = ["train_many"]
