"""Tests over items and contexts, tried on halves whose difference varies over contexts and is zero on average."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metastable.stats.contexts.crossed_test import crossed_parts, from_parts
from metastable.stats.contexts.rotations import rotate_parts
from metastable.stats.simulation.halves import Split, UnitContexts

__all__ = ["APART", "CONTEXT_TESTS", "MOVES", "VARIES", "context_tests"]

Floats = NDArray[np.float64]

CONTEXT_TESTS = ("contexts", "contexts with covariate")
"""What is tried of them: without and beside a covariate that goes along with the halves."""

VARIES = 0.3
"""Standard deviation over contexts of the planted effect, in standard deviations of the feature over units."""

APART = 1.0
"""How many of its standard deviations a covariate lies higher in half a (it goes along with a predictor by r = .45)."""

MOVES = 0.5
"""How many standard deviations of a feature one of the covariate moves it."""


def context_tests(
    observed: UnitContexts,
    split: Split,
    deviation: Floats,
    families: NDArray[np.intp],
    *,
    covariate: bool = False,
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
    covariate : bool
        Whether a covariate of the units goes along with the halves and moves every feature, and is held fixed.
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
    held = None
    if covariate:
        held = (np.random.default_rng([seed, 3]).normal(size=len(split.rows)) + APART * split.condition)[row]
        values += MOVES * held[:, None] * deviation
    item = row if split.pair is None else split.pair[row]
    parts = crossed_parts(values, side, item, context, covariates=held)
    rotated = rotate_parts(parts, family=families, n_rotations=n_permutations, alpha=alpha, rng=seed)
    name = "contexts with covariate" if covariate else "contexts"
    return {
        (name, "none"): rotated.p,
        (name, "max-t"): rotated.p_fwer,
        (f"{name}: mixed model", "none"): from_parts(parts).p,
    }
