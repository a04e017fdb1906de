"""One condition of a study, as a calibration divides it: units, clusters, contexts, the rows of its mixed model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metastable.errors import InputError
from metastable.heads.calibration_options import CalibrationOptions
from metastable.heads.cube import holds_tokens, token_values, unit_means
from metastable.heads.results import Counted
from metastable.stats.simulation.calibrating import ContextValues, TokenValues

__all__ = ["Side", "side_of"]


@dataclass(frozen=True)
class Side:
    """One condition, as `calibrate` takes it.

    Attributes
    ----------
    values : ndarray of float64, shape (n_rows, n_features)
        One row per sequence in a clustered study, otherwise one row per unit.
    cluster : ndarray of int, shape (n_rows,), or None
        Clusters of the rows.
    tokens : TokenValues or None
        Rows for the mixed model; None where the study has none of its own.
    n_units : int
        Units that are divided.
    contexts : ContextValues or None
        Rows for the tests over items and contexts; None where the study has none.
    """

    values: NDArray[np.float64]
    cluster: NDArray[np.intp] | None
    tokens: TokenValues | None
    n_units: int
    contexts: ContextValues | None = None


def side_of(counted: Counted, features: pd.DataFrame, options: CalibrationOptions) -> Side:
    """Take the units of one condition as the study tests them.

    Parameters
    ----------
    counted : Counted
        The study's sequences, contrasts and counts.
    features : pandas.DataFrame of n_features rows
        The heads, with columns ``site, layer, head``.
    options : CalibrationOptions
        ``side``, the condition; ``threshold``, of which the first counts.

    Returns
    -------
    Side

    Raises
    ------
    InputError
        If the condition has fewer than eight units.
    """
    contrast, cube = counted.contrasts[0], counted.extraction.dataset
    threshold, measure = options.threshold[0], counted.options.measure
    units = np.flatnonzero(contrast.condition if options.side == "a" else ~contrast.condition)
    means = unit_means(cube, features, threshold, measure)
    if len(units) < 8:
        name = contrast.a.name if options.side == "a" else contrast.b.name
        raise InputError(f"condition {name} has {len(units)} {contrast.unit}s; a calibration needs at least eight")
    membership = contrast.weights[units].tocoo()
    if len(counted.contrasts) > 1:
        # Units of a two-by-two design are differences or means over a factor: the mixed model has no halves of them.
        return Side(contrast.values(means)[units], None, None, len(units))
    # Clusters go in as their sequences, unless their mixed model has sequences for rows; pairs and sequences as units.
    clustered = contrast.pair is None and contrast.repeated is None and len(membership.row) > len(units)
    row = np.full(len(counted.material.sequences), -1, dtype=np.intp)
    if clustered:
        row[np.unique(membership.col)] = np.arange(len(membership.col))
        of_row = np.empty(len(membership.col), dtype=np.intp)
        of_row[row[membership.col]] = membership.row
        values, cluster = means[np.unique(membership.col)], of_row
    else:
        row[membership.col] = membership.row
        values, cluster = contrast.values(means)[units], None
    # pairs and clusters are factors already
    crossed = None if clustered or contrast.pair is not None else contrast.crossed
    tokens = _token_values(counted, features, options, means, row, crossed)
    contexts: ContextValues | None = None
    if contrast.crossing is not None and contrast.predictor is None:
        mine = np.flatnonzero(row >= 0)
        contexts = ContextValues(means[mine], row[mine], contrast.crossing.context[mine])
    return Side(values, cluster, tokens, len(units), contexts)


def _second_factor(
    crossed: NDArray[np.intp] | None, unit: NDArray[np.intp], mine: NDArray[np.intp]
) -> NDArray[np.intp] | None:
    """Second grouping factor of the rows of one condition; None where it has a level a row, or one a unit."""
    if crossed is None:
        return None
    levels = np.unique(crossed[mine], return_inverse=True)[1]
    cells = len(np.unique(np.column_stack([levels, unit]), axis=0))
    n_levels = int(levels.max()) + 1
    return None if n_levels == len(mine) or cells == n_levels == len(np.unique(unit)) else crossed[mine]


def _token_values(
    counted: Counted,
    features: pd.DataFrame,
    options: CalibrationOptions,
    means: NDArray[np.float64],
    row: NDArray[np.intp],
    crossed: NDArray[np.intp] | None,
) -> TokenValues | None:
    """Rows of the study's own mixed model; `row` is that of each sequence's unit, below 0 for the other condition."""
    contrast = counted.contrasts[0]
    if contrast.repeated is not None:
        values, owner, nuisance = means, np.arange(len(row)), contrast.design[:, 2:]
    elif not holds_tokens(counted.extraction.dataset):
        return None
    else:
        cube = counted.extraction.dataset
        values, owner = token_values(cube, features, options.threshold[0], counted.options.measure)
        nuisance = np.zeros((len(row), 0))
    mine = np.flatnonzero(row[owner] >= 0)
    sequence = owner[mine]
    unit = row[sequence]
    if np.bincount(unit).max() == 1:
        return None
    return TokenValues(values[mine], unit, nuisance=nuisance[sequence], crossed=_second_factor(crossed, unit, sequence))
