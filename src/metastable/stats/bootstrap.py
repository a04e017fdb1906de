"""Bootstrap intervals of standardized effects, of differences and of slopes, that resample whole clusters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from metastable.errors import InputError
from metastable.stats.adjustment import adjusted_difference, difference_design
from metastable.stats.correlation import correlation_effect, partial_correlation, slope_design
from metastable.stats.effects import EffectSize, check_confidence, hedges_g, small_sample_factor
from metastable.stats.labels import check_labels, label_codes
from metastable.stats.parallel_blocks import side_by_side
from metastable.stats.samples import covariate_frame, sample_moments, split_samples, unit_scaled

__all__ = ["bootstrap_g", "bootstrap_slope", "jackknife_error"]

Floats = NDArray[np.float64]

# Features per block: a block of the bootstrap distribution has n_resamples times this many floats.
_FEATURES = 256
# Weights and sums of one block of resamples have about this many floats.
_BLOCK = 1 << 21
# A resampled variance below this share of the sample's own is that of equal values.
_ROUNDING = 1e-12
# A resampled design with an eigenvalue below this share of its largest cannot tell its columns apart.
_RANK = 1e-10
# The share of resamples that may be lost to such designs.
_LOST = 0.1


@dataclass(frozen=True)
class _Strata:
    """What is drawn from what: clusters within strata.

    `code` is the cluster of each unit; `stratum` that of each cluster: clusters of a only, of b only, of both.
    """

    code: NDArray[np.intp]
    stratum: NDArray[np.intp]

    @property
    def n_clusters(self) -> int:
        return len(self.stratum)

    def members(self) -> list[NDArray[np.intp]]:
        return [np.flatnonzero(self.stratum == s) for s in np.unique(self.stratum)]

    def sums(self, rows: Floats) -> Floats:
        """Add up the rows of each cluster, (n_units, k) -> (n_clusters, k)."""
        total = np.zeros((self.n_clusters, *rows.shape[1:]))
        np.add.at(total, self.code, rows)
        return total


# Sums over the drawn clusters of the rows given, (n_clusters, k) -> (n_resamples, k).
Drawn = Callable[[Floats], Floats]


class _Statistic(Protocol):
    def __call__(self, drawn: Drawn) -> Floats:
        """Statistic of every resample and feature, shape (n_resamples, n_features)."""

    def features(self, block: slice) -> _Statistic:
        """Keep some of the features."""

    @property
    def width(self) -> int:
        """Floats that a resample takes for each feature."""


@dataclass(frozen=True)
class _Spread:
    """Per cluster: number of units, sums and sums of squares of one condition, about its own mean."""

    count: Floats
    mean: Floats
    first: Floats
    second: Floats

    def features(self, block: slice) -> _Spread:
        return replace(self, mean=self.mean[block], first=self.first[:, block], second=self.second[:, block])

    @cached_property
    def floor(self) -> Floats:
        """What is rounding of a sum of squares."""
        return np.asarray(_ROUNDING * self.second.sum(axis=0))

    def moments(self, drawn: Drawn) -> tuple[Floats, Floats, Floats]:
        """Units, mean and sum of squared deviations of every resample."""
        n = drawn(self.count[:, None])
        first, second = drawn(self.first), drawn(self.second)
        squares = second - first**2 / n
        return n, self.mean + first / n, np.where(squares <= self.floor, 0.0, squares)


def _spread(values: Floats, side: NDArray[np.bool_], strata: _Strata) -> _Spread:
    mean = values[side].mean(axis=0)
    centred = np.where(side[:, None], values - mean, 0.0)
    count = strata.sums(side.astype(np.float64))
    return _Spread(count, mean, strata.sums(centred), strata.sums(centred**2))


@dataclass(frozen=True)
class _Regression:
    """Per cluster: cross-products of a design, whose first column is tested, with itself and the outcomes.

    The columns are in units of their size; `unit` is that of the first.
    """

    within: Floats
    across: Floats
    squares: Floats
    unit: float

    def features(self, block: slice) -> _Regression:
        return replace(self, across=self.across[:, :, block], squares=self.squares[:, block])

    @cached_property
    def floor(self) -> Floats:
        """What is rounding of a sum of squares."""
        return np.asarray(_ROUNDING * self.squares.sum(axis=0))

    def fit(self, drawn: Drawn) -> tuple[Floats, Floats, Floats]:
        """Coefficient of the first column, its information, and the sum of squared residuals of every resample.

        NaN where a resample's columns cannot be told apart.
        """
        n_clusters, p, n_features = self.across.shape
        within = drawn(self.within.reshape(n_clusters, p * p)).reshape(-1, p, p)
        across = drawn(self.across.reshape(n_clusters, p * n_features)).reshape(-1, p, n_features)
        values, vectors = np.linalg.eigh(within)
        lost = values[:, 0] <= _RANK * values[:, -1]
        inverse = (vectors / np.where(lost[:, None], 1.0, values)[:, None, :]) @ np.swapaxes(vectors, 1, 2)
        beta = inverse @ across
        total = drawn(self.squares)
        residual = total - (beta * across).sum(axis=1)
        residual = np.where(residual <= self.floor, 0.0, residual)
        nothing = np.where(lost, np.nan, 1.0)[:, None]
        return nothing * beta[:, 0] / self.unit, nothing / inverse[:, :1, 0] * self.unit**2, residual


def _regression(design: Floats, outcome: Floats, strata: _Strata) -> _Regression:
    """Reduce a regression to sums of clusters."""
    unit = np.sqrt((design**2).mean(axis=0))
    scaled = design / unit
    return _Regression(
        strata.sums(scaled[:, :, None] * scaled[:, None, :]),
        np.stack([strata.sums(column[:, None] * outcome) for column in scaled.T], axis=1),
        strata.sums(outcome**2),
        float(unit[0]),
    )


def _ratio(top: Floats, bottom: Floats) -> Floats:
    undefined = np.where(top == 0, 0.0, np.copysign(np.inf, top))
    return np.asarray(np.divide(top, bottom, out=undefined, where=bottom > 0), dtype=np.float64)


@dataclass(frozen=True)
class _Standardized:
    """Difference of means, or the adjusted one, over the standard deviation of Hedges' g."""

    a: _Spread
    b: _Spread
    paired: bool
    adjusted: _Regression | None

    @property
    def width(self) -> int:
        return 6 if self.adjusted is None else 8 + int(self.adjusted.across.shape[1])

    def features(self, block: slice) -> _Standardized:
        adjusted = None if self.adjusted is None else self.adjusted.features(block)
        return replace(self, a=self.a.features(block), b=self.b.features(block), adjusted=adjusted)

    def __call__(self, drawn: Drawn) -> Floats:
        n_a, mean_a, squares_a = self.a.moments(drawn)
        n_b, mean_b, squares_b = self.b.moments(drawn)
        if self.paired:
            variance = (squares_a / (n_a - 1) + squares_b / (n_b - 1)) / 2
        else:
            variance = (squares_a + squares_b) / (n_a + n_b - 2)
        difference = mean_a - mean_b if self.adjusted is None else self.adjusted.fit(drawn)[0]
        return _ratio(difference, np.sqrt(variance))


@dataclass(frozen=True)
class _Slope:
    """The d of a partial correlation: twice the slope per residual standard deviation of both."""

    regression: _Regression

    @property
    def width(self) -> int:
        return 3 + int(self.regression.across.shape[1])

    def features(self, block: slice) -> _Slope:
        return _Slope(self.regression.features(block))

    def __call__(self, drawn: Drawn) -> Floats:
        slope, information, residual = self.regression.fit(drawn)
        return _ratio(2 * slope * np.sqrt(information), np.sqrt(residual))


def bootstrap_g(
    values: ArrayLike,
    condition: ArrayLike,
    *,
    pair: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
    covariates: ArrayLike | None = None,
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
    covariates : array_like of float, shape (n_units, n_covariates), or None
        Covariates to hold fixed: g is then the adjusted difference of `adjustment_table` over the same standard
        deviation, that of the values without adjusting, times the same small-sample factor.
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
        The estimate of `hedges_g`, or the adjusted one; low and high are NaN where it is flat or infinite, and
        everywhere if more than a tenth of the resamples cannot tell the covariates apart, too few units differing in
        them.

    Raises
    ------
    InputError
        As `hedges_g` and, with covariates, `adjustment_table`; or if there are fewer than three clusters of a kind
        (of a, of b, of both), a pair lies in two clusters, or `n_resamples` is below 100.

    Notes
    -----
    Clusters that have units of one condition are drawn within it, clusters that have both among
    themselves. The interval is Efron's (1987) BCa; bias and acceleration are those of
    `scipy.stats.bootstrap`, its jackknife leaving out whole clusters (Field & Welsh 2007 on the
    cluster bootstrap). Neither normality nor equal variances are assumed. The small-sample factor is that of the
    sample in every resample.

    A resample is how often each cluster is drawn, so that its sums are products with sums of clusters, and the
    jackknife's are the total without one: memory grows with the units, never with their square.

    Examples
    --------
    >>> import numpy as np
    >>> values = np.random.default_rng(1).normal(size=(80, 1))
    >>> result = bootstrap_g(values, np.arange(80) < 40, rng=2)
    >>> bool(result.low[0] < result.estimate[0] < result.high[0])
    True
    """
    _check(confidence, n_resamples)
    moments = sample_moments(split_samples(values, condition, pair=pair))
    table, side = unit_scaled(values)[0], np.asarray(condition)
    strata = _strata(side, pair, cluster)
    factor = small_sample_factor(moments)
    held = None if covariates is None else covariate_frame(covariates)
    if held is None or held.shape[1] == 0:
        estimate = hedges_g(values, condition, pair=pair).estimate
        regression = None
    else:
        found = adjusted_difference(values, condition, held, pair=pair)
        estimate = factor * _ratio(found.difference / moments.unit, moments.standardizer)
        parts = difference_design(table, condition, held, pair=pair)
        columns = np.column_stack([parts.short[:, ::-1], parts.used])
        # Of pairs the tested column is the constant, and the mean of the outcome belongs to it.
        outcome = parts.outcome if pair is not None else parts.outcome - parts.outcome.mean(axis=0)
        regression = _regression(columns, outcome, _of_rows(strata, side, pair))
    statistic = _Standardized(
        _spread(table, side, strata), _spread(table, ~side, strata), moments.var_difference is not None, regression
    )
    low, high = _intervals(
        statistic, strata, estimate / factor, confidence, n_resamples, np.random.default_rng(rng), callback
    )
    defined = np.isfinite(estimate) & ~moments.flat
    return EffectSize(
        estimate,
        np.where(defined, factor * low, np.nan),
        np.where(defined, factor * high, np.nan),
        moments.flat,
    )


def bootstrap_slope(
    values: ArrayLike,
    predictor: ArrayLike,
    covariates: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
    n_resamples: int = 2000,
    rng: int | np.random.Generator | None = None,
    callback: Callable[[int, int], None] | None = None,
) -> EffectSize:
    """Standardized slope of every feature with a bias-corrected and accelerated bootstrap interval.

    Parameters
    ----------
    values : array_like of float, shape (n_units, n_features)
        One row per unit.
    predictor, covariates
        As in `metastable.stats.correlation.slope_design`.
    confidence, n_resamples, rng, callback
        As in `bootstrap_g`.

    Returns
    -------
    EffectSize
        The d of `metastable.stats.correlation.correlation_effect`; low and high are NaN as in `bootstrap_g`.

    Raises
    ------
    InputError
        As `slope_design`; or if there are fewer than five units more than columns, or `n_resamples` is below 100.

    Notes
    -----
    Units are drawn whole, predictor, covariates and values together, so that the interval holds where the variance
    changes along the predictor (there that of Fisher's z does not); BCa as in `bootstrap_g`.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> rating = rng.normal(size=100)
    >>> result = bootstrap_slope((rating + rng.normal(size=100))[:, None], rating, rng=2)
    >>> bool(result.low[0] < result.estimate[0] < result.high[0])
    True
    """
    _check(confidence, n_resamples)
    correlation = partial_correlation(values, predictor, covariates)
    estimate = correlation_effect(correlation).estimate
    table = unit_scaled(values)[0]
    design = slope_design(predictor, covariates)
    if len(table) < design.shape[1] + 5:
        raise InputError(
            f"{len(table)} units are too few to draw from beside {design.shape[1]} columns; give five more, or leave "
            "out covariates"
        )
    order = [1, 0, *range(2, design.shape[1])]
    every = np.arange(len(table))
    strata = _Strata(every, np.zeros(len(table), dtype=np.intp))
    regression = _regression(design[:, order], table - table.mean(axis=0), strata)
    generator = np.random.default_rng(rng)
    low, high = _intervals(_Slope(regression), strata, estimate, confidence, n_resamples, generator, callback)
    defined = np.isfinite(estimate) & ~correlation.flat
    return EffectSize(estimate, np.where(defined, low, np.nan), np.where(defined, high, np.nan), correlation.flat)


def jackknife_error(values: ArrayLike, predictor: ArrayLike, covariates: ArrayLike | None = None) -> Floats:
    """Find the standard error of Fisher's z of every partial correlation, right whatever the variances.

    Parameters
    ----------
    values, predictor, covariates
        As `bootstrap_slope` takes them.

    Returns
    -------
    ndarray of float64, shape (n_features,)
        By leaving out one unit at a time (Efron & Stein 1981); infinite where a unit alone determines a coefficient.

    Raises
    ------
    InputError
        As `metastable.stats.correlation.slope_design`.
    """
    table = unit_scaled(values)[0]
    design = slope_design(predictor, covariates)
    n = len(table)
    strata = _Strata(np.arange(n), np.zeros(n, dtype=np.intp))
    whole = _Slope(_regression(design[:, [1, 0, *range(2, design.shape[1])]], table - table.mean(axis=0), strata))
    error = np.empty(table.shape[1])
    size = max(1, _BLOCK // (whole.width * _FEATURES))
    for start in range(0, table.shape[1], _FEATURES):
        block = slice(start, min(start + _FEATURES, table.shape[1]))
        left_out = np.arcsinh(_without_each(whole.features(block), strata, size) / 2)
        with np.errstate(invalid="ignore"):  # infinite without a unit that alone determines a coefficient
            spread = ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0)
        error[block] = np.where(np.isfinite(spread), np.sqrt((n - 1) / n * spread), np.inf)
    return error


def _without_each(statistic: _Statistic, strata: _Strata, size: int) -> Floats:
    """Statistic without each cluster, shape (n_clusters, n_features)."""
    # The statistic asks for its sums in the same order each time: their totals are the same in every block.
    totals: list[Floats] = []

    def leaving(out: slice) -> Drawn:
        number = count()

        def drawn(rows: Floats) -> Floats:
            place = next(number)
            if place == len(totals):
                totals.append(rows.sum(axis=0))
            return np.asarray(totals[place] - rows[out])

        return drawn

    starts = range(0, strata.n_clusters, size)
    return np.concatenate([statistic(leaving(slice(start, start + size))) for start in starts])


def _check(confidence: float, n_resamples: int) -> None:
    check_confidence(confidence)
    if n_resamples < 100:
        raise InputError(f"n_resamples is {n_resamples}; give at least 100, better 2000")


def _of_rows(strata: _Strata, side: NDArray[np.bool_], pair: ArrayLike | None) -> _Strata:
    """Strata of the rows of a regression: the units, or the pairs in the order of their codes."""
    if pair is None:
        return strata
    of_a = np.flatnonzero(side)[np.argsort(np.asarray(pair)[side], kind="stable")]
    return _Strata(strata.code[of_a], strata.stratum)


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


def _draws(strata: _Strata, n_resamples: int, size: int, seed: int) -> Iterator[Floats]:
    """Yield how often each resample has each cluster, (at most `size`, n_clusters): the same ones for one seed."""
    members = strata.members()
    # A stream for each stratum, so that the draws do not depend on the size of the blocks.
    streams = np.random.default_rng(seed).spawn(len(members))
    for start in range(0, n_resamples, size):
        n = min(size, n_resamples - start)
        weights = np.empty((n, strata.n_clusters))
        for some, rng in zip(members, streams, strict=True):
            # to count who was drawn takes a fifth of the time of a multinomial draw
            drawn = rng.integers(len(some), size=(n, len(some))) + len(some) * np.arange(n)[:, None]
            weights[:, some] = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
        yield weights


def _intervals(
    statistic: _Statistic,
    strata: _Strata,
    estimate: Floats,
    confidence: float,
    n_resamples: int,
    generator: np.random.Generator,
    callback: Callable[[int, int], None] | None,
) -> tuple[Floats, Floats]:
    """BCa limits of every feature, a block of features and of resamples at a time."""
    seed, n_features = int(generator.integers(1 << 62)), len(estimate)
    size = max(1, min(n_resamples, _BLOCK // max(strata.n_clusters, statistic.width * _FEATURES)))
    low, high = np.empty(n_features), np.empty(n_features)
    for start in range(0, n_features, _FEATURES):
        block = slice(start, min(start + _FEATURES, n_features))
        some = statistic.features(block)

        def resampled(weights: Floats, some: _Statistic = some) -> Floats:
            return some(lambda rows: weights @ rows)

        drawn = np.concatenate(list(side_by_side(resampled, _draws(strata, n_resamples, size, seed))))
        drawn = drawn[~np.isnan(drawn).any(axis=1)]
        left_out = _without_each(some, strata, size)
        enough = len(drawn) >= (1 - _LOST) * n_resamples
        limits = _bca(drawn, left_out, strata, estimate[block], confidence) if enough else (np.nan, np.nan)
        low[block], high[block] = limits
        if callback is not None:
            callback(block.stop, n_features)
    return low, high


def _bca(
    drawn: Floats, left_out: Floats, strata: _Strata, estimate: Floats, confidence: float
) -> tuple[Floats, Floats]:
    below = ((drawn < estimate).mean(axis=0) + (drawn <= estimate).mean(axis=0)) / 2
    # An estimate outside all resamples would send the bias to infinity: half a resample is the resolution.
    resolution = 0.5 / len(drawn)
    bias = special.ndtri(np.clip(below, resolution, 1 - resolution))
    acceleration = _acceleration(left_out, strata)
    drawn.sort(axis=0)
    limits = []
    for z in special.ndtri([(1 - confidence) / 2, (1 + confidence) / 2]):
        shifted = bias + z
        level = special.ndtr(bias + shifted / (1 - acceleration * shifted))
        limits.append(_quantile(drawn, level))
    return limits[0], limits[1]


def _acceleration(left_out: Floats, strata: _Strata) -> Floats:
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


def _quantile(ordered: Floats, level: Floats) -> Floats:
    """Quantile of each column at its own level, linear between order statistics."""
    position = level * (len(ordered) - 1)
    below = np.floor(position).astype(np.intp)
    above = np.minimum(below + 1, len(ordered) - 1)
    column = np.arange(ordered.shape[1])
    lower, upper = ordered[below, column], ordered[above, column]
    finite = np.isfinite(lower) & np.isfinite(upper)
    step = np.subtract(upper, lower, out=np.zeros_like(lower), where=finite)
    # Between a number and infinity lies infinity.
    return np.where(finite, lower + (position - below) * step, np.where(np.isfinite(upper), lower, upper))
