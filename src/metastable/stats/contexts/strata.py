"""What items alone and contexts alone say of an effect: F1, F2, min F', and the interaction with the context."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from metastable.errors import InputError
from metastable.stats.adjustment import robust_regression
from metastable.stats.contexts.crossed_input import CrossedDesign, level_means
from metastable.stats.determined import independent_columns
from metastable.stats.mixed_models.satterthwaite import contrast_dof
from metastable.stats.mixed_models.two_factors import Factor, fit_two_factors, two_factor_sums

__all__ = ["FRatio", "Stratum", "interaction_with_context", "min_f", "stratum"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# A sum of squares below this part of the largest squared value is rounding.
ROUNDING = 1e-20
RANK_TOLERANCE = 1e-9
# A covariate of levels below this part of its largest value is rounding.
ROUNDED_COVARIATE = 1e-12


@dataclass(frozen=True)
class FRatio:
    """An F ratio per feature.

    Attributes
    ----------
    statistic, dof_numerator, dof, p : ndarray of float64, shape (n_features,)
        F, degrees of freedom above and below, upper tail probability; NaN where the design has no such test.
    """

    statistic: Floats
    dof_numerator: Floats
    dof: Floats
    p: Floats


@dataclass(frozen=True)
class Stratum:
    """The effect over the levels of one factor, each level with the same weight.

    Attributes
    ----------
    f : FRatio
        Square of the t of the levels' means, or of the levels' effects beside covariates.
    rows : ndarray of float64, shape (n_rows, n_features)
        Means of the levels: of the differences, or of a level in a condition; without what is held fixed.
    direction : ndarray of float64, shape (n_rows,)
        Of unit length: ``direction @ rows`` is the effect, but for a factor, and all orthogonal to it and to `held`
        error.
    held : ndarray of float64, shape (n_rows, n_held)
        Orthonormal columns of what is held fixed: the grand mean, where the levels lie in one condition each, and
        the covariates that differ between levels. Rows and direction have no part in them.
    """

    f: FRatio
    rows: Floats
    direction: Floats
    held: Floats

    @property
    def error_dof(self) -> int:
        """Dimensions of the error."""
        return len(self.rows) - 1 - int(self.held.shape[1])


def _f_ratio(statistic: Floats, numerator: float | Floats, dof: float | Floats) -> FRatio:
    top, below = np.broadcast_to(numerator, statistic.shape), np.broadcast_to(dof, statistic.shape)
    p = np.where(np.isnan(statistic), np.nan, special.fdtrc(top, below, np.nan_to_num(statistic, posinf=np.inf)))
    return FRatio(statistic, np.array(top, dtype=np.float64), np.array(below, dtype=np.float64), p)


def _squared_t(mean: Floats, squared_error: Floats, scale: Floats) -> Floats:
    """Square of mean over error; 0 where neither is there, infinite where only the error is not."""
    error = np.where(squared_error <= ROUNDING * scale**2, 0.0, squared_error)
    effect = np.where(np.abs(mean) <= np.sqrt(ROUNDING) * scale, 0.0, mean)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where((effect == 0.0) & (error == 0.0), 0.0, effect**2 / error)


def stratum(design: CrossedDesign, name: str) -> Stratum:
    """Test the effect over the levels of one factor.

    Parameters
    ----------
    design : CrossedDesign
        The rows.
    name : {"item", "context"}
        The factor.

    Returns
    -------
    Stratum
        The paired t of the levels' differences where every level is in both conditions; Welch's t where every level
        is in one; where some are in both, the mixed model of the levels' means in each condition, with an intercept
        of each level and Satterthwaite's degrees of freedom.

        Beside covariates, items hold fixed the means of these, with HC3 errors, and what does not differ between items
        by the regression within each. Contexts are the other way round: where each of them can carry a regression on
        the covariates of its own, the effects of those regressions are what is tested (Lorch & Myers 1990), and else
        the contexts' means, with the means of the covariates held fixed. F is NaN where a covariate cannot be told
        from the effect by any of these.

    Raises
    ------
    InputError
        If there are no more levels than what is held fixed, or one of them alone determines a coefficient.

    Notes
    -----
    With a predictor in the place of the condition, items are tested by the regression of their means on the predictor
    (HC3), and contexts by the slope within each of them; items whose means of the predictor are all the same by the
    slopes within them, and contexts that cannot carry a regression by that of their means.

    References
    ----------
    Lorch & Myers (1990), Journal of Experimental Psychology: Learning, Memory, and Cognition 16.
    """
    if design.predictor is not None:
        return _slope_stratum(design, name)
    factor, in_both = (design.item, design.in_both[0]) if name == "item" else (design.context, design.in_both[1])
    values, condition = design.values, design.condition
    scale = np.abs(values).max(axis=0)
    if condition is None or in_both.all():
        rows, level = _effects_of_levels(design, factor.codes, within=name == "context")
        return _of_effects(rows, level, scale, name)
    cells, inverse = np.unique(factor.codes * 2 + condition, return_inverse=True)
    codes = inverse.astype(np.int64)
    rows, side = level_means(values, codes), cells % 2 == 1
    level = _unrounded(level_means(design.covariates, codes), design)
    base, told = _base(np.ones((len(rows), 1)), side.astype(np.float64), level)
    held = _orthonormal(base)
    if in_both.any():
        f = _of_means(rows, base, side, np.asarray(cells // 2, dtype=np.int64), scale)
    elif base.shape[1] > 1:
        f = _regressed(rows, base, side.astype(np.float64), scale, name)
    else:
        a, b = rows[side], rows[~side]
        parts = [one.var(axis=0, ddof=1) / len(one) for one in (a, b)]
        total = parts[0] + parts[1]
        share = np.divide(parts[0], total, out=np.full_like(total, 0.5), where=total > 0)
        dof = 1.0 / (share**2 / (len(a) - 1) + (1.0 - share) ** 2 / (len(b) - 1))
        f = _f_ratio(_squared_t(a.mean(axis=0) - b.mean(axis=0), total, scale), 1.0, dof)
    return _stratum(f if told else _no_test(rows.shape[1]), rows, side.astype(np.float64), held, name)


def _slope_stratum(design: CrossedDesign, name: str) -> Stratum:
    """Test the slope over a predictor over the levels of one factor."""
    x, codes = design.predictor, (design.item if name == "item" else design.context).codes
    if x is None:
        raise TypeError("the design has no predictor")
    scale = np.abs(design.values).max(axis=0)
    of_level = level_means(x[:, None], codes)[:, 0]
    between = bool(np.ptp(of_level) > ROUNDED_COVARIATE)
    if name == "context" or not between:
        own = _own_regressions(design, codes, np.ones(len(design.held), dtype=np.bool_))
        if own is not None:
            return _of_effects(*own, scale, name)
    if not between:
        raise InputError(
            f"the slope can be told neither within each {name} nor between them; give more observations of each "
            f"{name}, or leave out covariates"
        )
    rows = level_means(design.values, codes)
    level = _unrounded(level_means(design.covariates, codes), design)
    base, told = _base(np.ones((len(rows), 1)), of_level, level)
    f = _regressed(rows, base, of_level, scale, name) if told else _no_test(rows.shape[1])
    return _stratum(f, rows, of_level, _orthonormal(base), name)


def _stratum(f: FRatio, rows: Floats, effect: Floats, held: Floats, name: str) -> Stratum:
    if len(rows) <= held.shape[1] + 1:
        raise InputError(f"{len(rows)} means of {name}s cannot carry {held.shape[1]} columns; leave out covariates")
    direction = effect - held @ (held.T @ effect)
    return Stratum(f, rows - held @ (held.T @ rows), direction / np.linalg.norm(direction), held)


def _no_test(n_features: int) -> FRatio:
    missing = np.full(n_features, np.nan)
    return FRatio(missing, missing, missing, missing)


def _unrounded(level: Floats, design: CrossedDesign) -> Floats:
    """Covariates of levels, 0 where all levels have the same but for rounding."""
    rounded = np.abs(level).max(axis=0) <= ROUNDED_COVARIATE * np.abs(design.covariates).max(axis=0)
    return np.where(rounded, 0.0, level)


def _base(base: Floats, effect: Floats, level: Floats) -> tuple[Floats, bool]:
    """Add the covariates that differ between levels; and whether the effect can be told from all of them."""
    varied = np.flatnonzero(np.abs(level).max(axis=0, initial=0.0) > 0)
    columns = level[:, varied]
    columns = columns[:, independent_columns(columns, base)]
    apart = independent_columns(columns, np.column_stack([base, effect]))
    columns = columns[:, apart]
    return np.column_stack([base, columns / np.linalg.norm(columns, axis=0)]), bool(apart.all())


def _effects_of_levels(design: CrossedDesign, codes: Ints, *, within: bool) -> tuple[Floats, Floats]:
    """Effect of every level on the values, and on the covariates that are then held fixed between levels.

    Those that are held fixed within levels have no part in either.
    """
    values, covariates = design.values, design.covariates
    rows = _contrast(values, codes, design.condition)
    level = _unrounded(_contrast(covariates, codes, design.condition), design)
    if covariates.shape[1] == 0:
        return rows, level
    inside = np.ones(covariates.shape[1], dtype=np.bool_)
    if not within:
        # what is the same in all items is no difference between them
        inside = ~independent_columns(level, np.ones((len(level), 1))) & (np.abs(level).max(axis=0) > 0)
    own = _own_regressions(design, codes, inside) if inside.any() else None
    return (rows, level) if own is None else own


def _contrast(columns: Floats, codes: Ints, condition: Bools | None) -> Floats:
    """Mean of each level, or the difference of its means in either condition."""
    if condition is None:
        return level_means(columns, codes)
    of_a, of_b = (level_means(columns[s], codes[s]) for s in (condition, ~condition))
    return of_a - of_b


def _own_regressions(design: CrossedDesign, codes: Ints, inside: Bools) -> tuple[Floats, Floats] | None:
    """Effects by a regression of each level's own on some covariates; None where a level cannot carry it."""
    n_levels, others = int(codes.max()) + 1, design.covariates[:, ~inside]
    effects = np.empty((n_levels, design.values.shape[1]))
    level = np.empty((n_levels, others.shape[1]))
    order = np.argsort(codes, kind="stable")
    for k, rows in enumerate(np.split(order, np.cumsum(np.bincount(codes))[:-1])):
        ones = np.ones((len(rows), 1))
        if design.effect is None:
            base, effect = ones[:, :0], ones
        else:
            base, effect = ones, design.effect[rows, None]
        columns = design.covariates[rows][:, inside]
        # what does not vary within the level is its intercept's
        columns = columns[:, independent_columns(columns - columns.mean(axis=0), base)] if base.size else columns
        columns = columns[:, np.abs(columns).max(axis=0) > 0]
        x = np.column_stack([base, columns, effect])
        if len(rows) <= x.shape[1] or not independent_columns(x).all():
            return None
        solved = np.linalg.lstsq(x, np.column_stack([design.values[rows], others[rows]]), rcond=None)[0][-1]
        effects[k], level[k] = solved[: effects.shape[1]], solved[effects.shape[1] :]
    return effects, _unrounded(level, replace(design, covariates=others))


def _of_effects(rows: Floats, level: Floats, scale: Floats, name: str) -> Stratum:
    """Stratum of levels of which each has an effect, tested against zero."""
    n = len(rows)
    ones = np.ones(n)
    base, told = _base(np.zeros((n, 0)), ones, level)
    if base.shape[1]:
        f = _regressed(rows, base, ones, scale, name)
    else:
        f = _f_ratio(_squared_t(rows.mean(axis=0), rows.var(axis=0, ddof=1) / n, scale), 1.0, n - 1.0)
    return _stratum(f if told else _no_test(rows.shape[1]), rows, ones, _orthonormal(base), name)


def _regressed(rows: Floats, base: Floats, effect: Floats, scale: Floats, name: str) -> FRatio:
    """F of an effect beside covariates of the levels, with HC3 errors."""
    try:
        fit = robust_regression(rows, np.column_stack([base, effect]))
    except InputError as error:
        raise type(error)(f"{error} (units are the {name}s)") from error
    return _f_ratio(_squared_t(fit.coefficients[-1], fit.se[-1] ** 2, scale), 1.0, fit.dof)


def _of_means(rows: Floats, base: Floats, side: Bools, level: Ints, scale: Floats) -> FRatio:
    """F of means that are partly paired, by a mixed model with an intercept of each level."""
    x, r = np.linalg.qr(np.column_stack([base, side]))
    residual = rows - x @ (x.T @ rows)
    size = np.sqrt(np.mean(residual**2, axis=0))
    varied = size > np.sqrt(ROUNDING) * scale
    statistic, dof = np.zeros(rows.shape[1]), np.full(rows.shape[1], float(len(rows) - x.shape[1]))
    codes = np.unique(level, return_inverse=True)[1].astype(np.int64)
    none = Factor(np.zeros(len(rows), dtype=np.int64), 0)
    sums = two_factor_sums(x, residual[:, varied] / size[varied], side.astype(np.float64), none, Factor(codes, 1))
    fit = fit_two_factors(sums)
    contrast = np.linalg.inv(r)[[-1]]
    variance, found = contrast_dof(fit, contrast)
    estimate = (contrast @ (x.T @ rows[:, varied] / size[varied] + fit.beta.T))[0]
    statistic[varied], dof[varied] = estimate**2 / variance[:, 0], found[:, 0]
    return _f_ratio(statistic, 1.0, dof)


def min_f(items: FRatio, contexts: FRatio) -> FRatio:
    """Find min F', the least F over items and contexts at once.

    Parameters
    ----------
    items, contexts : FRatio
        F1 and F2.

    Returns
    -------
    FRatio
        F1 F2 / (F1 + F2) with (F1 + F2)^2 / (F1^2 / n2 + F2^2 / n1) degrees of freedom below, n1 and n2 those of F1
        and F2 (Clark 1973, "The language-as-fixed-effect fallacy", equations 16 and 17).
    """
    first, second = items.statistic, contexts.statistic
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        # Reciprocals: the squares of large F's overflow, and an infinite F leaves the other one.
        part, other = 1.0 / first, 1.0 / second
        statistic = np.where((first == 0.0) | (second == 0.0), 0.0, 1.0 / (part + other))
        share = np.where(np.isfinite(part / (part + other)), part / (part + other), 0.5)
    dof = 1.0 / ((1.0 - share) ** 2 / contexts.dof + share**2 / items.dof)
    missing = np.isnan(first) | np.isnan(second)
    return _f_ratio(np.where(missing, np.nan, statistic), 1.0, np.where(missing, np.nan, dof))


def interaction_with_context(design: CrossedDesign) -> FRatio:
    """Test whether the effect of the condition depends on the context.

    Parameters
    ----------
    design : CrossedDesign
        The rows.

    Returns
    -------
    FRatio
        F of condition by context beside the contexts, with the items (and their own effects of the condition)
        taken as fixed: of complete differences, the mean square of contexts over that of items by contexts. NaN
        where fewer than two contexts are in both conditions. Covariates are held fixed beside. With a predictor it
        is the F of predictor by context beside the slope.
    """
    values, condition, item, context = design.values, design.condition, design.item.codes, design.context.codes
    # in units of their size, so that what an absorbed factor leaves of them by rounding is told as such
    held = design.covariates / np.linalg.norm(design.covariates, axis=0)
    if design.predictor is not None:
        return _slope_by_context(design, held)
    if condition is None:
        indicators = np.eye(int(context.max()) + 1)[context]
        if design.item.width == 0:
            return _nested_f(values, None, np.column_stack([np.ones(len(values)), held]), indicators)
        return _nested_f(values, item, held, indicators)
    if design.in_both[1].sum() < 2:
        return _no_test(values.shape[1])
    cells = np.unique(item * 2 + condition, return_inverse=True)[1].astype(np.int64)
    if int(cells.max()) + 1 < len(values):
        indicators = np.eye(int(context.max()) + 1)[context]
        base = np.column_stack([indicators, held])
        found = _nested_f(values, cells, base, indicators * condition[:, None])
        if not np.isnan(found.statistic).all():
            return found
    # Items that lie in one context each are what the interaction varies against: each gives its mean.
    cells = np.unique(np.column_stack([item, context, condition]), axis=0, return_inverse=True)[1].astype(np.int64)
    _, first = np.unique(cells, return_index=True)
    context, side = context[first], condition[first]
    indicators = np.eye(int(context.max()) + 1)[context]
    base = np.column_stack([indicators, side, level_means(held, cells)])
    return _nested_f(level_means(values, cells), None, base, indicators * side[:, None])


def _slope_by_context(design: CrossedDesign, held: Floats) -> FRatio:
    values, x, item, context = design.values, design.predictor, design.item.codes, design.context.codes
    if x is None or design.in_both[1].sum() < 2:
        return _no_test(values.shape[1])
    indicators = np.eye(int(context.max()) + 1)[context]
    if design.item.width:
        base = np.column_stack([indicators, x, held])
        found = _nested_f(values, item, base, indicators * x[:, None])
        if not np.isnan(found.statistic).all():
            return found
    # Items that lie in one context each are what the interaction varies against: each gives its mean.
    cells = np.unique(np.column_stack([item, context, x]), axis=0, return_inverse=True)[1].astype(np.int64)
    _, first = np.unique(cells, return_index=True)
    indicators, x = indicators[first], x[first]
    base = np.column_stack([indicators, x, level_means(held, cells)])
    return _nested_f(level_means(values, cells), None, base, indicators * x[:, None])


def _orthonormal(columns: Floats) -> Floats:
    if columns.shape[1] == 0:
        return columns
    left, size, _ = np.linalg.svd(columns, full_matrices=False)
    return np.asarray(left[:, size > RANK_TOLERANCE * max(float(size[0]), 1.0)], dtype=np.float64)


def _nested_f(values: Floats, absorbed: Ints | None, base: Floats, extra: Floats) -> FRatio:
    """F of the extra columns beside the base and a factor that is absorbed."""
    parts, n_absorbed = [values, base, extra], 0
    if absorbed is not None:
        n_absorbed = int(absorbed.max()) + 1
        parts = [part - level_means(part, absorbed)[absorbed] if part.shape[1] else part for part in parts]
    y, base, extra = parts
    q = _orthonormal(base)
    y = y - q @ (q.T @ y)
    new = _orthonormal(extra - q @ (q.T @ extra))
    dof = len(values) - n_absorbed - q.shape[1] - new.shape[1]
    if new.shape[1] == 0 or dof < 1:
        return _no_test(values.shape[1])
    explained = np.sum((new.T @ y) ** 2, axis=0)
    left = np.maximum(np.sum(y**2, axis=0) - explained, 0.0)
    scale = np.abs(values).max(axis=0)
    f = _squared_t(np.sqrt(explained / new.shape[1]), left / dof, scale)
    return _f_ratio(f, float(new.shape[1]), float(dof))
