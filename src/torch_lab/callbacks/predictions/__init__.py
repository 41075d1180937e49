"""PredictionWriter and what it is made of.

`columns` turns a batch's predictions into columns, `order` knows which samples they are of,
`spill` sorts what comes out of order, `formats` writes, `folder` holds what is unfinished.
"""

from __future__ import annotations

from torch_lab.callbacks.predictions.writer import PredictionWriter

__all__ = ["PredictionWriter"]
