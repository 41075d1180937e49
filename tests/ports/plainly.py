"""A program under plain Lightning: `plainly.py PROGRAM RESULT [exact]`.

Saves the weights that it ends with. With `exact` its loaders have torch_lab's order and draws;
nothing else of torch-lab takes part.
"""

from __future__ import annotations

import runpy
import sys
from typing import Any

import pytorch_lightning as pl
import torch
import torch.utils.data

from torch_lab.data import DataLoader

PROGRAM, RESULT, *EXACT = sys.argv[1:]
_fit = pl.Trainer.fit


def fit(trainer: pl.Trainer, model: Any, *args: Any, **kwargs: Any) -> None:
    _fit(trainer, model, *args, **kwargs)
    torch.save(model.state_dict(), RESULT)


pl.Trainer.fit = fit  # type: ignore[method-assign]
if EXACT:
    torch.utils.data.DataLoader = DataLoader  # type: ignore[misc]
sys.argv = [PROGRAM]
runpy.run_path(PROGRAM, run_name="__main__")
