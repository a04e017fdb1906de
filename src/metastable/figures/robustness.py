"""Does the result depend on choices: layers, thresholds, covariates, sweeps, other studies, ratings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike

from metastable.errors import InputError
from metastable.figures.grid import require_columns, select_heads, ticks
from metastable.figures.style import (
    COLOR_A,
    COLOR_B,
    CONDITIONS,
    FONT,
    INK,
    MUTED,
    PALE,
    WIDTH,
    chart,
    format_p,
    signed,
    styled,
    wrap,
)

__all__ = [
    "adjustment_plot",
    "adjustment_plot_alt",
    "layer_plot",
    "layer_plot_alt",
    "slope_plot",
    "slope_plot_alt",
    "study_scatter",
    "study_scatter_alt",
    "sweep_plot",
    "sweep_plot_alt",
    "thresholds_plot",
    "thresholds_plot_alt",
]

_KEYS = ["site", "layer", "head", "threshold"]
_NAMED = {"hedges_g": "Hedges' g", "difference": "difference in mean count"}


def _named(value: str) -> str:
    return _NAMED.get(value, value.replace("_", " "))


@styled
def layer_plot(
    heads: pd.DataFrame,
    layers: pd.DataFrame | None = None,
    *,
    value: str = "hedges_g",
    site: str | None = None,
    threshold: float | None = None,
    conditions: Sequence[str] = CONDITIONS,
    alpha: float = 0.05,
    p_column: str = "p_sum_squares",
) -> Figure:
    """Show every head's effect by layer, the layer's mean, and the layer's omnibus p.

    Parameters
    ----------
    heads : pandas.DataFrame
        With `value` and ``p_perm_fdr``.
    layers : pandas.DataFrame, optional
        With ``site, layer, threshold`` and `p_column`.
    value : str, default "hedges_g"
        The effect.
    site, threshold, conditions, alpha
        As in `difference_map`.
    p_column : str, default "p_sum_squares"
        Which omnibus p of `layers` to print.

    Returns
    -------
    matplotlib.figure.Figure
        Layer 1 at the bottom; filled dots are significant heads.
    """
    frame = select_heads(heads, [value, "p_perm_fdr"], site=site, threshold=threshold)
    n = int(frame["layer"].max())
    row = 0.32 if n <= 12 else 0.24 if n <= 24 else 0.185
    figure, (axes,) = chart(1.35 + row * max(n, 2))
    found = (frame["p_perm_fdr"] < alpha).to_numpy(bool)
    x, y = frame[value].to_numpy(float), frame["layer"].to_numpy(float)
    axes.axvline(0, color=MUTED, linewidth=1)
    for layer in range(1, n + 1, 2):
        axes.axhspan(layer - 0.5, layer + 0.5, color="#f6f6f6", zorder=0, linewidth=0)
    # heads of a layer are spread a little, in their order, so that equal effects stay visible
    spread = (frame["head"].to_numpy(float) - 1) / max(float(frame["head"].max()) - 1, 1) - 0.5
    colors = np.where(x > 0, COLOR_A, COLOR_B)
    size = 18 if row > 0.2 else 12
    axes.scatter(
        x[~found],
        (y + 0.55 * spread)[~found],
        s=size,
        facecolors="white",
        edgecolors="#8c8c8c",
        linewidths=0.9,
        label="head, not significant",
    )
    axes.scatter(
        x[found], (y + 0.55 * spread)[found], s=size, c=colors[found], linewidths=0, label=f"head, FDR < {alpha:g}"
    )
    means = frame.groupby("layer")[value].mean()
    axes.plot(means, means.index, "|", color=INK, markersize=72 * row * 0.8, markeredgewidth=2.2, label="layer mean")
    if layers is not None:
        table = _layer_rows(layers, frame, p_column)
        for layer, p in zip(table["layer"], table[p_column], strict=True):
            axes.annotate(
                format_p(float(p)),
                (1, layer),
                (5, 0),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                va="center",
                fontsize=FONT - 0.5 if row > 0.2 else FONT - 1.5,
                weight="bold" if p < alpha else "normal",
                color=INK if p < alpha else MUTED,
            )
    shown = ticks(n, row, 0.17)
    axes.set_yticks(shown, [str(i) for i in shown])
    axes.set_ylim(0.5, n + 0.5)
    axes.tick_params(axis="y", length=0)
    reach = 1.08 * max(float(np.nanmax(np.abs(x))), 0.05)
    axes.set_xlim(-reach, reach)
    axes.set_ylabel("layer")
    axes.set_xlabel(f"{_named(value)}   (−: {conditions[1]} more,  +: {conditions[0]} more)")
    extra = "; right: omnibus p of the layer" if layers is not None else ""
    axes.set_title(f"effect by layer{extra}", loc="left")
    figure.legend(loc="outside lower center", ncols=3, handletextpad=0.3)
    return figure


def _layer_rows(layers: pd.DataFrame, frame: pd.DataFrame, p_column: str) -> pd.DataFrame:
    require_columns(layers, ["site", "layer", "threshold", p_column], "the table of layers")
    same = (layers["site"] == frame["site"].iloc[0]) & np.isclose(layers["threshold"], frame["threshold"].iloc[0])
    return layers[same]


def layer_plot_alt(
    heads: pd.DataFrame,
    layers: pd.DataFrame | None = None,
    *,
    value: str = "hedges_g",
    site: str | None = None,
    threshold: float | None = None,
    alpha: float = 0.05,
    p_column: str = "p_sum_squares",
) -> str:
    """Say in words what `layer_plot` shows; parameters as there."""
    frame = select_heads(heads, [value, "p_perm_fdr"], site=site, threshold=threshold)
    means = frame.groupby("layer")[value].mean()
    low, high = int(means.to_numpy().argmin()), int(means.to_numpy().argmax())
    text = (
        f"{_named(value)} by layer: layer means run from {signed(means.iloc[low])} (layer {means.index[low]}) to "
        f"{signed(means.iloc[high])} (layer {means.index[high]})."
    )
    if layers is not None:
        table = _layer_rows(layers, frame, p_column)
        n = int((table[p_column] < alpha).sum())
        text += f" The omnibus test finds a difference in {n} of {len(table)} layers at {alpha:g}."
    return text


def _numeric(values: pd.Series) -> bool:
    return bool(pd.api.types.is_numeric_dtype(values))


def _summary(groups: Sequence[pd.DataFrame], value: str, alpha: float) -> pd.DataFrame:
    rows = []
    for group in groups:
        effect = group[value].dropna()
        found = group["p_perm_fdr"] < alpha
        quantiles = effect.quantile([0.05, 0.25, 0.5, 0.75, 0.95])
        rows.append(
            [*quantiles, int((found & (group[value] > 0)).sum()), int((found & (group[value] <= 0)).sum()), len(group)]
        )
    return pd.DataFrame(rows, columns=["q05", "q25", "q50", "q75", "q95", "more_a", "more_b", "n_heads"])


def _draw_axis(
    axes: Sequence[Axes],
    places: ArrayLike,
    labels: Sequence[str],
    table: pd.DataFrame,
    value: str,
    conditions: Sequence[str],
    *,
    joined: bool,
) -> None:
    """Draw effects above and numbers of significant heads below, over the places given."""
    top, bottom = axes
    x = np.asarray(places, dtype=float)
    gap = float(np.min(np.diff(x))) if len(x) > 1 else 1.0
    if joined and len(x) > 1:
        top.fill_between(x, table["q05"], table["q95"], color=PALE, linewidth=0)
        top.fill_between(x, table["q25"], table["q75"], color="#bdbdbd", linewidth=0)
        top.plot(x, table["q50"], "o-", color=INK, markersize=5)
    else:
        top.vlines(x, table["q05"], table["q95"], color="#bdbdbd", linewidth=3)
        top.vlines(x, table["q25"], table["q75"], color="#7d7d7d", linewidth=8)
        top.plot(x, table["q50"], "o", color=INK, markerfacecolor="white", markersize=6)
    top.axhline(0, color=MUTED, linewidth=0.9, linestyle="--")
    top.set_ylabel(_named(value))
    width = 0.7 * gap
    a, b = table["more_a"].to_numpy(), table["more_b"].to_numpy()
    bottom.bar(
        x, a, width, color="#f6c48b", edgecolor="#7f3b08", hatch="////", linewidth=0.8, label=f"{conditions[0]} more"
    )
    bottom.bar(
        x,
        b,
        width,
        bottom=a,
        color="#c9c3e0",
        edgecolor="#3b1a63",
        hatch="\\\\\\\\",
        linewidth=0.8,
        label=f"{conditions[1]} more",
    )
    for at, total in zip(x, a + b, strict=True):
        bottom.annotate(
            f"{total:d}", (at, total), (0, 2), textcoords="offset points", ha="center", va="bottom", fontsize=FONT
        )
    bottom.set_ylim(0, 1.18 * max(int((a + b).max()), 1))
    bottom.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    bottom.set_ylabel("significant heads")
    for one in axes:
        one.xaxis.set_major_locator(FixedLocator([float(v) for v in x]))
        one.xaxis.set_minor_locator(NullLocator())
        one.set_xlim(x[0] - gap * 0.6, x[-1] + gap * 0.6)
    bottom.set_xticklabels(list(labels))
    top.tick_params(axis="x", labelbottom=False)


def _sweep_chart(
    groups: Sequence[pd.DataFrame],
    labels: Sequence[str],
    name: str,
    value: str,
    conditions: Sequence[str],
    alpha: float,
    *,
    joined: bool,
    title: str,
) -> Figure:
    table = _summary(groups, value, alpha)
    figure, axes = chart(4.4, rows=2, sharex=True, height_ratios=[1.2, 1])
    room = (WIDTH - 1.2) / len(labels)
    _draw_axis(
        axes,
        np.arange(len(labels)),
        [wrap(label, room, FONT - 1) for label in labels],
        table,
        value,
        conditions,
        joined=joined,
    )
    axes[0].set_title(title, loc="left")
    axes[0].annotate(
        "line: median head; dark: middle half; light: 90% of heads",
        (1, 1),
        (0, 3),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=FONT - 1,
        color=MUTED,
    )
    axes[1].set_xlabel(name)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@styled
def thresholds_plot(
    heads: pd.DataFrame,
    *,
    value: str = "hedges_g",
    site: str | None = None,
    conditions: Sequence[str] = CONDITIONS,
    alpha: float = 0.05,
) -> Figure:
    """Show effects and the number of significant heads over the thresholds of a run.

    Parameters
    ----------
    heads : pandas.DataFrame
        With `value` and ``p_perm_fdr``, of one or several thresholds.
    value : str, default "hedges_g"
        The effect.
    site, conditions, alpha
        As in `difference_map`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    groups, levels = _threshold_groups(heads, value, site)
    return _sweep_chart(
        groups,
        [f"{level:g}" for level in levels],
        "threshold: share of the attention that the counted tokens hold",
        value,
        conditions,
        alpha,
        joined=True,
        title="robustness over thresholds",
    )


def _threshold_groups(heads: pd.DataFrame, value: str, site: str | None) -> tuple[list[pd.DataFrame], list[float]]:
    require_columns(heads, [*_KEYS, value, "p_perm_fdr"], "the table of heads")
    levels = sorted(float(level) for level in heads["threshold"].unique())
    return [select_heads(heads, [value], site=site, threshold=level) for level in levels], levels


def thresholds_plot_alt(
    heads: pd.DataFrame, *, value: str = "hedges_g", site: str | None = None, alpha: float = 0.05
) -> str:
    """Say in words what `thresholds_plot` shows; parameters as there."""
    groups, levels = _threshold_groups(heads, value, site)
    return "Over thresholds: " + _axis_alt(groups, [f"{level:g}" for level in levels], value, alpha)


def _axis_alt(groups: Sequence[pd.DataFrame], labels: Sequence[str], value: str, alpha: float) -> str:
    table = _summary(groups, value, alpha)
    parts = [
        f"at {label}, {row.more_a + row.more_b} of {row.n_heads} heads significant, median {_named(value)} "
        f"{signed(row.q50)}"
        for label, row in zip(labels, table.itertuples(), strict=True)
    ]
    return "; ".join(parts) + "."


@styled
def sweep_plot(
    heads: pd.DataFrame,
    axis: str,
    *,
    value: str = "hedges_g",
    conditions: Sequence[str] = CONDITIONS,
    alpha: float = 0.05,
    name: str | None = None,
) -> Figure:
    """Show how effects and significance move along one axis of a sweep.

    Parameters
    ----------
    heads : pandas.DataFrame
        Tables of heads of all settings under one another, with a column named `axis`, `value`, and
        ``p_perm_fdr`` (corrected over whatever the caller corrects over).
    axis : str
        For instance ``"k"``, ``"max_length"``, ``"threshold"`` or ``"model"``. Numbers are put in
        order and joined by a line, names stay as they come and are not joined.
    value, conditions, alpha
        As in `thresholds_plot`.
    name : str, optional
        What the axis is called.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        Where a column is missing.
    """
    groups, labels, joined = _sweep_groups(heads, axis, value)
    called = name or axis.replace("_", " ")
    return _sweep_chart(groups, labels, called, value, conditions, alpha, joined=joined, title=f"sweep over {called}")


def _sweep_groups(heads: pd.DataFrame, axis: str, value: str) -> tuple[list[pd.DataFrame], list[str], bool]:
    require_columns(heads, [axis, value, "p_perm_fdr"], "the table of heads")
    numeric = _numeric(heads[axis])
    levels = heads[axis].unique().tolist()
    if numeric:
        levels.sort()
    labels = [f"{level:g}" if numeric else str(level) for level in levels]
    return [heads[heads[axis] == level] for level in levels], labels, numeric


def sweep_plot_alt(heads: pd.DataFrame, axis: str, *, value: str = "hedges_g", alpha: float = 0.05) -> str:
    """Say in words what `sweep_plot` shows; parameters as there."""
    groups, labels, _ = _sweep_groups(heads, axis, value)
    return f"Sweep over {axis.replace('_', ' ')}: " + _axis_alt(groups, labels, value, alpha)


def _joined(first: pd.DataFrame, second: pd.DataFrame, value: str) -> pd.DataFrame:
    for table in (first, second):
        require_columns(table, [*_KEYS, value, "p_perm_fdr"], "the table of heads")
    both = first.merge(second, on=_KEYS, suffixes=("_x", "_y"), validate="one_to_one")
    both = both.dropna(subset=[f"{value}_x", f"{value}_y"])
    if both.empty:
        raise InputError("the two tables share no head; compare tables of one model, site and threshold")
    return both


_STATES = (
    ("both", "o", "#1d7f8c", "#0f4f58"),
    ("first", ">", "#f6c48b", "#7f3b08"),
    ("second", "^", "#c9c3e0", "#3b1a63"),
    ("neither", "o", "white", "#9a9a9a"),
)


def _states(both: pd.DataFrame, alpha: float) -> np.ndarray[tuple[int], np.dtype[np.str_]]:
    x, y = both["p_perm_fdr_x"] < alpha, both["p_perm_fdr_y"] < alpha
    return np.select([x & y, x, y], ["both", "first", "second"], "neither")


def _scatter(both: pd.DataFrame, value: str, alpha: float, words: dict[str, str]) -> tuple[Figure, Axes]:
    figure, (axes,) = chart(5.0)
    x, y = both[f"{value}_x"].to_numpy(float), both[f"{value}_y"].to_numpy(float)
    states = _states(both, alpha)
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.axvline(0, color=MUTED, linewidth=0.8)
    low, high = float(min(x.min(), y.min(), 0)), float(max(x.max(), y.max(), 0))
    pad = 0.06 * (high - low or 1)
    ends = (low - pad, high + pad)
    axes.plot(ends, ends, color=INK, linewidth=1, linestyle="--", label="no change")
    size = 26 if len(both) <= 300 else 14
    for state, marker, face, edge in reversed(_STATES):
        here = states == state
        axes.scatter(
            x[here],
            y[here],
            s=size,
            marker=marker,
            facecolors=face,
            edgecolors=edge,
            linewidths=0.9,
            label=f"{words[state]}: {int(here.sum())}",
        )
    axes.set_xlim(*ends)
    axes.set_ylim(*ends)
    axes.set_aspect("equal")
    axes.legend(loc="upper left", bbox_to_anchor=(1.03, 1), title=f"significant (FDR {alpha:g})", alignment="left")
    return figure, axes


@styled
def adjustment_plot(
    before: pd.DataFrame, after: pd.DataFrame, *, value: str = "difference", alpha: float = 0.05
) -> Figure:
    """Show each head's difference before and after adjusting for the covariates.

    Parameters
    ----------
    before, after : pandas.DataFrame
        Tables of heads without and with covariates, with `value` and ``p_perm_fdr``.
    value : str, default "difference"
        The estimate.
    alpha : float, default 0.05
        For significance after FDR correction; each combination has its own marker.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        Where the tables share no head.
    """
    both = _joined(before, after, value)
    words = {"both": "before and after", "first": "before only", "second": "after only", "neither": "neither"}
    figure, axes = _scatter(both, value, alpha, words)
    axes.set_xlabel(f"{_named(value)}, as measured")
    axes.set_ylabel(f"{_named(value)}, adjusted for the covariates")
    axes.set_title("what adjustment does to each head", loc="left")
    return figure


def adjustment_plot_alt(
    before: pd.DataFrame, after: pd.DataFrame, *, value: str = "difference", alpha: float = 0.05
) -> str:
    """Say in words what `adjustment_plot` shows; parameters as there."""
    both = _joined(before, after, value)
    states = _states(both, alpha)
    x, y = both[f"{value}_x"], both[f"{value}_y"]
    return (
        f"Each head's {_named(value)} before and after adjustment for covariates, {len(both)} heads: the mean absolute "
        f"size goes from {x.abs().mean():.2f} to {y.abs().mean():.2f}, the sign changes in "
        f"{int((x * y < 0).sum())}. Significant before and after: {int((states == 'both').sum())}, before only: "
        f"{int((states == 'first').sum())}, after only: {int((states == 'second').sum())}."
    )


@styled
def study_scatter(
    first: pd.DataFrame,
    second: pd.DataFrame,
    *,
    names: Sequence[str] = ("first study", "second study"),
    value: str = "hedges_g",
    alpha: float = 0.05,
    p: float | None = None,
) -> Figure:
    """Compare the effect maps of two studies, head by head.

    Parameters
    ----------
    first, second : pandas.DataFrame
        Tables of heads with `value` and ``p_perm_fdr``; heads in both are shown.
    names : pair of str
        What the studies are called.
    value : str, default "hedges_g"
        The effect.
    alpha : float, default 0.05
        For significance after FDR correction.
    p : float, optional
        Permutation p of the correlation, printed beside it.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        Where the tables share no head.
    """
    both = _joined(first, second, value)
    words = {"both": "both", "first": f"{names[0]} only", "second": f"{names[1]} only", "neither": "neither"}
    figure, axes = _scatter(both, value, alpha, {key: wrap(word, 2.2, FONT - 1) for key, word in words.items()})
    axes.set_xlabel(f"{_named(value)}, {names[0]}")
    axes.set_ylabel(f"{_named(value)}, {names[1]}")
    axes.set_title(_correlation(both, value, p), loc="left")
    return figure


def _correlation(both: pd.DataFrame, value: str, p: float | None) -> str:
    x, y = both[f"{value}_x"].to_numpy(float), both[f"{value}_y"].to_numpy(float)
    if len(both) < 3 or x.std() == 0 or y.std() == 0:
        return f"{len(both)} heads"
    r = signed(float(np.corrcoef(x, y)[0, 1])).replace("0.", ".").replace("+", "")
    return f"r = {r} over {len(both)} heads" + (f", {format_p(p)}" if p is not None else "")


def study_scatter_alt(
    first: pd.DataFrame,
    second: pd.DataFrame,
    *,
    names: Sequence[str] = ("first study", "second study"),
    value: str = "hedges_g",
    alpha: float = 0.05,
    p: float | None = None,
) -> str:
    """Say in words what `study_scatter` shows; parameters as there."""
    both = _joined(first, second, value)
    states = _states(both, alpha)
    agree = int((both[f"{value}_x"] * both[f"{value}_y"] > 0).sum())
    return (
        f"{_named(value)} of each head in {names[0]} against {names[1]}: {_correlation(both, value, p)}. The sign agrees "
        f"in {agree}; {int((states == 'both').sum())} are significant in both."
    )


@styled
def slope_plot(
    predictor: ArrayLike,
    values: ArrayLike,
    labels: Sequence[str],
    *,
    bins: int = 10,
    predictor_label: str = "concreteness rating",
    measure: str = "count",
    notes: Sequence[str] | None = None,
) -> Figure:
    """Show a measure over a continuous predictor in a few heads, with the straight line that is tested.

    Parameters
    ----------
    predictor : array_like, shape (n_units,)
        For instance the mean rating of each sequence.
    values : array_like, shape (n_units, n_shown)
        The heads to show, one a column; up to nine can be read.
    labels : sequence of n_shown str
        Names of the heads.
    bins : int, default 10
        Groups of equal size along the predictor, shown as means with 95% intervals.
    predictor_label, measure : str
        Names of the axes.
    notes : sequence of n_shown str, optional
        What else to print in each panel, for instance the slope and its p.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        Where the shapes do not fit.
    """
    x, table = np.asarray(predictor, dtype=float), np.asarray(values, dtype=float)
    if x.ndim != 1 or table.ndim != 2 or table.shape != (len(x), len(labels)) or len(x) < 2:
        raise InputError(
            f"values must have the shape (n_units, n_shown) = ({x.size}, {len(labels)}); it has {table.shape}"
        )
    columns = min(3, len(labels))
    rows = -(-len(labels) // columns)
    figure, axes = chart(0.4 + 2.1 * rows, columns, rows, sharex=True)
    groups = np.array_split(np.argsort(x, kind="stable"), min(bins, len(x)))
    at = [x[group].mean() for group in groups]
    for i, label in enumerate(labels):
        y = table[:, i]
        one = axes[i]
        mean = np.array([y[group].mean() for group in groups])
        half = np.array(
            [1.96 * y[group].std(ddof=1) / np.sqrt(len(group)) if len(group) > 1 else 0.0 for group in groups]
        )
        one.errorbar(at, mean, half, fmt="o", color="#1d7f8c", markersize=4.5, elinewidth=1.2)
        slope, level = _line(x, y)
        ends = np.array([x.min(), x.max()])
        one.plot(ends, level + slope * ends, color=COLOR_A, linewidth=1.6, linestyle="--")
        one.set_title(label, loc="left", fontsize=FONT)
        if notes is not None:
            one.annotate(
                notes[i],
                (1, 1),
                (0, 4),
                xycoords="axes fraction",
                textcoords="offset points",
                ha="right",
                va="bottom",
                fontsize=FONT - 1,
                color=MUTED,
            )
        one.yaxis.set_major_locator(MaxNLocator(nbins=4))
        if i % columns == 0:
            one.set_ylabel(f"mean {measure}")
        if i + columns >= len(labels):
            one.set_xlabel(predictor_label)
            one.tick_params(axis="x", labelbottom=True)
    for spare in axes[len(labels) :]:
        spare.set_axis_off()
    return figure


def _line(
    x: np.ndarray[tuple[int], np.dtype[np.float64]], y: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> tuple[float, float]:
    """Return slope and intercept by least squares."""
    centred = x - x.mean()
    square = float(centred @ centred)
    slope = float(centred @ y) / square if square > 0 else 0.0
    return slope, float(y.mean() - slope * x.mean())


def slope_plot_alt(
    predictor: ArrayLike,
    values: ArrayLike,
    labels: Sequence[str],
    *,
    predictor_label: str = "concreteness rating",
    measure: str = "count",
) -> str:
    """Say in words what `slope_plot` shows; parameters as there."""
    x, table = np.asarray(predictor, dtype=float), np.asarray(values, dtype=float)
    parts = [f"{label} {signed(_line(x, table[:, i])[0])}" for i, label in enumerate(labels)]
    return f"Mean {measure} over {predictor_label}; slope per unit: {', '.join(parts)}."
