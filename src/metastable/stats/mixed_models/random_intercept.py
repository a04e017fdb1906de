"""The random-intercept model of every feature at once, by a one-dimensional profile of the likelihood."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from metastable.stats.mixed_models.satterthwaite import CriterionFit

__all__ = ["GroupSums", "fit_random_intercept", "group_sums"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MAX_STEPS = 100
# Newton's error after a step is of the order of the step squared.
STEP_TOLERANCE = 1e-10
# lme4's isSingular(): a relative standard deviation below this is on the boundary.
SINGULAR_THETA = 1e-4
# Largest slope of the deviance, by the logarithm of the variance ratio, at which a fit has converged.
SLOPE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class GroupSums:
    """All that the likelihood needs of the data: cross-products within groups, and of group sums.

    Groups of one size enter the likelihood alike, so the cross-products of their sums are added up: a class
    is all groups of one size.

    Attributes
    ----------
    n_obs : int
        Rows of the data.
    size : ndarray of float64, shape (n_classes,)
        Rows in each group of the class.
    count : ndarray of float64, shape (n_classes,)
        Groups in the class.
    within_xx, within_xy, within_yy : ndarray of float64, shapes (p, p), (p, n_features), (n_features,)
        Cross-products of deviations from the group means.
    between_xx, between_xy, between_yy : ndarray of float64
        Cross-products of group means, times the size; shapes (n_classes, p, p), (n_classes, p, n_features)
        and (n_classes, n_features).
    """

    n_obs: int
    size: Floats
    count: Floats
    within_xx: Floats
    within_xy: Floats
    within_yy: Floats
    between_xx: Floats
    between_xy: Floats
    between_yy: Floats

    def features(self, index: Ints) -> GroupSums:
        """Keep some of the features.

        Parameters
        ----------
        index : ndarray of int64
            Which features.

        Returns
        -------
        GroupSums
            Theirs, in that order.
        """
        return replace(
            self,
            within_xy=self.within_xy[:, index],
            within_yy=self.within_yy[index],
            between_xy=self.between_xy[:, :, index],
            between_yy=self.between_yy[:, index],
        )


@dataclass(frozen=True)
class _Expansion:
    """Parts of the deviance at one variance ratio a feature, with two derivatives by that ratio."""

    logdet: Floats  # (3, n_features): value, first and second derivative
    rss: Floats  # (3, n_features)
    beta: Floats  # (n_features, p)
    unscaled: Floats  # (n_features, p, p)
    unscaled_slope: Floats  # (n_features, p, p)

    def deviance(self, dof: int) -> Floats:
        """Profiled deviance, without constants, and its two derivatives; shape (3, n_features)."""
        first, second = self.rss[1] / self.rss[0], self.rss[2] / self.rss[0]
        return np.stack(
            [
                self.logdet[0] + dof * np.log(self.rss[0]),
                self.logdet[1] + dof * first,
                self.logdet[2] + dof * (second - first**2),
            ]
        )


def group_sums(x: Floats, y: Floats, codes: Ints) -> GroupSums:
    """Reduce the rows to cross-products.

    Parameters
    ----------
    x : ndarray of float64, shape (n_obs, p)
        Design, for numerical safety with orthonormal columns.
    y : ndarray of float64, shape (n_obs, n_features)
        Outcomes, best as residuals of a regression on `x`.
    codes : ndarray of int64, shape (n_obs,)
        Group of each row, 0 to n_groups - 1, each of them present.

    Returns
    -------
    GroupSums
        Of a size that does not depend on the number of rows.
    """
    order = np.argsort(codes, kind="stable")
    codes, x, y = codes[order], x[order], y[order]
    size = np.bincount(codes)
    start = np.concatenate([[0], np.cumsum(size)[:-1]])
    x_mean = np.add.reduceat(x, start, axis=0) / size[:, None]
    y_mean = np.add.reduceat(y, start, axis=0) / size[:, None]
    x_within, y_within = x - x_mean[codes], y - y_mean[codes]

    classes, label, count = np.unique(size, return_inverse=True, return_counts=True)
    members = [label == c for c in range(classes.size)]
    weighted = [(x_mean[m], y_mean[m], float(n)) for m, n in zip(members, classes, strict=True)]
    return GroupSums(
        n_obs=x.shape[0],
        size=classes.astype(np.float64),
        count=count.astype(np.float64),
        within_xx=x_within.T @ x_within,
        within_xy=x_within.T @ y_within,
        within_yy=np.einsum("nf,nf->f", y_within, y_within),
        between_xx=np.stack([n * a.T @ a for a, _, n in weighted]),
        between_xy=np.stack([n * a.T @ b for a, b, n in weighted]),
        between_yy=np.stack([n * np.einsum("gf,gf->f", b, b) for _, b, n in weighted]),
    )


def fit_random_intercept(sums: GroupSums, *, method: Literal["reml", "ml"] = "reml") -> CriterionFit:
    """Fit ``y = X beta + u[group] + e`` to every feature by REML or ML.

    With lambda the ratio of the variances of u and e, a group of n rows has V = I + lambda J, whose inverse
    shrinks the group's mean by 1 / (1 + n lambda) and leaves deviations from it alone. Everything but lambda
    has a closed form (Bates, Maechler, Bolker & Walker 2015, "Fitting Linear Mixed-Effects Models Using
    lme4", Journal of Statistical Software 67(1), equations 34 and 42), so each feature is a search on a line:
    a grid common to all features finds the lowest valley, Newton steps kept within it find its floor.

    Parameters
    ----------
    sums : GroupSums
        The data; every feature must have variance within groups and between them or the optimum is infinite.
    method : {"reml", "ml"}
        Criterion.

    Returns
    -------
    CriterionFit
        `theta` has one column, the square root of lambda.
    """
    p = sums.within_xx.shape[0]
    dof = sums.n_obs - p if method == "reml" else sums.n_obs
    lower, upper, start = _bracket(sums, dof, method)
    ratio, iterations = _newton(sums, dof, method, lower, upper, start)

    at = _expand(sums, ratio, method)
    _, slope, curvature = at.deviance(dof)
    theta = np.sqrt(ratio)
    sigma = np.sqrt(at.rss[0] / dof)
    # By the chain rule, lambda being theta squared.
    hessian = np.empty((ratio.size, 2, 2))
    hessian[:, 0, 0] = 2.0 * (at.logdet[1] + at.rss[1] / sigma**2) + 4.0 * ratio * (at.logdet[2] + at.rss[2] / sigma**2)
    hessian[:, 0, 1] = hessian[:, 1, 0] = -4.0 * theta * at.rss[1] / sigma**3
    hessian[:, 1, 1] = 4.0 * dof / sigma**2
    boundary = ratio == 0.0
    floor = np.where(boundary, slope >= -SLOPE_TOLERANCE, np.abs(ratio * slope) < SLOPE_TOLERANCE)
    return CriterionFit(
        theta=theta[:, None],
        sigma=sigma,
        beta=at.beta,
        unscaled=at.unscaled,
        unscaled_gradient=(2.0 * theta[:, None, None] * at.unscaled_slope)[:, None],
        hessian=hessian,
        criterion=at.logdet[0] + dof * (1.0 + np.log(2.0 * np.pi * sigma**2)),
        singular=theta < SINGULAR_THETA,
        converged=floor & (boundary | (curvature > 0.0)),
        iterations=iterations,
    )


def _grid(sums: GroupSums) -> Floats:
    """Variance ratios to try first: 0, then doublings from 1e-7 to 1e13 over the mean group size."""
    grid: Floats = np.concatenate([[0.0], 2.0 ** np.arange(-24.0, 44.0)]) / (sums.n_obs / sums.count.sum())
    return grid


def _bracket(sums: GroupSums, dof: int, method: str) -> tuple[Floats, Floats, Floats]:
    """Interval of the variance ratio that holds the lowest minimum of each feature, and a first guess."""
    grid = _grid(sums)
    best = _deviance_on(sums, grid, dof, method).argmin(axis=0)
    guess = grid[best]
    _, slope, _ = _expand(sums, guess, method).deviance(dof)
    down = slope > 0.0
    lower = np.where(down, grid[np.maximum(best - 1, 0)], guess)
    upper = np.where(down, guess, grid[np.minimum(best + 1, grid.size - 1)])
    return lower, upper, guess


def _newton(sums: GroupSums, dof: int, method: str, lower: Floats, upper: Floats, start: Floats) -> tuple[Floats, Ints]:
    """Root of the deviance's slope within each interval: Newton's method, bisection as the safeguard."""
    ratio, lower, upper = start.copy(), lower.copy(), upper.copy()
    iterations = np.zeros(ratio.size, dtype=np.int64)
    active = upper > lower
    for _ in range(MAX_STEPS):
        rows = np.flatnonzero(active)
        if rows.size == 0:
            break
        here = ratio[rows]
        _, slope, curvature = _expand(sums.features(rows), here, method).deviance(dof)
        iterations[rows] += 1
        low = np.where(slope < 0.0, here, lower[rows])
        high = np.where(slope > 0.0, here, upper[rows])
        step = here - slope / np.where(curvature > 0.0, curvature, np.inf)
        inside = (curvature > 0.0) & (step >= low) & (step <= high)
        following = np.where(inside, step, 0.5 * (low + high))
        lower[rows], upper[rows], ratio[rows] = low, high, following
        active[rows] = np.abs(following - here) > STEP_TOLERANCE * following
    return ratio, iterations


def _deviance_on(sums: GroupSums, grid: Floats, dof: int, method: str) -> Floats:
    """Profiled deviance of every feature, without constants, at each variance ratio; shape (n_ratios, n_features)."""
    # At one ratio for all features the design's part is shared, so the grid costs next to nothing.
    weight = 1.0 / (1.0 + grid[:, None] * sums.size)
    xx = sums.within_xx + np.tensordot(weight, sums.between_xx, 1)
    xy = sums.within_xy + np.tensordot(weight, sums.between_xy, 1)
    yy = sums.within_yy + weight @ sums.between_yy
    rss = yy - np.einsum("kpf,kpf->kf", xy, np.linalg.solve(xx, xy))
    logdet = -np.log(weight) @ sums.count
    if method == "reml":
        logdet = logdet + np.linalg.slogdet(xx)[1]
    # Rounding can take a residual that is nothing below nothing.
    deviance: Floats = logdet[:, None] + dof * np.log(np.maximum(rss, np.finfo(np.float64).tiny))
    return deviance


def _expand(sums: GroupSums, ratio: Floats, method: str) -> _Expansion:
    """Evaluate the parts of the deviance, each feature at its own variance ratio."""
    weight = 1.0 / (1.0 + ratio[:, None] * sums.size)
    # The weights' derivatives by the ratio, the factor of the size being shared out below.
    weights = np.stack([weight, -sums.size * weight**2, 2.0 * sums.size**2 * weight**3])
    xx = np.tensordot(weights, sums.between_xx, 1)
    xy = np.einsum("kfc,cpf->kfp", weights, sums.between_xy)
    yy = np.einsum("kfc,cf->kf", weights, sums.between_yy)
    xx[0] += sums.within_xx
    xy[0] += sums.within_xy.T
    yy[0] += sums.within_yy

    inverse = np.linalg.inv(xx[0])
    beta = np.einsum("fpq,fq->fp", inverse, xy[0])
    first = yy[1] - 2.0 * _dot(beta, xy[1]) + _quadratic(beta, xx[1])
    second = yy[2] - 2.0 * _dot(beta, xy[2]) + _quadratic(beta, xx[2])
    pull = xy[1] - np.einsum("fpq,fq->fp", xx[1], beta)
    rss = np.stack([yy[0] - _dot(beta, xy[0]), first, second - 2.0 * _quadratic(pull, inverse)])

    scaled = sums.size * weight
    logdet = np.stack(
        [-np.log(weight) @ sums.count, scaled @ sums.count, -(scaled**2) @ sums.count],
    )
    inner = inverse @ xx[1]
    if method == "reml":
        logdet[0] += np.linalg.slogdet(xx[0])[1]
        logdet[1] += np.einsum("fpp->f", inner)
        logdet[2] += np.einsum("fpq,fqp->f", inverse, xx[2]) - np.einsum("fpq,fqp->f", inner, inner)
    return _Expansion(logdet, rss, beta, inverse, -inner @ inverse)


def _dot(a: Floats, b: Floats) -> Floats:
    product: Floats = np.einsum("fp,fp->f", a, b)
    return product


def _quadratic(a: Floats, m: Floats) -> Floats:
    product: Floats = np.einsum("fq,fq->f", (a[:, None] @ m)[:, 0], a)
    return product
