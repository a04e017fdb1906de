"""Effects and significance over the thresholds of a run, or along one axis of a sweep."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from metastable.figures.head_tables import (
    KEYS,
    call_column,
    condition_names,
    effect_column,
    records,
    require_columns,
    select_heads,
)
from metastable.figures.style import FONT, INK, MUTED, PALE, WIDTH, alt_of, chart, drawing, signed, wrap

__all__ = ["sweep_plot", "sweep_plot_alt", "thresholds_plot", "thresholds_plot_alt"]


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


# Narrower bars (inches) carry no number; the page leaves this much to them all.
_NUMBERED, _ROOM = 0.3, WIDTH - 1.2


def _draw_axis(
    axes: Sequence[Axes],
    places: NDArray[np.float64],
    table: pd.DataFrame,
    called: str,
    words: tuple[str, str],
    *,
    joined: bool,
) -> None:
    """Draw effects above and significant heads below, over the places given."""
    top, bottom = axes
    x = places
    gap = float(np.min(np.diff(x))) if len(x) > 1 else 1.0
    room = _ROOM * gap / (x[-1] - x[0] + 1.2)
    if joined and len(x) > 1:
        top.fill_between(x, table["q05"], table["q95"], color=PALE, linewidth=0)
        top.fill_between(x, table["q25"], table["q75"], color="#bdbdbd", linewidth=0)
        top.plot(x, table["q50"], "o-", color=INK, markersize=5)
    else:
        thin = min(1.0, room / 0.25)
        top.vlines(x, table["q05"], table["q95"], color="#bdbdbd", linewidth=3 * thin)
        top.vlines(x, table["q25"], table["q75"], color="#7d7d7d", linewidth=8 * thin)
        top.plot(x, table["q50"], "o", color=INK, markerfacecolor="white", markersize=6 * max(thin, 0.5))
    top.axhline(0, color=MUTED, linewidth=0.9, linestyle="--")
    top.set_ylabel(called)
    # heads of models of different size are compared by their share
    share = len(table["n_heads"].unique()) > 1
    scale = 100 / table["n_heads"].to_numpy() if share else np.ones(len(table))
    a, b = (scale * table[name].to_numpy() for name in ("more_a", "more_b"))
    bars = (
        (a, 0, words[0], "#f6c48b", "#7f3b08", "////"),
        (b, a, words[1], "#c9c3e0", "#3b1a63", "\\\\\\\\"),
    )
    for height, below, word, face, edge, hatch in bars:
        bottom.bar(
            x,
            height,
            0.7 * gap,
            bottom=below,
            color=face,
            edgecolor=edge,
            hatch=hatch,
            linewidth=0.8,
            label=word,
        )
    if room >= _NUMBERED:
        for at, total in zip(x, a + b, strict=True):
            bottom.annotate(
                f"{total:.0f}%" if share else f"{total:.0f}",
                (at, total),
                (0, 2),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=FONT,
            )
    bottom.set_ylim(0, 1.18 * max(float((a + b).max()), 1))
    bottom.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    bottom.set_ylabel("significant, % of heads" if share else "significant heads")


def _label_levels(axes: Sequence[Axes], labels: Sequence[str], name: str) -> None:
    """Put the labels of the levels at 0, 1, 2, ..."""
    for one in axes:
        one.xaxis.set_major_locator(FixedLocator([float(place) for place in range(len(labels))]))
        one.xaxis.set_minor_locator(NullLocator())
        one.set_xlim(-0.6, len(labels) - 0.4)
    axes[1].set_xticklabels([wrap(label, _ROOM / len(labels), FONT - 1) for label in labels])
    axes[1].set_xlabel(name)
    axes[0].tick_params(axis="x", labelbottom=False)


def _clusters(groups: Sequence[pd.DataFrame]) -> tuple[list[pd.DataFrame], NDArray[np.float64]]:
    """Divide each level into its settings, side by side about the level's place; a level that is one stays."""
    parts = [
        [part for _, part in group.groupby("setting", sort=True)] if _pooled([group]) else [group] for group in groups
    ]
    most = max(map(len, parts))
    step = 0.8 / most if most > 1 else 1.0
    places = [
        place + step * (np.arange(len(settings)) - (len(settings) - 1) / 2) for place, settings in enumerate(parts)
    ]
    return [part for settings in parts for part in settings], np.concatenate(places)


def _pooled(groups: Sequence[pd.DataFrame]) -> bool:
    """Whether a level holds the heads of several settings."""
    return any("setting" in group.columns and len(group["setting"].unique()) > 1 for group in groups)


def _sweep_chart(
    groups: Sequence[pd.DataFrame],
    labels: Sequence[str],
    name: str,
    value: str,
    words: tuple[str, str],
    alpha: float,
    *,
    joined: bool,
    title: str,
) -> Figure:
    pooled = _pooled(groups)
    parts, places = _clusters(groups)
    figure, axes = chart(4.4, rows=2, sharex=True, height_ratios=[1.2, 1])
    table = _summary(parts, value, alpha)
    _draw_axis(axes, places, table, call_column(groups, value), words, joined=joined and not pooled)
    _label_levels(axes, labels, name)
    axes[0].set_title(title, loc="left")
    axes[0].annotate(
        ("one bar a setting; " if pooled else "") + "dot: median head; dark: middle half; light: 90% of heads",
        (1, 1),
        (0, 3),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=FONT - 1,
        color=MUTED,
    )
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@drawing
def thresholds_plot(
    heads: pd.DataFrame,
    *,
    value: str | None = None,
    site: str | None = None,
    measure: str | None = None,
    conditions: Sequence[str] | None = None,
    alpha: float = 0.05,
) -> Figure:
    """Show effects and the number of significant heads over the thresholds of a run.

    Parameters
    ----------
    heads : pandas.DataFrame
        With `value` and ``p_perm_fdr``, of one or several thresholds.
    value : str, optional
        The effect; the table's standardized size unless given.
    site, measure, conditions, alpha
        As in `difference_map`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    value, effect = effect_column(heads, value, size=True)
    groups, levels = _threshold_groups(heads, value, site, measure)
    return _sweep_chart(
        groups,
        [f"{level:g}" for level in levels],
        "threshold: share of the attention that is counted up to",
        value,
        effect.directions(*condition_names(heads, conditions)),
        alpha,
        joined=True,
        title="robustness over thresholds",
    )


def _threshold_groups(
    heads: pd.DataFrame, value: str, site: str | None, measure: str | None
) -> tuple[list[pd.DataFrame], list[float]]:
    require_columns(heads, [*KEYS, value, "p_perm_fdr"], "the table of heads")
    levels = sorted(float(level) for level in heads["threshold"].unique())
    return [select_heads(heads, [value], site=site, threshold=level, measure=measure) for level in levels], levels


@alt_of(thresholds_plot)
def thresholds_plot_alt(
    heads: pd.DataFrame,
    *,
    value: str | None = None,
    site: str | None = None,
    measure: str | None = None,
    conditions: Sequence[str] | None = None,
    alpha: float = 0.05,
) -> str:
    """Say in words what `thresholds_plot` shows; parameters as there."""
    value, effect = effect_column(heads, value, size=True)
    groups, levels = _threshold_groups(heads, value, site, measure)
    words = effect.directions_in_text(*condition_names(heads, conditions))
    return "Over thresholds: " + _axis_alt(groups, [f"{level:g}" for level in levels], value, words, alpha)


def _axis_alt(
    groups: Sequence[pd.DataFrame],
    labels: Sequence[str],
    value: str,
    words: tuple[str, str],
    alpha: float,
) -> str:
    table = _summary(groups, value, alpha)
    heads = "heads, counted in every setting," if _pooled(groups) else "heads"
    parts = [
        f"at {label}, {row['more_a']} of {row['n_heads']} {heads} {words[0]} and {row['more_b']} {words[1]}, median "
        f"{call_column(groups, value)} {signed(row['q50'])}"
        for label, row in zip(labels, records(table), strict=True)
    ]
    return "; ".join(parts) + "."


@drawing
def sweep_plot(
    heads: pd.DataFrame,
    axis: str,
    *,
    value: str | None = None,
    conditions: Sequence[str] | None = None,
    alpha: float = 0.05,
    name: str | None = None,
) -> Figure:
    """Show how effects and significance move along one axis of a sweep.

    Parameters
    ----------
    heads : pandas.DataFrame
        Tables of heads of all settings under one another, with a column named `axis`, `value`, and
        ``p_perm_fdr`` (corrected over whatever the caller corrects over). With a column ``setting`` that
        tells settings apart, the settings of a level stand side by side.
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
    value, effect = effect_column(heads, value, size=True)
    groups, labels, joined = _sweep_groups(heads, axis, value)
    called = name or axis.replace("_", " ")
    words = effect.directions(*condition_names(heads, conditions))
    return _sweep_chart(
        groups,
        labels,
        called,
        value,
        words,
        alpha,
        joined=joined,
        title=f"sweep over {called}",
    )


def _sweep_groups(heads: pd.DataFrame, axis: str, value: str) -> tuple[list[pd.DataFrame], list[str], bool]:
    require_columns(heads, [axis, value, "p_perm_fdr"], "the table of heads")
    numeric = bool(pd.api.types.is_numeric_dtype(heads[axis]))
    levels = heads[axis].unique().tolist()
    if numeric:
        levels.sort()
    labels = [f"{level:g}" if numeric else str(level) for level in levels]
    return [heads[heads[axis] == level] for level in levels], labels, numeric


@alt_of(sweep_plot)
def sweep_plot_alt(
    heads: pd.DataFrame,
    axis: str,
    *,
    value: str | None = None,
    conditions: Sequence[str] | None = None,
    alpha: float = 0.05,
    name: str | None = None,
) -> str:
    """Say in words what `sweep_plot` shows; parameters as there."""
    value, effect = effect_column(heads, value, size=True)
    groups, labels, _ = _sweep_groups(heads, axis, value)
    words = effect.directions_in_text(*condition_names(heads, conditions))
    told = _axis_alt(groups, labels, value, words, alpha)
    return f"Sweep over {name or axis.replace('_', ' ')}: {told}"
