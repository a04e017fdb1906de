"""Satterthwaite's degrees of freedom for the fixed effects of many mixed models at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = [
    "CriterionFit",
    "FTest",
    "contrast_dof",
    "f_test",
    "t_statistic",
    "two_sided_p",
    "variance_parameter_covariance",
]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

# lmerTest drops directions of the Hessian with an eigenvalue below this before it inverts.
EIGENVALUE_TOLERANCE = 1e-8


@dataclass(frozen=True)
class CriterionFit:
    """Optimum of the (restricted) likelihood of many models that share one design, and its local expansion.

    The variance parameters of a model are ``(theta, sigma)``: `theta` as in lme4, the entries of the Cholesky
    factors of the random effects' covariance relative to the residual variance, and `sigma`, the residual
    standard deviation.

    Attributes
    ----------
    theta : ndarray of float64, shape (n_features, n_theta)
        Relative Cholesky factors at the optimum.
    sigma : ndarray of float64, shape (n_features,)
        Residual standard deviation.
    beta : ndarray of float64, shape (n_features, p)
        Fixed effects.
    unscaled : ndarray of float64, shape (n_features, p, p)
        Covariance of the fixed effects divided by ``sigma ** 2``.
    unscaled_gradient : ndarray of float64, shape (n_features, n_theta, p, p)
        Derivative of `unscaled` by each entry of `theta`.
    hessian : ndarray of float64, shape (n_features, n_theta + 1, n_theta + 1)
        Second derivatives of the deviance (minus twice the log likelihood) by ``(theta, sigma)``.
    criterion : ndarray of float64, shape (n_features,)
        The deviance itself, with all its constants.
    singular : ndarray of bool, shape (n_features,)
        Whether a variance lies on its boundary.
    converged : ndarray of bool, shape (n_features,)
        Whether the optimum meets the first and second order conditions.
    iterations : ndarray of int64, shape (n_features,)
        Newton steps taken.
    """

    theta: Floats
    sigma: Floats
    beta: Floats
    unscaled: Floats
    unscaled_gradient: Floats
    hessian: Floats
    criterion: Floats
    singular: Bools
    converged: Bools
    iterations: NDArray[np.int64]


@dataclass(frozen=True)
class FTest:
    """A Wald F test of several contrasts.

    Attributes
    ----------
    statistic : float
        F.
    dof_numerator : int
        Number of independent contrasts.
    dof_denominator : float
        Satterthwaite's degrees of freedom.
    p_value : float
        Upper tail probability.
    """

    statistic: float
    dof_numerator: int
    dof_denominator: float
    p_value: float


def variance_parameter_covariance(hessian: Floats) -> Floats:
    """Asymptotic covariance of the variance parameters, twice the generalized inverse of the Hessian.

    Parameters
    ----------
    hessian : ndarray of float64, shape (..., q, q)
        Second derivatives of the deviance.

    Returns
    -------
    ndarray of float64, shape (..., q, q)
        Directions whose eigenvalue is below 1e-8 are left out, as lmerTest leaves them out.
    """
    values, vectors = np.linalg.eigh(hessian)
    keep = values > EIGENVALUE_TOLERANCE
    inverse = np.where(keep, 1.0 / np.where(keep, values, 1.0), 0.0)
    covariance: Floats = 2.0 * (vectors * inverse[..., None, :]) @ np.swapaxes(vectors, -1, -2)
    return covariance


def contrast_dof(fit: CriterionFit, contrasts: Floats) -> tuple[Floats, Floats]:
    """Variance and Satterthwaite degrees of freedom of linear contrasts of the fixed effects.

    The variance v of a contrast is a function of the variance parameters; if it were that of a scaled
    chi-squared variable with nu degrees of freedom, its own variance would be 2 v**2 / nu. The delta method
    gives that variance from the Hessian of the deviance, hence nu = 2 v**2 / (g' A g), with g the gradient of
    v and A the covariance of the variance parameters (Satterthwaite 1946; Kuznetsova, Brockhoff & Christensen
    2017, "lmerTest Package", Journal of Statistical Software 82(13), section 2).

    Parameters
    ----------
    fit : CriterionFit
        The models.
    contrasts : ndarray of float64, shape (n_contrasts, p) or (n_features, n_contrasts, p)
        One contrast a row.

    Returns
    -------
    variance, dof : ndarray of float64, shape (n_features, n_contrasts)
        Variance of the estimated contrast, in squared units of the outcome, and its degrees of freedom.
    """
    L = np.broadcast_to(contrasts, (fit.sigma.shape[0], *contrasts.shape[-2:]))
    unscaled = np.einsum("fkp,fpq,fkq->fk", L, fit.unscaled, L, optimize=True)
    by_theta = np.einsum("fkp,ftpq,fkq->fkt", L, fit.unscaled_gradient, L, optimize=True)
    sigma = fit.sigma[:, None]
    variance = sigma**2 * unscaled
    gradient = np.concatenate([sigma[:, :, None] ** 2 * by_theta, (2.0 * sigma * unscaled)[:, :, None]], axis=2)
    # In units of its own size each large parameter has a curvature that no tolerance mistakes for none.
    unit = np.concatenate([np.maximum(np.abs(fit.theta), 1.0), sigma], axis=1)
    covariance = variance_parameter_covariance(fit.hessian * unit[:, :, None] * unit[:, None, :])
    gradient = gradient * unit[:, None, :]
    spread = np.einsum("fkt,ftu,fku->fk", gradient, covariance, gradient)
    with np.errstate(divide="ignore", invalid="ignore"):
        dof = 2.0 * variance**2 / spread
    return variance, dof


def t_statistic(estimate: Floats, se: Floats) -> Floats:
    """Estimate over standard error; 0 for 0 / 0, and infinite where the standard error alone is 0.

    Parameters
    ----------
    estimate, se : ndarray of float64
        Of one shape.

    Returns
    -------
    ndarray of float64
        t, never NaN for finite input.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = estimate / se
    return np.where((se == 0.0) & (estimate == 0.0), 0.0, ratio)


def two_sided_p(statistic: Floats, dof: Floats) -> Floats:
    """Two-sided p of Student's t.

    Parameters
    ----------
    statistic, dof : ndarray of float64
        t and its degrees of freedom, of one shape.

    Returns
    -------
    ndarray of float64
        Probability of a larger absolute t.
    """
    p: Floats = np.minimum(2.0 * special.stdtr(dof, -np.abs(statistic)), 1.0)
    return p


def f_test(fit: CriterionFit, contrasts: Floats, feature: int = 0) -> FTest:
    """Wald F test of several contrasts at once, with Satterthwaite's denominator.

    The contrasts are turned into uncorrelated ones by the eigenvectors of their covariance; the F is the mean
    of their squared t, and its denominator matches the mean of the F's that those t's would have (lmerTest's
    ``contestMD``; Fai & Cornelius 1996).

    Parameters
    ----------
    fit : CriterionFit
        The models.
    contrasts : ndarray of float64, shape (n_contrasts, p)
        Contrasts that are zero under the null hypothesis; dependent ones count once.
    feature : int
        Which model.

    Returns
    -------
    FTest
        The test.
    """
    covariance = fit.sigma[feature] ** 2 * contrasts @ fit.unscaled[feature] @ contrasts.T
    values, vectors = np.linalg.eigh(covariance)
    keep = values > max(np.sqrt(np.finfo(np.float64).eps) * values[-1], 0.0)
    rotated = vectors[:, keep].T @ contrasts
    one = CriterionFit(*(getattr(fit, name)[[feature]] for name in fit.__dataclass_fields__))
    variance, dof = contrast_dof(one, rotated)
    squared_t = (rotated @ fit.beta[feature]) ** 2 / variance[0]
    statistic, rank = float(squared_t.mean()), int(keep.sum())
    denominator = _pooled_denominator(dof[0])
    p = float(special.fdtrc(rank, denominator, statistic))
    return FTest(statistic, rank, denominator, p)


def _pooled_denominator(dof: Floats) -> float:
    """Denominator of an F that is the mean of squared t's with these degrees of freedom."""
    if dof.size == 1 or np.ptp(dof) < 1e-8:
        return float(dof.mean())
    if not np.all(dof > 2.0):
        return 2.0
    expected = float(np.sum(dof / (dof - 2.0)))
    return 2.0 * expected / (expected - dof.size)
