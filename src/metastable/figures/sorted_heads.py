"""Heads of every model sorted by their effect within each layer: what can be compared where heads have no number."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from metastable.figures.grid import axes_at, bar_footer, bar_under, draw_cells
from metastable.figures.head_tables import require_columns, symmetric_limits
from metastable.figures.style import DIVERGING, FONT, WIDTH, NotebookFigure, alt_of, drawing, signed, wrap

__all__ = ["sorted_maps", "sorted_maps_alt"]

_ACROSS = 4
_MOST = 16
_GAP, _LEFT, _RIGHT = 0.42, 0.5, 0.12


def _matrices(heads: pd.DataFrame) -> dict[str, tuple[NDArray[np.float64], list[int]]]:
    """Return one grid a model and site, layers upwards and ranks to the right, with the numbers of its layers."""
    require_columns(heads, ["model", "site", "layer", "rank", "g"], "the table of sorted heads")
    found = {}
    sites = heads.groupby("model")["site"].nunique()
    for (model, site), rows in heads.groupby(["model", "site"], sort=False):
        layer = rows["layer"].rank(method="dense").astype(int).to_numpy() - 1
        rank = rows["rank"].to_numpy(dtype=int) - 1
        matrix = np.full((layer.max() + 1, rank.max() + 1), np.nan)
        matrix[layer, rank] = np.where(np.isfinite(rows["g"]), rows["g"], np.nan)
        found[f"{model}, {site}" if sites[str(model)] > 1 else str(model)] = (
            matrix,
            sorted(rows["layer"].unique().tolist()),
        )
    return found


@drawing
def sorted_maps(heads: pd.DataFrame, *, effect: str = "Hedges' g") -> Figure:
    """Show every model's heads sorted within their layers, on one scale.

    Parameters
    ----------
    heads : pandas.DataFrame
        One row per model and head: ``model, site, layer, rank, g``, as
        `metastable.heads.model_tables.sorted_heads` returns it.
    effect : str
        What the effect is called.

    Returns
    -------
    matplotlib.figure.Figure
        One map a model, the first 16 of them; layer 1 at the bottom, the least effect of a layer at the left.

    Raises
    ------
    InputError
        Where a column is missing.
    """
    matrices = dict(list(_matrices(heads).items())[:_MOST])
    across = min(_ACROSS, len(matrices))
    width = min(2.6, (WIDTH - _LEFT - _RIGHT - _GAP * (across - 1)) / across)
    height = 0.085 * min(24, max(matrix.shape[0] for matrix, _ in matrices.values())) + 0.45
    titles = [wrap(name, width, FONT, bold=True) for name in matrices]
    top = 0.14 + 0.17 * max(title.count("\n") + 1 for title in titles)
    rows = math.ceil(len(matrices) / across)
    label = wrap(f"{effect}, one scale for all; heads sorted within their layer", WIDTH - 0.8, FONT)
    footer = bar_footer(label)
    figure = NotebookFigure(figsize=(WIDTH, rows * (height + top) + (rows - 1) * 0.3 + footer))
    norm = Normalize(*symmetric_limits(np.concatenate([matrix.ravel() for matrix, _ in matrices.values()])))
    for place, (title, (matrix, layers)) in enumerate(zip(titles, matrices.values(), strict=True)):
        row, column = divmod(place, across)
        bottom = footer + (rows - 1 - row) * (height + top + 0.3)
        axes = axes_at(figure, _LEFT + column * (width + _GAP), bottom, width, height)
        axes.set_title(title, fontsize=FONT, pad=4)
        draw_cells(axes, matrix, norm, DIVERGING, layers)
        axes.set_ylabel("layer" if column == 0 else "", labelpad=2)
        axes.set_xlabel("rank in its layer" if place + across >= len(matrices) else "", labelpad=2)
    bar_under(figure, norm, DIVERGING, label, width=4.2)
    return figure


@alt_of(sorted_maps)
def sorted_maps_alt(heads: pd.DataFrame, *, effect: str = "Hedges' g") -> str:
    """Say in words what `sorted_maps` shows; parameters as there."""
    parts = []
    for name, (matrix, _) in list(_matrices(heads).items())[:_MOST]:
        low, middle, high = np.nanquantile(matrix, [0, 0.5, 1])
        parts.append(f"{name} {signed(low)} to {signed(high)} (median {signed(middle)})")
    return f"Maps of {effect} with heads sorted within their layers: {'; '.join(parts)}."
