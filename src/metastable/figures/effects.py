"""Maps of the same effect side by side, one for each contrast or view."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from metastable.errors import InputError
from metastable.figures.grid import bar_footer, bar_under, draw_cells, outline_cells, row_of_maps
from metastable.figures.style import DIVERGING, FONT, WIDTH, signed, styled, wrap
from metastable.figures.tables import (
    call_value,
    head_matrix,
    place,
    select_heads,
    significant,
    strongest,
    symmetric_limits,
)

__all__ = ["effect_maps", "effect_maps_alt"]


def _frames(
    tables: Mapping[str, pd.DataFrame], value: str, site: str | None, threshold: float | None
) -> dict[str, pd.DataFrame]:
    if not tables:
        raise InputError("there is no table; give at least one table of heads with its name")
    return {
        name: select_heads(table, [value, "p_perm_fdr"], site=site, threshold=threshold)
        for name, table in tables.items()
    }


@styled
def effect_maps(
    tables: Mapping[str, pd.DataFrame],
    *,
    value: str = "hedges_g",
    site: str | None = None,
    threshold: float | None = None,
    measure: str = "count",
    alpha: float = 0.05,
) -> Figure:
    """Show several maps of one effect on one scale that is centred at zero.

    Parameters
    ----------
    tables : mapping of str to pandas.DataFrame
        Tables of heads with `value` and ``p_perm_fdr`` by what each is called, two to four of them.
    value : str, default "hedges_g"
        The effect.
    site, threshold, measure, alpha
        As in `difference_map`.

    Returns
    -------
    matplotlib.figure.Figure
        Significant heads are outlined and counted in the titles.

    Raises
    ------
    InputError
        Where the tables hold other layers or heads than one another.
    """
    frames = _frames(tables, value, site, threshold)
    matrices = [head_matrix(frame, value) for frame in frames.values()]
    if len({matrix.shape for matrix in matrices}) > 1:
        raise InputError("the maps must hold the same layers and heads; check the tables")
    titles = [f"{name}: {int(significant(frame, alpha).sum())} of {len(frame)}" for name, frame in frames.items()]
    shape = (matrices[0].shape[0], matrices[0].shape[1])
    label = wrap(f"{call_value(value, measure)}; outlined and counted: significant (FDR {alpha:g})", WIDTH - 0.8, FONT)
    figure, panels, _ = row_of_maps(titles, shape, footer=bar_footer(label))
    norm = Normalize(*symmetric_limits(np.stack(matrices)))
    for i, (axes, frame, matrix) in enumerate(zip(panels, frames.values(), matrices, strict=True)):
        draw_cells(axes, matrix, norm, DIVERGING, layers=i == 0)
        outline_cells(axes, head_matrix(frame, significant(frame, alpha)) == 1)
    bar_under(figure, norm, DIVERGING, label, width=5.2)
    return figure


def effect_maps_alt(
    tables: Mapping[str, pd.DataFrame],
    *,
    value: str = "hedges_g",
    site: str | None = None,
    threshold: float | None = None,
    measure: str = "count",
    alpha: float = 0.05,
) -> str:
    """Say in words what `effect_maps` shows; parameters as there."""
    parts = []
    for name, frame in _frames(tables, value, site, threshold).items():
        largest = strongest(frame, value)
        parts.append(
            f"{name} in {int(significant(frame, alpha).sum())} of {len(frame)} heads "
            f"(largest {signed(largest[value])} in {place(largest)})"
        )
    return (
        f"Maps of the {call_value(value, measure)}; significant after FDR correction at {alpha:g}: {'; '.join(parts)}."
    )
