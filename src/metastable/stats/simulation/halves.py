"""Random halves of the units of one condition, with their tokens and their contexts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metastable.errors import InputError
from metastable.stats.labels import label_codes
from metastable.stats.samples import unit_scaled
from metastable.stats.simulation.planting import family_codes

__all__ = ["ContextValues", "Split", "TokenValues", "UnitContexts", "UnitTokens", "Units", "divide", "prepare"]


@dataclass(frozen=True)
class TokenValues:
    """Values of tokens, for the mixed model.

    Attributes
    ----------
    values : ndarray of numbers, shape (n_tokens, n_features)
        One row per token; small integers are converted a block of features at a time.
    unit : ndarray of int, shape (n_tokens,)
        Row of the unit-level values that each token belongs to.
    nuisance : ndarray of float64, shape (n_tokens, n_columns), or None
        Further fixed effects of the mixed model, beside the intercept and the half.
    crossed : ndarray of int, shape (n_tokens,), or None
        Second grouping factor of the mixed model, where neither pairs nor clusters are one.
    """

    values: NDArray[np.number]
    unit: NDArray[np.integer]
    nuisance: NDArray[np.float64] | None = None
    crossed: NDArray[np.integer] | None = None


@dataclass(frozen=True)
class Split:
    """One random division.

    Attributes
    ----------
    rows : ndarray of int, shape (n_used,)
        Units used: all, but for one left over by pairs.
    condition : ndarray of bool, shape (n_used,)
        True for half a.
    pair : ndarray of int, shape (n_used,), or None
        Pair of each unit, in a paired design.
    """

    rows: NDArray[np.intp]
    condition: NDArray[np.bool_]
    pair: NDArray[np.intp] | None


@dataclass(frozen=True)
class UnitTokens:
    """Values of tokens, by the unit that moves.

    Attributes
    ----------
    table : ndarray of numbers, shape (n_tokens, n_features)
        One row per token.
    unit : ndarray of int, shape (n_tokens,)
        Unit that moves: the cluster where there are clusters.
    group : ndarray of int, shape (n_tokens,)
        Row of the values given, a member of the cluster.
    clustered : bool
        Whether `unit` and `group` differ.
    nuisance : ndarray of float64, shape (n_tokens, n_columns)
        Further fixed effects; no column for none.
    crossed : ndarray of int, shape (n_tokens,), or None
        Second grouping factor, where neither pairs nor clusters are one.
    """

    table: NDArray[np.number]
    unit: NDArray[np.intp]
    group: NDArray[np.intp]
    clustered: bool
    nuisance: NDArray[np.float64]
    crossed: NDArray[np.integer] | None


@dataclass(frozen=True)
class ContextValues:
    """Values of units in contexts.

    Attributes
    ----------
    values : ndarray of float64, shape (n_observations, n_features)
        One row per unit and context.
    unit : ndarray of int, shape (n_observations,)
        Row of the unit-level values that each observation belongs to.
    context : ndarray, shape (n_observations,)
        Label of its context.
    """

    values: NDArray[np.float64]
    unit: NDArray[np.integer]
    context: NDArray[Any]


@dataclass(frozen=True)
class UnitContexts:
    """Values in contexts, by the unit that moves.

    Attributes
    ----------
    table : ndarray of float64, shape (n_observations, n_features)
        One row per observation.
    unit : ndarray of int, shape (n_observations,)
        Unit that moves: the cluster where there are clusters.
    context : ndarray of int, shape (n_observations,)
        Codes from 0.
    """

    table: NDArray[np.float64]
    unit: NDArray[np.intp]
    context: NDArray[np.intp]


@dataclass(frozen=True)
class Units:
    """Units that move, whole clusters where there are clusters, and their tokens.

    Attributes
    ----------
    table : ndarray of float64, shape (n_units, n_features)
        One row per unit that moves; the mean of a cluster.
    families : ndarray of int, shape (n_features,)
        Family of each feature, from 0.
    tokens : UnitTokens or None
        Values of tokens, for the mixed model.
    contexts : UnitContexts or None
        Values of the units in their contexts.
    """

    table: NDArray[np.float64]
    families: NDArray[np.intp]
    tokens: UnitTokens | None
    contexts: UnitContexts | None = None


def prepare(
    values: ArrayLike,
    tokens: TokenValues | None,
    cluster: ArrayLike | None,
    paired: bool,
    family: ArrayLike | None,
    contexts: ContextValues | None = None,
) -> Units:
    """Check the input of `metastable.stats.simulation.calibrating.calibrate` and take means of clusters.

    Arguments and errors are described there.
    """
    table, scale = unit_scaled(values)
    unit = np.arange(len(table))
    if cluster is not None:
        if paired:
            raise InputError("paired and cluster are both given; a paired design moves pairs, leave cluster out")
        unit = label_codes("cluster", cluster, len(table))
    size = np.bincount(unit)
    if len(size) < 8:
        kind = "units" if cluster is None else "clusters"
        raise InputError(f"values has {len(size)} {kind}; two halves that can be tested need at least 8")
    means = np.zeros((len(size), table.shape[1]))
    np.add.at(means, unit, table)
    means /= size[:, None]
    return Units(
        table=table if cluster is None else means,
        families=family_codes(family, table.shape[1]),
        tokens=None if tokens is None else _checked_tokens(tokens, table.shape, unit, scale),
        contexts=None if contexts is None else _checked_contexts(contexts, table.shape, unit, scale),
    )


def _checked_contexts(
    contexts: ContextValues, shape: tuple[int, ...], unit: NDArray[np.intp], scale: NDArray[np.float64]
) -> UnitContexts:
    values, row = np.asarray(contexts.values, dtype=np.float64), np.asarray(contexts.unit)
    if values.ndim != 2 or values.shape[1] != shape[1] or row.shape != (len(values),):
        raise InputError(
            f"contexts has values of shape {values.shape} and units of shape {row.shape}; give observations by "
            f"{shape[1]} features and the unit of each observation"
        )
    if not np.issubdtype(row.dtype, np.integer) or row.min() < 0 or row.max() >= shape[0]:
        raise InputError(f"contexts has units outside 0 to {shape[0] - 1}; give the row of values of each observation")
    codes = label_codes("contexts", contexts.context, len(values), each="observation")
    return UnitContexts(values / scale, unit[row], codes)


def _checked_tokens(
    tokens: TokenValues, shape: tuple[int, ...], unit: NDArray[np.intp], scale: NDArray[np.float64]
) -> UnitTokens:
    token_values, group = np.asarray(tokens.values), np.asarray(tokens.unit)
    if token_values.ndim != 2 or token_values.shape[1] != shape[1] or group.shape != (len(token_values),):
        raise InputError(
            f"tokens has values of shape {token_values.shape} and units of shape {group.shape}; give tokens by "
            f"{shape[1]} features and the unit of each token"
        )
    if not np.issubdtype(group.dtype, np.integer) or group.min() < 0 or group.max() >= shape[0]:
        raise InputError(f"tokens has units outside 0 to {shape[0] - 1}; give the row of values of each token")
    nuisance = np.zeros((len(group), 0)) if tokens.nuisance is None else np.asarray(tokens.nuisance, dtype=np.float64)
    crossed = None if tokens.crossed is None else label_codes("crossed", tokens.crossed, len(group), each="token")
    if nuisance.ndim != 2 or len(nuisance) != len(group):
        raise InputError(f"tokens has {len(group)} tokens; give nuisance one row for each")
    clustered = len(np.unique(unit)) < shape[0]
    if (scale != 1.0).any():
        token_values = token_values / scale
    return UnitTokens(token_values, unit[group], group.astype(np.intp), clustered, nuisance, crossed)


def divide(n_units: int, paired: bool, rng: np.random.Generator) -> Split:
    """Divide units at random in two halves, or in pairs with one unit for each half."""
    order = rng.permutation(n_units)
    if paired:
        order = order[: n_units - n_units % 2]
        number = np.arange(len(order))
        return Split(order, number % 2 == 0, number // 2)
    return Split(order, np.arange(n_units) < n_units // 2, None)
