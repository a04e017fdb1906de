"""Tests over items and contexts, tried on halves whose difference varies over contexts and is zero on average."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metastable.stats.contexts.crossed_test import crossed_parts, from_parts
from metastable.stats.contexts.rotations import rotate_parts
from metastable.stats.simulation.halves import Split, UnitContexts

__all__ = ["VARIES", "context_tests"]

Floats = NDArray[np.float64]

VARIES = 0.3
"""Standard deviation over contexts of the planted effect, in standard deviations of the feature over units."""


def context_tests(
    observed: UnitContexts,
    split: Split,
    deviation: Floats,
    families: NDArray[np.intp],
    *,
    n_permutations: int,
    alpha: float,
    seed: int,
) -> dict[tuple[str, str], Floats]:
    """P-values of every feature of one division whose effect is drawn anew for each context, with a mean of zero.

    Parameters
    ----------
    observed : UnitContexts
        Units of one condition in their contexts.
    split : Split
        One random division of the units. Pairs are the items of a paired design, the units those of any other.
    deviation : ndarray of float64, shape (n_features,)
        Standard deviation of each feature over the units.
    families : ndarray of int, shape (n_features,)
    n_permutations : int
        Random rotations.
    alpha : float
    seed : int
        Of the effects and of the rotations.

    Returns
    -------
    dict of (str, str) to ndarray of float64, shape (n_features,)
        By test and correction: the rotation test over items and contexts, its maximum over the family, and the mixed
        model with random slopes.
    """
    n_units = int(observed.unit.max()) + 1
    place = np.full(n_units, -1, dtype=np.intp)
    place[split.rows] = np.arange(len(split.rows))
    mine = np.flatnonzero(place[observed.unit] >= 0)
    row, context = place[observed.unit[mine]], observed.context[mine]
    effect = np.random.default_rng([seed, 2]).normal(size=(int(observed.context.max()) + 1, len(deviation)))
    side = split.condition[row]
    values = observed.table[mine] + side[:, None] * (VARIES * deviation * effect)[context]
    parts = crossed_parts(values, side, row if split.pair is None else split.pair[row], context)
    rotated = rotate_parts(parts, family=families, n_rotations=n_permutations, alpha=alpha, rng=seed)
    return {
        ("contexts", "none"): rotated.p,
        ("contexts", "max-t"): rotated.p_fwer,
        ("contexts: mixed model", "none"): from_parts(parts).p,
    }
