"""A preview as a PNG file: images in a grid, signals as lines, all else as a table."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from torch_lab.tasks.preview.batches import Array
from torch_lab.tasks.preview.cells import MANY_CURVES, Cell, Group, Table
from torch_lab.tasks.table import cut

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DPI = 110
_WIDTH, _MARGIN, _GAP = 11.0, 0.3, 0.12  # inches
_HEADER, _FOOTER, _NAME = 0.55, 0.22, 0.34
_TITLE, _CAPTION = 0.24, 0.2
_ROW = 0.26
_INK, _FAINT, _BAND, _LINE = "#1f2328", "#768390", "#f3f5f7", "#d0d7de"
_CURVES = ("#0b6bcb", "#d9730d", "#2b8a3e", "#c92a2a", "#7048e8", "#846358", "#c2255c", "#74791a")
_SIGNAL = 1.15  # a signal's height
_DRAWN = 1500  # points of a curve that can be told apart
_AXIS = 0.2  # the numbers below a signal


def png(title: str, groups: Sequence[Group]) -> bytes:
    """The picture's file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    blocks = [_block(group) for group in groups]
    named = len(groups) > 1
    width = _width(blocks, title)
    height = _HEADER + _MARGIN + sum(block.height + _extra(block, named) for block in blocks)
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    page = _Page(figure, width, height)
    page.text(_MARGIN, 0.34, title, size=12, weight="bold")
    top = _HEADER
    for block in blocks:
        top = _drawn(page, block, top, named)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*[Gg]lyph")  # of scripts that the font has not
        figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()


class _Page:
    """A figure measured in inches from its upper left corner."""

    def __init__(self, figure: Figure, width: float, height: float) -> None:
        self.figure, self.width, self.height = figure, width, height

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        bottom = self.height - top - height
        box = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(box)

    def text(self, left: float, top: float, text: str, **style: Any) -> None:
        # Without parse_math a "$" in somebody's label would be taken for a formula.
        style = {"color": _INK, "va": "baseline", "parse_math": False, **style}
        self.figure.text(left / self.width, 1 - top / self.height, text, **style)


class _Block:
    """A group with its size."""

    def __init__(self, group: Group, width: float, height: float) -> None:
        self.group, self.width, self.height = group, width, height

    def draw(self, page: _Page, top: float) -> None:
        """Draw it below `top`."""
        raise NotImplementedError


class _Grid(_Block):
    """Cells of one size."""

    def __init__(self, group: Group, cells: Sequence[Cell]) -> None:
        self.cells = cells
        self.columns = _columns(cells)
        room = _WIDTH - 2 * _MARGIN - _GAP * (self.columns - 1)
        self.cell = min(room / self.columns, 3.0 if cells[0].pictures else 5.0)
        self.inside = self.cell * _aspect(cells) if cells[0].pictures else _SIGNAL
        self.head = _TITLE if any(each.title for each in cells) else 0.06
        self.axis = 0.0 if cells[0].pictures else _AXIS
        self.foot = self.axis + (_CAPTION if any(each.caption for each in cells) else 0.06)
        rows = -(-len(cells) // self.columns)
        width = self.columns * self.cell + (self.columns - 1) * _GAP
        super().__init__(group, width, rows * (self.head + self.inside + self.foot))

    def draw(self, page: _Page, top: float) -> None:
        """Draw each sample, its label above and which one it is below."""
        limits = _limits(self.cells)
        for number, cell in enumerate(self.cells):
            row, column = divmod(number, self.columns)
            left = _MARGIN + column * (self.cell + _GAP)
            upper = top + row * (self.head + self.inside + self.foot) + self.head
            axes = page.axes(left, upper, self.cell, self.inside)
            _cell(axes, cell, limits)
            middle = left + self.cell / 2
            room = int(self.cell * 12)
            page.text(middle, upper - 0.06, cut(cell.title, room), size=9.5, ha="center")
            below = upper + self.inside + self.axis + 0.14
            caption = cut(cell.caption, int(self.cell * 15))
            page.text(middle, below, caption, size=7, ha="center", color=_FAINT)


class _Rows(_Block):
    """A table."""

    def __init__(self, group: Group, table: Table) -> None:
        lengths = [max(map(len, column)) for column in zip(*_even(table.rows), strict=True)]
        self.rows = _even(table.rows)
        self.widths = [0.2 + 0.078 * length for length in lengths]
        super().__init__(group, sum(self.widths), _ROW * len(table.rows) + 0.1)

    def draw(self, page: _Page, top: float) -> None:
        """Draw the rows, every other one on a band."""
        from matplotlib.patches import Rectangle

        for number, row in enumerate(self.rows):
            upper = top + number * _ROW
            if number % 2:
                corner = (_MARGIN / page.width, 1 - (upper + _ROW) / page.height)
                size = (self.width / page.width, _ROW / page.height)
                band = Rectangle(corner, *size, color=_BAND, transform=page.figure.transFigure)
                page.figure.add_artist(band)
            left = _MARGIN
            for text, width in zip(row, self.widths, strict=True):
                style = {"color": _FAINT, "weight": "bold"} if not number else {}
                at = {"family": "monospace", "size": 9}
                page.text(left + 0.08, upper + 0.18, text, **at, **style)
                left += width


def _block(group: Group) -> _Block:
    if isinstance(group.content, Table):
        return _Rows(group, group.content)
    return _Grid(group, group.content)


def _drawn(page: _Page, block: _Block, top: float, named: bool) -> float:
    if named:
        page.text(_MARGIN, top + 0.2, block.group.name, size=10.5, weight="bold", color=_FAINT)
        top += _NAME
    block.draw(page, top)
    top += block.height
    for said in block.group.said:
        page.text(_MARGIN, top + 0.16, said, size=8, color=_FAINT)
        top += _FOOTER
    return top


def _extra(block: _Block, named: bool) -> float:
    return _FOOTER * len(block.group.said) + (_NAME if named else 0.0)


def _width(blocks: Sequence[_Block], title: str) -> float:
    """As wide as the widest block; no line of text may be cut off."""
    said = [text for block in blocks for text in block.group.said]
    texts = [0.105 * len(title), *(0.065 * len(text) for text in said)]
    return max([block.width for block in blocks] + texts) + 2 * _MARGIN


def _columns(cells: Sequence[Cell]) -> int:
    if not cells[0].pictures:
        return min(len(cells), 4 if len(cells) > 4 else 2)
    beside = len(cells[0].pictures)
    most = (8 if len(cells) <= 32 else 12) // beside
    return min(len(cells), most)


def _aspect(cells: Sequence[Cell]) -> float:
    """Height over width that the tallest of the cells needs, within reason."""
    shapes = [_row(each.pictures).shape for each in cells]
    tallest: float = max(height / width for height, width, *_ in shapes)
    return min(tallest, 3.0)


def _row(pictures: Sequence[Array]) -> Array:
    """Pictures side by side, the smaller ones enlarged, a white line between them."""
    height = max(each.shape[0] for each in pictures)
    made: list[Array] = []
    for each in pictures:
        larger = _enlarged(each, height)
        made += [np.ones((height, max(larger.shape[1] // 32, 1), 3)), larger] if made else [larger]
    return np.concatenate(made, axis=1)


def _enlarged(picture: Array, height: int) -> Array:
    if picture.shape[0] == height:
        return picture
    width = max(round(picture.shape[1] * height / picture.shape[0]), 1)
    rows = np.arange(height) * picture.shape[0] // height
    columns = np.arange(width) * picture.shape[1] // width
    enlarged: Array = picture[rows][:, columns]
    return enlarged


def _cell(axes: Axes, cell: Cell, limits: tuple[float, float] | None) -> None:
    if cell.pictures:
        _picture(axes, cell)
    else:
        _signal(axes, cell, limits)


def _picture(axes: Axes, cell: Cell) -> None:
    from matplotlib.patches import Rectangle

    axes.axis("off")
    axes.imshow(_row(cell.pictures), interpolation="auto", interpolation_stage="data")
    for x0, y0, x1, y1 in cell.boxes if cell.boxes is not None else ():
        size = (x1 - x0, y1 - y0)
        color = _CURVES[1]
        axes.add_patch(Rectangle((x0, y0), *size, fill=False, edgecolor=color, linewidth=1.4))


def _signal(axes: Axes, cell: Cell, limits: tuple[float, float] | None) -> None:
    from matplotlib.patheffects import withStroke

    assert cell.curves is not None
    length = cell.curves.shape[1]
    if len(cell.curves) > MANY_CURVES:
        thin = cell.curves[:, :: -(-length // _DRAWN)]
        extent = (0, length - 1, len(thin) - 0.5, -0.5)
        axes.imshow(thin, aspect="auto", interpolation="auto", cmap="viridis", extent=extent)
    else:
        for number, curve in enumerate(cell.curves):
            color = _CURVES[number % len(_CURVES)]
            axes.plot(*_thinned(curve), color=color, linewidth=0.9)
        for curve in cell.target if cell.target is not None else ():
            axes.plot(*_thinned(curve), color=_INK, linewidth=0.9, linestyle="--")
        axes.set_xlim(0, max(length - 1, 1))
        if limits is not None:
            axes.set_ylim(*limits)
    axes.tick_params(labelsize=6.5, colors=_FAINT, length=2, width=0.5, pad=1.5, direction="in")
    axes.tick_params(axis="y", pad=-3)
    axes.set_axisbelow(False)
    for label in axes.get_yticklabels():
        label.set_horizontalalignment("left")
        label.set_path_effects([withStroke(linewidth=2.5, foreground="white")])  # over curves
    for spine in axes.spines.values():
        spine.set(color=_LINE, linewidth=0.8)


def _thinned(curve: Array) -> tuple[Array, Array]:
    """Places and values of a curve; of a long one the least and the greatest of each stretch."""
    stretch = len(curve) // _DRAWN
    if stretch < 2:
        return np.arange(len(curve)), curve
    parts = curve[: len(curve) // stretch * stretch].reshape(-1, stretch)
    places = np.repeat(np.arange(len(parts)) * stretch, 2)
    return places, np.stack([parts.min(axis=1), parts.max(axis=1)], axis=1).ravel()


def _limits(cells: Sequence[Cell]) -> tuple[float, float] | None:
    """One scale for all curves, so that a loud one looks loud."""
    curves = [each for cell in cells for each in (cell.curves, cell.target) if each is not None]
    values = np.concatenate([each.ravel() for each in curves]) if curves else np.empty(0)
    finite = values[np.isfinite(values)]
    if not finite.size:
        return None
    low, high = float(finite.min()), float(finite.max())
    pad = 0.06 * (high - low) or 0.5
    return low - pad, high + pad


def _even(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    width = max(map(len, rows))
    return [[*row, *[""] * (width - len(row))] for row in rows]
