"""Tests of families of features over items and contexts at once, by random rotations of both strata."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from metastable.errors import InputError
from metastable.stats.contexts.crossed_input import Outcome
from metastable.stats.contexts.crossed_test import CrossedParts, crossed_parts, crossed_slope_parts
from metastable.stats.contexts.strata import Stratum
from metastable.stats.mixed_models.satterthwaite import t_statistic, two_sided_p
from metastable.stats.permutations.omnibus import OmnibusResult, p_value

__all__ = ["CrossedFamily", "crossed_family_test", "crossed_slope_family_test", "rotate_parts"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Progress = Callable[[int, int], None]

# Rotations by features of one working array.
BLOCK_FLOATS = 2**21
# p-values below this are one another's equals.
SMALLEST_P = 1e-300


@dataclass(frozen=True)
class CrossedFamily:
    """Tests of all features together, each entry of one feature.

    Attributes
    ----------
    statistic : ndarray of float64, shape (n_features,)
        t of the mixed model.
    p : ndarray of float64, shape (n_features,)
        Share of the rotations whose p is as small as the mixed model's, each feature on its own.
    p_fwer, p_fwer_stepdown : ndarray of float64, shape (n_features,)
        The same for the smallest p of the family, in a single step and step by step (Westfall & Young 1993).
    low, high : ndarray of float64, shape (n_features,)
        Intervals of the estimates that hold for all features of a family together.
    omnibus : dict of str to OmnibusResult
        One for each mask; the statistics combined are normal deviates of the p-values.
    n_rotations : int
        Rotations drawn.
    flat : ndarray of bool, shape (n_features,)
        Features in which nothing varies; p = 1.
    """

    statistic: Floats
    p: Floats
    p_fwer: Floats
    p_fwer_stepdown: Floats
    low: Floats
    high: Floats
    omnibus: dict[str, OmnibusResult]
    n_rotations: int
    flat: Bools


def crossed_family_test(
    values: ArrayLike,
    condition: ArrayLike,
    item: ArrayLike,
    context: ArrayLike,
    *,
    outcome: Outcome = "auto",
    covariates: ArrayLike | pd.DataFrame | None = None,
    family: ArrayLike | None = None,
    omnibus: Mapping[str, Bools] | None = None,
    n_rotations: int = 10_000,
    alpha: float = 0.05,
    rng: int | np.random.Generator | None = None,
    callback: Progress | None = None,
) -> CrossedFamily:
    """Test all features of a family for a difference over items and contexts, with the dependence between features.

    Parameters
    ----------
    values, condition, item, context, outcome, covariates
        As `metastable.stats.crossed_test` takes them.
    family : array_like of int or None, shape (n_features,)
        Codes of families, within each of which the smallest p is taken. One family if None.
    omnibus : mapping of str to ndarray of bool or None
        Masks over features, shape (n_features,), of groups that are tested as one.
    n_rotations : int
        Rotations to draw.
    alpha : float
        Level of the joint intervals, and of the omnibus number of small p-values.
    rng : int, numpy.random.Generator or None
        Seed or generator.
    callback : callable or None
        Told of progress as ``callback(done, total)``.

    Returns
    -------
    CrossedFamily

    Raises
    ------
    InputError
        As `crossed_test`, or for fewer than 19 rotations, an alpha outside (0, 1), or families and masks whose shapes
        do not match.

    Notes
    -----
    With six contexts there are 32 sign flips that differ, and none reaches a family-wise p of .05 with dozens of
    features. The pigeonhole bootstrap (Owen 2007) draws from six contexts, which know too little of their own spread:
    its percentile intervals cover .92 of the time where contexts make up most of the error, and nearly always where
    they make up none (`benchmarks/stats_contexts.py`). What
    is exact with few levels is the studentized statistic under rotations (Langsrud 2005): were the contexts' effects
    normal with a mean of zero, any rotation of them, the mean among them, would be as likely. One random direction
    takes the place of the mean's in the stratum of the contexts, another in that of the items, the same for all
    features, so that their dependence is kept. From the two come a new effect, new mean squares, a new standard error
    and its degrees of freedom, by the formula of a balanced design with the share of either factor as the mixed model
    has it, and from these a p; the observed p is compared with those. They are exact (for normal effects) where one of
    the factors makes up the error, and approximate between: where a feature's own are fewer below a level than that
    level, they are taken as spread evenly, so that a feature's p here is never below that of the mixed model, and the
    rotations add the dependence between features. Covariates take their dimensions out of the strata: directions are
    drawn in what they leave.

    References
    ----------
    Langsrud (2005), Statistics and Computing 15. Owen (2007), Annals of Applied Statistics 1(2). Westfall & Young
    (1993), Resampling-Based Multiple Testing.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> pair, sentence, side = (axis.ravel() for axis in np.indices((60, 8, 2)))
    >>> values = rng.normal(size=(960, 20))
    >>> values[:, 3] += 0.6 * side
    >>> found = crossed_family_test(values, side == 1, pair, sentence, n_rotations=999, rng=1)
    >>> np.flatnonzero(found.p_fwer < 0.05)
    array([3])
    """
    parts = crossed_parts(values, condition, item, context, outcome=outcome, covariates=covariates)
    return rotate_parts(
        parts, family=family, omnibus=omnibus, n_rotations=n_rotations, alpha=alpha, rng=rng, callback=callback
    )


def crossed_slope_family_test(
    values: ArrayLike,
    predictor: ArrayLike,
    item: ArrayLike,
    context: ArrayLike,
    *,
    covariates: ArrayLike | pd.DataFrame | None = None,
    family: ArrayLike | None = None,
    omnibus: Mapping[str, Bools] | None = None,
    n_rotations: int = 10_000,
    alpha: float = 0.05,
    rng: int | np.random.Generator | None = None,
    callback: Progress | None = None,
) -> CrossedFamily:
    """Test all features of a family for a slope over items and contexts, with the dependence between features.

    Parameters
    ----------
    values, predictor, item, context, covariates
        As `metastable.stats.crossed_slope_test` takes them.
    family, omnibus, n_rotations, alpha, rng, callback
        As `crossed_family_test` takes them.

    Returns
    -------
    CrossedFamily

    Raises
    ------
    InputError
        As `crossed_slope_test`, or as `crossed_family_test` for the other arguments.

    Notes
    -----
    As `crossed_family_test`: the contexts' slopes are rotated in one stratum, the items' means in the other.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> word, sentence = (axis.ravel() for axis in np.indices((60, 8)))
    >>> rating = rng.uniform(1, 5, 60)[word]
    >>> values = rng.normal(size=(480, 20))
    >>> values[:, 3] += 0.3 * rating
    >>> found = crossed_slope_family_test(values, rating, word, sentence, n_rotations=999, rng=1)
    >>> np.flatnonzero(found.p_fwer < 0.05)
    array([3])
    """
    parts = crossed_slope_parts(values, predictor, item, context, covariates=covariates)
    return rotate_parts(
        parts, family=family, omnibus=omnibus, n_rotations=n_rotations, alpha=alpha, rng=rng, callback=callback
    )


@dataclass(frozen=True)
class _Rows:
    """A stratum ready to be rotated.

    `rows` have the effect shrunk to the part of it that is this stratum's; `scale` is the root of the error's mean
    square, `total` the sum of squares, `error` the error's.
    """

    rows: Floats
    scale: Floats
    total: Floats
    error: Floats
    dof: float
    held: Floats


def _ready(one: Stratum, share: Floats) -> _Rows:
    effect = one.direction @ one.rows
    rows = one.rows + np.outer(one.direction, (np.sqrt(share) - 1.0) * effect)
    error = np.maximum(np.sum(one.rows**2, axis=0) - effect**2, 0.0)
    # An error that is rounding beside the effect has no shape to rotate.
    error = np.where(error <= 1e-20 * effect**2, 0.0, error)
    return _Rows(
        rows=rows,
        scale=np.sqrt(error / one.error_dof),
        total=error + share * effect**2,
        error=error,
        dof=float(one.error_dof),
        held=one.held,
    )


def _directions(one: _Rows, n: int, generator: np.random.Generator) -> Floats:
    """Random directions of the stratum, shape (n, n_rows)."""
    drawn = generator.standard_normal((n, len(one.rows)))
    drawn -= (drawn @ one.held) @ one.held.T
    unit: Floats = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit


def _rotated(one: _Rows, directions: Floats, columns: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Effects in units of their error, and mean squares in units of the observed ones."""
    effect = directions @ one.rows[:, columns]
    known = one.error[columns] > 0
    z = np.divide(effect, one.scale[columns], out=np.zeros_like(effect), where=known)
    left = np.maximum(one.total[columns] - effect**2, 0.0)
    return z, np.divide(left, one.error[columns], out=np.ones_like(left), where=known)


def rotate_parts(
    parts: CrossedParts,
    *,
    family: ArrayLike | None = None,
    omnibus: Mapping[str, Bools] | None = None,
    n_rotations: int = 10_000,
    alpha: float = 0.05,
    rng: int | np.random.Generator | None = None,
    callback: Progress | None = None,
) -> CrossedFamily:
    """Test a family of features whose design has been checked and fitted.

    Parameters
    ----------
    parts : CrossedParts
        From `crossed_parts`.
    family, omnibus, n_rotations, alpha, rng, callback
        As `crossed_family_test` takes them.

    Returns
    -------
    CrossedFamily

    Raises
    ------
    InputError
        As `crossed_family_test`.
    """
    fit = parts.fit
    n_features = len(fit.estimate)
    masks = dict(omnibus or {})
    codes = _check(n_features, family, masks, n_rotations, alpha)
    generator = np.random.default_rng(rng)
    observed = np.maximum(two_sided_p(t_statistic(fit.estimate, fit.se), fit.dof), SMALLEST_P)
    live = ~fit.flat & fit.converged
    z_observed = -special.ndtri(observed / 2.0)
    critical = float(-special.ndtri(alpha / 2.0))
    # deviates of n_rotations p-values that are spread evenly, the smallest first
    even = -special.ndtri(np.arange(1, n_rotations + 1) / (n_rotations + 1) / 2.0)

    # a fit that was not found may have a part below zero
    of_context, of_item = (np.maximum(part + fit.part_residual, 0.0) for part in (fit.part_context, fit.part_item))
    contexts = _ready(parts.contexts, _share(of_context, fit.part_item))
    items = _ready(parts.items, _share(of_item, fit.part_context))
    turns = (_directions(contexts, n_rotations, generator), _directions(items, n_rotations, generator))
    # a factor with one row a level is the residual, and takes nothing from it
    taken = [one.dof for one, factor in ((contexts, parts.design.context), (items, parts.design.item)) if factor.width]
    residual_dof = max(len(parts.design.values) - 1.0 - len(parts.design.held) - sum(taken), 1.0)

    p_single, p_own, p_step = np.ones(n_features), np.ones(n_features), np.ones(n_features)
    largest = {int(code): np.zeros(n_rotations) for code in np.unique(codes)}
    combined = {name: np.zeros((3, n_rotations)) for name in masks}
    # From the largest p to the smallest: the running maximum is then over the features that are not rejected yet.
    order = np.flatnonzero(live)[np.argsort(-observed[live], kind="stable")]
    done = 0
    for columns in _blocks(order, n_rotations):
        drawn = np.stack([
            *_rotated(contexts, turns[0], columns), *_rotated(items, turns[1], columns)
        ])  # fmt: skip
        z = _deviates(
            drawn,
            of_context[columns],
            of_item[columns],
            fit.part_item[columns],
            fit.part_residual[columns],
            (contexts.dof, items.dof, residual_dof),
        )
        for place, feature in enumerate(columns):
            mine, margin = _at_least_even(z[:, place], even), 1e-9 * z_observed[feature]
            p_own[feature] = p_value(z_observed[feature], mine, margin, exact=False)
            running = largest[int(codes[feature])]
            np.maximum(running, mine, out=running)
            p_step[feature] = p_value(z_observed[feature], running, margin, exact=False)
            for name, mask in masks.items():
                if mask[feature]:
                    sums = combined[name]
                    np.maximum(sums[0], mine, out=sums[0])
                    sums[1] += mine**2
                    sums[2] += mine > critical
        done += len(columns)
        if callback is not None:
            callback(done, len(order))
    low, high = np.full(n_features, np.nan), np.full(n_features, np.nan)
    for code, null in largest.items():
        inside = np.flatnonzero((codes == code) & live)
        p_single[inside] = [p_value(z_observed[k], null, 1e-9 * z_observed[k], exact=False) for k in inside]
        p_step[inside] = _monotone(p_step[inside], observed[inside])
        z_joint = np.sort(null)[min(int(np.ceil((1.0 - alpha) * (n_rotations + 1))), n_rotations) - 1]
        reach = -special.stdtrit(fit.dof[inside], special.ndtr(-z_joint)) * fit.se[inside]
        low[inside], high[inside] = fit.estimate[inside] - reach, fit.estimate[inside] + reach
    return CrossedFamily(
        statistic=t_statistic(fit.estimate, fit.se),
        p=p_own,
        p_fwer=p_single,
        p_fwer_stepdown=np.minimum(p_step, p_single),
        low=low,
        high=high,
        omnibus={name: _omnibus(combined[name], z_observed[mask & live], critical) for name, mask in masks.items()},
        n_rotations=n_rotations,
        flat=fit.flat,
    )


def _check(
    n_features: int, family: ArrayLike | None, masks: Mapping[str, Bools], n_rotations: int, alpha: float
) -> NDArray[np.int64]:
    if n_rotations < 19:
        raise InputError(
            f"n_rotations is {n_rotations}; give 19 or more, for p cannot fall below 1 / (n_rotations + 1)"
        )
    if not 0 < alpha < 1:
        raise InputError(f"alpha is {alpha}; give a number between 0 and 1, such as 0.05")
    codes = np.zeros(n_features, dtype=np.int64) if family is None else np.asarray(family)
    for name, array in (("family", codes), *((f"omnibus {key!r}", mask) for key, mask in masks.items())):
        if array.shape != (n_features,):
            raise InputError(f"{name} has shape {array.shape}; give one entry for each of the {n_features} features")
    return codes.astype(np.int64)


def _share(mine: Floats, other: Floats) -> Floats:
    """Part of the effect's variance that a stratum's own error makes up."""
    total = mine + np.maximum(other, 0.0)
    return np.divide(mine, total, out=np.ones_like(total), where=total > 0)


def _blocks(order: NDArray[np.intp], n_rotations: int) -> Iterator[NDArray[np.intp]]:
    size = max(1, BLOCK_FLOATS // n_rotations)
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _deviates(
    drawn: Floats,
    of_context: Floats,
    of_item: Floats,
    item: Floats,
    residual: Floats,
    dofs: tuple[float, float, float],
) -> Floats:
    """Turn rotated data into normal deviates of their p-values, shape (n_rotations, n_columns)."""
    z_context, square_context, z_item, square_item = drawn
    d_context, d_item, d_residual = dofs
    effect = np.sqrt(of_context) * z_context + np.sqrt(np.maximum(item, 0.0)) * z_item
    context, items = of_context * square_context, of_item * square_item
    # Below the residual's a mean square is taken for it, as where REML finds a variance of zero.
    pooled_context, pooled_item = context < residual, items < residual
    squared = np.maximum(context, residual) + np.maximum(items, residual) - residual
    spread = (
        np.where(pooled_context, 0.0, context**2 / d_context)
        + np.where(pooled_item, 0.0, items**2 / d_item)
        + (pooled_context + pooled_item.astype(np.float64) - 1.0) ** 2 * residual**2 / d_residual
    )
    dof = np.divide(squared**2, spread, out=np.full_like(squared, d_residual), where=spread > 0)
    t = np.divide(np.abs(effect), np.sqrt(squared), out=np.zeros_like(squared), where=squared > 0)
    p = np.maximum(special.stdtr(dof, -t), 0.5 * SMALLEST_P)
    return np.asarray(-special.ndtri(p), dtype=np.float64)


def _at_least_even(z: Floats, even: Floats) -> Floats:
    """Raise deviates to those of as many p-values that are spread evenly, in their order."""
    raised = np.empty_like(z)
    order = np.argsort(-z, kind="stable")
    raised[order] = np.maximum(z[order], even)
    return raised


def _monotone(p: Floats, observed: Floats) -> Floats:
    """Step-down p-values that do not fall as the observed p grows."""
    order = np.argsort(observed, kind="stable")
    made = np.empty_like(p)
    made[order] = np.maximum.accumulate(p[order])
    return made


def _omnibus(null: Floats, observed: Floats, critical: float) -> OmnibusResult:
    if observed.size == 0:
        return OmnibusResult(0.0, 1.0, 0.0, 1.0, 0, 1.0)
    found = (float(observed.max()), float(np.sum(observed**2)), int((observed > critical).sum()))
    margins = (1e-9 * found[0], 1e-9 * found[1], 0.5)
    p = [p_value(one, null[k], margin, exact=False) for k, (one, margin) in enumerate(zip(found, margins, strict=True))]
    return OmnibusResult(found[0], p[0], found[1], p[1], found[2], p[2])
