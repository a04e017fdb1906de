"""Linear mixed models of many features that share one design: choice of engine, result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metastable.errors import InputError
from metastable.stats.mixed_models.crossed import fit_terms
from metastable.stats.mixed_models.mixed_input import MixedInput, check_mixed_input
from metastable.stats.mixed_models.mixed_limit import group_mean_model, still_within
from metastable.stats.mixed_models.random_intercept import GroupSums, fit_random_intercept, group_sums
from metastable.stats.mixed_models.random_terms import TermSums, saturated, term_sums
from metastable.stats.mixed_models.reference import fit_statsmodels
from metastable.stats.mixed_models.satterthwaite import CriterionFit, contrast_dof, t_statistic, two_sided_p
from metastable.stats.samples import unit_scaled

__all__ = ["MixedModels", "fit_mixed_models"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Method = Literal["reml", "ml"]
Engine = Literal["profile", "statsmodels"]

# A residual below this part of the largest outcome, and a sum of squares below this part, is rounding.
ROUNDING = 1e-12
# Features that are fitted together, and the memory that their systems of equations may take.
BLOCK_FEATURES = 512
BLOCK_BYTES = 2**28


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
    variance_cluster : ndarray of float64, shape (n_features,)
        Variance of the clusters' intercepts; NaN throughout in a model without clusters.
    variance_slope, covariance_slope : ndarray of float64, shape (n_features,)
        Variance of the random slope, and its covariance with the intercepts of the factor that it belongs to
        (the clusters where there are any, else the groups); NaN throughout in a model without a slope.
    criterion : ndarray of float64, shape (n_features,)
        Minus twice the (restricted) log likelihood, with the constants that lme4 keeps; NaN for a feature
        that has no optimum (see the notes of `fit_mixed_models`).
    singular : ndarray of bool, shape (n_features,)
        A variance component is on its boundary: zero, or a correlation of one (an entry on the diagonal of
        the relative Cholesky factor below 1e-4, as in lme4), or no residual variance at all.
    converged : ndarray of bool, shape (n_features,)
        The optimum meets its first and second order conditions.
    flat : ndarray of bool, shape (n_features,)
        The design leaves nothing unexplained, as with a constant feature.
    iterations : ndarray of int64, shape (n_features,)
        Newton steps taken; 0 with the reference engine.
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
    variance_cluster: Floats
    variance_slope: Floats
    covariance_slope: Floats
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
    cluster: ArrayLike | None = None,
    slope: int | None = None,
    engine: Engine = "profile",
    callback: Callable[[int, int], Any] | None = None,
) -> MixedModels:
    """Fit one linear mixed model to every feature and test one coefficient.

    In R's notation ``values ~ design + (1 | group)``, plus ``(1 | cluster)``; a slope turns the intercept of
    the clusters (of the groups, where there are no clusters) into ``(1 + slope | cluster)``. The models are
    those of lme4 with the degrees of freedom of lmerTest, found for all features at once: rows are reduced once
    to a few cross-products, and each Newton step is taken for all features together.

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
    cluster : array_like, shape (n_obs,), or None
        Label of a second factor, which may contain the groups, lie within them, or cross them. Crossed factors
        cost the cube of the number of levels of the smaller one, for each feature and step.
    slope : int or None
        Column of `design`, usually the condition, whose effect varies at random. In a paired design whose
        pairs hold one sequence per condition, give the pairs as `group` and the condition as `slope`.
    engine : {"profile", "statsmodels"}
        ``"statsmodels"`` is the reference: a loop of `statsmodels.MixedLM` fits, far slower and less exact. It
        supplies estimates, variances and criterion; standard errors and degrees of freedom are those of the
        same formulas at its variances. A fit that it gives up is flagged not `converged`, with an infinite
        standard error and p = 1.
    callback : callable or None
        Called with the number of features done and their total.

    Returns
    -------
    MixedModels
        Estimates, tests, variances and flags.

    Raises
    ------
    InputError
        For values or a design that are not finite, shapes that do not match, missing labels, a factor with one
        level, as many groups as rows, a design with a column that the others explain (a covariate collinear
        with the condition), too few groups or clusters to tell their variance from the coefficients, and a
        cluster or slope that repeats the groups.

    Notes
    -----
    A feature that the design explains entirely is flagged `flat`, its variances are zero. It has no residual to
    test against: a coefficient of zero (a constant feature) has p = 1, any other an infinite t and p = 0.

    A feature that varies between groups only (every token of a sequence has the same count) has no optimum,
    for the likelihood grows without bound as the residual variance vanishes. Its row holds the limit and is
    flagged `singular`: the same model of the group means, each with the same weight. Where there is no such
    limit (the random effects explain a feature entirely) the row is flagged `singular` and not `converged`;
    it holds the least-squares estimate with an infinite standard error and p = 1.

    Both conditions share one variance of the groups and one of the residuals. Where they differ, and one condition
    has more groups than the other, p errs as Student's t does (`permutation_test` with Welch's t does not).

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
    if method not in ("reml", "ml"):
        raise InputError(f"method is {method!r}; choose 'reml' or 'ml'")
    if engine not in ("profile", "statsmodels"):
        raise InputError(f"engine is {engine!r}; choose 'profile' or 'statsmodels'")
    data = check_mixed_input(values, design, group, column=column, cluster=cluster, slope=slope)
    table, unit = unit_scaled(data.values)
    data = replace(data, values=table)
    n_features = data.values.shape[1]
    size = 1 if engine == "statsmodels" else _block_size(data)
    blocks = []
    for start in range(0, n_features, size):
        blocks.append(_fit_block(data, data.values[:, start : start + size], method, engine))
        if callback is not None:
            callback(min(start + size, n_features), n_features)
    return _in_units(_labelled(data, blocks, method, column), unit, table.shape[0])


def _in_units(models: MixedModels, unit: Floats, n_obs: int) -> MixedModels:
    """Put models of outcomes over `unit` back into the units of the outcomes; variances may exceed the floats."""
    if (unit == 1.0).all():
        return models
    n_free = n_obs - (models.coefficients.shape[1] if models.method == "reml" else 0)
    with np.errstate(over="ignore", under="ignore"):
        return replace(
            models,
            **{name: getattr(models, name) * unit for name in ("estimate", "se")},
            **{name: getattr(models, name) * unit[:, None] for name in ("coefficients", "coefficient_se")},
            **{
                f"{kind}_{name}": getattr(models, f"{kind}_{name}") * unit * unit
                for kind, name in (
                    ("variance", "group"), ("variance", "cluster"), ("variance", "slope"), ("covariance", "slope"),
                    ("variance", "residual"),
                )
            },
            criterion=models.criterion + 2.0 * n_free * np.log(unit),
        )  # fmt: skip


@dataclass(frozen=True)
class _Block:
    """Models of some features in the units of the outcome; the arrays of `MixedModels`."""

    coefficients: Floats
    se: Floats
    dof: Floats
    variances: Floats
    criterion: Floats
    singular: Bools
    converged: Bools
    flat: Bools
    iterations: Ints


# Columns of _Block.variances.
GROUP, CLUSTER, SLOPE, COVARIANCE, RESIDUAL = range(5)


def _block_size(data: MixedInput) -> int:
    """Features to fit together."""
    if not data.has_terms:
        return BLOCK_FEATURES
    terms = data.terms
    n_columns = (int(terms.outer.max()) + 1) * terms.width
    entries = n_columns * terms.width if terms.nested else n_columns**2
    # The system, its inverse, both times Lambda, their derivative and workspace, in float64.
    return int(np.clip(BLOCK_BYTES // (64 * entries), 1, BLOCK_FEATURES))


def _fit_block(data: MixedInput, y: Floats, method: Method, engine: Engine) -> _Block:
    """Fit some features, each in units of its residual so that no tolerance depends on the scale."""
    (n_obs, p), n_features = data.design.shape, y.shape[1]
    q, r = np.linalg.qr(data.design)
    back = np.linalg.inv(r)
    start = q.T @ y
    residual = y - q @ start
    scale, largest = np.sqrt(np.mean(residual**2, axis=0)), np.abs(y).max(axis=0)
    flat = scale <= ROUNDING * largest
    scale = np.where(flat, 1.0, scale)
    residual = np.where(flat, 0.0, residual / scale)

    sums = term_sums(q, residual, data.terms) if data.has_terms else group_sums(q, residual, data.group)
    of_group = sums if isinstance(sums, GroupSums) else group_sums(q, residual, data.group)
    still = ~flat & still_within(of_group)
    limit = group_mean_model(data, q, residual[:, still])
    still[still] = limit.applies
    stuck = ~flat & ~still & (saturated(sums) if isinstance(sums, TermSums) else False)
    fits = []
    rows = np.flatnonzero(~flat & ~still & ~stuck)
    if rows.size:
        if engine == "statsmodels":
            fit = fit_statsmodels(q, residual[:, rows], data.terms, method=method)
        elif isinstance(sums, TermSums):
            fit = fit_terms(sums.features(rows), method=method)
        else:
            fit = fit_random_intercept(sums.features(rows), method=method)
        fits.append((rows, fit))
    rows = np.flatnonzero(still)
    if rows.size:
        fits.append((rows, limit.fit(method=method)))

    beta, se = np.zeros((n_features, p)), np.where(stuck, np.inf, 0.0)[:, None] * np.ones(p)
    dof = np.full((n_features, p), float(n_obs - p))
    variances, criterion = np.zeros((n_features, 5)), np.full(n_features, np.nan)
    singular, converged, iterations = flat | still | stuck, ~stuck, np.zeros(n_features, dtype=np.int64)
    for rows, fit in fits:
        beta[rows] = fit.beta
        squared, dof[rows] = contrast_dof(fit, back)
        # The reference engine may give a fit up.
        se[rows] = np.where(np.isnan(fit.criterion)[:, None], np.inf, np.sqrt(squared))
        variances[rows] = _variances(data, fit, limit=bool(still[rows[0]]))
        singular[rows] |= fit.singular
        converged[rows], iterations[rows] = fit.converged, fit.iterations
        if not still[rows[0]]:
            criterion[rows] = fit.criterion + _constants(r, scale[rows], n_obs, method)

    coefficients = (start.T + beta * scale[:, None]) @ back.T
    coefficients[np.abs(coefficients) <= ROUNDING * largest[:, None]] = 0.0
    return _Block(
        coefficients=coefficients,
        se=se * scale[:, None],
        dof=dof,
        variances=variances * scale[:, None] ** 2,
        criterion=criterion,
        singular=singular,
        converged=converged,
        flat=flat,
        iterations=iterations,
    )


def _constants(r: Floats, scale: Floats, n_obs: int, method: Method) -> Floats:
    """Add to the deviance what it gains on the way back to the units of the outcome and of the design."""
    p = r.shape[0] if method == "reml" else 0
    determinant = 2.0 * float(np.log(np.abs(np.diag(r)[:p])).sum())
    return 2.0 * (n_obs - p) * np.log(scale) + determinant


def _variances(data: MixedInput, fit: CriterionFit, *, limit: bool) -> Floats:
    """Variance components of fits to the data, or to their group means; shape (n_features, 5)."""
    squared = fit.sigma**2
    result = np.zeros((squared.size, 5))
    result[:, GROUP if limit else RESIDUAL] = squared
    outer_is_group = data.cluster is None or data.cluster_is_inner
    outer, inner = (GROUP, CLUSTER) if outer_is_group else (CLUSTER, GROUP)
    theta = fit.theta
    if theta.shape[1] in (2, 4):
        result[:, inner] = theta[:, 0] ** 2 * squared
        theta = theta[:, 1:]
    if theta.shape[1]:
        result[:, outer] = theta[:, 0] ** 2 * squared
    if theta.shape[1] == 3:
        result[:, SLOPE] = (theta[:, 1] ** 2 + theta[:, 2] ** 2) * squared / data.slope_scale**2
        result[:, COVARIANCE] = theta[:, 0] * theta[:, 1] * squared / data.slope_scale
    return result


def _labelled(data: MixedInput, blocks: list[_Block], method: Method, column: int) -> MixedModels:
    """Join the blocks and test their coefficients."""
    joined = {name: np.concatenate([getattr(b, name) for b in blocks]) for name in _Block.__annotations__}
    coefficients, se, dof = joined.pop("coefficients"), joined.pop("se"), joined.pop("dof")
    variances = joined.pop("variances")
    if data.cluster is None:
        variances[:, CLUSTER] = np.nan
    if data.slope is None:
        variances[:, [SLOPE, COVARIANCE]] = np.nan
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
        variance_group=variances[:, GROUP],
        variance_cluster=variances[:, CLUSTER],
        variance_slope=variances[:, SLOPE],
        covariance_slope=variances[:, COVARIANCE],
        variance_residual=variances[:, RESIDUAL],
        method=method,
        column=column,
        **joined,
    )
