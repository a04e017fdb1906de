"""Whether the comparison is fair and how its p-values spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from metastable.errors import InputError
from metastable.figures.head_tables import require_columns
from metastable.figures.style import COLOR_A, FONT, INK, MUTED, PALE, alt_of, chart, drawing, level, signed, wrap

__all__ = ["balance_plot", "balance_plot_alt", "p_value_histogram", "p_value_histogram_alt"]


def _p_values(heads: pd.DataFrame, column: str) -> NDArray[np.float64]:
    require_columns(heads, [column], "the table of heads")
    p = heads[column].dropna().to_numpy(float)
    if not p.size or (p < 0).any() or (p > 1).any():
        raise InputError(f"column {column!r} must hold probabilities in 0..1; check the table of heads")
    return p


@drawing
def p_value_histogram(
    heads: pd.DataFrame, column: str = "p_perm", *, alpha: float = 0.05, bins: int = 20, title: str | None = None
) -> Figure:
    """Show how the p-values of all heads spread, with the line that no difference anywhere would give.

    Parameters
    ----------
    heads : pandas.DataFrame
        One row per head; NaN is left out.
    column : str, default "p_perm"
        A column of uncorrected p-values.
    alpha : float, default 0.05
        Where the dotted line stands.
    bins : int, default 20
        Bars between 0 and 1.
    title : str, optional
        Instead of one that states how many lie below alpha.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        Where the column is missing or holds no probabilities.
    """
    p = _p_values(heads, column)
    counts, edges = np.histogram(p, bins=bins, range=(0, 1))
    expected = len(p) / bins
    figure, (axes,) = chart(2.9)
    axes.bar(edges[:-1], counts, width=1 / bins, align="edge", color="#9fc9d9", edgecolor="#2c6f86", linewidth=0.8)
    axes.axhline(expected, color=INK, linewidth=1.2, linestyle="--")
    axes.axvline(alpha, color=COLOR_A, linewidth=1.2, linestyle=":")
    top = max(counts.max() * 1.08, expected * 1.6)
    axes.set_ylim(0, top)
    axes.set_xlim(0, 1)
    axes.annotate(
        f"no difference in any head: {expected:.3g} a bar",
        (0.985, expected),
        (0, 5),
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=FONT - 0.5,
        bbox={"facecolor": "white", "alpha": 0.85, "linewidth": 0, "pad": 1.5},
    )
    axes.annotate(
        f"α = {level(alpha)}",
        (alpha, top),
        (5, -2),
        textcoords="offset points",
        ha="left",
        va="top",
        fontsize=FONT - 0.5,
        color=COLOR_A,
    )
    axes.set_xlabel("p-value of a head, uncorrected")
    axes.set_ylabel("heads")
    axes.set_title(
        title or f"{int((p < alpha).sum())} of {len(p)} heads below {level(alpha)}; chance alone: {alpha * len(p):.3g}",
        loc="left",
    )
    return figure


@alt_of(p_value_histogram)
def p_value_histogram_alt(heads: pd.DataFrame, column: str = "p_perm", *, alpha: float = 0.05) -> str:
    """Say in words what `p_value_histogram` shows; parameters as there."""
    p = _p_values(heads, column)
    return (
        f"Histogram of {len(p)} uncorrected p-values: {int((p < alpha).sum())} lie below {level(alpha)}, where no "
        f"difference in any head would give {alpha * len(p):.3g}."
    )


_BALANCE_COLUMNS = ["covariate", "smd", "smd_low", "smd_high", "balanced"]


def _labels(table: pd.DataFrame, names: Mapping[str, str] | None) -> list[str]:
    known = names or {}
    return [known.get(name, str(name).replace("_", " ")) for name in table["covariate"]]


@drawing
def balance_plot(
    table: pd.DataFrame,
    *,
    before: pd.DataFrame | None = None,
    line: float = 0.1,
    names: Mapping[str, str] | None = None,
    conditions: Sequence[str] = ("first condition", "second"),
) -> Figure:
    """Show how far apart the conditions are in each covariate (a love plot).

    Parameters
    ----------
    table : pandas.DataFrame
        As `metastable.stats.balance_table` returns it: ``covariate``, ``smd`` (a - b, in standard deviations),
        ``smd_low``, ``smd_high`` and ``balanced``.
    before : pandas.DataFrame, optional
        The same before matching, drawn as crosses.
    line : float, default 0.1
        The usual line, within which a difference is negligible.
    names : mapping of str to str, optional
        What to call each covariate.
    conditions : pair of str
        Names of the conditions.

    Returns
    -------
    matplotlib.figure.Figure
        Filled dots are balanced, hollow diamonds differ by more than chance gives; lines are the intervals, and each
        value stands at the right.

    Raises
    ------
    InputError
        Where a column is missing.

    Notes
    -----
    Austin (2009), Statistics in Medicine 28, 3083-3107.
    """
    require_columns(table, _BALANCE_COLUMNS, "the balance table")
    order = table["smd"].abs().sort_values(kind="stable", na_position="first").index
    rows = table.loc[order]
    smd, y = rows["smd"].to_numpy(float), np.arange(len(rows))
    figure, (axes,) = chart(1.25 + 0.3 * len(rows))
    axes.axvspan(-line, line, color=PALE, zorder=0)
    axes.axvline(0, color=MUTED, linewidth=0.9)
    for side in (-line, line):
        axes.axvline(side, color=INK, linewidth=1, linestyle="--")
    earlier = np.array([])
    if before is not None:
        require_columns(before, ["covariate", "smd"], "the balance table before matching")
        earlier = before.set_index("covariate")["smd"].reindex(rows["covariate"]).to_numpy(float)
    low, high = (rows[name].to_numpy(float) for name in ("smd_low", "smd_high"))
    known = np.concatenate([smd, low, high, earlier, [2 * line]])
    reach = 1.12 * float(np.abs(known[np.isfinite(known)]).max())
    # a covariate that is constant on either side differs by no finite number of deviations: it stands at the edge
    at = np.clip(smd, -reach, reach)
    axes.hlines(y, low, high, color="#9a9a9a", linewidth=1.4)
    balanced = rows["balanced"].to_numpy(bool)
    axes.plot(smd[balanced], y[balanced], "o", color="#1d7f8c", markersize=7, label=f"within chance or {line:g}")
    axes.plot(
        at[~balanced],
        y[~balanced],
        "D",
        markerfacecolor="white",
        markeredgecolor=COLOR_A,
        markeredgewidth=1.8,
        markersize=7,
        label="beyond chance",
        clip_on=False,
    )
    if before is not None:
        axes.plot(
            np.clip(earlier, -reach, reach),
            y,
            "x",
            color=MUTED,
            markersize=7,
            markeredgewidth=1.6,
            label="before matching",
            clip_on=False,
        )
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_yticks(y, _labels(rows, names))
    axes.tick_params(axis="y", length=0)
    for height, value in zip(y, smd, strict=True):
        axes.annotate(
            signed(value) if not np.isnan(value) else "no spread",
            (1, height),
            (4, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            fontsize=FONT - 0.5,
        )
    axes.set_xlabel(wrap(f"standardized mean difference, {conditions[0]} − {conditions[1]}", 6.5, FONT))
    axes.set_title(f"{int((~balanced).sum())} of {len(rows)} covariates differ beyond chance", loc="left")
    figure.legend(loc="outside lower center", ncols=3, handletextpad=0.3)
    return figure


@alt_of(balance_plot)
def balance_plot_alt(
    table: pd.DataFrame,
    *,
    before: pd.DataFrame | None = None,
    line: float = 0.1,
    names: Mapping[str, str] | None = None,
    conditions: Sequence[str] = ("first condition", "second"),
) -> str:
    """Say in words what `balance_plot` shows; parameters as there."""
    require_columns(table, _BALANCE_COLUMNS, "the balance table")
    parts = [f"{name} {signed(smd)}" for name, smd in zip(_labels(table, names), table["smd"], strict=True)]
    n = int((~table["balanced"].astype(bool)).sum())
    text = (
        f"Balance plot: {n} of {len(table)} covariates differ by {line:g} standard deviations or more and by more than "
        f"chance gives. Standardized mean differences, {conditions[0]} minus {conditions[1]}: {', '.join(parts)}."
    )
    if before is not None:
        within = [int((one["smd"].abs() < line).sum()) for one in (table, before)]
        text += f" {within[0]} lie within {line:g}; before matching {within[1]} did."
    return text
