"""The state of a training at each boundary, as digests, for `lab check --drill` to compare.

No ordinary run imports this. What is seen is meant to be all that decides how training goes on:
what goes into a batch, what comes out, weights, optimizers, schedulers, metrics, random
generators, and attributes of the user's objects, also those that no checkpoint could hold.
"""

from __future__ import annotations

from torch_lab.engine.fingerprints.witness import Witness

__all__ = ["Witness"]
