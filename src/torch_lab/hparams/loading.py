"""From a hyperparameter script to checked, frozen hyperparameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch_lab.hparams.checking import check
from torch_lab.hparams.layering import script_hparams
from torch_lab.hparams.overriding import override
from torch_lab.hparams.sections import Hparams
from torch_lab.utils.dev_run import set_hparams_debug_overrides
from torch_lab.utils.paths import display


def load(
    path: Path, *, overrides: Sequence[str] = (), dev_run: int | float | None = None
) -> Hparams:
    """The script's hyperparameters, checked, with `--set` overrides and `--dev-run` over them."""
    hparams = check(script_hparams(path), path)
    if not overrides and dev_run is None:
        return hparams
    changed = hparams.as_dict()
    override(changed, overrides)
    if dev_run is not None:
        changed = set_hparams_debug_overrides(changed, dev_run)
    options = " ".join(f"--set {text}" for text in overrides)
    return replace(check(changed, f"{display(path)} {options}".strip()), path=path)
