"""The difference of every feature, or its slope, with a covariate of that feature's own held fixed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from metastable.errors import InputError
from metastable.stats.effects import check_confidence
from metastable.stats.samples import (
    ROUNDING,
    check_values,
    is_constant,
    sample_moments,
    split_samples,
    unit_scaled,
)

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
        Of a difference, the estimate over the standard deviation of Hedges' g without bias correction; of a slope, the
        d of the partial correlation, 2 r / sqrt(1 - r^2), as `metastable.stats.correlation` has it: so that either
        compares with the effect without the covariate.
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
    nuisance: ArrayLike | None = None,
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
    nuisance : array_like of float, shape (n_units, n_covariates), or None
        Covariates of the units that are held fixed in every feature alike.
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
    alike = _nuisance(nuisance, len(side))
    if pair is None:
        outcome = np.concatenate([samples.a, samples.b])
        other = np.concatenate([beside[side], beside[~side]])
        tested = np.repeat([1.0, 0.0], [len(samples.a), len(samples.b)])
        held = np.column_stack([np.ones(len(side)), np.concatenate([alike[side], alike[~side]])])
        found = _regress(outcome, tested, other, held, confidence=confidence)
    else:
        of_partner = split_samples(beside, condition, pair=pair)
        of_units = split_samples(np.column_stack([alike, np.zeros(len(side))]), condition, pair=pair)
        outcome = np.where(moments.var_difference == 0, moments.difference, samples.a - samples.b)
        other = of_partner.a - of_partner.b
        scale = np.maximum(np.abs(of_partner.a).max(axis=0), np.abs(of_partner.b).max(axis=0))
        other = np.where(np.abs(other).max(axis=0) <= ROUNDING * scale, 0.0, other)
        held = (of_units.a - of_units.b)[:, :-1]
        found = _regress(outcome, np.ones(len(outcome)), other, held, confidence=confidence)
    deviation = moments.standardizer
    size = np.divide(found.estimate, deviation, out=np.zeros_like(found.estimate), where=deviation > 0)
    return _finish(found, moments.flat, size, moments.unit)


def held_slope(
    values: ArrayLike,
    predictor: ArrayLike,
    covariate: ArrayLike,
    *,
    nuisance: ArrayLike | None = None,
    confidence: float = 0.95,
) -> HeldEffect:
    """Slope of every feature over a continuous predictor, beside a covariate that differs from feature to feature.

    Parameters
    ----------
    values, covariate, nuisance, confidence
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
    table, unit = unit_scaled(values)
    x = np.asarray(predictor, dtype=np.float64)
    if x.shape != (len(table),) or not np.isfinite(x).all() or bool(is_constant(x[:, None])[0]):
        raise InputError(
            f"predictor has shape {x.shape}; give one finite number for each of the {len(table)} units, not all equal"
        )
    held = np.column_stack([np.ones(len(x)), _nuisance(nuisance, len(x))])
    found = _regress(table, x, _same_shape(covariate, values), held, confidence=confidence)
    with np.errstate(divide="ignore"):
        size = 2 * found.correlation / np.sqrt(1 - found.correlation**2)
    return _finish(found, is_constant(table), size, unit)


def _same_shape(covariate: ArrayLike, values: ArrayLike) -> Floats:
    beside = unit_scaled(covariate)[0]
    if beside.shape != np.shape(values):
        raise InputError(
            f"covariate has shape {beside.shape} and values {np.shape(values)}; give each value a covariate of its own"
        )
    return beside


def _nuisance(nuisance: ArrayLike | None, n_units: int) -> Floats:
    if nuisance is None:
        return np.empty((n_units, 0))
    table = check_values(nuisance)
    if len(table) != n_units:
        raise InputError(f"nuisance has {len(table)} rows for {n_units} units; give one row per unit")
    return table


@dataclass(frozen=True)
class _Regression:
    """Estimate, standard error, degrees of freedom, reach of the interval and partial correlation of each feature."""

    estimate: Floats
    se: Floats
    dof: Floats
    reach: Floats
    correlation: Floats


def _regress(outcome: Floats, tested: Floats, covariate: Floats, held: Floats, *, confidence: float) -> _Regression:
    """Regress each feature on the tested column beside its covariate and the columns held, (n_units, n_held)."""
    n_units = len(outcome)
    basis = _basis(held)

    def left_of(columns: Floats) -> Floats:
        rest = columns - basis @ (basis.T @ columns)
        return np.where(np.abs(rest).max(axis=0) <= ROUNDING * np.abs(columns).max(axis=0), 0.0, rest)

    y, t, x = left_of(outcome), left_of(tested[:, None]), left_of(covariate)
    varies = (x != 0).any(axis=0)
    n_columns = basis.shape[1] + 1 + varies
    if n_units <= n_columns.max():
        raise InputError(f"{n_units} units cannot carry a covariate beside the effect; leave it out")
    size = np.where(varies, (x**2).sum(axis=0), 1.0)
    own = t - x * ((x * t).sum(axis=0) / size)
    left = (own**2).sum(axis=0)
    left = np.where(left > _LEFT * (tested**2).sum(), left, np.nan)
    rest = y - x * ((x * y).sum(axis=0) / size)
    estimate = (own * rest).sum(axis=0) / left
    residual = rest - own * estimate
    floor = _RESIDUAL * (outcome**2).sum(axis=0)
    residual = np.where((residual**2).sum(axis=0) <= floor, 0.0, residual)
    kept = 1.0 - (basis**2).sum(axis=1)[:, None] - x**2 / size - own**2 / left
    moved = own * residual / np.where(kept < _LEFT, np.nan, kept)
    se = np.sqrt((moved**2).sum(axis=0)) / left
    dof = (n_units - n_columns).astype(np.float64)
    spread = (rest**2).sum(axis=0)
    correlation = np.divide(
        estimate * np.sqrt(left), np.sqrt(spread), out=np.zeros_like(estimate), where=spread > floor
    )
    reach = se * special.stdtrit(dof, 0.5 + confidence / 2)
    return _Regression(estimate, se, dof, reach, np.clip(correlation, -1, 1))


def _basis(held: Floats) -> Floats:
    """Orthonormal columns that span the columns held; a column that others determine adds none."""
    if held.shape[1] == 0:
        return held
    scale = np.linalg.norm(held, axis=0)
    left, values, _ = np.linalg.svd(held / np.where(scale > 0, scale, 1.0), full_matrices=False)
    return np.asarray(left[:, values > _LEFT * values[0]])


def _finish(found: _Regression, flat: NDArray[np.bool_], size: Floats, unit: Floats) -> HeldEffect:
    lost = np.isnan(found.se)
    estimate = np.where(flat, 0.0, np.where(lost, np.nan, found.estimate))
    se, reach = np.where(flat, 0.0, found.se), np.where(flat, 0.0, found.reach)
    undefined = np.where(estimate == 0, 0.0, np.copysign(np.inf, estimate))
    t = np.divide(estimate, se, out=undefined, where=~(se == 0))
    return HeldEffect(
        estimate=unit * estimate,
        se=unit * se,
        low=unit * (estimate - reach),
        high=unit * (estimate + reach),
        p=np.asarray(2 * special.stdtr(found.dof, -np.abs(t)), dtype=np.float64),
        dof=found.dof,
        standardized=np.where(flat, 0.0, np.where(lost, np.nan, size)),
    )
