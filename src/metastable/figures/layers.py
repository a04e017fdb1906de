"""The effect layer by layer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from metastable.figures.grid import ticks
from metastable.figures.head_tables import (
    call_value,
    condition_names,
    effect_column,
    layer_numbers,
    measure_of,
    require_columns,
    select_heads,
)
from metastable.figures.style import (
    COLOR_A,
    COLOR_B,
    FONT,
    INK,
    MUTED,
    alt_of,
    chart,
    drawing,
    format_p,
    level,
    signed,
    wrap,
)

__all__ = ["layer_plot", "layer_plot_alt"]


@drawing
def layer_plot(
    heads: pd.DataFrame,
    layers: pd.DataFrame | None = None,
    *,
    value: str | None = None,
    site: str | None = None,
    threshold: float | None = None,
    measure: str | None = None,
    conditions: Sequence[str] | None = None,
    alpha: float = 0.05,
    p_column: str = "p_sum_squares",
) -> Figure:
    """Show every head's effect by layer, the layer's mean, and the layer's omnibus p.

    Parameters
    ----------
    heads : pandas.DataFrame
        With `value` and ``p_perm_fdr``.
    layers : pandas.DataFrame, optional
        With ``site, layer, threshold, measure`` and `p_column`.
    value : str, optional
        The effect; the table's standardized size unless given.
    site, threshold, measure, conditions, alpha
        As in `difference_map`.
    p_column : str, default "p_sum_squares"
        Which omnibus p of `layers` to print.

    Returns
    -------
    matplotlib.figure.Figure
        The first layer at the bottom; filled dots are significant heads.
    """
    value, effect = effect_column(heads, value, size=True)
    frame = select_heads(heads, [value, "p_perm_fdr"], site=site, threshold=threshold, measure=measure)
    numbers = layer_numbers(frame)
    n = len(numbers)
    row = 0.32 if n <= 12 else 0.24 if n <= 24 else 0.185
    figure, (axes,) = chart(1.35 + row * max(n, 2))
    found = (frame["p_perm_fdr"] < alpha).to_numpy(bool)
    x, y = frame[value].to_numpy(float), _rows_of(frame["layer"], numbers)
    plus, minus = effect.directions(*condition_names(heads, conditions))
    axes.axvline(0, color=MUTED, linewidth=1)
    for place in range(1, n + 1, 2):
        axes.axhspan(place - 0.5, place + 0.5, color="#f6f6f6", zorder=0, linewidth=0)
    # heads of a layer are spread a little, in their order, so that equal effects stay visible
    spread = (frame["head"].to_numpy(float) - 1) / max(float(frame["head"].max()) - 1, 1) - 0.5
    size = 18 if row > 0.2 else 12
    axes.scatter(
        x[~found],
        (y + 0.55 * spread)[~found],
        s=size,
        facecolors="white",
        edgecolors="#8c8c8c",
        linewidths=0.9,
        label="not significant",
    )
    for name, here, color, marker in (
        (plus, found & (x > 0), COLOR_A, "D"),
        (minus, found & (x <= 0), COLOR_B, "s"),
    ):
        axes.scatter(
            x[here],
            (y + 0.55 * spread)[here],
            s=size,
            c=color,
            marker=marker,
            linewidths=0,
            label=wrap(f"{name} (FDR\u00a0<\u00a0{level(alpha)})", 1.9, FONT - 1),
        )
    means = frame.groupby("layer")[value].mean()
    axes.plot(
        means,
        _rows_of(means.index, numbers),
        "|",
        color=INK,
        markersize=72 * row * 0.8,
        markeredgewidth=2.2,
        label="mean of the layer",
    )
    if layers is not None:
        table = _layer_rows(layers, frame, p_column)
        for place, p in zip(_rows_of(table["layer"], numbers), table[p_column], strict=True):
            axes.annotate(
                format_p(float(p)),
                (1, place),
                (5, 0),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                va="center",
                fontsize=FONT - 0.5 if row > 0.2 else FONT - 1.5,
                weight="bold" if p < alpha else "normal",
                color=INK if p < alpha else MUTED,
            )
    shown = ticks(n, row, 0.17)
    axes.set_yticks(shown, [str(numbers[i - 1]) for i in shown])
    axes.set_ylim(0.5, n + 0.5)
    axes.tick_params(axis="y", length=0)
    reach = 1.08 * max(float(np.nanmax(np.abs(x))), 0.05)
    axes.set_xlim(-reach, reach)
    axes.set_ylabel("layer")
    axes.set_xlabel(wrap(f"{call_value(value, measure_of(frame))}   (−: {minus},  +: {plus})", 6.6, FONT))
    extra = "; right: omnibus p of the layer" if layers is not None else ""
    axes.set_title(f"effect by layer{extra}", loc="left")
    figure.legend(loc="outside lower center", ncols=4, handletextpad=0.3)
    return figure


def _rows_of(layers: Iterable[int], numbers: Sequence[int]) -> NDArray[np.float64]:
    """Rows of layers in the figure, from 1: one for each layer that has attention."""
    return np.searchsorted(numbers, np.fromiter(layers, dtype=np.int64)).astype(np.float64) + 1


def _layer_rows(layers: pd.DataFrame, frame: pd.DataFrame, p_column: str) -> pd.DataFrame:
    require_columns(layers, ["site", "layer", "threshold", "measure", p_column], "the table of layers")
    same = np.isclose(layers["threshold"], frame["threshold"].iloc[0])
    for key in ("site", "measure"):
        same &= (layers[key] == frame[key].iloc[0]).to_numpy()
    rows: pd.DataFrame = layers[same]
    return rows


@alt_of(layer_plot)
def layer_plot_alt(
    heads: pd.DataFrame,
    layers: pd.DataFrame | None = None,
    *,
    value: str | None = None,
    site: str | None = None,
    threshold: float | None = None,
    measure: str | None = None,
    conditions: Sequence[str] | None = None,
    alpha: float = 0.05,
    p_column: str = "p_sum_squares",
) -> str:
    """Say in words what `layer_plot` shows; parameters as there."""
    value, effect = effect_column(heads, value, size=True)
    frame = select_heads(heads, [value, "p_perm_fdr"], site=site, threshold=threshold, measure=measure)
    means = frame.groupby("layer")[value].mean().dropna()
    called = call_value(value, measure_of(frame))
    if means.empty:
        return f"{called} by layer: no layer has a head with a finite effect."
    low, high = int(means.to_numpy().argmin()), int(means.to_numpy().argmax())
    taken = effect.between(*condition_names(heads, conditions), minus="minus")
    text = (
        f"{called}{f' ({taken})' if taken else ''} by layer: "
        f"the layers' means run from {signed(means.iloc[low])} (layer {means.index[low]}) to "
        f"{signed(means.iloc[high])} (layer {means.index[high]})."
    )
    if layers is not None:
        table = _layer_rows(layers, frame, p_column)
        n = int((table[p_column] < alpha).sum())
        text += f" The omnibus test finds a {effect.name} in {n} of {len(table)} layers at {level(alpha)}."
    return text
