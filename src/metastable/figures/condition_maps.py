"""Maps of the mean of every head, one for each of several conditions, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from metastable.errors import InputError
from metastable.figures.grid import bar_footer, bar_under, draw_cells, outline_cells, row_of_maps
from metastable.figures.head_tables import (
    Limits,
    head_matrix,
    layer_numbers,
    measure_of,
    select_heads,
    shared_limits,
    significant,
)
from metastable.figures.style import FONT, SEQUENTIAL, WIDTH, alt_of, drawing, fixed, level, wrap
from metastable.measures import call_measure, label_measure

__all__ = ["condition_maps", "condition_maps_alt"]


def _frame(
    heads: pd.DataFrame,
    conditions: Sequence[str],
    site: str | None,
    threshold: float | None,
    measure: str | None,
) -> tuple[pd.DataFrame, list[str]]:
    """Rows of the table, and the column of every condition."""
    if not conditions:
        raise InputError("there is no condition; name at least one")
    columns = [f"mean_{name}" for name in conditions]
    return select_heads(heads, [*columns, "p_perm_fdr"], site=site, threshold=threshold, measure=measure), columns


@drawing
def condition_maps(
    heads: pd.DataFrame,
    conditions: Sequence[str],
    *,
    site: str | None = None,
    threshold: float | None = None,
    measure: str | None = None,
    alpha: float = 0.05,
    limits: Limits | None = None,
) -> Figure:
    """Show the mean of every head in each of several conditions, on one scale.

    Parameters
    ----------
    heads : pandas.DataFrame
        One row per site, layer, head, threshold and measure, with ``mean_NAME`` of every condition and ``p_perm_fdr``
        of the test over all of them.
    conditions : sequence of str
        Names of those that are shown, two to four of them.
    site, threshold, measure
        Which rows; may be left out where the table holds one.
    alpha : float, default 0.05
        Heads with ``p_perm_fdr < alpha`` are outlined in every map.
    limits : pair of float, optional
        Ends of the colour scale.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        Where a column is missing, no condition is named, or the choice of rows is ambiguous.
    """
    frame, columns = _frame(heads, conditions, site, threshold, measure)
    matrices = [head_matrix(frame, column) for column in columns]
    found = head_matrix(frame, significant(frame, alpha)) == 1
    called = label_measure(measure_of(frame), float(frame["threshold"].iloc[0]))
    label = wrap(
        f"mean {called}, one scale for all; outlined: the conditions differ (FDR {level(alpha)})", WIDTH - 0.8, FONT
    )
    figure, panels, _ = row_of_maps(list(conditions), (len(found), len(found[0])), footer=bar_footer(label))
    norm = Normalize(*(limits or shared_limits(frame, columns)))
    for place, (axes, matrix) in enumerate(zip(panels, matrices, strict=True)):
        draw_cells(axes, matrix, norm, SEQUENTIAL, layer_numbers(frame) if place == 0 else ())
        outline_cells(axes, found)
    bar_under(figure, norm, SEQUENTIAL, label, width=5.2)
    return figure


@alt_of(condition_maps)
def condition_maps_alt(
    heads: pd.DataFrame,
    conditions: Sequence[str],
    *,
    site: str | None = None,
    threshold: float | None = None,
    measure: str | None = None,
    alpha: float = 0.05,
) -> str:
    """Say in words what `condition_maps` shows; parameters as there."""
    frame, columns = _frame(heads, conditions, site, threshold, measure)
    means = frame[columns].replace([np.inf, -np.inf], np.nan).mean()
    digits = 1 if means.abs().max() >= 10 else 2
    each = ", ".join(f"{name} {fixed(mean, digits)}" for name, mean in zip(conditions, means, strict=True))
    return (
        f"Maps of the mean {call_measure(measure_of(frame))} of every head, one for each condition; on average over "
        f"heads: {each}. The conditions differ in {int(significant(frame, alpha).sum())} of {len(frame)} heads after "
        f"FDR correction at {level(alpha)}."
    )
