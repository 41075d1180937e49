"""Images and tables as plotly figures, laid out as the SDK lays out its own."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

_WIDTH = 640


def image(url: str, title: str, size: tuple[int, int], caption: str | None) -> dict[str, Any]:
    """A figure that shows nothing but an image."""
    width, height = size
    height = int(_WIDTH * (height or 480) / (width or 640))
    picture = {"source": url, "x": 0, "y": height, "sizex": _WIDTH, "sizey": height}
    place = {"xref": "x", "yref": "y", "opacity": 1.0, "sizing": "contain", "layer": "below"}
    layout = {
        "xaxis": {"visible": False, "range": [0, _WIDTH]},
        "yaxis": {"visible": False, "range": [0, height], "scaleanchor": "x"},
        "margin": {"l": 0, "r": 0, "t": 64, "b": 0},
        "images": [picture | place],
        "showlegend": False,
        "title": _with_note(title, caption),
    }
    return {"data": [], "layout": layout}


def table(rows: Sequence[Sequence[str]], title: str, name: str, note: str = "") -> dict[str, Any]:
    """A table; the first row is its head."""
    head, *body = rows or [[]]
    look = {"family": "Heebo, verdana, arial, sans-serif"}
    header = {
        "values": list(head),
        "align": "left",
        "line": {"width": 0.5, "color": "#d4d6e0"},
        "fill": {"color": "#fff"},
        "font": {**look, "size": 12, "color": "#333"},
    }
    cells = {
        "values": [list(column) for column in zip(*body, strict=False)],
        "height": 30,
        "align": "left",
        "line": {"color": "white", "width": 1},
        "font": {**look, "size": 14, "color": "#384161"},
    }
    layout = {"title.text": title, "title": _with_note(name, note)}
    return {"data": [{"type": "table", "header": header, "cells": cells}], "layout": layout}


def path_of(url: str) -> str:
    """A URL without its server: what the SDK calls the key of a file."""
    parts = urlsplit(url)
    return urlunsplit(("", "", parts.path, parts.query, parts.fragment))


def _with_note(title: str, note: str | None) -> str:
    return f"{title}<br><sup>{html.escape(note)}</sup>" if note else title
