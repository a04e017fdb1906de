"""Linear mixed models of many features that share one design: input, choice of engine, result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metastable.errors import InputError
from metastable.stats.random_intercept import fit_random_intercept, group_sums
from metastable.stats.satterthwaite import CriterionFit, contrast_dof, t_statistic, two_sided_p

__all__ = ["MixedModels", "fit_mixed_models"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Method = Literal["reml", "ml"]

# A residual below this part of the largest outcome is rounding.
ROUNDING = 1e-12
# Singular values of the scaled design below this part of the largest make it rank-deficient.
RANK_TOLERANCE = 1e-9


@dataclass(frozen=True)
class MixedModels:
    """Fitted mixed models, one a feature.

    Attributes
    ----------
    estimate, se, dof, statistic, p_value : ndarray of float64, shape (n_features,)
        Of the tested coefficient: estimate and standard error in units of the outcome, Satterthwaite degrees
        of freedom, t, and two-sided p. Never NaN.
    coefficients, coefficient_se, coefficient_dof, coefficient_p : ndarray of float64, shape (n_features, p)
        The same for every column of the design.
    variance_group, variance_residual : ndarray of float64, shape (n_features,)
        Variance of the groups' intercepts and of the residuals, in squared units of the outcome.
    criterion : ndarray of float64, shape (n_features,)
        Minus twice the (restricted) log likelihood, with the constants that lme4 keeps; NaN for a feature
        that has no optimum (see `flat` and `fit_mixed_models`).
    singular : ndarray of bool, shape (n_features,)
        A variance component is on its boundary: zero (relative standard deviation below 1e-4, as in lme4), or
        no residual variance at all.
    converged : ndarray of bool, shape (n_features,)
        The optimum meets its first and second order conditions.
    flat : ndarray of bool, shape (n_features,)
        The design leaves nothing unexplained, as with a constant feature.
    iterations : ndarray of int64, shape (n_features,)
        Newton steps taken.
    method : {"reml", "ml"}
        The criterion.
    column : int
        Which column of the design was tested.
    """

    estimate: Floats
    se: Floats
    dof: Floats
    statistic: Floats
    p_value: Floats
    coefficients: Floats
    coefficient_se: Floats
    coefficient_dof: Floats
    coefficient_p: Floats
    variance_group: Floats
    variance_residual: Floats
    criterion: Floats
    singular: Bools
    converged: Bools
    flat: Bools
    iterations: Ints
    method: Method
    column: int


def fit_mixed_models(
    values: ArrayLike,
    design: ArrayLike,
    group: ArrayLike,
    *,
    column: int = 1,
    method: Method = "reml",
    callback: Callable[[int, int], Any] | None = None,
) -> MixedModels:
    """Fit ``values ~ design + (1 | group)`` to every feature and test one coefficient.

    The models are those of lme4 with the degrees of freedom of lmerTest, found for all features at once: the
    design and the groups are reduced once to a few cross-products, and each Newton step is taken for all
    features together.

    Parameters
    ----------
    values : array_like of float, shape (n_obs, n_features)
        Outcomes, for instance the count of every token (row) at every head (column). Finite.
    design : array_like of float, shape (n_obs, p)
        Fixed effects, the intercept included: usually a column of ones, the condition as 0/1, covariates.
    group : array_like, shape (n_obs,)
        Label of the group (sequence) of each row; groups may differ in size.
    column : int
        Column of `design` to test.
    method : {"reml", "ml"}
        Restricted or plain maximum likelihood.
    callback : callable or None
        Called with the number of features done and their total.

    Returns
    -------
    MixedModels
        Estimates, tests, variances and flags.

    Raises
    ------
    InputError
        For values or a design that are not finite, shapes that do not match, fewer than two groups, as many
        groups as rows, a design with a column that the others explain (a covariate collinear with the
        condition), or too few groups to tell the groups' variance from the coefficients.

    Notes
    -----
    A feature that the design explains entirely is flagged `flat`. It has no residual to test against: a
    coefficient of zero (a constant feature) has p = 1, any other an infinite t and p = 0.

    A feature that varies between groups only (every token of a sequence has the same count) has no optimum,
    for the likelihood grows without bound as the residual variance vanishes. Its row holds the limit, the
    regression of the group means with equal weights, and it is flagged `singular`.

    References
    ----------
    Bates, Maechler, Bolker & Walker (2015), Journal of Statistical Software 67(1). Kuznetsova, Brockhoff &
    Christensen (2017), Journal of Statistical Software 82(13).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> group = np.repeat(np.arange(20), 5)
    >>> condition = (group < 10).astype(float)
    >>> shared = rng.normal(size=20)[group]
    >>> values = (condition + shared + rng.normal(size=100))[:, None]
    >>> models = fit_mixed_models(values, np.column_stack([np.ones(100), condition]), group)
    >>> round(float(models.dof[0]), 6)
    18.0
    """
    y, x, codes = _checked(values, design, group, column, method)
    q, r = np.linalg.qr(x)
    start = q.T @ y
    residual = y - q @ start
    scale = np.sqrt(np.mean(residual**2, axis=0))
    flat = scale <= ROUNDING * np.abs(y).max(axis=0)
    scale = np.where(flat, 1.0, scale)

    sums = group_sums(q, residual / scale, codes)
    still = _still_within(sums.within_xx, sums.within_xy, sums.within_yy) & ~flat
    back = np.linalg.inv(r)
    n_features, p = y.shape[1], x.shape[1]
    beta = np.zeros((n_features, p))
    se = np.zeros((n_features, p))
    dof = np.full((n_features, p), float(y.shape[0] - p))
    variance = np.zeros((n_features, 2))
    criterion = np.full(n_features, np.nan)
    singular, converged = np.ones(n_features, dtype=bool), np.ones(n_features, dtype=bool)
    iterations = np.zeros(n_features, dtype=np.int64)

    rows = np.flatnonzero(~flat & ~still)
    if rows.size:
        fit = fit_random_intercept(sums.features(rows), method=method)
        beta[rows] = fit.beta
        squared, dof[rows] = contrast_dof(fit, back)
        se[rows] = np.sqrt(squared)
        variance[rows] = np.column_stack([fit.theta[:, 0] ** 2, np.ones(rows.size)]) * fit.sigma[:, None] ** 2
        criterion[rows] = _with_constants(fit, r, scale[rows], y.shape[0], method)
        singular[rows], converged[rows], iterations[rows] = fit.singular, fit.converged, fit.iterations
    rows = np.flatnonzero(still)
    if rows.size:
        limit = _group_mean_limit(q, (residual / scale)[:, rows], codes, back, method)
        beta[rows], se[rows], dof[rows], variance[rows, 0] = limit
    if callback is not None:
        callback(n_features, n_features)

    coefficients = (start.T + beta * scale[:, None]) @ back.T
    coefficients[np.abs(coefficients) <= ROUNDING * np.abs(y).max(axis=0)[:, None]] = 0.0
    se *= scale[:, None]
    variance *= scale[:, None] ** 2
    statistic = t_statistic(coefficients, se)
    p_value = two_sided_p(statistic, dof)
    return MixedModels(
        estimate=coefficients[:, column],
        se=se[:, column],
        dof=dof[:, column],
        statistic=statistic[:, column],
        p_value=p_value[:, column],
        coefficients=coefficients,
        coefficient_se=se,
        coefficient_dof=dof,
        coefficient_p=p_value,
        variance_group=variance[:, 0],
        variance_residual=variance[:, 1],
        criterion=criterion,
        singular=singular,
        converged=converged,
        flat=flat,
        iterations=iterations,
        method=method,
        column=column,
    )


def _with_constants(fit: CriterionFit, r: Floats, scale: Floats, n_obs: int, method: Method) -> Floats:
    """Deviance in the units of the outcome and of the design, as lme4 prints it."""
    p = r.shape[0]
    criterion = fit.criterion + 2.0 * (n_obs - (p if method == "reml" else 0)) * np.log(scale)
    if method == "reml":
        criterion = criterion + 2.0 * np.log(np.abs(np.diag(r))).sum()
    return criterion


def _still_within(xx: Floats, xy: Floats, yy: Floats) -> Bools:
    """Features whose deviations from the group means are all explained by the design's own."""
    left = yy - np.einsum("pf,pf->f", xy, np.linalg.pinv(xx, rcond=RANK_TOLERANCE, hermitian=True) @ xy)
    still: Bools = left <= ROUNDING
    return still


def _group_mean_limit(
    x: Floats, y: Floats, codes: Ints, back: Floats, method: Method
) -> tuple[Floats, Floats, Floats, Floats]:
    """Coefficients, standard errors, degrees of freedom and group variance as the residual variance vanishes.

    Deviations from the group means then fix whatever coefficients they can exactly; the means, each with the
    same variance, estimate the others.
    """
    size = np.bincount(codes).astype(np.float64)
    x_mean = np.column_stack([np.bincount(codes, column) / size for column in x.T])
    y_mean = np.column_stack([np.bincount(codes, column) / size for column in y.T])
    _, singular_values, directions = np.linalg.svd(x - x_mean[codes], full_matrices=False)
    fixed = singular_values > RANK_TOLERANCE
    exact = np.linalg.pinv(x - x_mean[codes], rcond=RANK_TOLERANCE) @ (y - y_mean[codes])
    free = directions[~fixed].T

    z = x_mean @ free
    inverse = np.linalg.inv(z.T @ z)
    beta = exact + free @ inverse @ z.T @ (y_mean - x_mean @ exact)
    dof = size.size - free.shape[1]
    rss = np.sum((y_mean - x_mean @ beta) ** 2, axis=0)
    unscaled = np.einsum("pk,kl,pl->p", back @ free, inverse, back @ free)
    se = np.sqrt(np.outer(rss / dof, np.maximum(unscaled, 0.0)))
    return beta.T, se, np.full_like(se, float(dof)), rss / (dof if method == "reml" else size.size)


def _checked(
    values: ArrayLike, design: ArrayLike, group: ArrayLike, column: int, method: str
) -> tuple[Floats, Floats, Ints]:
    """Outcomes, design and group codes, or one sentence that says what is wrong with them."""
    y = np.asarray(values, dtype=np.float64)
    x = np.asarray(design, dtype=np.float64)
    if y.ndim != 2 or y.shape[1] == 0:
        raise InputError(
            f"values has shape {y.shape}; give rows by features, a single feature as values[:, None]"
        )
    if x.ndim != 2 or x.shape[0] != y.shape[0]:
        raise InputError(f"design has shape {x.shape}; give {y.shape[0]} rows, one for each row of values")
    for name, array in (("values", y), ("design", x)):
        if not np.isfinite(array).all():
            row, where = np.argwhere(~np.isfinite(array))[0]
            raise InputError(
                f"{name} row {row}, column {where} is {array[row, where]}; remove that row or fill it in"
            )
    if method not in ("reml", "ml"):
        raise InputError(f"method is {method!r}; choose 'reml' or 'ml'")
    if not 0 <= column < x.shape[1]:
        raise InputError(f"column is {column}; design has columns 0 to {x.shape[1] - 1}")
    codes = _codes(group, y.shape[0], "group")
    _check_rank(x, column)
    _check_groups(x, codes)
    return y, x, codes


def _codes(labels: ArrayLike, n_obs: int, name: str) -> Ints:
    """Labels as integers from 0, all of them in use."""
    array = np.asarray(labels)
    if array.shape != (n_obs,):
        raise InputError(f"{name} has shape {array.shape}; give one label for each of the {n_obs} rows")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(f"{name} row {np.argmin(np.isfinite(array))} has no label; give one to every row")
    levels, codes = np.unique(array, return_inverse=True)
    if levels.size < 2:
        raise InputError(f"{name} has one level only; a random effect needs at least two")
    return codes.astype(np.int64)


def _check_rank(x: Floats, column: int) -> None:
    """Raise for a design with a column that the others explain."""
    norm = np.linalg.norm(x, axis=0)
    if (norm == 0.0).any():
        raise InputError(f"design column {int(np.argmin(norm))} is zero throughout; leave it out")
    unit = x / norm
    if np.linalg.matrix_rank(unit, tol=RANK_TOLERANCE) == x.shape[1]:
        return
    others = np.delete(unit, column, axis=1)
    left = unit[:, column] - others @ np.linalg.lstsq(others, unit[:, column], rcond=RANK_TOLERANCE)[0]
    if np.linalg.norm(left) <= np.sqrt(RANK_TOLERANCE):
        raise InputError(
            f"design column {column}, the one tested, is explained by the other columns (collinear); "
            "leave out the covariate that repeats the condition"
        )
    raise InputError(
        f"design has {x.shape[1]} columns but rank {np.linalg.matrix_rank(unit, tol=RANK_TOLERANCE)}; "
        "leave out the columns that repeat others"
    )


def _check_groups(x: Floats, codes: Ints) -> None:
    """Raise where the data cannot tell the groups' variance from the residual or from the coefficients."""
    size = np.bincount(codes)
    if size.size == codes.size:
        raise InputError(f"every one of the {size.size} groups has one row; a random intercept needs repeats")
    mean = np.column_stack([np.bincount(codes, column) / size for column in x.T])
    within = x - mean[codes]
    scale = np.linalg.norm(x, axis=0)
    rank_within = int(np.linalg.matrix_rank(within / scale, tol=RANK_TOLERANCE))
    if size.size + rank_within <= x.shape[1]:
        raise InputError(
            f"{size.size} groups cannot separate the groups' variance from {x.shape[1]} coefficients; "
            "use more groups or fewer covariates"
        )
    if codes.size <= size.size + rank_within:
        raise InputError(
            f"{codes.size} rows in {size.size} groups leave no residual degree of freedom; use more rows"
        )
