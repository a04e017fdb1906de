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

    A word that is read in N random sequences is one draw, but the words of a sequence have its noise in common:
    the standard error that takes words as independent draws is too small by what a mean over N readings leaves of it.

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
    The variance of a least squares coefficient with two crossed ways of clustering is V(unit) + V(group) - V(both)
    (Cameron, Gelbach & Miller 2011, "Robust inference with multiway clustering", equation 2.13). With psi = h e / N of
    each reading, h the coefficient's row of the pseudo-inverse at its unit, e its residual and N the unit's readings,
    V(unit), V(group) and V(both) are the sums of the squares of the sums of psi over each unit, each group, and each
    unit in each group; V(group) - V(both) is what units share. The part of the units' means that `span` leaves is
    multiplied by the root of 1 + max(0, V(group) - V(both)) / V', where V' is what that part makes of the naive
    variance, for the design that asks the most. So every estimate of every design stays as it is, and its variance over
    independent units becomes the right one. What is shared is never taken as less than nothing: tests of words that
    push one another apart within a sequence stay below their level.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> unit = np.concatenate([rng.permutation(60) for _ in range(2)])
    >>> group = np.arange(120) // 10
    >>> values = rng.normal(size=(60, 1))[unit] + rng.normal(size=(12, 1))[group]
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
    means, size = readings.means, np.bincount(readings.unit)
    _, cell = np.unique(np.column_stack([readings.group, readings.unit]), axis=0, return_inverse=True)
    *tests, widest = tables
    left = means - widest @ (np.linalg.pinv(widest) @ means)
    scale = np.square(readings.values).mean(axis=0)
    factor, effect = np.ones(means.shape[1]), np.ones(means.shape[1])
    for position, design in enumerate(tests):
        inverse = np.linalg.pinv(design)
        row, fitted = inverse[column], design @ (inverse @ means)
        psi = (readings.values - fitted[readings.unit]) * (row / size)[readings.unit][:, None]
        shared = np.maximum(0.0, _squares(psi, readings.group) - _squares(psi, cell.ravel()))
        naive = np.square(row[:, None] * (means - fitted)).sum(axis=0)
        widened = np.square(row[:, None] * left).sum(axis=0)
        floor = _NOTHING * scale * np.square(row).sum()
        asked = np.divide(shared, widened, out=np.zeros_like(shared), where=widened > floor)
        factor = np.maximum(factor, 1 + asked)
        if position == 0:
            effect = 1 + np.divide(shared, naive, out=np.zeros_like(shared), where=naive > floor)
    return SharedNoise(effect, means + (np.sqrt(factor) - 1) * left)


def _squares(psi: Floats, code: NDArray[np.intp]) -> Floats:
    """Sum of the squares of the sums over rows with the same code, shape (n_features,)."""
    n = len(code)
    sums = sparse.csr_array((np.ones(n), (code, np.arange(n))), shape=(int(code.max()) + 1, n)) @ psi
    return np.asarray(np.square(np.asarray(sums)).sum(axis=0))
