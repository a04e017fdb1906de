"""Can the result be trusted: balance, p-values, calibration, sensitivity."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metastable.errors import InputError
from metastable.figures.grid import require_columns
from metastable.figures.style import (
    COLOR_A,
    COLOR_B,
    FONT,
    INK,
    LINES,
    MUTED,
    PALE,
    chart,
    signed,
    styled,
)

__all__ = [
    "balance_plot",
    "balance_plot_alt",
    "calibration_plot",
    "calibration_plot_alt",
    "p_value_histogram",
    "p_value_histogram_alt",
    "sensitivity_curve",
    "sensitivity_curve_alt",
]


def _p_values(heads: pd.DataFrame, column: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    require_columns(heads, [column], "the table of heads")
    p = heads[column].dropna().to_numpy(float)
    if not p.size or (p < 0).any() or (p > 1).any():
        raise InputError(f"column {column!r} must hold probabilities in 0..1; check the table of heads")
    return p


@styled
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
        (1, expected),
        (0, 4),
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=FONT - 0.5,
    )
    axes.annotate(
        f"α = {alpha:g}",
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
        title or f"{int((p < alpha).sum())} of {len(p)} heads below {alpha:g}; chance alone: {alpha * len(p):.3g}",
        loc="left",
    )
    return figure


def p_value_histogram_alt(heads: pd.DataFrame, column: str = "p_perm", *, alpha: float = 0.05) -> str:
    """Say in words what `p_value_histogram` shows; parameters as there."""
    p = _p_values(heads, column)
    return (
        f"Histogram of {len(p)} uncorrected p-values: {int((p < alpha).sum())} lie below {alpha:g}, where no "
        f"difference in any head would give {alpha * len(p):.3g}."
    )


def _labels(table: pd.DataFrame, names: Mapping[str, str] | None) -> list[str]:
    known = names or {}
    return [known.get(name, str(name).replace("_", " ")) for name in table["covariate"]]


@styled
def balance_plot(
    table: pd.DataFrame,
    *,
    before: pd.DataFrame | None = None,
    line: float = 0.1,
    names: Mapping[str, str] | None = None,
) -> Figure:
    """Show how far apart the conditions are in each covariate (a love plot).

    Parameters
    ----------
    table : pandas.DataFrame
        One row per covariate with ``covariate`` and ``smd`` (a - b, in standard deviations).
    before : pandas.DataFrame, optional
        The same before matching, drawn as crosses.
    line : float, default 0.1
        Beyond it a covariate counts as unbalanced.
    names : mapping of str to str, optional
        What to call each covariate.

    Returns
    -------
    matplotlib.figure.Figure
        Filled dots are balanced, hollow diamonds are not; each value stands at the right.

    Raises
    ------
    InputError
        Where a column is missing.

    Notes
    -----
    Austin (2009), Statistics in Medicine 28, 3083-3107.
    """
    require_columns(table, ["covariate", "smd"], "the balance table")
    order = table["smd"].abs().sort_values(kind="stable", na_position="first").index
    rows = table.loc[order]
    smd, y = rows["smd"].to_numpy(float), np.arange(len(rows))
    figure, (axes,) = chart(1.25 + 0.3 * len(rows))
    axes.axvspan(-line, line, color=PALE, zorder=0)
    axes.axvline(0, color=MUTED, linewidth=0.9)
    for side in (-line, line):
        axes.axvline(side, color=INK, linewidth=1, linestyle="--")
    axes.hlines(y, 0, smd, color="#9a9a9a", linewidth=1)
    balanced = np.abs(smd) < line
    axes.plot(smd[balanced], y[balanced], "o", color="#1d7f8c", markersize=7, label=f"balanced (|d| < {line:g})")
    axes.plot(
        smd[~balanced],
        y[~balanced],
        "D",
        markerfacecolor="white",
        markeredgecolor=COLOR_A,
        markeredgewidth=1.8,
        markersize=7,
        label="not balanced",
    )
    reach = np.nanmax(np.abs(np.append(smd, 2 * line)))
    if before is not None:
        require_columns(before, ["covariate", "smd"], "the balance table before matching")
        earlier = before.set_index("covariate")["smd"].reindex(rows["covariate"]).to_numpy(float)
        axes.plot(earlier, y, "x", color=MUTED, markersize=7, markeredgewidth=1.6, label="before matching")
        reach = np.nanmax(np.abs(np.append(earlier, reach)))
    axes.set_xlim(-1.12 * reach, 1.12 * reach)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_yticks(y, _labels(rows, names))
    axes.tick_params(axis="y", length=0)
    for height, value in zip(y, smd, strict=True):
        axes.annotate(
            signed(value) if np.isfinite(value) else "no spread",
            (1, height),
            (4, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            fontsize=FONT - 0.5,
        )
    axes.set_xlabel("standardized mean difference, first condition − second")
    axes.set_title(f"{int(balanced.sum())} of {len(rows)} covariates balanced", loc="left")
    figure.legend(loc="outside lower center", ncols=3, handletextpad=0.3)
    return figure


def balance_plot_alt(
    table: pd.DataFrame,
    *,
    before: pd.DataFrame | None = None,
    line: float = 0.1,
    names: Mapping[str, str] | None = None,
) -> str:
    """Say in words what `balance_plot` shows; parameters as there."""
    require_columns(table, ["covariate", "smd"], "the balance table")
    parts = [f"{name} {signed(smd)}" for name, smd in zip(_labels(table, names), table["smd"], strict=True)]
    n = int((table["smd"].abs() < line).sum())
    text = (
        f"Balance plot: {n} of {len(table)} covariates lie within {line:g} standard deviations. "
        f"Standardized mean differences: {', '.join(parts)}."
    )
    if before is not None:
        text += f" Before matching {int((before['smd'].abs() < line).sum())} did."
    return text


@styled
def calibration_plot(table: pd.DataFrame, *, nominal: float = 0.05, title: str | None = None) -> Figure:
    """Show how often each test rejects where there is nothing to find, against the nominal rate.

    Parameters
    ----------
    table : pandas.DataFrame
        One row per test with ``test``, ``rate`` and its Monte Carlo interval ``low``, ``high``;
        ``measure`` (for instance "false positives", "family-wise error"), if there, makes groups.
    nominal : float, default 0.05
        The rate promised.
    title : str, optional
        Instead of one that states how many keep it.

    Returns
    -------
    matplotlib.figure.Figure
        Filled dots: the interval holds the nominal rate; hollow squares: below; crosses: above.

    Raises
    ------
    InputError
        Where a column is missing.
    """
    require_columns(table, ["test", "rate", "low", "high"], "the calibration table")
    groups = (
        [(None, table)] if "measure" not in table else [(str(k), g) for k, g in table.groupby("measure", sort=False)]
    )
    n_rows = len(table) + (len(groups) if groups[0][0] is not None else 0)
    figure, (axes,) = chart(1.35 + 0.27 * n_rows)
    axes.axvline(nominal, color=INK, linewidth=1.1, linestyle="--")
    kinds = {
        "within": ("o", "#1d7f8c", "#1d7f8c", "interval holds the nominal rate"),
        "below": ("s", "white", COLOR_B, "below it: cautious"),
        "above": ("X", COLOR_A, COLOR_A, "above it: too many"),
    }
    y, labels, places = 0, [], []
    shown: set[str] = set()
    for name, group in groups:
        if name is not None:
            axes.annotate(
                name,
                (0, -y),
                (-6, 0),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                ha="right",
                va="center",
                fontsize=FONT,
                weight="bold",
            )
            y += 1
        for row in group.itertuples():
            kind = "above" if row.low > nominal else "below" if row.high < nominal else "within"
            marker, face, edge, label = kinds[kind]
            axes.hlines(-y, row.low, row.high, color=edge, linewidth=1.6)
            axes.plot(
                row.rate,
                -y,
                marker,
                markerfacecolor=face,
                markeredgecolor=edge,
                markersize=7,
                markeredgewidth=1.5,
                linestyle="none",
                label=label if kind not in shown else None,
            )
            shown.add(kind)
            labels.append(str(row.test))
            places.append(-y)
            axes.annotate(
                f"{row.rate:.3f}",
                (1, -y),
                (4, 0),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                va="center",
                fontsize=FONT - 0.5,
            )
            y += 1
    axes.set_yticks(places, labels)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-y + 0.4, 0.6)
    axes.set_xlim(0, max(1.15 * float(table["high"].max()), 2 * nominal))
    axes.set_xlabel(f"share of runs or heads; dashed: nominal rate {nominal:g}")
    axes.set_title(title or _calibration_finding(table, nominal), loc="left")
    figure.legend(loc="outside lower center", ncols=3, handletextpad=0.3)
    return figure


def _calibration_finding(table: pd.DataFrame, nominal: float) -> str:
    above = int((table["low"] > nominal).sum())
    if not above:
        return f"no rate lies above {nominal:g} by more than Monte Carlo error"
    return f"{above} of {len(table)} rates lie above {nominal:g} by more than Monte Carlo error"


def calibration_plot_alt(table: pd.DataFrame, *, nominal: float = 0.05) -> str:
    """Say in words what `calibration_plot` shows; parameters as there."""
    require_columns(table, ["test", "rate", "low", "high"], "the calibration table")
    parts = [f"{row.test} {row.rate:.3f} ({row.low:.3f} to {row.high:.3f})" for row in table.itertuples()]
    return (
        f"Rates under no difference with Monte Carlo intervals, nominal {nominal:g}: {'; '.join(parts)}. "
        f"In short, {_calibration_finding(table, nominal)}."
    )


def _end_labels(axes: Axes, ends: list[tuple[float, str, str]]) -> None:
    """Name each line at its right end, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    height = axes.figure.get_size_inches()[1] - 0.9
    step = (high - low) * 1.3 * FONT / 72 / height
    placed: list[float] = []
    for y, text, color in sorted(ends):
        at = y if not placed else max(y, placed[-1] + step)
        placed.append(at)
        axes.annotate(
            text,
            (1, y),
            (6, (at - y) / (high - low) * height * 72),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            color=color,
            fontsize=FONT,
            annotation_clip=False,
        )


@styled
def sensitivity_curve(
    table: pd.DataFrame, *, target: float = 0.8, effect_label: str = "true effect, Hedges' g", title: str | None = None
) -> Figure:
    """Show how often an effect of each size would be found by each test.

    Parameters
    ----------
    table : pandas.DataFrame
        One row per test and effect with ``test``, ``effect``, ``power``; ``low`` and ``high``, if
        there, are the Monte Carlo interval.
    target : float, default 0.8
        The power whose effect is marked.
    effect_label : str
        What `effect` is.
    title : str, optional
        Instead of one that states the smallest effect found at the target.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        Where a column is missing.
    """
    require_columns(table, ["test", "effect", "power"], "the sensitivity table")
    figure, (axes,) = chart(3.6)
    axes.set_ylim(0, 1.02)
    axes.axhline(target, color=MUTED, linewidth=1, linestyle=":")
    ends = []
    for i, (name, group) in enumerate(table.groupby("test", sort=False)):
        color, style, marker = LINES[i % len(LINES)]
        rows = group.sort_values("effect")
        axes.plot(rows["effect"], rows["power"], color=color, linestyle=style, marker=marker, markersize=4.5)
        if {"low", "high"} <= set(rows.columns):
            axes.fill_between(rows["effect"], rows["low"], rows["high"], color=color, alpha=0.15, linewidth=0)
        found = _effect_at(rows, target)
        reach = "not reached" if found is None else f"{found:.2f}"
        ends.append((float(rows["power"].iloc[-1]), f"{name} ({reach})", color))
        if found is not None:
            axes.plot([found, found], [0, target], color=color, linewidth=0.9, linestyle=style)
    axes.set_xlim(table["effect"].min(), table["effect"].max())
    axes.annotate(
        f"{target:.0%} power",
        (0, target),
        (4, 3),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        fontsize=FONT - 0.5,
        color=MUTED,
    )
    _end_labels(axes, ends)
    # the names beside the axes are annotations; the layout engine is told how wide they are
    axes.set_xlabel(f"{effect_label}   (in brackets: found with {target:.0%} power)")
    axes.set_ylabel("power")
    axes.set_title(title or _sensitivity_finding(table, target), loc="left")
    return figure


def _effect_at(rows: pd.DataFrame, target: float) -> float | None:
    """Return the effect at which power first reaches the target, between points by a straight line."""
    effect, power = rows["effect"].to_numpy(float), rows["power"].to_numpy(float)
    reached = np.flatnonzero(power >= target)
    if not reached.size:
        return None
    i = int(reached[0])
    if i == 0:
        return float(effect[0])
    share = (target - power[i - 1]) / (power[i] - power[i - 1])
    return float(effect[i - 1] + share * (effect[i] - effect[i - 1]))


def _sensitivity_finding(table: pd.DataFrame, target: float) -> str:
    found = {
        str(name): effect
        for name, rows in table.groupby("test", sort=False)
        if (effect := _effect_at(rows.sort_values("effect"), target)) is not None
    }
    if not found:
        return f"no test reaches {target:.0%} power within these effects"
    best = min(found, key=lambda name: found[name])
    return f"{target:.0%} power from an effect of {found[best]:.2f} ({best})"


def sensitivity_curve_alt(table: pd.DataFrame, *, target: float = 0.8) -> str:
    """Say in words what `sensitivity_curve` shows; parameters as there."""
    require_columns(table, ["test", "effect", "power"], "the sensitivity table")
    parts = []
    for name, rows in table.groupby("test", sort=False):
        effect = _effect_at(rows.sort_values("effect"), target)
        parts.append(f"{name} {'never' if effect is None else f'from {effect:.2f}'}")
    return f"Power over effect size. Tests reach {target:.0%} power: {'; '.join(parts)}."
