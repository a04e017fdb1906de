"""All settings of a sweep under one another: sizes of their effects, and what their omnibus tests find."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from metastable.errors import InputError
from metastable.figures.head_tables import call_column, effect_column, require_columns
from metastable.figures.style import FONT, INK, MUTED, alt_of, chart, drawing, wrap

__all__ = ["settings_plot", "settings_plot_alt"]

_ROW = 0.27  # inches a setting
_LABEL = 3.4  # inches, the most that a label takes


def _groups(heads: pd.DataFrame, labels: Sequence[str], found: Sequence[bool], value: str) -> list[pd.DataFrame]:
    require_columns(heads, ["setting", value, "p_perm_fdr"], "the table of heads")
    groups = [group for _, group in heads.groupby("setting", sort=True)]
    if not len(groups) == len(labels) == len(found):
        raise InputError(
            f"the table of heads holds {len(groups)} settings, but there are {len(labels)} labels and {len(found)} "
            "results of omnibus tests; give one of each a setting"
        )
    return groups


@drawing
def settings_plot(
    heads: pd.DataFrame,
    labels: Sequence[str],
    found: Sequence[bool],
    *,
    title: str = "",
    value: str | None = None,
    alpha: float = 0.05,
) -> Figure:
    """Show the absolute effects of every setting of a sweep and how many of its heads are significant.

    Parameters
    ----------
    heads : pandas.DataFrame
        Tables of heads of all settings under one another, with ``setting``, `value` and ``p_perm_fdr``.
    labels : sequence of str
        One a setting, in the order of ``setting``.
    found : sequence of bool
        Whether each setting's omnibus test finds a difference.
    title : str
        What the labels list.
    value : str, optional
        The effect; the table's standardized size unless given.
    alpha : float, default 0.05
        For the significance of heads.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        Where a column is missing, or the labels do not fit the settings.
    """
    value, effect = effect_column(heads, value, size=True)
    groups = _groups(heads, labels, found, value)
    texts = [wrap(label, _LABEL, FONT - 1) for label in labels]
    row = _ROW + 0.14 * max(text.count("\n") for text in texts)
    figure, (axes,) = chart(1.25 + row * len(groups))
    for place, (group, differs) in enumerate(zip(groups, found, strict=True)):
        low, first, middle, third, high = group[value].abs().quantile([0.05, 0.25, 0.5, 0.75, 0.95])
        axes.hlines(place, low, high, color="#bdbdbd", linewidth=3)
        axes.hlines(place, first, third, color="#7d7d7d", linewidth=8)
        axes.plot(middle, place, "o", color=INK, markerfacecolor=INK if differs else "white", markersize=6)
        axes.annotate(
            f"{int((group['p_perm_fdr'] < alpha).sum())} of {len(group)}",
            (1.01, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=FONT - 1,
        )
    axes.set_ylim(len(groups) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_yticks(range(len(groups)), texts)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#e3e3e3", linewidth=0.8)
    axes.set_xlabel(f"|{call_column(groups, value)}| over heads: median, middle half (dark), 90% (light)")
    # both headers stand above their columns
    above: dict[str, Any] = {
        "xycoords": "axes fraction",
        "textcoords": "offset points",
        "fontsize": FONT - 1,
        "color": MUTED,
    }
    axes.annotate(title, (0, 1), (-4, 4), ha="right", va="bottom", **above)
    axes.annotate("significant", (1.01, 1), (0, 4), ha="left", va="bottom", **above)
    figure.legend(
        handles=[
            Line2D([], [], linestyle="", marker="o", color=INK, markerfacecolor=face, label=text)
            for face, text in ((INK, f"omnibus test finds a {effect.name}"), ("white", "finds none"))
        ],
        loc="outside lower center",
        ncols=2,
    )
    return figure


@alt_of(settings_plot)
def settings_plot_alt(
    heads: pd.DataFrame,
    labels: Sequence[str],
    found: Sequence[bool],
    *,
    value: str | None = None,
    alpha: float = 0.05,
) -> str:
    """Say in words what `settings_plot` shows; parameters as there."""
    value, effect = effect_column(heads, value, size=True)
    groups = _groups(heads, labels, found, value)
    medians = [float(group[value].abs().median()) for group in groups]
    numbers = [int((group["p_perm_fdr"] < alpha).sum()) for group in groups]
    least, most = medians.index(min(medians)), medians.index(max(medians))
    return (
        f"{len(groups)} settings: the omnibus test finds a {effect.name} in {sum(map(bool, found))}. The median "
        f"|{call_column(groups, value)}| over heads runs from {medians[least]:.2f} ({labels[least]}) to "
        f"{medians[most]:.2f} ({labels[most]}), the number of significant heads from {min(numbers)} to {max(numbers)}."
    )
