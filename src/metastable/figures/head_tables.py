"""The table of heads: choosing rows, checking columns, and laying values out as a grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metastable.errors import InputError
from metastable.measures import call_measure

__all__ = [
    "KEYS",
    "Limits",
    "call_effect",
    "call_value",
    "digits_for",
    "directions",
    "head_matrix",
    "place",
    "records",
    "require_columns",
    "select_heads",
    "shared_limits",
    "significant",
    "strongest",
    "symmetric_limits",
]

Limits = tuple[float, float]

KEYS = ("site", "layer", "head", "threshold")
"""Columns that together name one row."""


def require_columns(table: pd.DataFrame, columns: Sequence[str], name: str) -> None:
    """Raise `InputError` where a table is empty or lacks a column."""
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise InputError(f"{name} lacks the column {missing[0]!r}; it has {', '.join(map(str, table.columns))}")
    if table.empty:
        raise InputError(f"{name} is empty; give at least one row")


def select_heads(
    heads: pd.DataFrame,
    columns: Sequence[str] = (),
    *,
    site: str | None = None,
    threshold: float | None = None,
) -> pd.DataFrame:
    """Return the rows of one site and threshold.

    Parameters
    ----------
    heads : pandas.DataFrame
        One row per site, layer, head and threshold.
    columns : sequence of str
        Columns that the caller reads, beside the keys.
    site : str, optional
        May be left out where the table holds one site.
    threshold : float, optional
        May be left out where the table holds one threshold.

    Returns
    -------
    pandas.DataFrame
        One row per layer and head.

    Raises
    ------
    InputError
        Where a column is missing, the choice is ambiguous or matches nothing, or a head occurs twice.
    """
    require_columns(heads, (*KEYS, *columns), "the table of heads")
    for key, wanted in (("site", site), ("threshold", threshold)):
        found = heads[key].unique().tolist()
        listed = ", ".join(map(str, found))
        if wanted is None and len(found) > 1:
            raise InputError(f"the table of heads holds several of {key} ({listed}); choose one by {key}=")
        if wanted is not None:
            rows = np.isclose(heads[key], wanted) if key == "threshold" else heads[key] == wanted
            heads = heads[rows]
            if heads.empty:
                raise InputError(f"the table of heads has no {key} {wanted!r}; it holds {listed}")
    # the effect of a head that is constant in both conditions is infinite: there is no place for it on any scale
    heads = heads.replace([np.inf, -np.inf], np.nan)
    twice = heads.duplicated(["layer", "head"])
    if twice.any():
        row = heads[twice].iloc[0]
        raise InputError(f"layer {row['layer']} head {row['head']} occurs twice; give one row per head")
    return heads


def head_matrix(heads: pd.DataFrame, values: str | NDArray[Any]) -> NDArray[np.float64]:
    """Lay one value per head out as a grid.

    Parameters
    ----------
    heads : pandas.DataFrame of n rows
        Of one site and threshold, as `select_heads` returns it.
    values : str or array, shape (n,)
        A column's name, or the values themselves.

    Returns
    -------
    numpy.ndarray of float64, shape (n_layers, n_heads)
        Layer 1 in row 0; NaN where there is no such head.
    """
    layer, head = heads["layer"].to_numpy(int), heads["head"].to_numpy(int)
    if layer.min() < 1 or head.min() < 1:
        raise InputError("layers and heads count from 1; a smaller number was found")
    matrix = np.full((layer.max(), head.max()), np.nan)
    matrix[layer - 1, head - 1] = heads[values] if isinstance(values, str) else values
    return matrix


def shared_limits(heads: pd.DataFrame, columns: Sequence[str]) -> Limits:
    """Return the least and the largest value over several columns, the limits of what is compared."""
    values = heads[list(columns)].to_numpy(float)
    if not np.isfinite(values).any():
        raise InputError(f"column {columns[0]!r} holds no number; nothing can be drawn")
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def symmetric_limits(values: NDArray[np.float64]) -> Limits:
    """Return limits centred at zero that hold all values."""
    largest = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 0.0
    return (-largest, largest) if largest > 0 else (-1.0, 1.0)


def significant(heads: pd.DataFrame, alpha: float) -> NDArray[np.bool_]:
    """Return which heads differ after FDR correction."""
    return (heads["p_perm_fdr"] < alpha).to_numpy(bool)


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as dictionaries."""
    return cast("list[dict[str, Any]]", table.to_dict("records"))


def strongest(heads: pd.DataFrame, value: str) -> dict[str, Any]:
    """Return the row with the largest absolute value."""
    known = heads.dropna(subset=[value])
    if known.empty:
        raise InputError(f"column {value!r} holds no number; nothing can be drawn")
    return records(known.iloc[[int(known[value].abs().to_numpy().argmax())]])[0]


def place(row: dict[str, Any]) -> str:
    """Name a head as a reader finds it in the grid."""
    return f"layer {row['layer']} head {row['head']}"


def call_effect(value: str, measure: str, effect: str | None) -> str:
    """Return what an effect is called: that of two conditions, or where `effect` is given, a slope of the mean."""
    return call_value(value, measure) if effect is None else f"{effect} of the mean {call_measure(measure)}"


def directions(conditions: Sequence[str], effect: str | None = None) -> tuple[str, str]:
    """Return what a positive and what a negative effect mean: of two conditions, or of a slope."""
    return (f"{conditions[0]} more", f"{conditions[1]} more") if effect is None else ("rising", "falling")


def digits_for(values: NDArray[np.float64], least: float = 1.0) -> int:
    """Return how many digits after the point tell values apart: more where none reaches `least`, as in shares."""
    largest = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 0.0
    return 2 if largest >= least or largest == 0 else 3


def call_value(value: str, measure: str = "count") -> str:
    """Return what a column is called on an axis."""
    if value == "difference":
        return f"difference in mean {call_measure(measure)}"
    return "Hedges' g" if value == "hedges_g" else value.replace("_", " ")
