"""Small permutation p-values from a generalized Pareto distribution fitted to the tail of the null."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["tail_p_values"]

Floats = NDArray[np.float64]

# Choulakian & Stephens (2001), table 2, both parameters unknown: critical values of the
# Anderson-Darling statistic for shapes k (rows) at upper-tail probabilities (columns).
_SHAPES = np.array([-0.5, -0.4, -0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.5, 0.9])
_CRITICAL_5_PERCENT = np.array([1.321, 1.221, 1.140, 1.074, 1.020, 0.974, 0.935, 0.903, 0.830, 0.771])

_LARGEST = 0.10  # p-values above this are left as they are
_SHARES = np.arange(0.25, 0.005, -0.01)  # shares of the null taken for the tail, the largest first
_FEWEST = 20  # exceedances that a fit needs


def tail_p_values(observed: Floats, null: Floats, p: Floats) -> Floats:
    """Replace small permutation p-values by those of a fitted tail.

    Winkler et al. (2016, "Faster permutation inference in brain imaging", section 2.4): above a
    threshold, exceedances follow approximately a generalized Pareto distribution. Its scale a and shape k
    come from the moments (Hosking & Wallis 1987); the threshold starts at the upper quarter of the null
    and rises until an Anderson-Darling test (Choulakian & Stephens 2001) does not reject the fit at 5%.

    Parameters
    ----------
    observed : ndarray of float64, shape (n,)
        Statistics that share this null distribution, large values extreme.
    null : ndarray of float64, shape (m,)
        Statistics under the relabelings, observed one not included.
    p : ndarray of float64, shape (n,)
        Permutation p-values of `observed`.

    Returns
    -------
    ndarray of float64, shape (n,)
        `p`, replaced where it is below 0.1, the statistic is beyond the threshold and a fit was accepted.
        Never 0: where a fitted tail ends (k > 0) short of a statistic, the exponential tail (k = 0) of
        the same mean takes its place, which is the larger.
    """
    small = p < _LARGEST
    if not small.any():
        return p
    ordered = np.sort(null)
    for share in _SHARES:
        n_tail = int(share * len(ordered))
        if n_tail < _FEWEST:
            break
        threshold = (ordered[-n_tail - 1] + ordered[-n_tail]) / 2
        excess = ordered[-n_tail:] - threshold
        mean, variance = excess.mean(), excess.var(ddof=1)
        if variance <= 0 or excess[0] <= 0:
            continue
        scale, shape = mean * (mean**2 / variance + 1) / 2, (mean**2 / variance - 1) / 2
        if _anderson_darling(_survival(excess, scale, shape)) > np.interp(shape, _SHAPES, _CRITICAL_5_PERCENT):
            continue
        replaced = small & (observed > threshold)
        beyond = observed[replaced] - threshold
        fitted = _survival(beyond, scale, shape)
        if np.any(fitted <= 0):
            fitted = _survival(beyond, mean, 0.0)
        result = p.copy()
        result[replaced] = np.maximum(n_tail / len(ordered) * fitted, np.finfo(np.float64).tiny)
        return result
    return p


def _survival(x: Floats, scale: float, shape: float) -> Floats:
    """Survival function of the generalized Pareto distribution, 1 - (1 - k x / a)^(1/k) below."""
    if abs(shape) < 1e-9:
        return np.exp(-x / scale)
    return np.clip(1 - shape * x / scale, 0.0, None) ** (1 / shape)


def _anderson_darling(survival: Floats) -> float:
    """Anderson-Darling statistic of a fitted distribution, from its survival function at the sample."""
    z = np.sort(np.clip(survival, 1e-300, 1 - 1e-16))
    n = len(z)
    ranks = 2 * np.arange(1, n + 1) - 1
    return float(-n - np.mean(ranks * (np.log(z) + np.log1p(-z[::-1]))))
