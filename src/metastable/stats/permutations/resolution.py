"""The smallest p that a permutation test can give, known before anything is measured."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from metastable.errors import InputError
from metastable.stats.labels import check_condition
from metastable.stats.permutations.relabelings import COUNTED

__all__ = ["Resolution", "resolution"]


@dataclass(frozen=True)
class Resolution:
    """How fine the p-values of a design are.

    Attributes
    ----------
    n_relabelings : int
        Distinct relabelings, the observed one among them; at most 10^18.
    p : float
        The smallest two-sided p that they allow.
    """

    n_relabelings: int
    p: float


def resolution(
    condition: ArrayLike, *, paired: bool = False, rows: bool = False, n_permutations: int | None = None
) -> Resolution:
    """Find the smallest two-sided p that relabeling units can give.

    Parameters
    ----------
    condition : array_like of bool, shape (n_units,)
        True for condition a.
    paired : bool
        Whether units are partners, whose differences flip their signs.
    rows : bool
        Whether the signs of the units' residuals flip, as for slopes and beside covariates.
    n_permutations : int or None
        Relabelings that are drawn where there are more; None for all.

    Returns
    -------
    Resolution

    Raises
    ------
    InputError
        If a condition has no unit, or partners are not as many in each.

    Notes
    -----
    Where labels can be exchanged for their opposites (pairs, groups of one size, residuals), every statistic comes with
    its negative, so that two relabelings reach the largest absolute value.

    Examples
    --------
    >>> resolution([True, True, True, False, False, False])
    Resolution(n_relabelings=20, p=0.1)
    """
    side = check_condition(condition, len(np.asarray(condition)))
    n_a, n_b = int(side.sum()), int((~side).sum())
    if min(n_a, n_b) < 1 or (paired and n_a != n_b):
        raise InputError(f"condition has {n_a} units of a and {n_b} of b; give units of both, of pairs as many")
    if paired or rows:
        number, alike = 1 << min(n_a if paired else n_a + n_b, 64), 2
    else:
        number, alike = math.comb(n_a + n_b, n_a), 2 if n_a == n_b else 1
    least = alike / number
    if n_permutations is not None and number > n_permutations:
        least = max(least, 1 / (n_permutations + 1))
    return Resolution(min(number, COUNTED), least)
