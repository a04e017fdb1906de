"""How power grows with the number of units."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from metastable.figures.head_tables import require_columns
from metastable.figures.style import FONT, LINES, MUTED, alt_of, chart, drawing

__all__ = ["power_curve", "power_curve_alt"]


@drawing
def power_curve(
    table: pd.DataFrame,
    *,
    target: float = 0.8,
    unit: str = "units of each condition",
    reached: Mapping[str, float] | None = None,
    title: str | None = None,
) -> Figure:
    """Show how often an effect is found by each test with each number of units.

    Parameters
    ----------
    table : pandas.DataFrame
        One row per test and size with ``test``, ``n``, ``power``; ``low`` and ``high``, if there, are the Monte Carlo
        interval.
    target : float, default 0.8
        The power that is marked.
    unit : str
        What is counted.
    reached : mapping of str to float, optional
        The size at which each test reaches the target, where it is known between those that were tried; without it the
        smallest size tried that does.
    title : str, optional
        Instead of one that states the smallest number that reaches the target.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        Where a column is missing.
    """
    require_columns(table, ["test", "n", "power"], "the table of power")
    figure, (axes,) = chart(3.6)
    axes.set_ylim(0, 1.02)
    axes.set_xscale("log")
    axes.axhline(target, color=MUTED, linewidth=1, linestyle=":")
    for i, (name, group) in enumerate(table.groupby("test", sort=False)):
        color, style, marker = LINES[i % len(LINES)]
        rows = group.sort_values("n")
        axes.plot(
            rows["n"], rows["power"], color=color, linestyle=style, marker=marker, markersize=4, label=str(name)
        )  # fmt: skip
        if {"low", "high"} <= set(rows.columns):
            axes.fill_between(rows["n"], rows["low"], rows["high"], color=color, alpha=0.15, linewidth=0)
    axes.set_xlim(table["n"].min(), table["n"].max())
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_formatter("{x:,.0f}")
    axes.tick_params(axis="x", which="minor", labelsize=FONT - 1.5)
    axes.set_xlabel(unit)
    axes.set_ylabel("power")
    axes.legend(loc="lower right", fontsize=FONT - 0.5, frameon=False)
    axes.set_title(title or f"{target:.0%} power: {_finding(table, target, reached)}", loc="left")
    return figure


def _sizes(table: pd.DataFrame, target: float, reached: Mapping[str, float] | None) -> dict[str, int | None]:
    """Return for each test the size that reaches the target; None where none does."""
    found: dict[str, int | None] = {}
    for name, rows in table.groupby("test", sort=False):
        ordered = rows.sort_values("n")
        at = np.flatnonzero(ordered["power"].to_numpy(dtype=float) >= target)
        found[str(name)] = int(ordered["n"].iloc[at[0]]) if len(at) else None
        if reached is not None and np.isfinite(known := reached.get(str(name), np.nan)):
            found[str(name)] = int(known)
    return found


def _finding(table: pd.DataFrame, target: float, reached: Mapping[str, float] | None) -> str:
    known = {name: n for name, n in _sizes(table, target, reached).items() if n is not None}
    if not known:
        return "no test reaches it with these numbers"
    best = min(known, key=lambda name: known[name])
    return f"{best} from {known[best]:,}"


@alt_of(power_curve)
def power_curve_alt(
    table: pd.DataFrame,
    *,
    target: float = 0.8,
    unit: str = "units of each condition",
    reached: Mapping[str, float] | None = None,
) -> str:
    """Say in words what `power_curve` shows; parameters as there."""
    require_columns(table, ["test", "n", "power"], "the table of power")
    parts = [f"{name} {'never' if n is None else f'from {n:,}'}" for name, n in _sizes(table, target, reached).items()]
    return f"Power over the number of {unit}. Tests reach {target:.0%} power: {'; '.join(parts)}."
