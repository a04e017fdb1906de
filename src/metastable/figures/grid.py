"""Drawing cells: one per head, the first layer at the bottom, as large as the page allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from metastable.errors import InputError
from metastable.figures.style import FONT, INK, SMALL, TITLE, WIDTH, NotebookFigure, color_map, ink_on, text_width, wrap

__all__ = [
    "GAP",
    "LEFT",
    "RIGHT",
    "axes_at",
    "bar_footer",
    "bar_under",
    "cell_corners",
    "cell_text",
    "color_bar",
    "draw_cells",
    "inches",
    "label_axes",
    "one_map",
    "outline_cells",
    "page",
    "row_of_maps",
    "ticks",
]

LEFT, RIGHT, GAP = 0.62, 0.16, 0.14
"""Inches left and right of a grid, and between two."""


def axes_at(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Add axes placed in inches from the figure's lower left corner."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


def page(axes: Axes) -> Figure:
    """Return the figure that axes lie on."""
    figure = axes.get_figure(root=True)
    if figure is None:
        raise InputError("these axes were removed from their figure; draw on axes of a figure")
    return figure


def inches(axes: Axes) -> tuple[float, float]:
    """Return width and height of axes in inches."""
    box = axes.get_position()
    across, up = page(axes).get_size_inches()
    return float(box.width * across), float(box.height * up)


def ticks(n: int, cell: float, label: float) -> list[int]:
    """Return which of 1..n get a tick label, where a cell is `cell` and a label `label` inches long."""
    for step in (1, 2, 5, 10, 20, 50, 100):
        if step * cell >= label:
            break
    if step == 2:
        return list(range(1, n + 1, 2))
    rounded = [i for i in range(step, n + 1, step) if (i - 1) * cell >= label or step == 1]
    return rounded if step == 1 else [1, *rounded]


def label_axes(axes: Axes, shape: tuple[int, int], layers: Sequence[int] = ()) -> None:
    """Write the layers' numbers, if given, upwards and head numbers to the right, as many as can be read."""
    n_layers, n_heads = shape
    width, height = inches(axes)
    axes.set_xlim(0, n_heads)
    axes.set_ylim(0, n_layers)
    widest = text_width(str(n_heads), FONT - 1)
    across = ticks(n_heads, width / n_heads, widest * 1.5)
    up = ticks(n_layers, height / n_layers, 1.5 * (FONT - 1) / 72)
    axes.set_xticks([i - 0.5 for i in across], [str(i) for i in across])
    axes.set_yticks([i - 0.5 for i in up], [str(layers[i - 1]) for i in up] if layers else [])
    axes.tick_params(length=0, pad=3)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("head", labelpad=2)
    if layers:
        axes.set_ylabel("layer", labelpad=3)


def draw_cells(
    axes: Axes, matrix: NDArray[np.float64], norm: Normalize, name: str, layers: Sequence[int] = ()
) -> Colormap:
    """Colour one cell per head and label the axes, that of the layers if given; cells without a head stay blank."""
    colors = color_map(name).with_extremes(bad=(1, 1, 1, 0))
    edges = [np.arange(n + 1) for n in matrix.shape]
    thin = min(size / n for size, n in zip(inches(axes), matrix.shape[::-1], strict=True)) < 0.16
    axes.pcolormesh(
        edges[1],
        edges[0],
        np.ma.masked_invalid(matrix),
        cmap=colors,
        norm=norm,
        edgecolors="white",
        linewidth=0.3 if thin else 0.8,
    )
    label_axes(axes, (matrix.shape[0], matrix.shape[1]), layers)
    return colors


def cell_corners(matrix: NDArray[np.bool_], inset_x: float = 0.0, inset_y: float = 0.0) -> NDArray[np.float64]:
    """Return the corners of the cells that are true, shape (n, 4, 2), drawn in by a share of a cell."""
    row, column = np.nonzero(matrix)
    left, right = column + inset_x, column + 1 - inset_x
    low, high = row + inset_y, row + 1 - inset_y
    return np.stack(
        [np.stack(pair, axis=-1) for pair in ((left, low), (right, low), (right, high), (left, high))], axis=1
    ).astype(np.float64)


def outline_cells(axes: Axes, matrix: NDArray[np.bool_], *, color: str = INK) -> None:
    """Draw a dark line just inside the cells that are true."""
    if not matrix.any():
        return
    across, up = (size / n for size, n in zip(inches(axes), matrix.shape[::-1], strict=True))
    line = 1.2 if min(across, up) >= 0.12 else 0.7
    inset = 0.5 * line / 72 + 0.008
    corners = cell_corners(matrix, inset / across, inset / up)
    axes.add_collection(
        PolyCollection(list(corners), facecolors="none", edgecolors=color, linewidths=line, joinstyle="miter"),
        autolim=False,
    )


def cell_text(
    axes: Axes, matrix: NDArray[np.float64], colors: Colormap, norm: Normalize, forms: Sequence[NDArray[Any]]
) -> bool:
    """Write a number into each cell, in the first of several forms that can be read there.

    Parameters
    ----------
    axes : Axes
        As `draw_cells` left it.
    matrix : ndarray, shape (n_layers, n_heads)
        What the cells are coloured by; NaN where there is none.
    colors, norm
        What colours them.
    forms : sequence of ndarray of str, shape (n_layers, n_heads)
        The same numbers written ever shorter.

    Returns
    -------
    bool
        Whether there was room; if not, nothing is written.
    """
    across, up = (size / n for size, n in zip(inches(axes), matrix.shape[::-1], strict=True))
    present = np.isfinite(matrix)
    for form in forms:
        longest = max((str(text) for text in form[present]), key=len, default="0")
        for size in np.arange(FONT, SMALL - 0.1, -0.5):
            if text_width(longest, float(size)) <= 0.88 * across and 1.35 * size / 72 <= up:
                for row, column in zip(*np.nonzero(present), strict=True):
                    ink = ink_on(colors(norm(matrix[row, column])))
                    axes.text(
                        column + 0.5,
                        row + 0.5,
                        str(form[row, column]),
                        ha="center",
                        va="center_baseline",
                        fontsize=size,
                        color=ink,
                    )
                return True
    return False


def color_bar(axes: Axes, norm: Normalize, name: str, label: str) -> None:
    """Draw a horizontal colour bar that fills `axes`."""
    bar = page(axes).colorbar(ScalarMappable(norm, color_map(name)), cax=axes, orientation="horizontal", label=label)
    bar.outline.set_visible(False)
    # without edges of their own the steps show white seams in vector graphics
    if bar.solids is not None:
        bar.solids.set_edgecolor("face")
    bar.ax.tick_params(length=2, pad=2, labelsize=FONT - 1)
    # a narrow bar has no room for six labels with digits
    bar.ax.xaxis.set_major_locator(MaxNLocator(nbins=6 if inches(axes)[0] > 2 else 4, steps=[1, 2, 5, 10]))


def one_map(
    shape: tuple[int, int], title: str, footer: float, *, row: float | None = None
) -> tuple[NotebookFigure, Axes]:
    """Return a figure of the page's width and the axes of its one grid.

    Parameters
    ----------
    shape : (n_layers, n_heads)
    title : str
        Broken into lines where it is long.
    footer : float
        Inches under the grid.
    row : float, optional
        Inches from layer to layer.
    """
    n_layers, n_heads = shape
    each = row or (0.36 if n_layers <= 12 else 0.27 if n_layers <= 24 else 0.2)
    room = WIDTH - LEFT - RIGHT
    width, height = min(0.62, room / n_heads) * n_heads, each * n_layers
    text = wrap(title, room, TITLE, bold=True)
    lines = text.split("\n")
    top = 0.16 + 0.2 * len(lines)
    figure = NotebookFigure(figsize=(WIDTH, height + footer + top))
    left = LEFT + (room - width) / 2
    # the title begins where the grid does, unless it needs more room
    start = min(left, WIDTH - RIGHT - max(text_width(line, TITLE, True) for line in lines))
    figure.text(start / WIDTH, 1 - 0.08 / (height + footer + top), text, va="top", size=TITLE, weight="bold")
    return figure, axes_at(figure, left, footer, width, height)


def bar_footer(label: str) -> float:
    """Return the inches that head numbers and a colour bar with this label need under a grid."""
    return 0.9 + 0.16 * (label.count("\n") + 1)


def bar_under(figure: Figure, norm: Normalize, name: str, label: str, *, width: float = 4.2) -> None:
    """Draw a colour bar at the middle of the foot of a figure."""
    bottom = bar_footer(label) - 0.6
    color_bar(axes_at(figure, LEFT + (WIDTH - LEFT - RIGHT - width) / 2, bottom, width, 0.12), norm, name, label)


def row_of_maps(
    titles: Sequence[str], shape: tuple[int, int], footer: float
) -> tuple[NotebookFigure, list[Axes], float]:
    """Return a figure with grids side by side, their axes, and the width of each in inches."""
    n_layers = shape[0]
    cell = 0.15 if n_layers <= 12 else 0.105 if n_layers <= 24 else 0.075
    height = max(0.34, n_layers * cell)
    width = (WIDTH - LEFT - RIGHT - GAP * (len(titles) - 1)) / len(titles)
    texts = [wrap(title, width - 0.06, FONT + 1, bold=True) for title in titles]
    top = 0.14 + 0.18 * max(text.count("\n") + 1 for text in texts)
    figure = NotebookFigure(figsize=(WIDTH, footer + height + top))
    panels = []
    for i, text in enumerate(texts):
        axes = axes_at(figure, LEFT + i * (width + GAP), footer, width, height)
        axes.set_title(text, fontsize=FONT + 1, pad=5)
        panels.append(axes)
    return figure, panels, width
