"""Whether each test keeps its promises, and what it would find."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metastable.figures.grid import page
from metastable.figures.head_tables import records, require_columns
from metastable.figures.style import COLOR_A, COLOR_B, FONT, INK, LINES, MUTED, alt_of, chart, drawing

__all__ = ["calibration_plot", "calibration_plot_alt", "sensitivity_curve", "sensitivity_curve_alt"]


@drawing
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
        for row in records(group):
            kind = "above" if row["low"] > nominal else "below" if row["high"] < nominal else "within"
            marker, face, edge, label = kinds[kind]
            axes.hlines(-y, row["low"], row["high"], color=edge, linewidth=1.6)
            axes.plot(
                row["rate"],
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
            labels.append(str(row["test"]))
            places.append(-y)
            axes.annotate(
                f"{row['rate']:.3f}",
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


@alt_of(calibration_plot)
def calibration_plot_alt(table: pd.DataFrame, *, nominal: float = 0.05) -> str:
    """Say in words what `calibration_plot` shows; parameters as there."""
    require_columns(table, ["test", "rate", "low", "high"], "the calibration table")
    parts = [f"{row['test']} {row['rate']:.3f} ({row['low']:.3f} to {row['high']:.3f})" for row in records(table)]
    return (
        f"Rates under no difference with Monte Carlo intervals, nominal {nominal:g}: {'; '.join(parts)}. "
        f"In short, {_calibration_finding(table, nominal)}."
    )


def _apart(places: Sequence[float], step: float, high: float) -> list[float]:
    """Move rising places apart to at least `step`, none above `high` where there is room."""
    moved: list[float] = []
    for place in places:
        moved.append(place if not moved else max(place, moved[-1] + step))
    for i in range(len(moved) - 1, -1, -1):
        moved[i] = min(moved[i], high if i == len(moved) - 1 else moved[i + 1] - step)
    return moved


def _end_labels(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Name each line at its right end, moved apart where the names would overlap."""
    low, high = axes.get_ylim()
    height = page(axes).get_size_inches()[1] - 0.9
    unit = (high - low) / height
    ordered = sorted(ends)
    places = _apart([y for y, _, _ in ordered], 1.35 * FONT / 72 * unit, high)
    for (y, text, color), at in zip(ordered, places, strict=True):
        axes.annotate(
            text,
            (1, y),
            (6, (at - y) / unit * 72),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            color=color,
            fontsize=FONT,
            annotation_clip=False,
        )


@drawing
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
    if len(ends) > 1:
        _end_labels(axes, ends)
        effect_label += f"   (in brackets: found with {target:.0%} power)"
    axes.set_xlabel(effect_label)
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


@alt_of(sensitivity_curve)
def sensitivity_curve_alt(table: pd.DataFrame, *, target: float = 0.8) -> str:
    """Say in words what `sensitivity_curve` shows; parameters as there."""
    require_columns(table, ["test", "effect", "power"], "the sensitivity table")
    parts = []
    for name, rows in table.groupby("test", sort=False):
        effect = _effect_at(rows.sort_values("effect"), target)
        parts.append(f"{name} {'never' if effect is None else f'from {effect:.2f}'}")
    return f"Power over effect size. Tests reach {target:.0%} power: {'; '.join(parts)}."
