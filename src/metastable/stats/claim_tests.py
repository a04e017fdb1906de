"""Tests of what a claim says: that effects exceed a smallest one, that they stay within it, that a share of them do."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from metastable.errors import InputError

__all__ = ["Direction", "minimum_effect_p", "partial_conjunction", "within_p"]

Direction = Literal["two-sided", "greater", "less"]

_DIRECTIONS = ("two-sided", "greater", "less")


def _sizes(size: ArrayLike, low: ArrayLike, high: ArrayLike) -> tuple[NDArray[np.float64], ...]:
    arrays = tuple(np.atleast_1d(np.asarray(one, dtype=np.float64)) for one in (size, low, high))
    if len({one.shape for one in arrays}) != 1 or arrays[0].ndim != 1:
        raise InputError(
            f"size, low and high have the shapes {', '.join(str(one.shape) for one in arrays)}; give one of each per "
            "feature"
        )
    return arrays


def _check(smallest: float, level: float) -> float:
    if not (np.isfinite(smallest) and smallest >= 0):
        raise InputError(f"smallest is {smallest}; give an effect of 0 or more in standard deviations, such as 0.2")
    if not 0 < level < 1:
        raise InputError(f"level is {level}; give a number between 0 and 1, such as 0.95")
    return float(special.ndtri((1 + level) / 2))


def _above(size: NDArray[np.float64], low: NDArray[np.float64], bound: float, z: float) -> NDArray[np.float64]:
    """One-sided p of the hypothesis that each effect is at most `bound`, from the limit of the interval below it."""
    known = np.isfinite(size) & np.isfinite(low) & (low < size)
    p = np.ones(len(size))
    p[known] = special.ndtr(-(size[known] - bound) * z / (size[known] - low[known]))
    return p


def minimum_effect_p(
    size: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    *,
    smallest: float,
    direction: Direction = "two-sided",
    level: float = 0.95,
) -> NDArray[np.float64]:
    """Test every feature for an effect beyond the smallest one of interest.

    Parameters
    ----------
    size : array_like of float, shape (n_features,)
        Standardized effects, such as Hedges' g.
    low, high : array_like of float, shape (n_features,)
        Their confidence limits.
    smallest : float
        Smallest effect of interest; 0 for any.
    direction : {"two-sided", "greater", "less"}
        ``"greater"``: above ``smallest``; ``"less"``: below ``-smallest``; ``"two-sided"``: either.
    level : float
        Level of the interval.

    Returns
    -------
    ndarray of float64, shape (n_features,)
        p of the hypothesis that the effect does not go beyond the smallest one; 1 where the effect or its limit is not
        finite, or the interval has no width.

    Raises
    ------
    InputError
        If shapes differ, `smallest` is negative, `level` is outside (0, 1) or the direction is unknown.

    Notes
    -----
    A minimum-effect test (Murphy & Myors 1999, Journal of Applied Psychology 84(2), 234-248) by inverting the interval:
    the limit that faces the bound gives the standard error on that side, so that p is below ``(1 - level) / 2`` just
    where the bound lies outside the interval, and an interval that is right for unequal variances or skewed values
    (BCa) gives a test that is. Two-sided p is twice the smaller one-sided one.

    Examples
    --------
    >>> minimum_effect_p([0.5, 0.5, 0.05], [0.3, 0.1, 0.01], [0.7, 0.9, 0.09], smallest=0.2).round(4).tolist()
    [0.0033, 0.1416, 1.0]
    """
    sizes, lows, highs = _sizes(size, low, high)
    z = _check(smallest, level)
    if direction not in _DIRECTIONS:
        raise InputError(f"direction is {direction!r}; choose one of {', '.join(_DIRECTIONS)}")
    greater, less = _above(sizes, lows, smallest, z), _above(-sizes, -highs, smallest, z)
    if direction == "greater":
        return greater
    return less if direction == "less" else np.minimum(2 * np.minimum(greater, less), 1.0)


def within_p(
    size: ArrayLike, low: ArrayLike, high: ArrayLike, *, margin: float, level: float = 0.95
) -> NDArray[np.float64]:
    """Test every feature for an effect that stays within a margin, by inverting its interval.

    Parameters
    ----------
    size, low, high, level
        As `minimum_effect_p` takes them.
    margin : float
        The effect that it stays within, in either direction.

    Returns
    -------
    ndarray of float64, shape (n_features,)
        The larger p of the two one-sided tests (Schuirmann 1987): that the effect is not below the margin, and that it
        is not above minus the margin.

    Raises
    ------
    InputError
        As `minimum_effect_p`.

    Examples
    --------
    >>> within_p([0.0, 0.1], [-0.1, -0.1], [0.1, 0.3], margin=0.2).round(4).tolist()
    [0.0, 0.1635]
    """
    sizes, lows, highs = _sizes(size, low, high)
    z = _check(margin, level)
    return np.maximum(_above(-sizes, -highs, -margin, z), _above(sizes, lows, -margin, z))


def partial_conjunction(p: ArrayLike, share: float = 0.0) -> float:
    """Test that more than a share of the hypotheses are false.

    Parameters
    ----------
    p : array_like of float, shape (n,)
        p of each hypothesis.
    share : float
        From 0 (some are) to below 1: 0.5 for most.

    Returns
    -------
    float
        p of the hypothesis that at most that share of them is false.

    Raises
    ------
    InputError
        If there is no p, one is outside [0, 1] or NaN, or the share is outside [0, 1).

    Notes
    -----
    The partial conjunction test of Benjamini & Heller (2008, Biometrics 64(4), 1215-1222, equation 2) with
    Bonferroni's combination: of n sorted p, with u the smallest number above ``share * n``, ``(n - u + 1) p(u)``. It
    holds under any dependence; with share 0 it is Bonferroni's correction of the smallest p.

    Examples
    --------
    >>> partial_conjunction([0.001, 0.002, 0.3, 0.9], 0.25)
    0.006
    """
    values = np.sort(np.asarray(p, dtype=np.float64).ravel())
    if not len(values) or not ((values >= 0) & (values <= 1)).all():
        raise InputError("p has no value, a NaN or one outside 0 to 1; give a p-value for every hypothesis")
    if not 0 <= share < 1:
        raise InputError(f"share is {share}; give a number from 0 (some) to below 1, such as 0.5 for most")
    # a share that is a whole number of hypotheses but for rounding is that number
    least = int(np.floor(share * len(values) + 1e-9)) + 1
    return float(min(1.0, (len(values) - least + 1) * values[least - 1]))
