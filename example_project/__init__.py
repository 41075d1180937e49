"""The example project: handwritten digits, from the raw file to a CSV of predictions.

Folders in the configuration are meant from `ROOT`, so that a run does not depend on where it is
started.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
