"""Mixed models with a second grouping factor or a random slope, of many features that share one design."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from metastable.stats.mixed_models.random_intercept import SINGULAR_THETA
from metastable.stats.mixed_models.random_terms import TermSums
from metastable.stats.mixed_models.satterthwaite import CriterionFit
from metastable.stats.mixed_models.term_deviance import ROOT, TRIANGLE, common_deviance, expand, outer_factor

__all__ = ["criterion_at", "fit_terms", "newton_step"]

Floats = NDArray[np.float64]
Method = Literal["reml", "ml"]

MAX_STEPS = 100
# Curvature below minus this part of the largest is negative and not rounding, and how far to step along it.
NEGATIVE = 1e-5
ESCAPE = 0.1
# Relative rounding of the deviance.
ROUNDING = 1e-10
# Deviance that one more Newton step would gain; its root is the error in standard errors.
GAIN_TOLERANCE = 1e-14
# The same at the end, by an independent Hessian, for a fit to count as converged; also where rounding, which a
# variance thousands of times the residual's magnifies, lets the steps come no closer.
CONVERGED_GAIN = 1e-6
# Eigenvalues of the Hessian below this part of the largest are directions that the data say nothing on.
FLAT_DIRECTION = 1e-10
# Relative standard deviations of the random effects to start from, common to all features.
START = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0, 1e3, 1e4)


def fit_terms(sums: TermSums, *, method: Method = "reml") -> CriterionFit:
    """Fit ``y = X beta + Z b + u[inner] + e`` to every feature by REML or ML.

    The inner factor is eliminated group by group, the outer one through a square root Lambda of its relative
    covariance (Bates, Maechler, Bolker & Walker 2015, Journal of Statistical Software 67(1), section 3), and
    the optimum is found by Newton's method with an analytic gradient and its differences as Hessian. The
    search takes the symmetric root, for which a variance of zero is an ordinary minimum: no bound is needed,
    nor is there the lower triangle's ridge, on which a slope without an intercept may turn freely. Negative
    curvature is walked down, not up.

    Parameters
    ----------
    sums : TermSums
        The data.
    method : {"reml", "ml"}
        Criterion.

    Returns
    -------
    CriterionFit
        `theta` holds the inner factor's relative standard deviation, where there is one, then the lower
        triangle of Lambda by columns.
    """
    base = sums.base
    dof = base.n_obs - base.within_xx.shape[0] if method == "reml" else base.n_obs
    theta = _start(sums, dof, method)
    n_features = theta.shape[0]
    proposed, step = theta.copy(), np.zeros_like(theta)
    value, promised = np.full(n_features, np.inf), np.full(n_features, np.inf)
    done, trusted = np.zeros(n_features, dtype=np.bool_), np.zeros(n_features, dtype=np.bool_)
    iterations = np.zeros(n_features, dtype=np.int64)
    for _ in range(MAX_STEPS):
        rows = np.flatnonzero(~done)
        if rows.size == 0:
            break
        at = expand(sums.features(rows), proposed[rows], method, ROOT[sums.width])
        found = at.deviance(dof)
        better = trusted[rows] | (found <= value[rows])
        worse = rows[~better]
        step[worse] *= 0.5
        proposed[worse] = theta[worse] + step[worse]

        rows, gradient = rows[better], at.gradient(dof)[better]
        if rows.size == 0:
            continue
        theta[rows], value[rows] = proposed[rows], found[better]
        hessian = _forward_hessian(sums.features(rows), theta[rows], gradient, dof, method)
        step[rows], gain, upright = newton_step(
            gradient, hessian, theta[rows], _units(sums, theta[rows], ROOT[sums.width])
        )
        proposed[rows] = theta[rows] + step[rows]
        # Close to the minimum the deviance's own rounding hides whether it falls; Newton's step is then taken.
        trusted[rows] = upright & (gain < ROUNDING * (1.0 + np.abs(value[rows])))
        stalled = (gain < CONVERGED_GAIN) & (gain > 0.25 * promised[rows])
        done[rows] = upright & ((gain < GAIN_TOLERANCE) | stalled)
        promised[rows] = gain
        iterations[rows] += 1
    theta = np.where(done[:, None], proposed, theta)
    theta = _cholesky_from_root(theta, sums)
    fit = criterion_at(sums, theta, method=method)
    return replace(fit, iterations=iterations)


def criterion_at(
    sums: TermSums, theta: Floats, *, method: Method = "reml", tolerance: float = CONVERGED_GAIN
) -> CriterionFit:
    """Estimates and the deviance's expansion at given variance parameters.

    Parameters
    ----------
    sums : TermSums
        The data.
    theta : ndarray of float64, shape (n_features, n_theta)
        Relative variance parameters, in the order of `fit_terms`.
    method : {"reml", "ml"}
        Criterion.
    tolerance : float
        How far above its minimum the deviance may be, by its own curvature.

    Returns
    -------
    CriterionFit
        `converged` says whether theta is a minimum of the deviance.
    """
    base = sums.base
    dof = base.n_obs - base.within_xx.shape[0] if method == "reml" else base.n_obs
    at = expand(sums, theta, method, TRIANGLE[sums.width])
    sigma = np.sqrt(at.rss / dof)
    logdet_second, rss_second = _central_hessian(sums, theta, method)
    n_features, n_theta = theta.shape
    hessian = np.empty((n_features, n_theta + 1, n_theta + 1))
    hessian[:, :-1, :-1] = logdet_second + rss_second / sigma[:, None, None] ** 2
    hessian[:, :-1, -1] = hessian[:, -1, :-1] = -2.0 * at.rss_gradient / sigma[:, None] ** 3
    hessian[:, -1, -1] = 4.0 * dof / sigma**2

    # The profiled deviance's Hessian is the Schur complement of sigma's.
    cross = at.rss_gradient / at.rss[:, None]
    profiled = hessian[:, :-1, :-1] - dof * cross[:, :, None] * cross[:, None, :]
    _, gain, upright = newton_step(at.gradient(dof), profiled, theta, _units(sums, theta, TRIANGLE[sums.width]))
    return CriterionFit(
        theta=theta,
        sigma=sigma,
        beta=at.beta,
        unscaled=at.unscaled,
        unscaled_gradient=at.unscaled_gradient,
        hessian=hessian,
        criterion=at.logdet + dof * (1.0 + np.log(2.0 * np.pi * sigma**2)),
        singular=np.any(theta[:, _diagonal(sums)] < SINGULAR_THETA, axis=1),
        converged=(gain < tolerance) & upright,
        iterations=np.zeros(n_features, dtype=np.int64),
    )


def _diagonal(sums: TermSums) -> list[int]:
    """Entries of theta that are standard deviations."""
    first = int(sums.has_inner)
    return [*range(first), first] + ([first + 2] if sums.width == 2 else [])


def _cholesky_from_root(theta: Floats, sums: TermSums) -> Floats:
    """Turn symmetric roots into lower triangles with a diagonal that is not negative."""
    theta, first = theta.copy(), int(sums.has_inner)
    if sums.width == 1:
        return np.abs(theta)
    theta[:, :first] = np.abs(theta[:, :first])
    a, b, c = (theta[:, first + j] for j in range(3))
    intercept, slope = np.hypot(a, b), np.hypot(b, c)
    # Without an intercept's variance there is nothing for the slope to go along with.
    alone = intercept < np.finfo(np.float64).tiny
    divisor = np.where(alone, 1.0, intercept)
    along = np.where(alone, 0.0, b * (a + c) / divisor)
    apart = np.where(alone, slope, np.abs(a * c - b**2) / divisor)
    theta[:, first:] = np.column_stack([intercept, along, apart])
    return theta


def _start(sums: TermSums, dof: int, method: Method) -> Floats:
    """Best point of a coarse grid for each feature."""
    first = int(sums.has_inner)
    points = []
    for inner in START if sums.has_inner else (0.0,):
        for outer in START:
            point = np.zeros(first + sums.width * (sums.width + 1) // 2)
            point[:first] = inner
            point[[i for i in _diagonal(sums) if i >= first]] = outer
            points.append(point)
    deviance = np.stack([common_deviance(sums, point, dof, method) for point in points])
    start: Floats = np.stack(points)[deviance.argmin(axis=0)]
    return start


def _units(sums: TermSums, theta: Floats, basis: Floats) -> Floats:
    """Size that each entry of theta has by nature: its effect's standard deviation, or what it competes with."""
    first = int(sums.has_inner)
    unit = np.maximum(np.abs(theta), 1.0)
    if sums.width == 2:
        sd = np.maximum(np.linalg.norm(outer_factor(sums, theta, basis), axis=2), 1.0)
        unit[:, first:] = np.column_stack([sd[:, 0], np.sqrt(sd[:, 0] * sd[:, 1]), sd[:, 1]])
        if basis is TRIANGLE[2]:
            unit[:, first + 1] = sd[:, 1]
    if sums.has_inner:
        unit[:, 1:] = np.maximum(unit[:, 1:], unit[:, :1])
    return unit


def newton_step(
    gradient: Floats, hessian: Floats, theta: Floats, unit: Floats
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Step down the deviance.

    Negative curvature counts as positive, and where it does the step is not short: on a symmetry axis such as
    a variance of zero the gradient vanishes however steep the descent beside it.

    Parameters
    ----------
    gradient, theta, unit : ndarray of float64, shape (n_features, n_theta)
        Gradient of the deviance, where it was taken, and the size that each entry has by nature.
    hessian : ndarray of float64, shape (n_features, n_theta, n_theta)
        Second derivatives.

    Returns
    -------
    step : ndarray of float64, shape (n_features, n_theta)
        Where to go.
    gain : ndarray of float64, shape (n_features,)
        Twice the descent that it promises.
    upright : ndarray of bool, shape (n_features,)
        Whether all curvature is positive.
    """
    values, vectors = np.linalg.eigh(hessian * unit[:, :, None] * unit[:, None, :])
    largest = np.abs(values).max(axis=1, keepdims=True) + np.finfo(np.float64).tiny
    size = np.maximum(np.abs(values), FLAT_DIRECTION * largest)
    along = -np.einsum("fij,fi->fj", vectors, gradient * unit)
    step = along / size
    falling = values < -NEGATIVE * largest
    step = np.where(falling & (np.abs(step) < ESCAPE), np.copysign(ESCAPE, step), step)
    gain = np.sum(along**2 / size, axis=1)
    step = np.einsum("fij,fj->fi", vectors, step) * unit
    longest = 0.5 + 2.0 * np.linalg.norm(theta, axis=1)
    length = np.linalg.norm(step, axis=1)
    shorter: Floats = step * (longest / np.maximum(length, longest))[:, None]
    return shorter, gain, ~falling.any(axis=1)


def _forward_hessian(sums: TermSums, theta: Floats, gradient: Floats, dof: int, method: Method) -> Floats:
    """Hessian of the profiled deviance by forward differences of its gradient: good enough to walk by."""
    hessian = np.empty((*theta.shape, theta.shape[1]))
    for j in range(theta.shape[1]):
        h = 1e-6 * np.maximum(np.abs(theta[:, j]), 0.1)
        moved = theta.copy()
        moved[:, j] += h
        hessian[:, j] = (expand(sums, moved, method, ROOT[sums.width]).gradient(dof) - gradient) / h[:, None]
    return 0.5 * (hessian + np.swapaxes(hessian, 1, 2))


def _central_hessian(sums: TermSums, theta: Floats, method: Method) -> tuple[Floats, Floats]:
    """Hessians of the log determinants and of the residual sum of squares, by fourth-order differences."""
    n_theta = theta.shape[1]
    second = np.zeros((2, theta.shape[0], n_theta, n_theta))
    for j in range(n_theta):
        h = 1e-3 * np.maximum(np.abs(theta[:, j]), 0.1)
        for multiple, weight in ((-2, 1.0), (-1, -8.0), (1, 8.0), (2, -1.0)):
            moved = theta.copy()
            moved[:, j] += multiple * h
            at = expand(sums, moved, method, TRIANGLE[sums.width])
            second[0, :, j] += weight / (12.0 * h)[:, None] * at.logdet_gradient
            second[1, :, j] += weight / (12.0 * h)[:, None] * at.rss_gradient
    second = 0.5 * (second + np.swapaxes(second, 2, 3))
    return second[0], second[1]
