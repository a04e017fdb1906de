"""Bootstrap interval of Hedges' g that resamples whole clusters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from metastable.errors import InputError
from metastable.stats.effects import EffectSize, check_confidence, hedges_correction, hedges_g
from metastable.stats.labels import check_labels, label_codes

__all__ = ["bootstrap_g"]

# Features per block: a block of the bootstrap distribution has n_resamples times this many floats.
_FEATURES = 256
# A resampled variance below this share of the sample's own is that of equal values.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class _Strata:
    """What is drawn from what: clusters within strata.

    `code` is the cluster of each unit; `stratum` that of each cluster: clusters of a only, of b only, of both.
    """

    code: NDArray[np.intp]
    stratum: NDArray[np.intp]

    def members(self) -> list[NDArray[np.intp]]:
        return [np.flatnonzero(self.stratum == s) for s in np.unique(self.stratum)]


@dataclass(frozen=True)
class _Sums:
    """Per cluster: number of units, sums and sums of squares of one condition, about its own mean."""

    count: NDArray[np.float64]
    mean: NDArray[np.float64]
    first: NDArray[np.float64]
    second: NDArray[np.float64]

    def moments(
        self, weight: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Units, mean and sum of squared deviations of every resample; weight is (n_resamples, n_clusters)."""
        n = (weight @ self.count)[:, None]
        first, second = weight @ self.first, weight @ self.second
        squares = second - first**2 / n
        floor = _ROUNDING * self.second.sum(axis=0)
        return n, self.mean + first / n, np.where(squares <= floor, 0.0, squares)


def bootstrap_g(
    values: ArrayLike,
    condition: ArrayLike,
    *,
    pair: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
    confidence: float = 0.95,
    n_resamples: int = 2000,
    rng: int | np.random.Generator | None = None,
    callback: Callable[[int, int], None] | None = None,
) -> EffectSize:
    """Hedges' g of every feature with a bias-corrected and accelerated bootstrap interval.

    Parameters
    ----------
    values : array_like of float, shape (n_units, n_features)
        One row per unit.
    condition : array_like of bool, shape (n_units,)
        True for condition a, False for b; positive where a is larger.
    pair : array_like, shape (n_units,), or None
        Code that joins each unit of a with one of b; pairs are then drawn whole.
    cluster : array_like, shape (n_units,), or None
        Cluster of each unit; clusters are then drawn whole. With `pair`, a pair lies in one cluster.
    confidence : float
        Coverage of the interval, between 0 and 1.
    n_resamples : int
        Resamples; the same ones serve every feature.
    rng : int, numpy.random.Generator or None
        Seed or generator.
    callback : callable or None
        Told of progress as ``f(features done, features)``.

    Returns
    -------
    EffectSize
        The estimate of `hedges_g`; low and high are NaN where it is flat or infinite.

    Raises
    ------
    InputError
        As `hedges_g`; or if there are fewer than three clusters of a kind (of a, of b, of both), a pair
        lies in two clusters, or `n_resamples` is below 100.

    Notes
    -----
    Clusters that have units of one condition are drawn within it, clusters that have both among
    themselves. The interval is Efron's (1987) BCa; bias and acceleration are those of
    `scipy.stats.bootstrap`, its jackknife leaving out whole clusters (Field & Welsh 2007 on the
    cluster bootstrap). Neither normality nor equal variances are assumed.

    Examples
    --------
    >>> import numpy as np
    >>> values = np.random.default_rng(1).normal(size=(80, 1))
    >>> result = bootstrap_g(values, np.arange(80) < 40, rng=2)
    >>> bool(result.low[0] < result.estimate[0] < result.high[0])
    True
    """
    check_confidence(confidence)
    if n_resamples < 100:
        raise InputError(f"n_resamples is {n_resamples}; give at least 100, better 2000")
    estimate = hedges_g(values, condition, pair=pair)
    table, labels = np.asarray(values, dtype=np.float64), np.asarray(condition)
    strata = _strata(labels, pair, cluster)
    weights = _draw(strata, n_resamples, np.random.default_rng(rng))
    n_features = table.shape[1]
    low, high = np.full(n_features, np.nan), np.full(n_features, np.nan)
    for start in range(0, n_features, _FEATURES):
        block = slice(start, min(start + _FEATURES, n_features))
        sums = [_cluster_sums(table[:, block], side, strata) for side in (labels, ~labels)]
        low[block], high[block] = _bca(sums, strata, weights, estimate.estimate[block], confidence)
        if callback is not None:
            callback(block.stop, n_features)
    defined = np.isfinite(estimate.estimate) & ~estimate.flat
    return EffectSize(estimate.estimate, np.where(defined, low, np.nan), np.where(defined, high, np.nan), estimate.flat)


def _strata(condition: NDArray[np.bool_], pair: ArrayLike | None, cluster: ArrayLike | None) -> _Strata:
    n_units = len(condition)
    partner = None if pair is None else check_labels("pair", pair, n_units)
    if cluster is not None:
        code = label_codes("cluster", cluster, n_units)
    else:
        code = np.arange(n_units) if partner is None else np.unique(partner, return_inverse=True)[1]
    if cluster is not None and partner is not None:
        first, of_pair = np.unique(partner, return_index=True, return_inverse=True)[1:]
        home = code[first][of_pair]
        if (home != code).any():
            raise InputError(
                f"pair {partner[home != code][0]!s} lies in two clusters; clusters are drawn whole, so "
                "both partners must share one"
            )
    has_a = np.bincount(code, weights=condition) > 0
    has_b = np.bincount(code, weights=~condition) > 0
    stratum = (has_a + 2 * has_b).astype(np.intp)
    kinds = {1: "of condition a", 2: "of condition b", 3: "of both conditions"}
    for kind, number in zip(*np.unique(stratum, return_counts=True), strict=True):
        if number < 3:
            raise InputError(
                f"there are {number} clusters {kinds[int(kind)]}; resampling whole clusters needs at least 3"
            )
    return _Strata(code.astype(np.intp), stratum)


def _draw(strata: _Strata, n_resamples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """How often each resample has each cluster: float64, (n_resamples, n_clusters)."""
    weights = np.empty((n_resamples, len(strata.stratum)))
    for members in strata.members():
        share = np.full(len(members), 1 / len(members))
        weights[:, members] = rng.multinomial(len(members), share, size=n_resamples)
    return weights


def _cluster_sums(values: NDArray[np.float64], side: NDArray[np.bool_], strata: _Strata) -> _Sums:
    sample, code = values[side], strata.code[side]
    n_clusters = len(strata.stratum)
    mean = sample.mean(axis=0)
    centred = sample - mean
    first = np.zeros((n_clusters, values.shape[1]))
    second = np.zeros_like(first)
    np.add.at(first, code, centred)
    np.add.at(second, code, centred**2)
    return _Sums(np.bincount(code, minlength=n_clusters).astype(np.float64), mean, first, second)


def _g(sums: list[_Sums], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Hedges' g of every resample and feature."""
    n_a, mean_a, squares_a = sums[0].moments(weights)
    n_b, mean_b, squares_b = sums[1].moments(weights)
    dof = n_a + n_b - 2
    difference, scale = mean_a - mean_b, np.sqrt((squares_a + squares_b) / dof)
    undefined = np.where(difference == 0, 0.0, np.copysign(np.inf, difference))
    d = np.divide(difference, scale, out=undefined, where=scale > 0)
    return np.asarray(hedges_correction(dof) * d, dtype=np.float64)


def _bca(
    sums: list[_Sums],
    strata: _Strata,
    weights: NDArray[np.float64],
    estimate: NDArray[np.float64],
    confidence: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    drawn = _g(sums, weights)
    below = ((drawn < estimate).mean(axis=0) + (drawn <= estimate).mean(axis=0)) / 2
    # An estimate outside all resamples would send the bias to infinity: half a resample is the resolution.
    resolution = 0.5 / len(weights)
    bias = special.ndtri(np.clip(below, resolution, 1 - resolution))
    acceleration = _acceleration(_g(sums, 1.0 - np.eye(len(strata.stratum))), strata)
    drawn.sort(axis=0)
    limits = []
    for z in special.ndtri([(1 - confidence) / 2, (1 + confidence) / 2]):
        shifted = bias + z
        level = special.ndtr(bias + shifted / (1 - acceleration * shifted))
        limits.append(_quantile(drawn, level))
    return limits[0], limits[1]


def _acceleration(left_out: NDArray[np.float64], strata: _Strata) -> NDArray[np.float64]:
    """Acceleration of several samples, from the estimates without one cluster each (Davison & Hinkley 1997)."""
    cubes = np.zeros(left_out.shape[1])
    squares = np.zeros(left_out.shape[1])
    for members in strata.members():
        size = len(members)
        some = left_out[members]
        some = np.where(np.isfinite(some), some, 0.0)
        influence = (size - 1) / size * (some.mean(axis=0) - some)
        cubes += (influence**3).sum(axis=0)
        squares += (influence**2).sum(axis=0)
    return np.divide(cubes, 6 * squares**1.5, out=np.zeros_like(cubes), where=squares > 0)


def _quantile(ordered: NDArray[np.float64], level: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quantile of each column at its own level, linear between order statistics."""
    position = level * (len(ordered) - 1)
    below = np.floor(position).astype(np.intp)
    above = np.minimum(below + 1, len(ordered) - 1)
    column = np.arange(ordered.shape[1])
    lower, upper = ordered[below, column], ordered[above, column]
    step = np.zeros_like(lower)
    np.subtract(upper, lower, out=step, where=upper != lower)  # equal infinities have no difference
    return lower + (position - below) * step
