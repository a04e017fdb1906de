"""Cells with a violin each: how the count of one head spreads over tokens, on an axis from 0 to n."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import ArrayLike, NDArray

from metastable.errors import InputError
from metastable.figures.grid import axes_at, cell_corners, inches, label_axes, outline_cells
from metastable.figures.style import FONT, INK, MUTED, SMALL, WIDTH, NotebookFigure, text_width, wrap
from metastable.heads.modes import count_quartiles

__all__ = [
    "BESIDE",
    "Cells",
    "Look",
    "axis_sentence",
    "checked_cells",
    "checked_pair",
    "draw_violins",
    "footer",
    "note_and_legend",
    "pair_of_grids",
    "row_height",
]

BESIDE = 0.55
"""Inches of a cell: two grids stand side by side where their cells are as wide, one above the other where not."""

_LEFT, _RIGHT, _GAP = 0.58, 0.1, 0.14
# Points of the axis numbers under the cells, with the room above and below them.
_AXIS_ROOM = SMALL + 4
_EDGE, _VIOLIN = "#8c8c8c", "#e4e4e4"


@dataclass(frozen=True)
class Cells:
    """What the violins of one grid show.

    Attributes
    ----------
    histograms : ndarray of int64, shape (n_layers, n_heads, n + 1)
        Number of tokens at each place of the axis.
    quartiles : ndarray of float64, shape (n_layers, n_heads, 3)
        On the axis; NaN for a head without tokens.
    usual_keys : float or None
        None where the axis counts the keys, all n of them; else the axis is in percent of the keys that a query sees,
        usually so many.
    layers : tuple of int
        Number of each layer in the model, from the first row on.
    """

    histograms: NDArray[np.int64]
    quartiles: NDArray[np.float64]
    usual_keys: float | None = None
    layers: tuple[int, ...] = ()

    @property
    def n(self) -> int:
        """The end of the axis."""
        return int(self.histograms.shape[-1]) - 1

    @property
    def shape(self) -> tuple[int, int]:
        """Layers and heads."""
        return int(self.histograms.shape[0]), int(self.histograms.shape[1])

    @property
    def medians(self) -> NDArray[np.float64]:
        """Median of each head on the axis."""
        return self.quartiles[..., 1]

    @property
    def end(self) -> str:
        """What stands at the end of the axis."""
        return str(self.n) if self.usual_keys is None else f"{self.n}%"


@dataclass(frozen=True)
class Look:
    """How the cells of one grid look.

    Attributes
    ----------
    backgrounds : ndarray of str, shape (n_layers, n_heads)
        Colour of each cell.
    corners : ndarray of str, shape (n_layers, n_heads), or None
        What stands at the top left of each cell where there is room.
    across : str
        What the columns are; their heads' numbers where empty.
    """

    backgrounds: NDArray[np.str_]
    corners: NDArray[np.str_] | None = None
    across: str = ""


def checked_cells(
    histograms: ArrayLike,
    n: int | None,
    quartiles: ArrayLike | None = None,
    usual_keys: float | None = None,
    layers: Sequence[int] | None = None,
) -> Cells:
    """Check the histograms of one grid.

    Parameters
    ----------
    histograms : array_like of int, shape (n_layers, n_heads, n_max + 1)
        Number of query tokens with count k at position k, or with so many percent of their keys where `usual_keys` is
        given; position 0 is left out.
    n : int or None
        The end of the axis; ``n_max`` unless given.
    quartiles : array_like of float, shape (n_layers, n_heads, 3), optional
        Where the histograms are rounded; those of the histograms unless given.
    usual_keys : float, optional
        As `Cells` has it.
    layers : sequence of int, optional
        Numbers of the layers in the model, from the first row on; 1, 2, ... unless given.

    Returns
    -------
    Cells

    Raises
    ------
    InputError
        Where the shape is wrong, a count lies above `n`, percents do not end at 100, or a layer has no number.
    """
    table = np.asarray(histograms)
    if table.ndim != 3 or table.shape[-1] < 2:
        raise InputError(f"histograms must have the shape (n_layers, n_heads, n_max + 1); this has {table.shape}")
    length = table.shape[-1] - 1 if n is None else n
    if table[..., length + 1 :].any():
        raise InputError(f"histograms hold counts above n = {length}; give n as the largest possible count")
    if usual_keys is not None and length != 100:
        raise InputError(f"histograms in percent of the keys end at n = 100; this has n = {length}")
    padded = np.zeros((*table.shape[:2], length + 1), dtype=np.int64)
    shared = min(length + 1, table.shape[-1])
    padded[..., 1:shared] = table[..., 1:shared]
    found = count_quartiles(padded) if quartiles is None else np.asarray(quartiles, dtype=np.float64)
    if found.shape != (*table.shape[:2], 3):
        raise InputError(f"quartiles must have the shape {(*table.shape[:2], 3)}; this has {found.shape}")
    numbers = tuple(range(1, len(table) + 1) if layers is None else layers)
    if len(numbers) != len(table):
        raise InputError(f"layers names {len(numbers)} layers and the histograms hold {len(table)}; name each")
    return Cells(padded, found, usual_keys, numbers)


def checked_pair(
    histograms: tuple[ArrayLike, ArrayLike],
    n: int | None,
    quartiles: tuple[ArrayLike, ArrayLike] | None = None,
    usual_keys: float | None = None,
    layers: Sequence[int] | None = None,
) -> tuple[Cells, Cells]:
    """Check the histograms of two grids on one axis, as `checked_cells` does.

    Raises
    ------
    InputError
        As `checked_cells` does, or where the conditions hold different layers or heads.
    """
    first, second = (np.asarray(one) for one in histograms)
    if first.shape[:2] != second.shape[:2]:
        raise InputError(
            f"the conditions hold {first.shape[:2]} and {second.shape[:2]} layers and heads; give the same of both"
        )
    length = max(first.shape[-1], second.shape[-1]) - 1 if n is None else n
    of_a, of_b = (None, None) if quartiles is None else quartiles
    a = checked_cells(first, length, of_a, usual_keys, layers)
    return a, checked_cells(second, length, of_b, usual_keys, layers)


def axis_sentence(cells: Cells) -> str:
    """Say what runs from left to right in a cell, and what its lines and its number are."""
    lines = "lines: its quartiles; number: its median"
    if cells.usual_keys is None:
        return f"Violin: how the count k spreads over tokens, from 0 to {cells.n} keys in each cell; {lines}."
    return (
        "Violin: how the count k spreads over tokens, in percent of the keys that the token's query sees (usually "
        f"{cells.usual_keys:g}), from 0 to 100% in each cell; {lines}."
    )


def _density(
    counts: NDArray[np.int64], points: int, narrowest: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Smooth one histogram of the counts 1..n; return `points` places and heights, the largest height 1."""
    values = np.arange(1, len(counts) + 1, dtype=np.float64)
    total = counts.sum()
    mean = (counts * values).sum() / total
    deviation = np.sqrt((counts * (values - mean) ** 2).sum() / total)
    # Silverman's rule, but never so narrow that the gaps between whole numbers show as waves
    width = max(narrowest, 0.9 * deviation * float(total) ** -0.2)
    seen = values[counts > 0]
    reach = narrowest / 1.1
    places = np.linspace(max(0.0, seen[0] - reach), min(len(counts), seen[-1] + reach), points)
    kernel = np.exp(-0.5 * ((places[:, None] - values) / width) ** 2)
    heights = kernel @ counts
    return places, heights / heights.max()


def _labels(cells: Cells) -> list[NDArray[np.str_]]:
    """Write the medians, ever shorter."""
    medians = np.nan_to_num(cells.medians)
    rounded = np.floor(medians + 0.5)
    whole = np.char.mod("%d", rounded.astype(np.int64))
    if cells.usual_keys is not None:
        return [np.char.add(whole, "%"), whole]
    return [np.char.mod("%g", medians), whole] if cells.n < 100 else [whole]


def _fitting(
    labels: list[NDArray[np.str_]], present: NDArray[np.bool_], width: float, height: float
) -> tuple[NDArray[np.str_], float] | None:
    """Return the first form and size of the medians that fit a cell, or None."""
    for form in labels:
        longest = max((str(text) for text in form[present]), key=len, default="0")
        for size in np.arange(FONT, SMALL - 0.1, -0.5):
            room = 0.34 if size > SMALL else 0.45
            if text_width(longest, float(size), True) < 0.8 * width and size / 72 < room * height:
                return form, float(size)
    return None


def draw_violins(axes: Axes, cells: Cells, look: Look, *, layers: bool = True) -> None:
    """Fill one axes with a violin per head, the first layer at the bottom.

    Parameters
    ----------
    axes : Axes
    cells : Cells
    look : Look
    layers : bool
        Whether the layers' numbers are written.
    """
    n_layers, n_heads = cells.shape
    label_axes(axes, cells.shape, cells.layers if layers else ())
    width, height = inches(axes)
    cell_width, cell_height = width / n_heads, height / n_layers
    gap_x, gap_y = 0.025 / cell_width, 0.025 / cell_height
    present = ~np.isnan(cells.medians)
    for color in np.unique(look.backgrounds[present]):
        corners = cell_corners(present & (look.backgrounds == color), gap_x, gap_y)
        axes.add_collection(
            PolyCollection(list(corners), facecolors=str(color), edgecolors=_EDGE, linewidths=0.5), autolim=False
        )
    fitting = _fitting(_labels(cells), present, cell_width, cell_height)
    size = 0.0 if fitting is None else fitting[1]
    # the number stands above the violin, so that neither hides the other
    head_room = 0.0 if fitting is None else (size / 72 + 0.02) / cell_height
    centre, half = (1 - head_room) / 2, 0.5 * (1 - head_room - 2 * gap_y) * 0.94
    margin = gap_x + 0.02
    scale = (1 - 2 * margin) / cells.n
    # as many points as the eye can tell apart in a cell; thousands of cells make a heavy svg
    points = 61 if cell_width > 0.4 else 33
    narrowest = 0.55 * (1.0 if cells.usual_keys is None else 100 / cells.usual_keys)
    shapes, quarters, medians = [], [], []
    for row, column in zip(*np.nonzero(present), strict=True):
        places, heights = _density(cells.histograms[row, column, 1:], points, narrowest)
        x, middle = column + margin + scale * places, row + centre
        outline = [
            np.concatenate([x, x[::-1]]),
            np.concatenate([middle + half * heights, middle - half * heights[::-1]]),
        ]
        shapes.append(np.column_stack(outline))
        quartiles = cells.quartiles[row, column]
        tall = half * np.interp(quartiles, places, heights)
        ends = [
            [(column + margin + scale * at, middle - up), (column + margin + scale * at, middle + up)]
            for at, up in zip(quartiles, tall, strict=True)
        ]
        quarters += [ends[0], ends[2]]
        medians.append(ends[1])
    thin = 0.6 if cell_width > 0.4 else 0.4
    axes.add_collection(
        PolyCollection(shapes, facecolors=_VIOLIN, edgecolors="#3d3d3d", linewidths=thin), autolim=False
    )
    dashes = (0, (2.2, 1.4))
    axes.add_collection(LineCollection(quarters, colors=INK, linewidths=1.3 * thin, linestyles=[dashes]), autolim=False)
    axes.add_collection(LineCollection(medians, colors=INK, linewidths=2.2 * thin), autolim=False)
    if fitting is not None:
        _write_numbers(axes, present, fitting[0], size, look.corners, (gap_x, gap_y), (cell_width, cell_height))
    _write_axis(axes, cells, cell_width, margin)
    if look.across:
        axes.set_xticks([])
        axes.set_xlabel(look.across, labelpad=_AXIS_ROOM + 2)


def _write_numbers(
    axes: Axes,
    present: NDArray[np.bool_],
    medians: NDArray[np.str_],
    size: float,
    corners: NDArray[np.str_] | None,
    gap: tuple[float, float],
    cell: tuple[float, float],
) -> None:
    """Write each median at the top right of its cell, and what stands at the top left where both fit."""
    longest = max((str(text) for text in medians[present]), key=len, default="")
    taken = text_width(longest, size, True) + 0.12
    if corners is not None:
        widest = max(text_width(str(text), SMALL) for text in corners[present]) if present.any() else 0.0
        corners = corners if widest + taken < cell[0] else None
    for row, column in zip(*np.nonzero(present), strict=True):
        top = row + 1 - gap[1] - 0.015 / cell[1]
        right = column + 1 - gap[0] - 0.03 / cell[0]
        axes.text(right, top, str(medians[row, column]), ha="right", va="top", size=size, color=INK, weight="bold")
        if corners is not None:
            left = column + gap[0] + 0.03 / cell[0]
            axes.text(left, top, str(corners[row, column]), ha="left", va="top", size=SMALL, color=INK)


def _write_axis(axes: Axes, cells: Cells, cell_width: float, margin: float) -> None:
    """Write 0 and n under the cells of the lowest row, where they can be read."""
    axes.tick_params(axis="x", pad=_AXIS_ROOM)
    if text_width("0", SMALL) + text_width(cells.end, SMALL) + 0.08 > cell_width:
        return
    for column in range(cells.shape[1]):
        for at, text, side in ((margin, "0", "left"), (1 - margin, cells.end, "right")):
            place: dict[str, Any] = {"textcoords": "offset points", "ha": side, "va": "top"}
            axes.annotate(text, (column + at, 0), (0, -2.5), size=SMALL, color=MUTED, **place)


def footer(note: str) -> float:
    """Return the inches that axis numbers, head numbers, legend and note need under a grid."""
    return 1.02 + 0.155 * (note.count("\n") + 1)


def row_height(n_layers: int) -> float:
    """Return inches from layer to layer."""
    return 0.5 if n_layers <= 12 else 0.38 if n_layers <= 24 else 0.29


def note_and_legend(figure: Figure, entries: Sequence[tuple[str, str]], note: str) -> None:
    """Write a legend of (colour, words) and a note at the foot of a figure."""
    height = figure.get_size_inches()[1]
    bottom = footer(note) - 0.97
    under = axes_at(figure, 0, bottom, WIDTH, 0.34)
    under.set_axis_off()
    handles = [Patch(facecolor=color, edgecolor=_EDGE, linewidth=0.6, label=words) for color, words in entries]
    under.legend(
        handles=handles, loc="center", ncols=len(handles), handleheight=1.2, handlelength=1.5, columnspacing=1.4
    )
    figure.text(0.5, bottom / height, note, ha="center", va="top", size=FONT - 1, color=MUTED, linespacing=1.3)


def pair_of_grids(
    pair: tuple[Cells, Cells],
    looks: tuple[Look, Look],
    titles: Sequence[str],
    note: str,
    outlined: NDArray[np.bool_] | None = None,
) -> NotebookFigure:
    """Draw two grids, side by side where their cells are then wide enough, one above the other where not.

    Parameters
    ----------
    pair : pair of Cells
    looks : pair of Look
    titles : pair of str
    note : str
        As `note_and_legend` will write it.
    outlined : ndarray of bool, shape (n_layers, n_heads), optional
        Heads with a line around them in both.

    Returns
    -------
    NotebookFigure
    """
    n_layers, n_heads = pair[0].shape
    room = WIDTH - _LEFT - _RIGHT
    beside = (room - _GAP) / 2 / n_heads >= BESIDE
    width = (room - _GAP) / 2 if beside else room
    cell = min(0.64, width / n_heads)
    grid = row_height(n_layers) * n_layers
    foot = footer(note)
    names = [wrap(name, width, FONT + 1, bold=True) for name in titles]
    top = 0.16 + 0.18 * max(name.count("\n") + 1 for name in names)
    # under the upper grid stand its axis numbers and its heads' numbers
    between = 0.58
    figure = NotebookFigure(figsize=(WIDTH, foot + grid + top + (0 if beside else between + grid + top)))
    for i, name in enumerate(names):
        left = _LEFT + (i * (width + _GAP) if beside else 0) + (width - cell * n_heads) / 2
        bottom = foot + (0 if beside or i == 1 else grid + top + between)
        axes = axes_at(figure, left, bottom, cell * n_heads, grid)
        axes.set_title(name, fontsize=FONT + 1, pad=4)
        draw_violins(axes, pair[i], looks[i], layers=i == 0 or not beside)
        if outlined is not None:
            outline_cells(axes, outlined)
    return figure
