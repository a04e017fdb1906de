"""Layers by heads: from a table of heads to a grid of cells, layer 1 at the bottom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from metastable.errors import InputError
from metastable.figures.style import FONT, INK, SMALL, color_map, ink_on, text_width

__all__ = [
    "axes_at",
    "cell_corners",
    "cell_text",
    "color_bar",
    "draw_cells",
    "head_matrix",
    "label_axes",
    "outline_cells",
    "require_columns",
    "select_heads",
    "ticks",
]

_KEYS = ("site", "layer", "head", "threshold")


def require_columns(table: pd.DataFrame, columns: Sequence[str], name: str) -> None:
    """Raise `InputError` where a table is empty or lacks a column."""
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise InputError(f"{name} lacks the column {missing[0]!r}; it has {', '.join(map(str, table.columns))}")
    if table.empty:
        raise InputError(f"{name} is empty; give at least one row")


def select_heads(
    heads: pd.DataFrame,
    columns: Sequence[str] = (),
    *,
    site: str | None = None,
    threshold: float | None = None,
) -> pd.DataFrame:
    """Return the rows of one site and threshold.

    Parameters
    ----------
    heads : pandas.DataFrame
        One row per site, layer, head and threshold.
    columns : sequence of str
        Columns that the caller reads, beside the keys.
    site : str, optional
        May be left out where the table holds one site.
    threshold : float, optional
        May be left out where the table holds one threshold.

    Returns
    -------
    pandas.DataFrame
        One row per layer and head.

    Raises
    ------
    InputError
        Where a column is missing, the choice is ambiguous or matches nothing, or a head occurs twice.
    """
    require_columns(heads, (*_KEYS, *columns), "the table of heads")
    for key, wanted in (("site", site), ("threshold", threshold)):
        found = heads[key].unique().tolist()
        listed = ", ".join(map(str, found))
        if wanted is None and len(found) > 1:
            raise InputError(f"the table of heads holds several of {key} ({listed}); choose one by {key}=")
        if wanted is not None:
            rows = np.isclose(heads[key], wanted) if key == "threshold" else heads[key] == wanted
            heads = heads[rows]
            if heads.empty:
                raise InputError(f"the table of heads has no {key} {wanted!r}; it holds {listed}")
    twice = heads.duplicated(["layer", "head"])
    if twice.any():
        row = heads[twice].iloc[0]
        raise InputError(f"layer {row['layer']} head {row['head']} occurs twice; give one row a head")
    return heads


def head_matrix(heads: pd.DataFrame, values: str | NDArray[Any]) -> NDArray[np.float64]:
    """Lay one value per head out as a grid.

    Parameters
    ----------
    heads : pandas.DataFrame of n rows
        Of one site and threshold, as `select_heads` returns it.
    values : str or array, shape (n,)
        A column's name, or the values themselves.

    Returns
    -------
    numpy.ndarray of float64, shape (n_layers, n_heads)
        Layer 1 in row 0; NaN where there is no such head.
    """
    layer, head = heads["layer"].to_numpy(int), heads["head"].to_numpy(int)
    if layer.min() < 1 or head.min() < 1:
        raise InputError("layers and heads count from 1; a smaller number was found")
    matrix = np.full((layer.max(), head.max()), np.nan)
    matrix[layer - 1, head - 1] = heads[values] if isinstance(values, str) else values
    return matrix


def axes_at(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Add axes placed in inches from the figure's lower left corner."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


def _inches(axes: Axes) -> tuple[float, float]:
    box = axes.get_position()
    across, up = axes.figure.get_size_inches()
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


def label_axes(axes: Axes, shape: tuple[int, int], *, layers: bool = True) -> None:
    """Number layers upwards and heads to the right, as many as can be read."""
    n_layers, n_heads = shape
    width, height = _inches(axes)
    axes.set_xlim(0, n_heads)
    axes.set_ylim(0, n_layers)
    widest = text_width(str(n_heads), FONT - 1)
    across = ticks(n_heads, width / n_heads, widest * 1.5)
    up = ticks(n_layers, height / n_layers, 1.5 * (FONT - 1) / 72)
    axes.set_xticks([i - 0.5 for i in across], [str(i) for i in across])
    axes.set_yticks([i - 0.5 for i in up], [str(i) for i in up] if layers else [])
    axes.tick_params(length=0, pad=3)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("head", labelpad=2)
    if layers:
        axes.set_ylabel("layer", labelpad=3)


def draw_cells(axes: Axes, matrix: NDArray[np.float64], norm: Normalize, name: str, *, layers: bool = True) -> Colormap:
    """Colour one cell per head and label the axes; cells without a head stay blank."""
    colors = color_map(name).with_extremes(bad=(1, 1, 1, 0))
    edges = [np.arange(n + 1) for n in matrix.shape]
    thin = min(size / n for size, n in zip(_inches(axes), matrix.shape[::-1], strict=True)) < 0.12
    axes.pcolormesh(
        edges[1],
        edges[0],
        np.ma.masked_invalid(matrix),
        cmap=colors,
        norm=norm,
        edgecolors="white",
        linewidth=0.25 if thin else 0.8,
    )
    label_axes(axes, (matrix.shape[0], matrix.shape[1]), layers=layers)
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
    across, up = (size / n for size, n in zip(_inches(axes), matrix.shape[::-1], strict=True))
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
    across, up = (size / n for size, n in zip(_inches(axes), matrix.shape[::-1], strict=True))
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
    bar = axes.figure.colorbar(ScalarMappable(norm, color_map(name)), cax=axes, orientation="horizontal", label=label)
    bar.outline.set_visible(False)  # type: ignore[operator]
    # without edges of their own the steps show white seams in vector graphics
    bar.solids.set_edgecolor("face")
    bar.ax.tick_params(length=2, pad=2, labelsize=FONT - 1)
    bar.ax.xaxis.set_major_locator(_few_ticks())


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10])
