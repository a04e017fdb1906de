"""Two estimates of the same heads against each other: adjusted or not, one study or another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from metastable.errors import InputError
from metastable.figures.head_tables import HEADS, call_column, digits_for, measure_of, require_columns
from metastable.figures.style import FONT, INK, MUTED, alt_of, chart, drawing, format_p, level, signed, wrap
from metastable.stats.effect_kinds import effect_of

__all__ = ["adjustment_plot", "adjustment_plot_alt", "study_scatter", "study_scatter_alt"]


def _joined(first: pd.DataFrame, second: pd.DataFrame, value: str) -> pd.DataFrame:
    keys = [*HEADS, "threshold"]
    for table in (first, second):
        require_columns(table, [*keys, value, "p_perm_fdr"], "the table of heads")
        if "measure" in table:
            measure_of(table)
    both = first.merge(second, on=keys, suffixes=("_x", "_y"), validate="one_to_one")
    both = both.replace([np.inf, -np.inf], np.nan).dropna(subset=[f"{value}_x", f"{value}_y"])
    if both.empty:
        raise InputError("the two tables share no head; compare tables of one model, site and threshold")
    return both


_STATES = (
    ("both", "o", "#1d7f8c", "#0f4f58"),
    ("first", ">", "#f6c48b", "#7f3b08"),
    ("second", "^", "#c9c3e0", "#3b1a63"),
    ("neither", "o", "white", "#9a9a9a"),
)


def _states(both: pd.DataFrame, alpha: float) -> NDArray[np.str_]:
    x, y = both["p_perm_fdr_x"] < alpha, both["p_perm_fdr_y"] < alpha
    return np.select([x & y, x, y], ["both", "first", "second"], "neither").astype(np.str_)


def _scatter(
    both: pd.DataFrame, value: str, alpha: float, words: dict[str, str], *, diagonal: str
) -> tuple[Figure, Axes]:
    figure, (axes,) = chart(5.0)
    x, y = both[f"{value}_x"].to_numpy(float), both[f"{value}_y"].to_numpy(float)
    states = _states(both, alpha)
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.axvline(0, color=MUTED, linewidth=0.8)
    low, high = float(min(x.min(), y.min(), 0)), float(max(x.max(), y.max(), 0))
    pad = 0.06 * (high - low or 1)
    ends = (low - pad, high + pad)
    axes.plot(ends, ends, color=INK, linewidth=1, linestyle="--", label=diagonal)
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
    axes.legend(loc="upper left", bbox_to_anchor=(1.03, 1), title=f"significant (FDR {level(alpha)})", alignment="left")
    return figure, axes


@drawing
def adjustment_plot(
    before: pd.DataFrame,
    after: pd.DataFrame,
    *,
    value: str | None = None,
    alpha: float = 0.05,
) -> Figure:
    """Show each head's difference or slope before and after adjusting for the covariates.

    Parameters
    ----------
    before, after : pandas.DataFrame
        Tables of heads without and with covariates, with `value` and ``p_perm_fdr``.
    value : str, optional
        The estimate; the tables' difference or slope unless given.
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
    value = value or effect_of(before).estimate
    both, called = _joined(before, after, value), call_column((before, after), value)
    words = {"both": "before and after", "first": "before only", "second": "after only", "neither": "neither"}
    figure, axes = _scatter(both, value, alpha, words, diagonal="no change")
    axes.set_xlabel(f"{called}, as measured")
    axes.set_ylabel(f"{called}, adjusted for the covariates")
    axes.set_title("what adjustment does to each head", loc="left")
    return figure


@alt_of(adjustment_plot)
def adjustment_plot_alt(
    before: pd.DataFrame,
    after: pd.DataFrame,
    *,
    value: str | None = None,
    alpha: float = 0.05,
) -> str:
    """Say in words what `adjustment_plot` shows; parameters as there."""
    value = value or effect_of(before).estimate
    both, called = _joined(before, after, value), call_column((before, after), value)
    states = _states(both, alpha)
    x, y = both[f"{value}_x"], both[f"{value}_y"]
    digits = digits_for(both[[f"{value}_x", f"{value}_y"]].to_numpy(float))
    return (
        f"Each head's {called} before and after adjustment for covariates, {len(both)} heads: the "
        f"mean absolute size goes from {x.abs().mean():.{digits}f} to {y.abs().mean():.{digits}f}, the sign changes in "
        f"{int((x * y < 0).sum())}. Significant before and after: {int((states == 'both').sum())}, before only: "
        f"{int((states == 'first').sum())}, after only: {int((states == 'second').sum())}."
    )


@drawing
def study_scatter(
    first: pd.DataFrame,
    second: pd.DataFrame,
    *,
    names: Sequence[str] = ("first study", "second study"),
    value: str | None = None,
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
    value : str, optional
        The effect; the tables' standardized size unless given.
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
    value = value or effect_of(first).size
    both, called = _joined(first, second, value), call_column((first, second), value)
    words = {"both": "both", "first": f"{names[0]} only", "second": f"{names[1]} only", "neither": "neither"}
    figure, axes = _scatter(
        both,
        value,
        alpha,
        {key: wrap(word, 2.2, FONT - 1) for key, word in words.items()},
        diagonal="equal in both",
    )
    axes.set_xlabel(wrap(f"{called}, {names[0]}", 4.2, FONT))
    axes.set_ylabel(wrap(f"{called}, {names[1]}", 4.2, FONT))
    axes.set_title(_correlation(both, value, p), loc="left")
    return figure


def _correlation(both: pd.DataFrame, value: str, p: float | None) -> str:
    x, y = both[f"{value}_x"].to_numpy(float), both[f"{value}_y"].to_numpy(float)
    if len(both) < 3 or x.std() == 0 or y.std() == 0:
        return f"{len(both)} heads"
    r = signed(float(np.corrcoef(x, y)[0, 1])).replace("0.", ".").replace("+", "")
    return f"r = {r} over {len(both)} heads" + (f", {format_p(p)}" if p is not None else "")


@alt_of(study_scatter)
def study_scatter_alt(
    first: pd.DataFrame,
    second: pd.DataFrame,
    *,
    names: Sequence[str] = ("first study", "second study"),
    value: str | None = None,
    alpha: float = 0.05,
    p: float | None = None,
) -> str:
    """Say in words what `study_scatter` shows; parameters as there."""
    value = value or effect_of(first).size
    both, called = _joined(first, second, value), call_column((first, second), value)
    states = _states(both, alpha)
    agree = int((both[f"{value}_x"] * both[f"{value}_y"] > 0).sum())
    return (
        f"{called} of each head in {names[0]} against {names[1]}: {_correlation(both, value, p)}. "
        f"The sign agrees in {agree}; {int((states == 'both').sum())} are significant in both."
    )
