"""The mixed model of an effect over items and contexts: closed forms where the design is balanced, else by REML."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metastable.stats.contexts.crossed_input import CrossedDesign
from metastable.stats.mixed_models.satterthwaite import contrast_dof
from metastable.stats.mixed_models.two_factors import fit_two_factors, two_factor_sums

__all__ = ["CrossedFit", "fit_crossed"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

# A residual below this part of the largest value is rounding.
ROUNDING = 1e-12
PARTS = ("item", "context", "residual")


@dataclass(frozen=True)
class CrossedFit:
    """Mixed models, one a feature.

    Attributes
    ----------
    estimate, se, dof : ndarray of float64, shape (n_features,)
        Of the effect: estimate, standard error, Satterthwaite's degrees of freedom.
    part_item, part_context, part_residual : ndarray of float64, shape (n_features,)
        What of the squared standard error comes from items, contexts and the rest.
    variance_item, variance_item_slope, variance_context, variance_context_slope, variance_residual : ndarray
        Variances of intercepts (at the mean of a predictor), of effects (slopes of a condition of 0 and 1, or of the
        predictor), and of the residual; NaN for what the model does not have. Of differences they are those of the
        differences.
    criterion : ndarray of float64
        REML criterion of `lme4` (minus twice the restricted log likelihood).
    singular, converged, flat : ndarray of bool
        A variance is zero or a correlation one; the optimum was found; there is nothing that varies.
    """

    estimate: Floats
    se: Floats
    dof: Floats
    part_item: Floats
    part_context: Floats
    part_residual: Floats
    variance_item: Floats
    variance_item_slope: Floats
    variance_context: Floats
    variance_context_slope: Floats
    variance_residual: Floats
    criterion: Floats
    singular: Bools
    converged: Bools
    flat: Bools


def _empty(n_features: int) -> dict[str, NDArray[np.float64] | Bools]:
    made: dict[str, NDArray[np.float64] | Bools] = {}
    for name, kind in CrossedFit.__annotations__.items():
        made[name] = np.zeros(n_features, dtype=np.bool_) if kind == "Bools" else np.full(n_features, np.nan)
    return made


def fit_crossed(design: CrossedDesign) -> CrossedFit:
    """Fit the mixed model of a design to every feature.

    Parameters
    ----------
    design : CrossedDesign
        The rows.

    Returns
    -------
    CrossedFit
        Of differences without gaps, and of items of one condition each that go through all contexts once, by closed
        form: with mean squares M of items, contexts and the rest, the squared standard error is
        ``(M_item + M_context - M_rest) / n`` and each mean square has its own degrees of freedom, which is what REML
        and Satterthwaite's formula come to in a balanced design. Beside covariates always by REML.
    """
    values, n_features = design.values, design.values.shape[1]
    grid = len(design.in_both[0]) * len(design.in_both[1])
    complete = not design.held and len(values) == grid and len(np.unique(_cells(design))) == grid
    groups = complete and design.condition is not None and not design.in_both[0].any()
    found = _empty(n_features)
    todo = np.ones(n_features, dtype=np.bool_)
    if complete and design.effect is None and design.item.width and design.context.width:
        found, todo = _balanced_differences(design), np.zeros(n_features, dtype=np.bool_)
    elif groups and (design.item.width, design.context.width) == (1, 2):
        found, inside = _balanced_groups(design)
        todo = ~inside
    if todo.any():
        rows = np.flatnonzero(todo)
        for name, column in _by_reml(design, values[:, rows]).items():
            found[name][rows] = column
    return CrossedFit(**found)  # type: ignore[arg-type]


def _cells(design: CrossedDesign) -> NDArray[np.int64]:
    return design.item.codes * (int(design.context.codes.max()) + 1) + design.context.codes


def _table(design: CrossedDesign) -> Floats:
    """Values of a complete design as items by contexts by features."""
    values = design.values[np.argsort(_cells(design), kind="stable")]
    return values.reshape(design.item.n_levels, design.context.n_levels, values.shape[1])


def _balanced_differences(design: CrossedDesign) -> dict[str, NDArray[np.float64] | Bools]:
    table = _table(design)
    n_items, n_contexts, n_features = table.shape
    n, d_item, d_context = n_items * n_contexts, n_items - 1.0, n_contexts - 1.0
    mean = table.mean(axis=(0, 1))
    of_item, of_context = table.mean(axis=1) - mean, table.mean(axis=0) - mean
    rest = table - mean - of_item[:, None] - of_context[None]
    # Differences of values that are close are rounded as those are.
    smallest = (ROUNDING * np.abs(design.sides).max(axis=0)) ** 2
    square = (
        n_contexts * np.sum(of_item**2, axis=0) / d_item,
        n_items * np.sum(of_context**2, axis=0) / d_context,
        np.sum(rest**2, axis=(0, 1)) / (d_item * d_context),
    )
    of_items, of_contexts, of_rest = (np.where(one <= smallest, 0.0, one) for one in square)
    square = (of_items, of_contexts, of_rest)
    item, context, residual, pooled_item, pooled_context = _ordered(of_items, of_contexts, of_rest, d_item, d_context)
    squared = (item + context - residual) / n
    # A variance at zero no longer moves the standard error, and its mean square joins the residual's.
    d_rest = d_item * d_context + pooled_item * d_item + pooled_context * d_context
    weight = pooled_item.astype(np.float64) + pooled_context - 1.0
    spread = (
        np.where(pooled_item, 0.0, item**2 / d_item)
        + np.where(pooled_context, 0.0, context**2 / d_context)
        + weight**2 * residual**2 / d_rest
    )
    flat = squared == 0.0
    dof = np.divide((n * squared) ** 2, spread, out=np.full(n_features, n - 1.0), where=spread > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        criterion = (
            (n - 1) * np.log(2 * np.pi)
            + d_item * (np.log(item) + square[0] / item)
            + d_context * (np.log(context) + square[1] / context)
            + d_item * d_context * (np.log(residual) + square[2] / residual)
            + np.log(float(n))
        )
    missing = np.full(n_features, np.nan)
    return {
        "estimate": np.where(np.abs(mean) <= np.sqrt(smallest), 0.0, mean),
        "se": np.sqrt(squared),
        "dof": dof,
        "part_item": (item - residual) / n,
        "part_context": (context - residual) / n,
        "part_residual": residual / n,
        "variance_item": missing.copy(),
        "variance_item_slope": (item - residual) / n_contexts,
        "variance_context": missing.copy(),
        "variance_context_slope": (context - residual) / n_items,
        "variance_residual": residual,
        "criterion": np.where(flat, np.nan, criterion),
        "singular": pooled_item | pooled_context | flat,
        "converged": np.ones(n_features, dtype=np.bool_),
        "flat": flat,
    }


def _ordered(
    item: Floats, context: Floats, rest: Floats, d_item: float, d_context: float
) -> tuple[Floats, Floats, Floats, Bools, Bools]:
    """Mean squares where no variance is negative: those below the residual's are pooled with it, the least first."""
    d_rest = d_item * d_context
    item_first = item <= context
    least, most = np.where(item_first, item, context), np.where(item_first, context, item)
    d_least, d_most = np.where(item_first, d_item, d_context), np.where(item_first, d_context, d_item)
    first = least < rest
    pooled = np.where(first, (d_rest * rest + d_least * least) / (d_rest + d_least), rest)
    total = d_rest + np.where(first, d_least, 0.0)
    second = most < pooled
    pooled = np.where(second, (total * pooled + d_most * most) / (total + d_most), pooled)
    of_item, of_context = np.where(item_first, first, second), np.where(item_first, second, first)
    return np.where(of_item, pooled, item), np.where(of_context, pooled, context), pooled, of_item, of_context


def _balanced_groups(design: CrossedDesign) -> tuple[dict[str, NDArray[np.float64] | Bools], Bools]:
    """Items of one condition each in all contexts; and where no variance is at its bound."""
    table = _table(design)
    n_items, n_contexts, n_features = table.shape
    side = _side_of_items(design)
    groups = [table[side], table[~side]]
    n_a, n_b = len(groups[0]), len(groups[1])
    d_item, d_context = n_items - 2.0, n_contexts - 1.0
    per_context = [one.mean(axis=0) for one in groups]
    of_item, of_rest = np.zeros(n_features), np.zeros(n_features)
    for one, mean in zip(groups, per_context, strict=True):
        items = one.mean(axis=1) - mean.mean(axis=0)
        of_item += n_contexts * np.sum(items**2, axis=0) / d_item
        of_rest += np.sum((one - mean[None] - items[:, None]) ** 2, axis=(0, 1)) / (d_item * d_context)
    parts = 1.0 / n_a + 1.0 / n_b
    difference = per_context[0] - per_context[1]
    of_context = difference.var(axis=0, ddof=1)
    centred = [one - one.mean(axis=0) for one in per_context]
    within = [np.sum(one**2, axis=0) / d_context - of_rest / n for one, n in zip(centred, (n_a, n_b), strict=True)]
    together = np.sum(centred[0] * centred[1], axis=0) / d_context
    inside = (of_item > of_rest) & (of_rest > 0) & (within[0] > 0) & (within[0] * within[1] > together**2)
    item, context, residual = of_item * parts / n_contexts, of_context / n_contexts, of_rest * parts / n_contexts
    squared = item + context - residual
    with np.errstate(divide="ignore", invalid="ignore"):
        dof = squared**2 / (item**2 / d_item + context**2 / d_context + residual**2 / (d_item * d_context))
    return {
        "estimate": difference.mean(axis=0),
        "se": np.sqrt(np.maximum(squared, 0.0)),
        "dof": dof,
        "part_item": item - residual,
        "part_context": context - residual,
        "part_residual": residual,
        "variance_item": (of_item - of_rest) / n_contexts,
        "variance_item_slope": np.full(n_features, np.nan),
        "variance_context": within[1],
        "variance_context_slope": of_context - parts * of_rest,
        "variance_residual": of_rest,
        "criterion": _criterion_of_groups(of_item, of_rest, centred, (n_a, n_b), (d_item, d_context)),
        "singular": np.zeros(n_features, dtype=np.bool_),
        "converged": np.ones(n_features, dtype=np.bool_),
        "flat": np.zeros(n_features, dtype=np.bool_),
    }, inside


def _side_of_items(design: CrossedDesign) -> Bools:
    side = np.zeros(design.item.n_levels, dtype=np.bool_)
    if design.condition is not None:
        side[design.item.codes[design.condition]] = True
    return side


def _criterion_of_groups(
    of_item: Floats, of_rest: Floats, centred: list[Floats], sizes: tuple[int, int], dofs: tuple[float, float]
) -> Floats:
    """REML criterion where every mean square is at its own value."""
    d_item, d_context = dofs
    (a, b), (n_a, n_b) = centred, sizes
    n_contexts = d_context + 1.0
    product = [np.sum(x * y, axis=0) / d_context for x, y in ((a, a), (b, b), (a, b))]
    determinant = np.maximum(product[0] * product[1] - product[2] ** 2, np.finfo(np.float64).tiny)
    n = (n_a + n_b) * n_contexts
    with np.errstate(divide="ignore", invalid="ignore"):
        criterion: Floats = (
            (n - 2.0) * (1.0 + np.log(2.0 * np.pi))
            + d_item * np.log(of_item)
            + d_item * d_context * np.log(of_rest)
            + d_context * (np.log(determinant) + np.log(float(n_a)) + np.log(float(n_b)))
            + np.log(n_contexts**2 * n_a * n_b)
        )
    return criterion


def _by_reml(design: CrossedDesign, y: Floats) -> dict[str, NDArray[np.float64] | Bools]:
    n_obs, n_features = y.shape
    differences = design.effect is None
    side = np.ones(n_obs) if design.effect is None else design.effect
    # the effect comes last
    x = np.column_stack([*([] if differences else [np.ones(n_obs)]), design.covariates, side])
    q, r = np.linalg.qr(x)
    contrast = np.linalg.inv(r)[[-1]]
    start = q.T @ y
    residual = y - q @ start
    size = np.sqrt(np.mean(residual**2, axis=0))
    flat = size <= ROUNDING * np.abs(y).max(axis=0)
    rows = np.flatnonzero(~flat)
    names = [name for name in ("item", "context") if getattr(design, name).width]
    # The factor with more levels is cheaper to eliminate; one without effects comes last.
    names.sort(key=lambda name: -getattr(design, name).n_levels)
    factors = [getattr(design, name) for name in names]
    if len(factors) == 1:
        factors.append(design.item if names[0] == "context" else design.context)
    sums = two_factor_sums(q, residual[:, rows] / size[rows], side, factors[0], factors[1])
    fit = fit_two_factors(sums)
    variance, dof = contrast_dof(fit, contrast)
    scale = size[rows] ** 2
    found = _empty(n_features)
    estimate = np.zeros(n_features)
    estimate[rows] = (contrast @ fit.beta.T)[0] * size[rows]
    estimate += (contrast @ start)[0]
    smallest = ROUNDING * np.abs(design.sides).max(axis=0).max()
    found["estimate"] = np.where(np.abs(estimate) <= smallest, 0.0, estimate)
    found["se"], found["dof"] = np.zeros(n_features), np.full(n_features, float(n_obs - x.shape[1]))
    found["se"][rows], found["dof"][rows] = np.sqrt(variance[:, 0] * scale), dof[:, 0]
    for name in PARTS:
        found[f"part_{name}"] = np.zeros(n_features)
    # The variance of the effect is homogeneous in each Lambda: half of theta times its derivative is the part.
    gradient = np.einsum("kp,ftpq,kq->ft", contrast, fit.unscaled_gradient, contrast)
    moved = 0.5 * fit.theta * gradient * (fit.sigma**2 * scale)[:, None]
    cut = sums.n_theta[0]
    thetas = (fit.theta[:, :cut], fit.theta[:, cut:])
    for name, theta, part in zip(names, thetas, (moved[:, :cut], moved[:, cut:]), strict=False):
        found[f"part_{name}"][rows] = part.sum(axis=1)
        unit = fit.sigma**2 * scale
        key = f"variance_{name}_slope" if differences else f"variance_{name}"
        found[key][rows] = theta[:, 0] ** 2 * unit
        if theta.shape[1] == 3:
            found[f"variance_{name}_slope"][rows] = (theta[:, 1] ** 2 + theta[:, 2] ** 2) * unit
    found["part_residual"][rows] = variance[:, 0] * scale - found["part_item"][rows] - found["part_context"][rows]
    found["variance_residual"] = np.zeros(n_features)
    found["variance_residual"][rows] = fit.sigma**2 * scale
    determinant = 2.0 * float(np.log(np.abs(np.diag(r))).sum()) + 2.0 * np.log(design.unit)
    found["criterion"][rows] = fit.criterion + (n_obs - x.shape[1]) * np.log(scale) + determinant
    found["singular"], found["converged"] = flat.copy(), np.ones(n_features, dtype=np.bool_)
    found["singular"][rows], found["converged"][rows] = fit.singular, fit.converged
    found["flat"] = flat
    # A fit that was not found says nothing: no estimate of its error, and p = 1.
    lost = ~np.asarray(found["converged"], dtype=np.bool_)
    found["se"][lost] = np.inf
    return found if design.predictor is None else _per_unit(found, design.unit)


def _per_unit(found: dict[str, NDArray[np.float64] | Bools], unit: float) -> dict[str, NDArray[np.float64] | Bools]:
    """Slopes of a standardized predictor as those of the predictor; intercepts stay at its mean."""
    powers = {"estimate": 1, "se": 1, **{f"part_{name}": 2 for name in PARTS}}
    powers |= {f"variance_{name}_slope": 2 for name in PARTS[:2]}
    return {name: column / unit ** powers[name] if name in powers else column for name, column in found.items()}
