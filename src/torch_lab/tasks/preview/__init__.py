"""`lab preview`: one batch of an experiment's data as training sees it, drawn and described.

Nothing is trained and nothing recorded. May import what tasks may; matplotlib only where
something is drawn.
"""

from __future__ import annotations

from torch_lab.tasks.preview.previewing import Asked, Preview, preview

__all__ = ["Asked", "Preview", "preview"]
