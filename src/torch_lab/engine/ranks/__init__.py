"""The processes of one run: rank 0 leads, the others follow.

Each follower has a channel to the lead, beside what torch sends between them: for signals, for
exceptions, for the boundary at which all stop, and to notice when a process is gone.
"""

from torch_lab.engine.ranks.agreement import NOTHING, Ranks, Wish
from torch_lab.engine.ranks.failures import RankFailed
from torch_lab.engine.ranks.follower import Follower, is_follower
from torch_lab.engine.ranks.lead import Lead

__all__ = ["NOTHING", "Follower", "Lead", "RankFailed", "Ranks", "Wish", "is_follower"]
