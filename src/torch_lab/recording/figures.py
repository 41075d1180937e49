"""Figures of matplotlib and plotly made files."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any

from torch_lab.errors import ConfigurationError
from torch_lab.recording.images import Picture, decoded
from torch_lab.utils.text import shown


@dataclass(frozen=True)
class Interactive:
    """A plotly figure: a page, the data it is made of, and the script that all pages share."""

    page: bytes
    data: bytes
    script: str
    script_text: bytes


def drawn(figure: Any, script_folder: str) -> Picture | Interactive:
    """The figure as an image, or as a page for a browser."""
    if hasattr(figure, "to_plotly_json") and hasattr(figure, "to_html"):
        return _page(figure, script_folder)
    figure = getattr(figure, "figure", None) or figure  # of axes, and what seaborn returns
    if not hasattr(figure, "savefig"):
        raise ConfigurationError(
            f"can't draw {shown(figure)}",
            hint="Give a matplotlib figure or axes, or a plotly figure; arrays go to .image().",
        )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    picture = decoded(buffer.getvalue())
    assert picture is not None
    return picture


def _page(figure: Any, script_folder: str) -> Interactive:
    """plotly's script is 4 MB: once for all pages of a run, not in each of them."""
    from plotly.offline import get_plotlyjs

    text = get_plotlyjs()
    version = re.search(r"plotly\.js v([\w.-]+)", text[:1000])
    script = f"plotly-{version[1]}.min.js" if version else "plotly.min.js"
    page = figure.to_html(include_plotlyjs=f"{script_folder}{script}", full_html=True)
    return Interactive(page.encode(), figure.to_json().encode(), script, text.encode())
