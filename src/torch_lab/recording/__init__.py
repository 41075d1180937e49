"""`torch_lab.record()`: what experiment code adds to the record of the run under way.

May import store and what is below it; torch, matplotlib and plotly only inside functions.
"""

from __future__ import annotations

from torch_lab.recording.recorder import NullRecorder, Recorder, record

__all__ = ["NullRecorder", "Recorder", "record"]
