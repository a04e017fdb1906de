"""The JZS Bayes factor of a t-test or a slope, for all features at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from metastable.errors import InputError
from metastable.stats.samples import ROUNDING, sample_moments, split_samples

__all__ = [
    "PRIORS",
    "difference_bayes_factor",
    "jzs_bayes_factor",
    "log_difference_bayes_factor",
    "log_effective_bayes_factor",
    "log_jzs_bayes_factor",
    "log_slope_bayes_factor",
    "slope_bayes_factor",
]

#: Scales of the prior on a difference that tables have Bayes factors for: the one of the verdicts' column, `bf10`,
#: and the narrower and the wider of Rouder et al. (2009) and of Morey & Rouder's BayesFactor.
PRIORS = (0.707, 0.5, 1.0)


_STEP = 0.05
_LOWEST = -6.0
_TAIL = 40.0
_FEATURES = 1024
# Part of a unit column below which it is explained by the others.
_RANK = 1e-10
_TINY = np.finfo(np.float64).tiny


def jzs_bayes_factor(
    t: ArrayLike, n_a: int, n_b: int | None = None, *, scale: float = 0.707, paired: bool = False
) -> NDArray[np.float64]:
    """Evidence for a difference over none, from t statistics.

    Parameters
    ----------
    t : array_like of float, shape (n_features,)
        Student's t of two groups, or of pairs or one sample.
    n_a : int
        Units of condition a, or number of pairs.
    n_b : int or None
        Units of condition b; None for pairs or one sample.
    scale : float
        Scale of the Cauchy prior on the effect size.
    paired : bool
        Whether t is that of `n_a` pairs; `n_b` is then not used.

    Returns
    -------
    ndarray of float64, shape of `t`
        BF10; above 1 speaks for a difference, below 1 for none. Infinite where it exceeds the largest
        float (`log_jzs_bayes_factor` does not) and NaN where t is NaN.

    Raises
    ------
    InputError
        If there are too few units for a t-test, or `scale` is not positive.

    Notes
    -----
    Rouder et al. (2009), eq. 1: the integral over g of their prior, taken by the trapezoidal rule on
    log g, which converges exponentially for this integrand, in logarithms throughout.

    Examples
    --------
    >>> print(jzs_bayes_factor([3.5], 20, 20).round(3), jzs_bayes_factor([3.5], 20, paired=True).round(3))
    [26.743] [17.185]
    """
    log_bf = log_jzs_bayes_factor(t, n_a, n_b, scale=scale, paired=paired)
    with np.errstate(over="ignore"):  # beyond the largest float the answer is infinity, as documented
        return np.asarray(np.exp(log_bf), dtype=np.float64)


def log_jzs_bayes_factor(
    t: ArrayLike, n_a: int, n_b: int | None = None, *, scale: float = 0.707, paired: bool = False
) -> NDArray[np.float64]:
    """Natural logarithm of `jzs_bayes_factor`, with the same arguments; finite for every finite t."""
    if paired or n_b is None:
        n, dof = float(n_a), float(n_a - 1)
    else:
        n, dof = n_a * n_b / (n_a + n_b), float(n_a + n_b - 2)
    if dof < 1 or n <= 0:
        raise InputError(f"n_a is {n_a} and n_b is {n_b}; a t-test needs at least two units")
    return _log_factors(t, n, dof, scale)


def difference_bayes_factor(
    values: ArrayLike,
    condition: ArrayLike,
    *,
    pair: ArrayLike | None = None,
    covariates: ArrayLike | None = None,
    scale: float = 0.707,
) -> NDArray[np.float64]:
    """Evidence for a difference of two conditions over none, with covariates held fixed where there are any.

    Parameters
    ----------
    values : array_like of float, shape (n_units, n_features)
        One row per unit of inference.
    condition : array_like of bool, shape (n_units,)
        True for condition a, False for b.
    pair : array_like, shape (n_units,), or None
        Code that joins each unit of a with one of b.
    covariates : array_like of float or None, shape (n_units, n_covariates)
        Columns of both models, with flat priors; of pairs their differences are.
    scale : float
        Scale of the Cauchy prior on the difference in residual standard deviations (of pairs, in standard
        deviations of their differences).

    Returns
    -------
    ndarray of float64, shape (n_features,)
        BF10. Where nothing is left to vary it is infinite if there is a difference, and otherwise that of t = 0.

    Raises
    ------
    InputError
        As `split_samples`; or if the covariates explain the condition or leave no residual degree of freedom.

    Notes
    -----
    Without covariates `jzs_bayes_factor` of Student's t. With them, t and its degrees of freedom are those of
    the regression, and the number of units is the one that would give the difference's standard error
    without them (Rouder & Morey 2012).

    Examples
    --------
    >>> values = np.repeat([[1.0], [2.0], [3.0], [4.0], [6.0], [8.0]], 2, axis=0)
    >>> print(difference_bayes_factor(values, np.arange(12) < 6).round(2))
    [40.63]
    """
    with np.errstate(over="ignore"):  # beyond the largest float the answer is infinity, as documented
        return np.exp(
            log_difference_bayes_factor(values, condition, pair=pair, covariates=covariates, scale=scale),
            dtype=np.float64,
        )


def log_difference_bayes_factor(
    values: ArrayLike,
    condition: ArrayLike,
    *,
    pair: ArrayLike | None = None,
    covariates: ArrayLike | None = None,
    scale: float = 0.707,
) -> NDArray[np.float64]:
    """Return the natural logarithm of `difference_bayes_factor`, finite for every finite t; arguments as there."""
    samples = split_samples(values, condition, pair=pair)
    moments, side = sample_moments(samples), np.asarray(condition)
    table = np.zeros((len(side), 0)) if covariates is None else np.asarray(covariates, dtype=np.float64)
    if samples.paired:
        codes = np.asarray(pair)
        of_a, of_b = (table[s][np.argsort(codes[s], kind="stable")] for s in (side, ~side))
        outcome, tested, rest = samples.a - samples.b, np.ones(moments.n_a), of_a - of_b
    else:
        outcome = np.concatenate([samples.a, samples.b])
        tested = np.repeat([1.0, 0.0], [moments.n_a, moments.n_b])
        ordered = np.concatenate([table[side], table[~side]])
        rest = np.column_stack([np.ones(len(side)), ordered - ordered.mean(axis=0)])
    left, size, _ = np.linalg.svd(rest / np.maximum(np.linalg.norm(rest, axis=0), _TINY), full_matrices=False)
    nuisance = left[:, size > _RANK]
    tested = tested - nuisance @ (nuisance.T @ tested)
    information, dof = float(tested @ tested), float(len(outcome) - nuisance.shape[1] - 1)
    if information <= _RANK or dof < 1:
        raise InputError("the covariates explain the condition or leave no residual degree of freedom; use fewer")
    residual = outcome - nuisance @ (nuisance.T @ outcome)
    difference = tested @ residual / information
    # The size against which a difference counts as rounding is that of the values, not of the differences.
    largest = np.maximum(np.abs(samples.a).max(axis=0), np.abs(samples.b).max(axis=0))
    error = np.sqrt(((residual - np.outer(tested, difference)) ** 2).sum(axis=0) / dof / information)
    error = np.where(error <= ROUNDING * largest, 0.0, error)
    difference = np.where(moments.flat | (np.abs(difference) <= ROUNDING * largest), 0.0, difference)
    t = np.divide(difference, error, out=np.where(difference == 0, 0.0, np.inf), where=error > 0)
    return _log_factors(t, information, dof, scale)


def log_effective_bayes_factor(
    t: ArrayLike, n_effective: ArrayLike, dof: ArrayLike, *, scale: float = 0.707
) -> NDArray[np.float64]:
    """Log evidence for a difference over none, from t statistics whose errors are not those of independent units.

    Parameters
    ----------
    t, n_effective, dof : array_like of float, shape (n_features,)
        t of the difference, the number of independent units that would give its standard error (the squared ratio of
        the standard deviation to it), and its degrees of freedom.
    scale : float
        Scale of the Cauchy prior on the difference in those standard deviations.

    Returns
    -------
    ndarray of float64, shape (n_features,)
        Natural logarithm of BF10, as `log_jzs_bayes_factor` has it of one sample; 0 where there is no standard error to
        judge by.

    Examples
    --------
    >>> print(log_effective_bayes_factor([2.5], [40.0], [39.0]).round(3), log_jzs_bayes_factor([2.5], 40).round(3))
    [0.969] [0.969]
    """
    table = np.broadcast_arrays(*(np.asarray(one, dtype=np.float64) for one in (t, n_effective, dof)))
    found = np.zeros(table[0].shape)
    for place, (statistic, n, freedom) in enumerate(zip(*table, strict=True)):
        if n > 0 and np.isfinite(n):
            found[place] = _log_factors(np.array([statistic]), float(n), float(freedom), scale)[0]
    return found


def slope_bayes_factor(
    t: ArrayLike, n_units: int, *, n_covariates: int = 0, scale: float = 0.3535
) -> NDArray[np.float64]:
    """Evidence for a slope over none, from t statistics of a regression on one predictor beside covariates.

    Parameters
    ----------
    t : array_like of float, shape (n_features,)
        Student's t of the predictor's coefficient.
    n_units : int
        Units of the regression.
    n_covariates : int
        Columns beside the intercept and the predictor; in both models, with flat priors.
    scale : float
        Scale of the Cauchy prior on the slope per standard deviation of the predictor (of the part of it that the
        covariates leave) in residual standard deviations. The default is the one that for a predictor of two equally
        frequent values gives `jzs_bayes_factor` at its own default.

    Returns
    -------
    ndarray of float64, shape of `t`
        BF10, as in `jzs_bayes_factor`.

    Raises
    ------
    InputError
        If there are too few units, or `scale` is not positive.

    Notes
    -----
    The prior of Zellner & Siow (Liang et al. 2008), scaled as by Rouder & Morey (2012); with
    ``scale=1`` that of Wetzels & Wagenmakers (2012) for correlations and partial correlations. Ly, Verhagen &
    Wagenmakers (2016) derive another default for correlations, a stretched beta prior, which favours large
    correlations less than ``scale=1``.

    Examples
    --------
    >>> print(slope_bayes_factor([0.0, 3.5], 40).round(3))
    [ 0.309 26.743]
    """
    with np.errstate(over="ignore"):
        return np.exp(log_slope_bayes_factor(t, n_units, n_covariates=n_covariates, scale=scale), dtype=np.float64)


def log_slope_bayes_factor(
    t: ArrayLike, n_units: int, *, n_covariates: int = 0, scale: float = 0.3535
) -> NDArray[np.float64]:
    """Return the natural logarithm of `slope_bayes_factor`, finite for every finite t; arguments as there."""
    dof = float(n_units - 2 - n_covariates)
    if dof < 1:
        raise InputError(f"{n_units} units cannot carry a slope beside {n_covariates} covariates; leave out covariates")
    return _log_factors(t, float(n_units), dof, scale)


def _log_factors(t: ArrayLike, n: float, dof: float, scale: float) -> NDArray[np.float64]:
    """Natural logarithms of the Bayes factors, NaN where t is NaN and infinite where it is infinite."""
    if not (np.isfinite(scale) and scale > 0):
        raise InputError(f"scale is {scale}; give a positive number, such as 0.707")
    statistic = np.asarray(t, dtype=np.float64)
    flat = statistic.ravel()
    out = np.where(np.isnan(flat), np.nan, np.inf)
    finite = np.flatnonzero(np.isfinite(flat))
    for start in range(0, len(finite), _FEATURES):
        block = finite[start : start + _FEATURES]
        out[block] = _log_integral(flat[block], n, dof, scale)
    return out.reshape(statistic.shape)


def _log_integral(t: NDArray[np.float64], n: float, dof: float, scale: float) -> NDArray[np.float64]:
    # The integrand falls doubly exponentially below log g = -6 and as 1/g once n g scale^2 exceeds t^2.
    relative = np.minimum(np.abs(t), 1e150) ** 2 / dof
    highest = max(0.0, -np.log(n * scale**2)) + np.log1p(relative.max(initial=0.0) * dof) + _TAIL
    log_g = np.arange(_LOWEST, highest, _STEP)
    spread = np.logaddexp(0.0, np.log(n * scale**2) + log_g)
    prior = -0.5 * np.log(2 * np.pi) - 0.5 * log_g - 0.5 * np.exp(-log_g)  # one power of g is the Jacobian
    shrunk = np.log1p(relative[:, None] * np.exp(-spread))
    log_ratio = 0.5 * (dof + 1) * (np.log1p(relative)[:, None] - shrunk)
    total = special.logsumexp(prior - 0.5 * spread + log_ratio, axis=1)
    return np.asarray(total + np.log(_STEP), dtype=np.float64)
