"""Faults of one rank, as the environment asks: RANK_FAULT=RANK:STAGE.HOOK:STEPS:KIND.

They befall that rank there, after so many optimizer steps. "config" stands for STAGE.HOOK before
there is either. KIND is "raises", "exits", a signal's name, or "all" and that.
"""

from __future__ import annotations

import os
import signal

import pytorch_lightning as pl


def _fault() -> tuple[str, str, int, str] | None:
    rank, *rest = os.environ.get("RANK_FAULT", "").split(":")
    if rank != os.environ.get("LOCAL_RANK", "0"):
        return None
    where, steps, kind = rest
    return *where.partition(".")[::2], int(steps), kind


def at_config() -> None:
    """What befalls a rank before it has joined the others."""
    fault = _fault()
    if fault is not None and fault[0] == "config":
        _strike(fault[-1])


def striking() -> list[pl.Callback]:
    """A callback that fails in one rank, if the environment names it."""
    names = {name for name in vars(pl.Callback) if name.startswith("on_")}
    return [type("Strikes", (pl.Callback,), {name: _hook(name) for name in names})()]


def _hook(name: str):
    def hook(self: pl.Callback, trainer: pl.Trainer, *args: object, **kwargs: object) -> None:
        fault = _fault()  # rank 0 has no LOCAL_RANK before it starts the others
        if fault is None or fault[:2] != (trainer.state.fn, name):
            return
        if trainer.global_step >= fault[2]:
            _strike(fault[3])

    return hook


def _strike(kind: str) -> None:
    if kind == "raises":
        raise ValueError("a bad rank")
    if kind == "exits":
        os._exit(3)
    whom, _, name = kind.rpartition(" ")
    if whom == "all":
        os.killpg(0, getattr(signal, name))
    else:
        os.kill(os.getpid(), getattr(signal, name))
