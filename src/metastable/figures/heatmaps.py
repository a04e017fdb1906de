"""Maps of layers by heads: one value, or the difference between the conditions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from metastable.errors import InputError
from metastable.figures.grid import bar_footer, bar_under, cell_text, draw_cells, one_map, outline_cells
from metastable.figures.head_tables import (
    Limits,
    call_value,
    condition_names,
    digits_for,
    effect_column,
    head_matrix,
    layer_numbers,
    measure_of,
    place,
    records,
    select_heads,
    shared_limits,
    significant,
    strongest,
    symmetric_limits,
)
from metastable.figures.style import (
    DIVERGING,
    FONT,
    SEQUENTIAL,
    WIDTH,
    alt_of,
    drawing,
    fixed,
    level,
    signed,
    wrap,
)
from metastable.measures import call_measure, label_measure

__all__ = ["difference_map", "difference_map_alt", "heatmap", "heatmap_alt"]

_TWINS = {
    "mean_a": ("mean_a", "mean_b"),
    "mean_b": ("mean_a", "mean_b"),
    "median_a": ("median_a", "median_b"),
    "median_b": ("median_a", "median_b"),
}


def _numbers(matrix: NDArray[np.float64], digits: int) -> NDArray[np.object_]:
    rounded = np.round(matrix, digits) + 0.0  # no minus before a zero
    return np.array([[f"{value:.{digits}f}".replace("-", "−") for value in row] for row in rounded], dtype=object)


def _bare(texts: NDArray[np.object_]) -> list[NDArray[np.object_]]:
    """Return the same numbers without the zero before the point, where no number reaches 1."""
    flat = [str(text) for text in texts.ravel()]
    if any(not text.lstrip("−").startswith(("0", "nan")) for text in flat):
        return []
    return [np.array([text.replace("0.", ".") for text in flat], dtype=object).reshape(texts.shape)]


@drawing
def heatmap(
    heads: pd.DataFrame,
    value: str = "mean_a",
    *,
    site: str | None = None,
    threshold: float | None = None,
    conditions: Sequence[str] | None = None,
    measure: str | None = None,
    limits: Limits | None = None,
    title: str | None = None,
) -> Figure:
    """Show one value per head, with the number in its cell where it can be read.

    Parameters
    ----------
    heads : pandas.DataFrame
        One row per site, layer, head, threshold and measure.
    value : str, default "mean_a"
        The column to show. The means (and the medians) of both conditions share their limits.
    site, threshold, measure
        Which rows; may be left out where the table holds one.
    conditions : pair of str, optional
        Names of the conditions a and b; those that travel with the table, else "a" and "b", unless given.
    limits : pair of float, optional
        Ends of the colour scale.
    title : str, optional
        Instead of one made from `value`.

    Returns
    -------
    matplotlib.figure.Figure
        830 px wide at 100 dpi.

    Raises
    ------
    InputError
        Where a column is missing or the choice of rows is ambiguous.
    """
    frame = select_heads(heads, [value], site=site, threshold=threshold, measure=measure)
    matrix = head_matrix(frame, value)
    a, b = condition_names(heads, conditions)
    measured = call_measure(measure_of(frame))
    low, high = limits or shared_limits(frame, [c for c in _TWINS.get(value, (value,)) if c in frame])
    names = {"mean_a": a, "mean_b": b}
    if title is None:
        kind = "median" if value.startswith("median") else "mean"
        names |= {"median_a": a, "median_b": b}
        title = f"{names[value]}: {kind} {measured} of each head" if value in names else value
    label = value
    if value.startswith("mean"):
        label = f"mean {label_measure(measure_of(frame), float(frame['threshold'].iloc[0]))}"
    label = label.replace("_", " ")
    figure, axes = one_map((matrix.shape[0], matrix.shape[1]), title, bar_footer(label))
    norm = Normalize(low, high)
    colors = draw_cells(axes, matrix, norm, SEQUENTIAL, layer_numbers(frame))
    digits = 1 if max(abs(low), abs(high)) >= 2 else digits_for(matrix, 0.1)
    if pd.api.types.is_integer_dtype(frame[value]):
        digits = 0
    forms = [_numbers(matrix, digits)] if high < 100 else [_numbers(matrix, 1), _numbers(matrix, 0)]
    cell_text(axes, matrix, colors, norm, forms)
    bar_under(figure, norm, SEQUENTIAL, label)
    return figure


@alt_of(heatmap)
def heatmap_alt(
    heads: pd.DataFrame,
    value: str = "mean_a",
    *,
    site: str | None = None,
    threshold: float | None = None,
    conditions: Sequence[str] | None = None,
    measure: str | None = None,
) -> str:
    """Say in words what `heatmap` shows; parameters as there."""
    frame = select_heads(heads, [value], site=site, threshold=threshold, measure=measure).dropna(subset=[value])
    if frame.empty:
        raise InputError(f"column {value!r} holds no number; nothing can be drawn")
    ordered = records(frame.sort_values(value, kind="stable"))
    least, most = ordered[0], ordered[-1]
    a, b = condition_names(heads, conditions)
    whose = a if value.endswith("_a") else b if value.endswith("_b") else None
    kind = "median" if value.startswith("median") else "mean"
    what = value.replace("_", " ") if whose is None else f"{kind} {call_measure(measure_of(frame))} for {whose}"
    digits = 1 if abs(most[value]) >= 2 else digits_for(frame[value].to_numpy(float), 0.1)
    return (
        f"Heatmap of the {what}, {frame['layer'].nunique()} layers by {frame['head'].max()} heads: from "
        f"{fixed(least[value], digits)} ({place(least)}) to {fixed(most[value], digits)} ({place(most)}), "
        f"on average {fixed(frame[value].mean(), digits)}."
    )


@drawing
def difference_map(
    heads: pd.DataFrame,
    value: str | None = None,
    *,
    site: str | None = None,
    threshold: float | None = None,
    conditions: Sequence[str] | None = None,
    measure: str | None = None,
    alpha: float = 0.05,
    limits: Limits | None = None,
    title: str | None = None,
) -> Figure:
    """Show the difference a - b per head, or the slope, centred at zero; outlined where it is significant.

    Parameters
    ----------
    heads : pandas.DataFrame
        One row per site, layer, head and threshold, with `value` and ``p_perm_fdr``.
    value : str, optional
        Any signed column, for instance ``"hedges_g"``; the table's difference or slope unless given.
    site, threshold, measure, conditions, title
        As in `heatmap`.
    alpha : float, default 0.05
        Heads with ``p_perm_fdr < alpha`` are outlined.
    limits : pair of float, optional
        Ends of the colour scale; symmetric about zero unless given.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        Where a column is missing or the choice of rows is ambiguous.
    """
    value, effect = effect_column(heads, value, size=False)
    frame = select_heads(heads, [value, "p_perm_fdr"], site=site, threshold=threshold, measure=measure)
    matrix = head_matrix(frame, value)
    low, high = limits or symmetric_limits(matrix)
    found = head_matrix(frame, significant(frame, alpha)) == 1
    names = condition_names(heads, conditions)
    called = call_value(value, measure_of(frame))
    plus, minus = effect.directions(*names)
    taken = effect.between(*names)
    label = wrap(f"{called}   (−: {minus},  +: {plus})", WIDTH - 0.8, FONT)
    figure, axes = one_map(
        (matrix.shape[0], matrix.shape[1]),
        title or f"{', '.join(filter(None, (called, taken)))}; outlined: significant (FDR {level(alpha)})",
        bar_footer(label),
    )
    norm = Normalize(low, high)
    colors = draw_cells(axes, matrix, norm, DIVERGING, layer_numbers(frame))
    outline_cells(axes, found)
    texts = _numbers(matrix, digits_for(matrix))
    cell_text(axes, matrix, colors, norm, [texts, *_bare(texts)])
    bar_under(figure, norm, DIVERGING, label)
    return figure


@alt_of(difference_map)
def difference_map_alt(
    heads: pd.DataFrame,
    value: str | None = None,
    *,
    site: str | None = None,
    threshold: float | None = None,
    conditions: Sequence[str] | None = None,
    measure: str | None = None,
    alpha: float = 0.05,
) -> str:
    """Say in words what `difference_map` shows; parameters as there."""
    value, effect = effect_column(heads, value, size=False)
    frame = select_heads(heads, [value, "p_perm_fdr"], site=site, threshold=threshold, measure=measure)
    known = frame.dropna(subset=[value])
    taken = effect.between(*condition_names(heads, conditions), minus="minus")
    what = ", ".join(filter(None, (call_value(value, measure_of(frame)), taken)))
    digits = digits_for(known[value].to_numpy(float))
    largest = strongest(frame, value)
    return (
        f"Map of the {what}: positive in {(known[value] > 0).sum()} and negative in "
        f"{(known[value] < 0).sum()} of {len(known)} heads; {int(significant(frame, alpha).sum())} significant after "
        f"FDR correction at {level(alpha)}. The largest is {signed(largest[value], digits)} in {place(largest)}."
    )
