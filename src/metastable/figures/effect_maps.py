"""Maps of the same effect side by side: of contrasts, of views, of two studies and their difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from metastable.errors import InputError
from metastable.figures.grid import bar_footer, bar_under, draw_cells, outline_cells, row_of_maps
from metastable.figures.head_tables import (
    HEADS,
    Limits,
    call_column,
    head_matrix,
    layer_numbers,
    place,
    require_columns,
    select_heads,
    significant,
    strongest,
    symmetric_limits,
)
from metastable.figures.style import DIVERGING, FONT, WIDTH, alt_of, drawing, level, signed, wrap
from metastable.stats.effect_kinds import effect_of

__all__ = ["effect_maps", "effect_maps_alt", "joined_effect_maps", "joined_effect_maps_alt"]


def _frames(
    tables: Mapping[str, pd.DataFrame], value: str | None, site: str | None, threshold: float | None
) -> tuple[dict[str, pd.DataFrame], str]:
    """Rows of each table, and the column of the effect: that of the standardized size unless given."""
    if not tables:
        raise InputError("there is no table; give at least one table of heads with its name")
    value = value or effect_of(next(iter(tables.values()))).size
    return {
        name: select_heads(table, [value, "p_perm_fdr"], site=site, threshold=threshold)
        for name, table in tables.items()
    }, value


@drawing
def effect_maps(
    tables: Mapping[str, pd.DataFrame],
    *,
    value: str | None = None,
    site: str | None = None,
    threshold: float | None = None,
    alpha: float = 0.05,
    effect: str | None = None,
    limits: Limits | None = None,
) -> Figure:
    """Show several maps of one effect on one scale that is centred at zero.

    Parameters
    ----------
    tables : mapping of str to pandas.DataFrame
        Tables of heads with `value` and ``p_perm_fdr`` by what each is called, two to four of them.
    value : str, optional
        The effect; the tables' standardized size unless given.
    site, threshold, alpha
        As in `difference_map`; each table holds one measure.
    effect : str, optional
        What the effect is called; by its column unless given.
    limits : pair of float, optional
        Ends of the colour scale; symmetric about zero unless given.

    Returns
    -------
    matplotlib.figure.Figure
        Significant heads are outlined and counted in the titles.

    Raises
    ------
    InputError
        Where the tables hold other layers or heads than one another.
    """
    frames, value = _frames(tables, value, site, threshold)
    # an effect without a spread to divide by may be infinite; it has no place on the scale
    shown = [np.where(np.isfinite(numbers), numbers, np.nan) for numbers in (f[value] for f in frames.values())]
    matrices = [head_matrix(frame, numbers) for frame, numbers in zip(frames.values(), shown, strict=True)]
    layers = {layer_numbers(frame) for frame in frames.values()}
    if len(layers) > 1 or len({matrix.shape for matrix in matrices}) > 1:
        raise InputError("the maps must hold the same layers and heads; check the tables")
    # no line breaks within the numbers
    titles = [
        f"{name}: {int(significant(frame, alpha).sum())}\u00a0of\u00a0{len(frame)}" for name, frame in frames.items()
    ]
    shape = (matrices[0].shape[0], matrices[0].shape[1])
    called = effect or call_column(list(frames.values()), value)
    label = wrap(
        f"{called}, one scale for all; outlined and counted: significant (FDR {level(alpha)})", WIDTH - 0.8, FONT
    )
    figure, panels, _ = row_of_maps(titles, shape, footer=bar_footer(label))
    norm = Normalize(*(limits or symmetric_limits(np.stack(matrices))))
    for i, (axes, frame, matrix) in enumerate(zip(panels, frames.values(), matrices, strict=True)):
        draw_cells(axes, matrix, norm, DIVERGING, layer_numbers(frame) if i == 0 else ())
        outline_cells(axes, head_matrix(frame, significant(frame, alpha)) == 1)
    bar_under(figure, norm, DIVERGING, label, width=5.2)
    return figure


@alt_of(effect_maps)
def effect_maps_alt(
    tables: Mapping[str, pd.DataFrame],
    *,
    value: str | None = None,
    site: str | None = None,
    threshold: float | None = None,
    alpha: float = 0.05,
    effect: str | None = None,
) -> str:
    """Say in words what `effect_maps` shows; parameters as there."""
    frames, value = _frames(tables, value, site, threshold)
    parts = []
    for name, frame in frames.items():
        part = f"{name} in {int(significant(frame, alpha).sum())} of {len(frame)} heads"
        finite = frame[np.isfinite(frame[value])]
        if len(finite):
            largest = strongest(finite, value)
            part += f" (largest {signed(largest[value])} in {place(largest)})"
        parts.append(part)
    called = effect or call_column(list(frames.values()), value)
    return f"Maps of the {called}; significant after FDR correction at {level(alpha)}: {'; '.join(parts)}."


def _series(joined: pd.DataFrame, names: Sequence[str], difference: str) -> dict[str, pd.DataFrame]:
    first, second = names
    if first == second:
        first, second = f"{first} (first)", f"{second} (second)"
    columns = {
        first: ("size_first", "p_perm_fdr_first"),
        second: ("size_second", "p_perm_fdr_second"),
        difference: ("size_difference", "p_difference_fdr"),
    }
    require_columns(
        joined, [*HEADS, "threshold", *(column for pair in columns.values() for column in pair)], "the joined table"
    )
    return {
        name: joined[[*HEADS, "threshold"]].assign(measure="", size=joined[value], p_perm_fdr=joined[p])
        for name, (value, p) in columns.items()
    }


@drawing
def joined_effect_maps(
    joined: pd.DataFrame,
    *,
    names: Sequence[str] = ("first study", "second study"),
    site: str | None = None,
    threshold: float | None = None,
    alpha: float = 0.05,
    effect: str = "standardized effect",
) -> Figure:
    """Show every head's effect in two studies, and the difference of both, on the same scale.

    Parameters
    ----------
    joined : pandas.DataFrame
        As `metastable.heads.compared_heads.join_heads` returns it.
    names : pair of str
        What the studies are called.
    site, threshold
        Which rows; may be left out where the table holds one.
    alpha : float, default 0.05
        Heads below it after FDR correction are outlined and counted in the titles.
    effect : str
        What the effect is called.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        Where a column is missing or the choice of rows is ambiguous.
    """
    tables = _series(joined, names, "difference")
    return effect_maps(tables, value="size", site=site, threshold=threshold, alpha=alpha, effect=effect)


@alt_of(joined_effect_maps)
def joined_effect_maps_alt(
    joined: pd.DataFrame,
    *,
    names: Sequence[str] = ("first study", "second study"),
    site: str | None = None,
    threshold: float | None = None,
    alpha: float = 0.05,
    effect: str = "standardized effect",
) -> str:
    """Say in words what `joined_effect_maps` shows; parameters as there."""
    tables = _series(joined, names, f"{names[0]} minus {names[1]}")
    return effect_maps_alt(tables, value="size", site=site, threshold=threshold, alpha=alpha, effect=effect)
