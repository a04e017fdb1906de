"""What items alone and contexts alone say of an effect: F1, F2, min F', and the interaction with the context."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from metastable.stats.contexts.crossed_input import CrossedDesign, level_means
from metastable.stats.mixed_models.satterthwaite import contrast_dof
from metastable.stats.mixed_models.two_factors import Factor, fit_two_factors, two_factor_sums

__all__ = ["FRatio", "Stratum", "interaction_with_context", "min_f", "stratum"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# A sum of squares below this part of the largest squared value is rounding.
ROUNDING = 1e-20
RANK_TOLERANCE = 1e-9


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
        Square of the t of the levels' means.
    rows : ndarray of float64, shape (n_rows, n_features)
        Means of the levels: of the differences, or of a level in a condition with the grand mean taken away.
    direction : ndarray of float64, shape (n_rows,)
        Of unit length: ``direction @ rows`` is the effect, but for a factor, and all orthogonal to it error.
    centred : bool
        Whether the rows add up to zero.
    """

    f: FRatio
    rows: Floats
    direction: Floats
    centred: bool

    @property
    def error_dof(self) -> int:
        """Dimensions of the error."""
        return len(self.rows) - 1 - int(self.centred)


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


def stratum(design: CrossedDesign, factor: Factor, in_both: Bools) -> Stratum:
    """Test the effect over the levels of one factor.

    Parameters
    ----------
    design : CrossedDesign
        The rows.
    factor : Factor
        Its items or its contexts.
    in_both : ndarray of bool, shape (n_levels,)
        Which levels occur in both conditions.

    Returns
    -------
    Stratum
        The paired t of the levels' differences where every level is in both conditions; Welch's t where every level
        is in one; where some are in both, the mixed model of the levels' means in each condition, with an intercept
        of each level and Satterthwaite's degrees of freedom.
    """
    values, condition = design.values, design.condition
    scale = np.abs(values).max(axis=0)
    if condition is None or in_both.all():
        if condition is None:
            rows = level_means(values, factor.codes)
        else:
            of_a, of_b = (level_means(values[s], factor.codes[s]) for s in (condition, ~condition))
            rows = of_a - of_b
        n = len(rows)
        squared = _squared_t(rows.mean(axis=0), rows.var(axis=0, ddof=1) / n, scale)
        return Stratum(_f_ratio(squared, 1.0, n - 1.0), rows, np.full(n, 1.0 / np.sqrt(n)), centred=False)
    cells = np.unique(factor.codes * 2 + condition, return_inverse=True)
    rows, side = level_means(values, cells[1].astype(np.int64)), cells[0] % 2 == 1
    direction = side - side.mean()
    centred = rows - rows.mean(axis=0)
    if in_both.any():
        f = _of_means(rows, side, np.asarray(cells[0] // 2, dtype=np.int64), scale)
    else:
        a, b = rows[side], rows[~side]
        parts = [one.var(axis=0, ddof=1) / len(one) for one in (a, b)]
        total = parts[0] + parts[1]
        share = np.divide(parts[0], total, out=np.full_like(total, 0.5), where=total > 0)
        dof = 1.0 / (share**2 / (len(a) - 1) + (1.0 - share) ** 2 / (len(b) - 1))
        f = _f_ratio(_squared_t(a.mean(axis=0) - b.mean(axis=0), total, scale), 1.0, dof)
    return Stratum(f, centred, direction / np.linalg.norm(direction), centred=True)


def _of_means(rows: Floats, side: Bools, level: Ints, scale: Floats) -> FRatio:
    """F of means that are partly paired, by a mixed model with an intercept of each level."""
    x, r = np.linalg.qr(np.column_stack([np.ones(len(rows)), side]))
    residual = rows - x @ (x.T @ rows)
    size = np.sqrt(np.mean(residual**2, axis=0))
    varied = size > np.sqrt(ROUNDING) * scale
    statistic, dof = np.zeros(rows.shape[1]), np.full(rows.shape[1], len(rows) - 2.0)
    codes = np.unique(level, return_inverse=True)[1].astype(np.int64)
    none = Factor(np.zeros(len(rows), dtype=np.int64), 0)
    sums = two_factor_sums(x, residual[:, varied] / size[varied], side.astype(np.float64), none, Factor(codes, 1))
    fit = fit_two_factors(sums)
    contrast = np.linalg.inv(r)[[1]]
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
        where fewer than two contexts are in both conditions.
    """
    values, condition, item, context = design.values, design.condition, design.item.codes, design.context.codes
    if condition is None:
        indicators = np.eye(int(context.max()) + 1)[context]
        if design.item.width == 0:
            return _nested_f(values, None, np.ones((len(values), 1)), indicators)
        return _nested_f(values, item, np.zeros((len(values), 0)), indicators)
    if design.in_both[1].sum() < 2:
        missing = np.full(values.shape[1], np.nan)
        return FRatio(missing, missing, missing, missing)
    cells = np.unique(item * 2 + condition, return_inverse=True)[1].astype(np.int64)
    if int(cells.max()) + 1 < len(values):
        indicators = np.eye(int(context.max()) + 1)[context]
        found = _nested_f(values, cells, indicators, indicators * condition[:, None])
        if not np.isnan(found.statistic).all():
            return found
    # Items that lie in one context each are what the interaction varies against: each gives its mean.
    cells = np.unique(np.column_stack([item, context, condition]), axis=0, return_inverse=True)[1].astype(np.int64)
    _, first = np.unique(cells, return_index=True)
    context, side = context[first], condition[first]
    indicators = np.eye(int(context.max()) + 1)[context]
    base = np.column_stack([indicators, side])
    return _nested_f(level_means(values, cells), None, base, indicators * side[:, None])


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
        missing = np.full(values.shape[1], np.nan)
        return FRatio(missing, missing, missing, missing)
    explained = np.sum((new.T @ y) ** 2, axis=0)
    left = np.maximum(np.sum(y**2, axis=0) - explained, 0.0)
    scale = np.abs(values).max(axis=0)
    f = _squared_t(np.sqrt(explained / new.shape[1]), left / dof, scale)
    return _f_ratio(f, float(new.shape[1]), float(dof))
