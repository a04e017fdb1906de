"""The effect maps of two studies and their difference, on one scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from metastable.figures.grid import bar_footer, bar_under, draw_cells, outline_cells, row_of_maps
from metastable.figures.style import DIVERGING, FONT, WIDTH, signed, styled, wrap
from metastable.figures.tables import call_value, head_matrix, place, select_heads, strongest, symmetric_limits

__all__ = ["effect_maps", "effect_maps_alt"]

_PANELS = (
    ("hedges_g_first", "p_perm_fdr_first"),
    ("hedges_g_second", "p_perm_fdr_second"),
    ("g_difference", "p_difference_fdr"),
)


def _columns() -> list[str]:
    return [column for pair in _PANELS for column in pair]


@styled
def effect_maps(
    joined: pd.DataFrame,
    *,
    names: Sequence[str] = ("first study", "second study"),
    site: str | None = None,
    threshold: float | None = None,
    alpha: float = 0.05,
    effect: str = "hedges_g",
) -> Figure:
    """Show every head's effect in two studies, and the difference of both, on the same scale.

    Parameters
    ----------
    joined : pandas.DataFrame
        As `metastable.comparison.join_heads` returns it.
    names : pair of str
        What the studies are called.
    site, threshold
        Which rows; may be left out where the table holds one.
    alpha : float, default 0.05
        Heads below it after FDR correction are outlined and counted in the titles.
    effect : str, default "hedges_g"
        What the effect is called, as a column or in words.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        Where a column is missing or the choice of rows is ambiguous.
    """
    frame = select_heads(joined, _columns(), site=site, threshold=threshold)
    values = [frame[value].to_numpy(float) for value, _ in _PANELS]
    matrices = [head_matrix(frame, np.where(np.isfinite(value), value, np.nan)) for value in values]
    found = [(frame[p] < alpha).to_numpy(bool) for _, p in _PANELS]
    shown = (names[0], names[1], "difference")
    titles = [f"{name}: {int(n.sum())} of {len(frame)}" for name, n in zip(shown, found, strict=True)]
    label = wrap(
        f"{call_value(effect)}, one scale for all three; outlined and counted: significant (FDR {alpha:g})",
        WIDTH - 0.8,
        FONT,
    )
    figure, panels, _ = row_of_maps(titles, (matrices[0].shape[0], matrices[0].shape[1]), footer=bar_footer(label))
    norm = Normalize(*symmetric_limits(np.stack(matrices)))
    for i, (axes, matrix, here) in enumerate(zip(panels, matrices, found, strict=True)):
        draw_cells(axes, matrix, norm, DIVERGING, layers=i == 0)
        outline_cells(axes, head_matrix(frame, here) == 1)
    bar_under(figure, norm, DIVERGING, label, width=5.2)
    return figure


def effect_maps_alt(
    joined: pd.DataFrame,
    *,
    names: Sequence[str] = ("first study", "second study"),
    site: str | None = None,
    threshold: float | None = None,
    alpha: float = 0.05,
    effect: str = "hedges_g",
) -> str:
    """Say in words what `effect_maps` shows; parameters as there."""
    frame = select_heads(joined, _columns(), site=site, threshold=threshold)
    parts = []
    for name, (value, p) in zip((names[0], names[1], f"{names[0]} minus {names[1]}"), _PANELS, strict=True):
        part = f"{name}, {int((frame[p] < alpha).sum())} of {len(frame)} heads"
        if np.isfinite(frame[value]).any():
            largest = strongest(frame[np.isfinite(frame[value])], value)
            part += f" (largest {signed(largest[value])} in {place(largest)})"
        parts.append(part)
    return (
        f"Three maps of {call_value(effect)} on one scale, layers by heads; significant after FDR correction at "
        f"{alpha:g}: {'; '.join(parts)}."
    )
