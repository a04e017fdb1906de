"""How many items and contexts a test over both needs, from the variances that a pilot found."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from metastable.errors import InputError
from metastable.stats.contexts.crossed_test import CrossedTest

__all__ = ["CrossedSpread", "crossed_spread", "detectable_over_both", "items_needed"]

Floats = NDArray[np.float64]

_MOST = 1_000_000


@dataclass(frozen=True)
class CrossedSpread:
    """What makes an effect uncertain over items and contexts, feature by feature.

    Attributes
    ----------
    item, context, residual : ndarray of float64, shape (n_features,)
        Variance of the effect in one cell of one item and one context: what differs between items, between contexts,
        and what is left. Of m items and k contexts its squared error is item / m + context / k + residual / (m k).
    scale : ndarray of float64, shape (n_features,)
        What an effect is divided by for Hedges' g, its small-sample factor with it.
    n_items, n_contexts : int
        Of the pilot; where items lie in one condition each, items of either condition.
    between : bool
        Whether items lie in one condition each.
    """

    item: Floats
    context: Floats
    residual: Floats
    scale: Floats
    n_items: int
    n_contexts: int
    between: bool

    def error(self, n_items: int, n_contexts: int) -> tuple[Floats, Floats]:
        """Return the standard error of the effect and Satterthwaite's degrees of freedom."""
        left = self.residual / (n_items * n_contexts)
        items, contexts = self.item / n_items + left, self.context / n_contexts + left
        squared = items + contexts - left
        dof_items = (2 if self.between else 1) * (n_items - 1)
        # the mean squares that the error is made of, each with its degrees of freedom
        spread = items**2 / dof_items + contexts**2 / (n_contexts - 1) + left**2 / (dof_items * (n_contexts - 1))
        dof = np.divide(squared**2, spread, out=np.full_like(squared, float(n_contexts - 1)), where=spread > 0)
        return np.sqrt(squared), dof


def crossed_spread(found: CrossedTest, *, between: bool, per_condition: int | None = None) -> CrossedSpread:
    """Take the variances of a pilot's test.

    Parameters
    ----------
    found : CrossedTest
        Of features that vary; those that are flat or did not converge are left out.
    between : bool
        Whether items lie in one condition each, and all contexts in both.
    per_condition : int or None
        Where they do, items of a condition.

    Returns
    -------
    CrossedSpread

    Raises
    ------
    InputError
        If no feature varies.
    """
    kept = ~found.flat & found.converged & (found.standardizer > 0) & (found.se > 0) & (found.g != 0)
    if not kept.any():
        raise InputError("no feature of the pilot varies over items and contexts; no effect has a size in it")

    def known(values: Floats) -> Floats:
        return np.asarray(np.nan_to_num(values[kept]), dtype=np.float64)

    of_differences = found.formula.startswith("difference")
    item = 2 * known(found.variance_item) if between else known(found.variance_item_slope)
    return CrossedSpread(
        item=item,
        context=known(found.variance_context_slope),
        residual=known(found.variance_residual) * (1 if of_differences else 2),
        scale=found.estimate[kept] / found.g[kept],
        n_items=found.n_items if per_condition is None else per_condition,
        n_contexts=found.n_contexts,
        between=between,
    )


def detectable_over_both(
    spread: CrossedSpread, n_items: int, n_contexts: int, *, power: float = 0.8, alpha: float = 0.05
) -> Floats:
    """Return the effect in standard deviations that each feature's test finds with a power, shape (n_features,).

    Parameters
    ----------
    spread : CrossedSpread
    n_items, n_contexts : int
        At least two of each.
    power, alpha : float

    Returns
    -------
    ndarray of float64, shape (n_features,)

    Notes
    -----
    (t(1 - alpha / 2) + t(power)) standard errors, as a report over items and contexts says it. The errors are those of
    a complete design (Westfall, Kenny & Judd 2014).
    """
    se, dof = spread.error(n_items, n_contexts)
    reach = special.stdtrit(dof, 1 - alpha / 2) + special.stdtrit(dof, power)
    return np.asarray(reach * se / spread.scale)


def items_needed(
    spread: CrossedSpread, effect: float, n_contexts: int, *, power: float = 0.8, alpha: float = 0.05
) -> float:
    """Return the fewest items with which the median feature's effect is found; infinite where no number is enough.

    Parameters
    ----------
    spread : CrossedSpread
    effect : float
        In standard deviations.
    n_contexts : int
        At least two.
    power, alpha : float

    Returns
    -------
    float
        Of either condition, where items lie in one each.
    """

    def reached(n_items: int) -> bool:
        found = detectable_over_both(spread, n_items, n_contexts, power=power, alpha=alpha)
        return float(np.median(found)) <= effect

    if not reached(_MOST):
        return math.inf
    low, high = 1, 2
    while not reached(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return float(high)
