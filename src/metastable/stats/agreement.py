"""Whether two maps of effects over the same heads agree, and where they differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from metastable.errors import InputError
from metastable.stats.labels import label_codes

__all__ = ["EffectDifference", "MapAgreement", "effect_difference", "map_agreement", "noise_share"]

_BLOCK_BYTES = 64 * 2**20
# Correlations of the same permutation differ by rounding alone.
_TOLERANCE = 1e-12

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MapAgreement:
    """How far two maps of effects agree.

    Attributes
    ----------
    n : int
        Heads with a finite effect in both.
    same_sign : int
        Heads whose effects have the same sign.
    r, rho : float
        Pearson's and Spearman's correlation over heads; NaN where a map is constant.
    p : float
        Two-sided, by permuting heads over the whole map.
    r_within : float
        Correlation of what is left when each layer's mean is taken out of both maps.
    p_within : float
        Of `r_within`, two-sided, by permuting heads within layers.
    n_permutations : int
        Permutations drawn.
    """

    n: int
    same_sign: int
    r: float
    rho: float
    p: float
    r_within: float
    p_within: float
    n_permutations: int


def _unit(values: Floats, group: NDArray[np.intp]) -> Floats:
    """Take each group's mean out, and scale to length 1; NaN where nothing is left."""
    centred = values - (np.bincount(group, weights=values) / np.bincount(group))[group]
    length = float(np.linalg.norm(centred))
    # what is left of equal values is rounding
    alike = length <= _TOLERANCE * float(np.linalg.norm(values))
    return np.full_like(centred, np.nan) if alike else np.asarray(centred / length)


def _permuted(x: Floats, y: Floats, group: NDArray[np.intp], n: int, rng: np.random.Generator) -> tuple[float, float]:
    """Correlation of two maps about their groups' means, and its p when y moves within groups."""
    first, second = _unit(x, group), _unit(y, group)
    r = float(first @ second)
    if np.isnan(r):
        return r, float("nan")
    place = np.argsort(group, kind="stable")
    at_place = first[place]
    reached = 0
    size = max(1, _BLOCK_BYTES // (8 * len(x)))
    for start in range(0, n, size):
        keys = rng.random((min(size, n - start), len(x))) + group
        # sorting by group and random number within it deals the group's values out anew
        drawn = second[np.argsort(keys, axis=1)] @ at_place
        reached += int((np.abs(drawn) >= abs(r) - _TOLERANCE).sum())
    return r, (reached + 1) / (n + 1)


def map_agreement(
    first: ArrayLike,
    second: ArrayLike,
    layer: ArrayLike,
    *,
    n_permutations: int = 10_000,
    rng: int | np.random.Generator | None = None,
) -> MapAgreement:
    """Correlate two maps of effects over the same heads.

    Parameters
    ----------
    first, second : array_like of float, shape (n_heads,)
        The effects; heads where either is not finite are left out.
    layer : array_like of int, shape (n_heads,)
        Code of the layer (and site) that a head belongs to.
    n_permutations : int
        Permutations of each kind; p = (b + 1) / (n + 1) (Phipson & Smyth 2010).
    rng : int, numpy.random.Generator or None
        Source of the permutations.

    Returns
    -------
    MapAgreement

    Raises
    ------
    InputError
        If the shapes do not agree, or fewer than three heads are left.

    Notes
    -----
    Permuting heads over the whole map asks whether the maps are alike at all. Heads of a layer are alike for reasons
    that have nothing to do with the comparison, so this p is too small: a profile over layers in common is enough.
    Permuting heads within layers leaves the profile where it is, and asks whether the same heads of a layer
    stand out in both (a restricted permutation; Good, 2005, chapter 7). Both take heads as exchangeable; neither says
    what other words or another sample would give.

    Examples
    --------
    >>> import numpy as np
    >>> effects = np.random.default_rng(0).normal(size=12)
    >>> found = map_agreement(effects, effects, np.arange(12) // 4, rng=1)
    >>> round(found.r, 3), found.same_sign, found.p_within < 0.01
    (1.0, 12, True)
    """
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or x.shape != np.shape(layer):
        raise InputError(
            f"the maps have shapes {x.shape} and {y.shape} and the layers {np.shape(layer)}; give one number per head"
        )
    codes = label_codes("layer", layer, len(x), each="head")
    finite = np.isfinite(x) & np.isfinite(y)
    if finite.sum() < 3:
        raise InputError(f"{int(finite.sum())} heads have an effect in both maps; a correlation needs at least three")
    x, y, codes = x[finite], y[finite], codes[finite]
    codes = np.unique(codes, return_inverse=True)[1].astype(np.intp)
    generator = np.random.default_rng(rng)
    r, p = _permuted(x, y, np.zeros(len(x), dtype=np.intp), n_permutations, generator)
    r_within, p_within = _permuted(x, y, codes, n_permutations, generator)
    rho = float("nan") if np.isnan(r) else float(stats.spearmanr(x, y).statistic)
    return MapAgreement(len(x), int((x * y > 0).sum()), r, rho, p, r_within, p_within, n_permutations)


@dataclass(frozen=True)
class EffectDifference:
    """Differences of two effects, first - second, head by head.

    Attributes
    ----------
    estimate, low, high : ndarray of float64, shape (n_heads,)
        The difference and its interval; NaN where an effect has none.
    p : ndarray of float64, shape (n_heads,)
        Two-sided; below 1 - confidence where the interval leaves zero out.
    """

    estimate: Floats
    low: Floats
    high: Floats
    p: Floats


def effect_difference(
    first: tuple[ArrayLike, ArrayLike, ArrayLike],
    second: tuple[ArrayLike, ArrayLike, ArrayLike],
    *,
    confidence: float = 0.95,
) -> EffectDifference:
    """Difference of two independent effects from their own intervals.

    Parameters
    ----------
    first, second : three array_like of float, shape (n_heads,)
        Estimate, lower and upper limit.
    confidence : float
        Coverage of the intervals given, and of the one returned.

    Returns
    -------
    EffectDifference

    Notes
    -----
    The method of variance estimates recovery (Zou & Donner, 2008): with estimates e and limits l and u,
    low = e1 - e2 - sqrt((e1 - l1)^2 + (u2 - e2)^2), and high likewise. It keeps the intervals' asymmetry, which a
    standard error would not. p takes as standard error the arm of the interval that points to zero, over the
    normal quantile of the confidence. Both take the two effects as independent: of the same sequences twice the
    interval is too wide where their errors agree.

    Examples
    --------
    >>> found = effect_difference(([1.0], [0.4], [1.6]), ([0.0], [-0.8], [0.8]))
    >>> print(found.estimate, found.low, found.high, found.p.round(3))
    [1.] [0.] [2.] [0.05]
    """
    e1, l1, u1 = (np.asarray(part, dtype=np.float64) for part in first)
    e2, l2, u2 = (np.asarray(part, dtype=np.float64) for part in second)
    finite = np.isfinite(e1) & np.isfinite(e2)
    estimate = np.subtract(e1, e2, out=np.full(e1.shape, np.nan), where=finite)
    below, above = np.hypot(e1 - l1, u2 - e2), np.hypot(u1 - e1, e2 - l2)
    arm = np.where(estimate >= 0, below, above) / special.ndtri(0.5 + confidence / 2)
    z = np.divide(np.abs(estimate), arm, out=np.full(e1.shape, np.nan), where=arm > 0)
    return EffectDifference(estimate, estimate - below, estimate + above, 2 * special.ndtr(-z))


def noise_share(estimate: ArrayLike, low: ArrayLike, high: ArrayLike, *, confidence: float = 0.95) -> float:
    """Share of a map's variance over heads that sampling error accounts for.

    Parameters
    ----------
    estimate, low, high : array_like of float, shape (n_heads,)
        The effects and their intervals; heads without a finite interval are left out.
    confidence : float
        Coverage of the intervals.

    Returns
    -------
    float
        Mean squared standard error over the variance of the effects, at most 1; NaN of fewer than two heads or
        where the effects do not vary. One minus the share is the reliability of the map, and the correlation of
        two maps is at most the root of the product of both (Spearman, 1904).

    Notes
    -----
    The standard error is half the interval over the normal quantile. Errors that go along over heads vary less over
    them than their size says, so that the share is then too large.

    Examples
    --------
    >>> round(noise_share([-1.0, 1.0], [-1.98, 0.02], [-0.02, 1.98]), 3)
    0.125
    """
    e, lower, upper = (np.asarray(part, dtype=np.float64) for part in (estimate, low, high))
    known = np.isfinite(e) & np.isfinite(lower) & np.isfinite(upper)
    if known.sum() < 2 or np.ptp(e[known]) == 0:
        return float("nan")
    se = (upper[known] - lower[known]) / (2 * special.ndtri(0.5 + confidence / 2))
    return min(float(np.mean(se**2) / np.var(e[known], ddof=1)), 1.0)
