"""The table of heads: choosing rows, checking columns, and laying values out as a grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metastable.errors import InputError
from metastable.measures import call_measure
from metastable.stats.effect_kinds import EFFECTS, Effect, effect_of

__all__ = [
    "HEADS",
    "KEYS",
    "Limits",
    "call_column",
    "call_value",
    "condition_names",
    "digits_for",
    "effect_column",
    "head_matrix",
    "measure_of",
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

HEADS = ("site", "layer", "head")
"""Columns that together name one head."""

KEYS = (*HEADS, "threshold", "measure")
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
    measure: str | None = None,
) -> pd.DataFrame:
    """Return the rows of one site, threshold and measure.

    Parameters
    ----------
    heads : pandas.DataFrame
        One row per site, layer, head, threshold and measure.
    columns : sequence of str
        Columns that the caller reads, beside the keys.
    site : str, optional
        May be left out where the table holds one site.
    threshold : float, optional
        May be left out where the table holds one threshold.
    measure : str, optional
        May be left out where the table holds one measure.

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
    for key, wanted in (("site", site), ("threshold", threshold), ("measure", measure)):
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
        Of one site, threshold and measure, as `select_heads` returns it.
    values : str or array, shape (n,)
        A column's name, or the values themselves.

    Returns
    -------
    numpy.ndarray of float64, shape (n_layers, n_heads)
        The layers of `layer_numbers`, the first in row 0; NaN where there is no such head.
    """
    head = heads["head"].to_numpy(int)
    if heads["layer"].min() < 1 or head.min() < 1:
        raise InputError("layers and heads count from 1; a smaller number was found")
    numbers = layer_numbers(heads)
    matrix = np.full((len(numbers), head.max()), np.nan)
    matrix[np.searchsorted(numbers, heads["layer"]), head - 1] = heads[values] if isinstance(values, str) else values
    return matrix


def layer_numbers(heads: pd.DataFrame) -> tuple[int, ...]:
    """Return the numbers of the layers of a table, ascending; a hybrid model has attention in some layers alone."""
    return tuple(sorted(map(int, heads["layer"].unique())))


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


def measure_of(heads: pd.DataFrame) -> str:
    """Return the measure of a table that holds one."""
    found = heads["measure"].unique().tolist()
    if len(found) > 1:
        raise InputError(
            f"the table of heads holds several of measure ({', '.join(map(str, found))}); choose one by measure="
        )
    return str(found[0])


def condition_names(heads: pd.DataFrame, conditions: Sequence[str] | None) -> tuple[str, str]:
    """Return the names of a and b: those given, else those that travel with the table, else "a" and "b".

    A table that a run has made, or one read from heads.parquet, has them in ``heads.attrs["conditions"]``; a csv
    file holds none.
    """
    a, b = heads.attrs.get("conditions", ("a", "b")) if conditions is None else conditions
    return str(a), str(b)


def effect_column(heads: pd.DataFrame, value: str | None, *, size: bool) -> tuple[str, Effect]:
    """Return the column of an effect, and which effect it is.

    Parameters
    ----------
    heads : pandas.DataFrame
        With the columns of one effect.
    value : str or None
        The column; that of the standardized size or of the estimate where None.
    size : bool
        Which of these.
    """
    effect = effect_of(heads)
    return value or (effect.size if size else effect.estimate), effect


def digits_for(values: NDArray[np.float64], least: float = 1.0) -> int:
    """Return how many digits after the point tell values apart: more where none reaches `least`, as in shares."""
    largest = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 0.0
    return 2 if largest >= least or largest == 0 else 3


def call_value(value: str, measure: str) -> str:
    """Return what a column is called on an axis."""
    for effect in EFFECTS:
        if value == effect.estimate:
            return f"{effect.of_mean} {call_measure(measure)}"
        if value == effect.size:
            return effect.size_name
    return value.replace("_", " ")


def call_column(tables: Sequence[pd.DataFrame], value: str) -> str:
    """Return what a column of several tables is called: the measure by its name where all hold the same."""
    measures = {str(measure) for table in tables if "measure" in table for measure in table["measure"]}
    return call_value(value, measures.pop() if len(measures) == 1 else "measure")
