"""Small permutation p-values from a generalized Pareto distribution fitted to the tail of the null."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["tail_p_values"]

Floats = NDArray[np.float64]

# Choulakian & Stephens (2001), table 2, both parameters unknown: values of the Anderson-Darling
# statistic that are exceeded with probability 5%, by shape.
_SHAPES = np.array([-0.5, -0.4, -0.3, -0.2, -0.1, 0.0])
_CRITICAL = np.array([1.321, 1.221, 1.140, 1.074, 1.020, 0.974])

_LARGEST = 0.10  # p-values above this are left as they are
_SHARES = np.arange(0.25, 0.005, -0.01)  # shares of the null taken for the tail, the largest first
_FEWEST = 20  # exceedances that a fit needs


def tail_p_values(observed: Floats, null: Floats, p: Floats, *, square: bool) -> Floats:
    """Replace small permutation p-values by those of a fitted tail.

    Winkler et al. (2016, "Faster permutation inference in brain imaging"; after Knijnenburg et al. 2009):
    above a threshold, exceedances follow approximately a generalized Pareto distribution. Its scale a
    and shape k come from the moments (Hosking & Wallis 1987, section 3.2); the threshold starts at the
    upper quarter of the null and rises until an Anderson-Darling test (Choulakian & Stephens 2001) does
    not reject the fit at 5%.

    Parameters
    ----------
    observed : ndarray of float64, shape (n,)
        Statistics that share this null distribution, large values extreme.
    null : ndarray of float64, shape (m,)
        Statistics under the relabelings, observed one not included.
    p : ndarray of float64, shape (n,)
        Permutation p-values of `observed`.
    square : bool
        Whether to fit the tail of the signed squares. A p-value does not depend on the scale, but the fit
        does: the tail of t is so much lighter than a Pareto one that a fit to its upper quarter ends
        just beyond the sample, while that of t squared is nearly exponential.

    Returns
    -------
    ndarray of float64, shape (n,)
        `p`, replaced where it is below 0.1, the statistic is beyond the threshold and a fit was accepted.

    Notes
    -----
    Unlike the paper, tails that end (k > 0) are taken for exponential ones of the same mean (k = 0), which
    are heavier: p is then never 0, and errs on the side of the larger.
    """
    small = p < _LARGEST
    if not small.any():
        return p
    if square:
        observed, null = observed * np.abs(observed), null * np.abs(null)
    ordered = np.sort(null)
    for share in _SHARES:
        n_tail = int(share * len(ordered))
        if n_tail < _FEWEST:
            break
        threshold = (ordered[-n_tail - 1] + ordered[-n_tail]) / 2
        excess = ordered[-n_tail:] - threshold
        mean, variance = excess.mean(), excess.var(ddof=1)
        if excess[0] <= 0 or variance <= 0:
            continue  # ties at the threshold: a discrete null, which a higher threshold may still part
        shape = min((mean**2 / variance - 1) / 2, 0.0)
        scale = mean * (1 + shape)
        if _anderson_darling(_survival(excess, scale, shape)) > np.interp(shape, _SHAPES, _CRITICAL):
            continue
        replaced = small & (observed > threshold)
        fitted = n_tail / len(ordered) * _survival(observed[replaced] - threshold, scale, shape)
        result = p.copy()
        result[replaced] = np.maximum(fitted, np.finfo(np.float64).tiny)
        return result
    return p


def _survival(x: Floats, scale: float, shape: float) -> Floats:
    """Survival function of the generalized Pareto distribution, shape k at most 0: (1 - k x / a)^(1/k)."""
    if shape > -1e-9:
        return np.asarray(np.exp(-x / scale))
    return np.asarray((1 - shape * x / scale) ** (1 / shape))


def _anderson_darling(survival: Floats) -> float:
    """Anderson-Darling statistic of a fitted distribution, from its survival function at the sample."""
    z = np.sort(np.clip(survival, 1e-300, 1 - 1e-16))
    n = len(z)
    ranks = 2 * np.arange(1, n + 1) - 1
    return float(-n - np.mean(ranks * (np.log(z) + np.log1p(-z[::-1]))))
