"""How strongly each feature goes along with a continuous predictor, covariates held fixed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from metastable.errors import InputError
from metastable.stats.determined import independent_columns
from metastable.stats.effects import EffectSize, check_confidence
from metastable.stats.samples import check_values, is_constant, unit_scaled

__all__ = [
    "PartialCorrelation",
    "correlation_effect",
    "correlation_equivalence",
    "detectable_effect",
    "partial_correlation",
    "slope_design",
]

Floats = NDArray[np.float64]

# Singular values, or what is left of a column, below this share are rounding.
_RANK = 1e-8
# Residuals whose squares sum to less than this share of the feature's are rounding: the fit is perfect.
_PERFECT = 1e-20


@dataclass(frozen=True)
class PartialCorrelation:
    """Correlation of every feature with the predictor, the covariates taken out of both.

    Attributes
    ----------
    estimate : ndarray of float64, shape (n_features,)
        The partial correlation; 0 where the feature is flat.
    n_units, n_covariates : int
        Units, and columns of the design beside the intercept and the predictor.
    flat : ndarray of bool, shape (n_features,)
        Features with one value in every unit.
    """

    estimate: Floats
    n_units: int
    n_covariates: int
    flat: NDArray[np.bool_]

    @property
    def dof(self) -> float:
        """Residual degrees of freedom of the regression: n_units - 2 - n_covariates."""
        return float(self.n_units - 2 - self.n_covariates)

    @property
    def t(self) -> Floats:
        """Student's t of the predictor's slope; infinite where the fit is perfect."""
        left = 1 - self.estimate**2
        undefined = np.copysign(np.inf, self.estimate)
        t: Floats = np.divide(self.estimate * np.sqrt(self.dof), np.sqrt(left), out=undefined, where=left > 0)
        return t

    @property
    def z(self) -> Floats:
        """Fisher's transformation of the correlation, arctanh; infinite where the fit is perfect."""
        bounded = np.abs(self.estimate) < 1
        inside = np.where(bounded, self.estimate, 0.0)
        return np.where(bounded, np.arctanh(inside), np.copysign(np.inf, self.estimate))

    @property
    def z_error(self) -> float:
        """Standard error of `z`: 1 / sqrt(n_units - n_covariates - 3) (Fisher 1924 for the partial correlation)."""
        return float(1 / np.sqrt(self.n_units - self.n_covariates - 3))


def slope_design(predictor: ArrayLike, covariates: ArrayLike | None = None) -> Floats:
    """Return the design of a regression on a continuous predictor beside covariates.

    Parameters
    ----------
    predictor : array_like of float, shape (n_units,)
        For instance the mean rating of each sequence.
    covariates : array_like of float, shape (n_units, n_covariates), or None
        Nuisance covariates. One that never varies is left out, for there is nothing to adjust for, and so is one
        that the ones before it determine.

    Returns
    -------
    ndarray of float64, shape (n_units, 2 + n_kept)
        The intercept, the predictor about its mean, and each covariate about its mean in units of its
        standard deviation.

    Raises
    ------
    InputError
        If the predictor does not vary, a value is not finite, the shapes do not agree, the covariates explain the
        predictor, or there are too few units for them.
    """
    x = np.asarray(predictor, dtype=np.float64)
    if x.ndim != 1 or len(x) < 2 or not np.isfinite(x).all():
        raise InputError(f"predictor has shape {x.shape}; give one finite number for each of at least two units")
    if is_constant(x[:, None])[0]:
        raise InputError("the predictor has the same value in every unit; a slope needs units that differ in it")
    design = np.column_stack([np.ones(len(x)), x - x.mean()])
    if covariates is not None:
        table = check_values(covariates)
        if len(table) != len(x):
            raise InputError(f"covariates has {len(table)} rows for {len(x)} units; give one row per unit")
        table = table[:, ~is_constant(table)]
        table = (table - table.mean(axis=0)) / table.std(axis=0)
        design = np.column_stack([design, table[:, independent_columns(table, np.ones((len(x), 1)))]])
    if len(x) <= design.shape[1] + 1:
        raise InputError(
            f"{len(x)} units cannot carry a slope beside {design.shape[1] - 2} covariates; leave out covariates"
        )
    singular = np.linalg.svd(design / np.linalg.norm(design, axis=0), compute_uv=False)
    if singular[-1] <= _RANK * singular[0]:
        raise InputError("the covariates explain the predictor; leave out covariates")
    return design


def partial_correlation(
    values: ArrayLike, predictor: ArrayLike, covariates: ArrayLike | None = None
) -> PartialCorrelation:
    """Correlate every feature with a predictor, after taking covariates out of both.

    Parameters
    ----------
    values : array_like of float, shape (n_units, n_features)
        One row per unit of inference.
    predictor, covariates
        As in `slope_design`.

    Returns
    -------
    PartialCorrelation

    Raises
    ------
    InputError
        As `slope_design`; or if `values` has another number of rows or a value that is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> length = rng.normal(size=1000)
    >>> rating = rng.normal(size=1000) - length
    >>> values = (length + rng.normal(size=1000))[:, None]  # the count follows length, not the rating
    >>> print(partial_correlation(values, rating).estimate.round(2))
    [-0.49]
    >>> print(partial_correlation(values, rating, length[:, None]).estimate.round(2))
    [-0.03]
    """
    design = slope_design(predictor, covariates)
    table = unit_scaled(values)[0]
    if len(table) != len(design):
        raise InputError(f"values has {len(table)} rows, but predictor {len(design)}; give one row per unit")
    flat = is_constant(table)
    q = np.linalg.qr(design[:, [0, *range(2, design.shape[1])]])[0]
    x = design[:, 1] - q @ (q.T @ design[:, 1])
    centred = table - table.mean(axis=0)
    y = centred - q @ (q.T @ centred)
    y = y - q @ (q.T @ y)  # twice is enough
    x /= np.linalg.norm(x)
    along = x @ y
    residual = ((y - np.outer(x, along)) ** 2).sum(axis=0)
    perfect = residual <= _PERFECT * (table**2).sum(axis=0)
    empty = along**2 + residual <= _PERFECT * (table**2).sum(axis=0)
    size = np.sqrt(along**2 + np.where(perfect, 0.0, residual))
    r = np.divide(along, size, out=np.zeros_like(along), where=~(flat | empty))
    return PartialCorrelation(np.clip(r, -1.0, 1.0), len(design), design.shape[1] - 2, flat)


def correlation_effect(correlation: PartialCorrelation, *, confidence: float = 0.95) -> EffectSize:
    """Express a partial correlation as a standardized difference d, with its interval.

    Parameters
    ----------
    correlation : PartialCorrelation
    confidence : float
        Coverage of the interval, between 0 and 1.

    Returns
    -------
    EffectSize
        In standard deviations. A flat feature has estimate 0, a perfect fit plus or minus infinity; neither
        has an interval: low and high are NaN.

    Raises
    ------
    InputError
        If `confidence` is outside (0, 1), or there are fewer than four units more than covariates.

    Notes
    -----
    d = 2 r / sqrt(1 - r^2) (Cohen 1988, p. 23; Borenstein et al. 2009, eq. 7.5): the difference, in
    residual standard deviations, between units one standard deviation above and one below the mean of the
    predictor (of the part of it that the covariates leave). For a predictor of two equally frequent values it
    is Cohen's d but for a factor sqrt((n - 2) / n). It has no small-sample correction.

    With z = arctanh(r), d = 2 sinh(z); the interval is that of Fisher's z, whose standard error is
    1 / sqrt(n - k - 3) with k covariates (Fisher 1924).
    """
    check_confidence(confidence)
    _check_error(correlation)
    reach = correlation.z_error * special.ndtri(0.5 + confidence / 2)
    z = correlation.z
    known = np.isfinite(z) & ~correlation.flat
    inside = np.where(known, z, 0.0)
    low, high = 2 * np.sinh(inside - reach), 2 * np.sinh(inside + reach)
    estimate = np.where(np.isfinite(z), 2 * np.sinh(np.where(np.isfinite(z), z, 0.0)), z)
    return EffectSize(estimate, np.where(known, low, np.nan), np.where(known, high, np.nan), correlation.flat)


def correlation_equivalence(
    correlation: PartialCorrelation, *, margin: float = 0.2, error: ArrayLike | None = None
) -> Floats:
    """Test every feature's effect for lying within plus or minus `margin`.

    Parameters
    ----------
    correlation : PartialCorrelation
    margin : float
        Smallest effect of interest, as the d of `correlation_effect`.
    error : array_like of float, shape (n_features,), or None
        Standard error of z where variances differ, as `metastable.stats.bootstrap.jackknife_error` gives it, with the
        tails of t; None for Fisher's, with those of the normal distribution.

    Returns
    -------
    ndarray of float64, shape (n_features,)
        The larger p of two one-sided tests: small where the effect is shown to lie inside the margin. A flat
        feature has p = 1: without a standard deviation the margin has no size and nothing is shown.

    Raises
    ------
    InputError
        If `margin` is not positive and finite.

    Notes
    -----
    Fisher's z against plus and minus arcsinh(margin / 2), the z of that d: the interval test of a correlation
    (Goertzen & Cribbie 2010), and the same verdict as the 90% interval of `correlation_effect` at the 5% level.
    """
    if not (np.isfinite(margin) and margin > 0):
        raise InputError(f"margin is {margin}; give a positive effect in standard deviations, such as 0.2")
    _check_error(correlation)
    room = np.arcsinh(margin / 2) - np.abs(correlation.z)
    if error is None:
        return np.where(correlation.flat, 1.0, special.ndtr(-room / correlation.z_error))
    se = np.asarray(error, dtype=np.float64)
    t = np.divide(room, se, out=np.copysign(np.inf, room), where=se > 0)
    return np.where(correlation.flat, 1.0, special.stdtr(correlation.dof, -t))


def detectable_effect(
    n_units: int, n_covariates: int, n_features: int, *, alpha: float = 0.05, power: float = 0.8
) -> float:
    """Find the effect that a sample detects with the power asked for, corrected for all features.

    Parameters
    ----------
    n_units, n_covariates, n_features : int
        Units, columns beside intercept and predictor, and features tested.
    alpha : float
        Level over all features; each is tested at ``alpha / n_features`` (Bonferroni), so that the false
        discovery rate correction, which is less strict, detects smaller effects too.
    power : float
        Chance of detection, between 0 and 1.

    Returns
    -------
    float
        The d of `correlation_effect`, by the normal distribution of Fisher's z.
    """
    check_confidence(power)
    check_confidence(alpha)
    error = 1 / np.sqrt(n_units - n_covariates - 3)
    return float(2 * np.sinh(error * (special.ndtri(1 - alpha / (2 * n_features)) + special.ndtri(power))))


def _check_error(correlation: PartialCorrelation) -> None:
    if correlation.n_units - correlation.n_covariates < 4:
        raise InputError(
            f"{correlation.n_units} units beside {correlation.n_covariates} covariates are too few for an interval; "
            "give at least four units more than covariates"
        )
