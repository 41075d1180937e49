"""Loaders that go on exactly where they were cut off.

Randomness has an address: the order of an epoch follows from (seed, epoch), and what fetching,
transforming and collating a batch draw from Python, numpy and torch follows from (seed, epoch,
rank, batch). Neither depends on the number of workers or on how often training was restarted.
May import torch.
"""

from torch_lab.data.exact import NotExact, make_exact
from torch_lab.data.loader import DataLoader
from torch_lab.data.randomness import address_seed, seeded

__all__ = ["DataLoader", "NotExact", "address_seed", "make_exact", "seeded"]
