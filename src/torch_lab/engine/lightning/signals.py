"""Lightning's handlers of signals, kept away: a run has its own.

They would wrap those, tell other processes and wait for them in a collective call inside of a
handler, save there under Slurm, and put back what was before them when a fit is over. No public
argument leaves them out.
"""

from __future__ import annotations

import pytorch_lightning as pl
from pytorch_lightning.trainer.connectors.signal_connector import _SignalConnector


class _None(_SignalConnector):
    def register_signal_handlers(self) -> None:
        self.received_sigterm = False


def handle_no_signals(trainer: pl.Trainer) -> None:
    """Let `trainer` leave all signals to whoever has them."""
    trainer._signal_connector = _None(trainer)
