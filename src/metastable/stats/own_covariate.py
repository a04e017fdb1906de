"""The difference of every feature, or its slope, with a covariate of that feature's own held fixed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from metastable.errors import InputError
from metastable.stats.effects import check_confidence
from metastable.stats.samples import ROUNDING, check_values, is_constant, sample_moments, split_samples

__all__ = ["HeldEffect", "held_difference", "held_slope"]

Floats = NDArray[np.float64]

# What is left of the tested column beside the covariate, below this share of it, is rounding: it cannot be tested.
_LEFT = 1e-8
# A sum of squared residuals below this share of the outcome's is rounding.
_RESIDUAL = 1e-20


@dataclass(frozen=True)
class HeldEffect:
    """A difference or slope with each feature's own covariate held fixed.

    Attributes
    ----------
    estimate, se, low, high, p : ndarray of float64, shape (n_features,)
        Estimate, HC3 standard error, limits of the interval and two-sided p of its t; NaN where the covariate
        goes along with what is tested so closely that they cannot be told apart.
    dof : ndarray of float64, shape (n_features,)
        Degrees of freedom of the t: units (pairs) minus columns; one more where the covariate does not vary.
    standardized : ndarray of float64, shape (n_features,)
        Of a difference, the estimate over the standard deviation of Hedges' g without bias correction, so that it
        compares with the raw effect; of a slope, the estimate over the feature's standard deviation, times the
        predictor's.
    """

    estimate: Floats
    se: Floats
    low: Floats
    high: Floats
    p: Floats
    dof: Floats
    standardized: Floats


def held_difference(
    values: ArrayLike,
    condition: ArrayLike,
    covariate: ArrayLike,
    *,
    pair: ArrayLike | None = None,
    confidence: float = 0.95,
) -> HeldEffect:
    """Difference of two conditions in every feature, beside a covariate that differs from feature to feature.

    Parameters
    ----------
    values : array_like of float, shape (n_units, n_features)
        One row per unit.
    condition : array_like of bool, shape (n_units,)
        True for condition a, False for b; differences are a - b.
    covariate : array_like of float, shape (n_units, n_features)
        What is held fixed, for each feature its own: for instance the mass that a head puts on special tokens,
        beside its count.
    pair : array_like, shape (n_units,), or None
        Code that joins each unit of a with one of b; differences of partners are then regressed on the
        differences of their covariate.
    confidence : float
        Coverage of the intervals, between 0 and 1.

    Returns
    -------
    HeldEffect

    Raises
    ------
    InputError
        As `metastable.stats.samples.split_samples`; or if the shapes of values and covariate differ, or there are
        too few units.

    Notes
    -----
    Ordinary least squares of each feature on the condition and its covariate, with HC3 standard errors (MacKinnon &
    White 1985) and t tails, all features at once by partialling the covariate out of both (Frisch & Waugh 1933).

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> condition = np.arange(200) < 100
    >>> mass = rng.uniform(size=(200, 1)) + 0.5 * condition[:, None]  # a rests more on the sink
    >>> counts = 10 - 5 * mass + 0.1 * rng.normal(size=(200, 1))  # and the count follows the sink alone
    >>> held = held_difference(counts, condition, mass)
    >>> bool(held.low[0] < 0 < held.high[0])
    True
    """
    check_confidence(confidence)
    samples = split_samples(values, condition, pair=pair)
    moments = sample_moments(samples)
    side = np.asarray(condition)
    beside = _same_shape(covariate, values)
    if pair is None:
        outcome = np.concatenate([samples.a, samples.b])
        other = np.concatenate([beside[side], beside[~side]])
        tested = np.repeat([1.0, 0.0], [len(samples.a), len(samples.b)])
        found = _regress(outcome, tested, other, constant=True, confidence=confidence)
    else:
        of_partner = split_samples(beside, condition, pair=pair)
        outcome = np.where(moments.var_difference == 0, moments.difference, samples.a - samples.b)
        other = of_partner.a - of_partner.b
        scale = np.maximum(np.abs(of_partner.a).max(axis=0), np.abs(of_partner.b).max(axis=0))
        other = np.where(np.abs(other).max(axis=0) <= ROUNDING * scale, 0.0, other)
        found = _regress(outcome, np.ones(len(outcome)), other, constant=False, confidence=confidence)
    return _finish(found, moments.flat, moments.standardizer)


def held_slope(
    values: ArrayLike, predictor: ArrayLike, covariate: ArrayLike, *, confidence: float = 0.95
) -> HeldEffect:
    """Slope of every feature over a continuous predictor, beside a covariate that differs from feature to feature.

    Parameters
    ----------
    values, covariate, confidence
        As for `held_difference`.
    predictor : array_like of float, shape (n_units,)
        The continuous predictor.

    Returns
    -------
    HeldEffect

    Raises
    ------
    InputError
        If the shapes do not agree, a value is not finite, the predictor does not vary, or there are too few units.
    """
    check_confidence(confidence)
    table = check_values(values)
    x = np.asarray(predictor, dtype=np.float64)
    if x.shape != (len(table),) or not np.isfinite(x).all() or bool(is_constant(x[:, None])[0]):
        raise InputError(
            f"predictor has shape {x.shape}; give one finite number for each of the {len(table)} units, not all equal"
        )
    found = _regress(table, x, _same_shape(covariate, values), constant=True, confidence=confidence)
    deviation = table.std(axis=0, ddof=1) / x.std(ddof=1)
    return _finish(found, is_constant(table), deviation)


def _same_shape(covariate: ArrayLike, values: ArrayLike) -> Floats:
    beside = check_values(covariate)
    if beside.shape != np.shape(values):
        raise InputError(
            f"covariate has shape {beside.shape} and values {np.shape(values)}; give each value a covariate of its own"
        )
    return beside


def _regress(
    outcome: Floats, tested: Floats, covariate: Floats, *, constant: bool, confidence: float
) -> tuple[Floats, Floats, Floats, Floats]:
    """Estimate, standard error, degrees of freedom and reach of the interval, each of shape (n_features,)."""
    n_units = len(outcome)
    if constant:
        y = outcome - outcome.mean(axis=0)
        t = (tested - tested.mean())[:, None]
        x = np.where(is_constant(covariate), 0.0, covariate - covariate.mean(axis=0))
    else:
        y, t, x = outcome, tested[:, None], covariate
    varies = (x != 0).any(axis=0)
    n_columns = 1 + constant + varies
    if n_units <= n_columns.max():
        raise InputError(f"{n_units} units cannot carry a covariate beside the difference; leave it out")
    size = np.where(varies, (x**2).sum(axis=0), 1.0)
    own = t - x * ((x * t).sum(axis=0) / size)
    left = (own**2).sum(axis=0)
    told_apart = left > _LEFT * (t**2).sum(axis=0)
    left = np.where(told_apart, left, np.nan)
    rest = y - x * ((x * y).sum(axis=0) / size)
    estimate = (own * rest).sum(axis=0) / left
    residual = rest - own * estimate
    floor = _RESIDUAL * (outcome**2).sum(axis=0)
    residual = np.where((residual**2).sum(axis=0) <= floor, 0.0, residual)
    kept = 1.0 - constant / n_units - x**2 / size - own**2 / left
    alone = kept < _LEFT
    moved = own * residual / np.where(alone, np.nan, kept)
    se = np.sqrt((moved**2).sum(axis=0)) / left
    dof = (n_units - n_columns).astype(np.float64)
    return estimate, se, dof, se * special.stdtrit(dof, 0.5 + confidence / 2)


def _finish(found: tuple[Floats, Floats, Floats, Floats], flat: NDArray[np.bool_], deviation: Floats) -> HeldEffect:
    estimate, se, dof, reach = found
    lost = np.isnan(se)
    estimate, se = np.where(flat, 0.0, np.where(lost, np.nan, estimate)), np.where(flat, 0.0, se)
    reach = np.where(flat, 0.0, reach)
    undefined = np.where(estimate == 0, 0.0, np.copysign(np.inf, estimate))
    t = np.divide(estimate, se, out=undefined, where=~(se == 0))
    return HeldEffect(
        estimate=estimate,
        se=se,
        low=estimate - reach,
        high=estimate + reach,
        p=np.asarray(2 * special.stdtr(dof, -np.abs(t)), dtype=np.float64),
        dof=dof,
        standardized=np.divide(estimate, deviation, out=np.zeros_like(estimate), where=deviation > 0),
    )
