"""Units that are means over several readings, whose readings share noise with those of other units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from metastable.errors import InputError

__all__ = ["Readings", "SharedNoise", "shared_noise"]

Floats = NDArray[np.float64]

# A coefficient whose variance is this small beside the values' own has no noise to speak of.
_NOTHING = 1e-24


@dataclass(frozen=True)
class Readings:
    """Several readings of each unit, some of which were made together.

    Attributes
    ----------
    values : ndarray of float64, shape (n_readings, n_features)
        What each reading gave.
    unit : ndarray of int, shape (n_readings,)
        Unit that was read, from 0; every unit has a reading.
    group : ndarray of int, shape (n_readings,)
        What the reading was made in (a sequence of words), from 0: readings of one group share noise.
    """

    values: Floats
    unit: NDArray[np.intp]
    group: NDArray[np.intp]

    def __post_init__(self) -> None:
        n = len(self.values)
        if self.values.ndim != 2 or self.unit.shape != (n,) or self.group.shape != (n,):
            raise InputError(
                f"the readings have values of shape {self.values.shape}, units of shape {self.unit.shape} and groups "
                f"of shape {self.group.shape}; give readings by features and one unit and group for each"
            )
        if n == 0 or self.unit.min() < 0 or self.group.min() < 0:
            raise InputError("the readings have a unit or a group below 0, or there are none; number both from 0")
        lost = np.flatnonzero(np.bincount(self.unit) == 0)
        if lost.size:
            raise InputError(f"unit {lost[0]} has no reading; leave it out, or read it")

    @property
    def n_units(self) -> int:
        """Number of units."""
        return int(self.unit.max()) + 1

    @property
    def weights(self) -> sparse.csr_array:
        """Weights that average the readings of each unit, shape (n_units, n_readings)."""
        share = 1.0 / np.bincount(self.unit)[self.unit]
        return sparse.csr_array((share, (self.unit, np.arange(len(self.unit)))), shape=(self.n_units, len(self.unit)))

    @property
    def means(self) -> Floats:
        """Mean of each unit over its readings, shape (n_units, n_features)."""
        return np.asarray(self.weights @ self.values)


@dataclass(frozen=True)
class SharedNoise:
    """What units share, and their values widened by it.

    Attributes
    ----------
    design_effect : ndarray of float64, shape (n_features,)
        Variance of the estimate over that of units that share nothing, at least 1: of the first design.
    values : ndarray of float64, shape (n_units, n_features)
        The units' means, their deviations from the fit widened so that a test which takes the units as independent
        draws has the standard error that they have.
    """

    design_effect: Floats
    values: Floats


def shared_noise(
    readings: Readings, designs: Sequence[ArrayLike], column: int = 1, *, span: ArrayLike | None = None
) -> SharedNoise:
    """Widen the units' deviations by the noise that units read together share.

    A word that is read in N random sequences is one draw, but the words of a sequence have its noise in common, and a
    word moves its neighbours in every sequence that it stands in: the standard error that takes words as independent
    draws is too small, and stays so however many packings there are.

    Parameters
    ----------
    readings : Readings
    designs : sequence of array_like of float, each of shape (n_units, p)
        Fixed effects of the tests that the values will meet, those of the primary test first.
    column : int
        The tested column of each design.
    span : array_like of float, shape (n_units, q), or None
        Columns that span those of all designs; None where there is one design.

    Returns
    -------
    SharedNoise

    Raises
    ------
    InputError
        If a design has another number of rows than there are units, or there are several and no `span`.

    Notes
    -----
    With psi = h e / N of each reading, h the coefficient's row of the pseudo-inverse at its unit, e its residual and N
    the unit's readings, the coefficient's error is the sum of psi over groups, R. Two groups depend on each other where
    they share a unit, so that the variance is the sum of R R' over groups and themselves, and over pairs of groups that
    share a unit, as in dyads that share a member (Aronow, Samii & Assenova 2015, "Cluster-robust variance estimation
    for dyadic data"). Residuals of few groups fall shorter of errors than those of units do: the first part is
    multiplied by n / (n - p), n the groups of one packing, over the same of the units; of the second the expectation is
    known where units act additively, and it is divided by the share c that centering leaves of it. The result is never
    taken below the variance by two ways of clustering, unit and group (Cameron, Gelbach & Miller 2011), nor below that
    of independent units, nor above V(1), that of one packing. What few packings leave uncertain in it is met by going
    the share 1 / (N c) of the way towards V(1).

    The part of the units' means that `span` leaves is multiplied by one factor a feature, for the design that asks the
    most: so every estimate of every design stays as it is, and its variance over independent units becomes that one.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> unit = np.concatenate([rng.permutation(60) for _ in range(2)])
    >>> group = np.arange(120) // 10
    >>> values = rng.normal(size=(60, 1))[unit] + 3 * rng.normal(size=(12, 1))[group]
    >>> found = shared_noise(Readings(values, unit, group), [np.column_stack([np.ones(60), np.arange(60) < 30])])
    >>> bool(found.design_effect[0] > 1)
    True
    """
    n = readings.n_units
    if span is None and len(designs) != 1:
        raise InputError(f"there are {len(designs)} designs and no span; give the columns that span all of them")
    tables = [np.asarray(design, dtype=np.float64) for design in (*designs, designs[0] if span is None else span)]
    for design in tables:
        if design.ndim != 2 or len(design) != n:
            raise InputError(f"a design has shape {design.shape}; give one row for each of {n} units")
    means = readings.means
    *tests, widest = tables
    left = means - widest @ (np.linalg.pinv(widest) @ means)
    scale = np.square(readings.values).mean(axis=0)
    factor, effect = np.ones(means.shape[1]), np.ones(means.shape[1])
    for position, design in enumerate(tests):
        row = np.linalg.pinv(design)[column]
        naive, variance = _variances(readings, design, row)
        widened = np.square(row[:, None] * left).sum(axis=0)
        floor = _NOTHING * scale * np.square(row).sum()
        asked = np.divide(variance - naive, widened, out=np.zeros_like(naive), where=widened > floor)
        factor = np.maximum(factor, 1 + asked)
        if position == 0:
            effect = np.divide(variance, naive, out=np.ones_like(naive), where=naive > floor)
    return SharedNoise(effect, means + (np.sqrt(factor) - 1) * left)


def _variances(readings: Readings, design: Floats, row: Floats) -> tuple[Floats, Floats]:
    """Variance of a coefficient over units that share nothing, and with what they share; of shape (n_features,)."""
    unit, group, means = readings.unit, readings.group, readings.means
    n_readings, n, n_groups = len(unit), len(row), int(group.max()) + 1
    residuals = means - design @ (np.linalg.pinv(design) @ means)
    share = (row / np.bincount(unit))[unit]
    psi = (readings.values - (means - residuals)[unit]) * share[:, None]
    naive = np.square(row[:, None] * residuals).sum(axis=0)
    sums = np.asarray(sparse.csr_array((np.ones(n_readings), (group, np.arange(n_readings)))) @ psi)
    cells, cell = np.unique(np.column_stack([group, unit]), axis=0, return_inverse=True)
    per_unit = len(cells) / n
    alone = np.square(sums).sum(axis=0) * _spread(n_groups / per_unit, design) / _spread(n, design)
    members = sparse.csr_array((share, (group, unit)), shape=(n_groups, n))
    common = sparse.coo_array(members @ members.T)
    apart = common.row != common.col
    first, second, weight = common.row[apart], common.col[apart], common.data[apart]
    if not len(first):
        return naive, np.maximum(naive, alone)
    one_packing = per_unit * alone
    lever = np.asarray(members @ design)
    kept = weight - np.einsum("ij,jk,ik->i", lever[first], np.linalg.pinv(design.T @ design), lever[second])
    left = float(kept.sum() / weight.sum())
    towards = 1.0 if left * per_unit <= 1 else 1 / (left * per_unit)
    neighbours = sparse.csr_array((np.ones(len(first)), (first, second)), shape=(n_groups, n_groups))
    together = (np.asarray(neighbours @ sums) * sums).sum(axis=0)
    both_ways = _squares(psi, unit) + np.square(sums).sum(axis=0) - _squares(psi, cell.ravel())
    found = alone + (together / left if towards < 1 else 0.0)
    found = np.minimum(np.maximum(found, both_ways), one_packing)
    return naive, np.maximum(naive, found + towards * (one_packing - found))


def _spread(n: float, design: Floats) -> float:
    """By how much residuals of n rows fall short of errors."""
    return n / max(n - float(design.shape[1]), 1.0)


def _squares(psi: Floats, code: NDArray[np.intp]) -> Floats:
    """Sum of the squares of the sums over rows with the same code, shape (n_features,)."""
    n = len(code)
    sums = sparse.csr_array((np.ones(n), (code, np.arange(n))), shape=(int(code.max()) + 1, n)) @ psi
    return np.asarray(np.square(np.asarray(sums)).sum(axis=0))
