"""One mixed model over all heads: how the effect of the condition varies over layers and heads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from metastable.errors import InputError
from metastable.stats.labels import check_condition, check_labels
from metastable.stats.mixed_models.crossed import fit_terms
from metastable.stats.mixed_models.mixed_input import MixedInput, check_mixed_input
from metastable.stats.mixed_models.random_terms import saturated, term_sums
from metastable.stats.mixed_models.satterthwaite import (
    CriterionFit,
    FTest,
    contrast_dof,
    f_test,
    t_statistic,
    two_sided_p,
)

__all__ = ["Effects", "JointModel", "fit_joint_model"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Effects:
    """Estimated contrasts.

    Attributes
    ----------
    estimate, se, dof, statistic, p_value : ndarray of float64, shape (n_effects,)
        Estimate and standard error in units of the outcome, Satterthwaite degrees of freedom, t, two-sided p.
    """

    estimate: Floats
    se: Floats
    dof: Floats
    statistic: Floats
    p_value: Floats


@dataclass(frozen=True)
class JointModel:
    """The joint model over heads.

    Attributes
    ----------
    layers : ndarray, shape (n_layers,)
        Labels of the layers, sorted.
    by_layer : Effects
        Effect of the condition (true minus false) in each layer.
    overall : Effects
        Their mean, each layer with the same weight; one effect.
    interaction : FTest
        Whether the effect varies over layers: F test of condition by layer.
    slope_statistic, slope_p : float
        Whether it varies over the heads of a layer: likelihood ratio statistic for the random slope and its
        correlation, and p by the half-and-half mixture of chi-squared with 1 and 2 degrees of freedom (Self &
        Liang 1987, Stram & Lee 1994), a variance of zero being on the boundary.
    names : tuple of str
        Names of the coefficients, in R's notation.
    coefficients : Effects
        The coefficients of the design, layers in treatment coding with the first as reference.
    variance_head, variance_slope, covariance_slope : float
        Variances of the heads' intercepts and slopes, and their covariance.
    variance_sequence, variance_residual : float
        Variances of the sequences' intercepts and of the residuals.
    criterion : float
        Minus twice the (restricted) log likelihood.
    singular, converged : bool
        As in `metastable.stats.mixed_models.mixed.MixedModels`.
    """

    layers: NDArray[np.generic]
    by_layer: Effects
    overall: Effects
    interaction: FTest
    slope_statistic: float
    slope_p: float
    names: tuple[str, ...]
    coefficients: Effects
    variance_head: float
    variance_slope: float
    covariance_slope: float
    variance_sequence: float
    variance_residual: float
    criterion: float
    singular: bool
    converged: bool


def fit_joint_model(
    values: ArrayLike,
    condition: ArrayLike,
    layer: ArrayLike,
    *,
    covariates: ArrayLike | None = None,
    method: Literal["reml", "ml"] = "reml",
) -> JointModel:
    """Fit ``count ~ condition * layer + covariates + (1 + condition | head) + (1 | sequence)``.

    Parameters
    ----------
    values : array_like of float, shape (n_sequences, n_heads)
        Mean count of each sequence at each head. The model has one residual variance for all heads: where
        they differ widely, as counts do over operating modes, give logarithms
        (`metastable.stats.transforms.transform_counts`).
    condition : array_like of bool, shape (n_sequences,)
        True for the first condition.
    layer : array_like, shape (n_heads,)
        Layer of each head; at least two layers, and more heads than layers.
    covariates : array_like of float, shape (n_sequences, n_covariates), or None
        Nuisance covariates of the sequences, with the same effect at every head.
    method : {"reml", "ml"}
        Restricted or plain maximum likelihood.

    Returns
    -------
    JointModel
        The effect by layer and overall, tests that it varies, variances and flags.

    Raises
    ------
    InputError
        For values that are not finite, shapes that do not match, one condition or layer only, layers of one
        head each, a covariate collinear with the condition, or values without residual variance.

    Notes
    -----
    Heads and sequences are crossed. `metastable.stats.mixed_models.crossed` eliminates the sequences in closed form and
    factors a matrix of twice the number of heads.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> condition, layer = np.arange(40) < 20, np.repeat([1, 2], 6)
    >>> values = rng.normal(size=(40, 12)) + rng.normal(size=(40, 1)) + rng.normal(size=12)
    >>> values[np.ix_(condition, layer == 2)] += 1.0
    >>> model = fit_joint_model(values, condition, layer)
    >>> bool(model.interaction.p_value < 0.01), model.names
    (True, ('(Intercept)', 'condition', 'layer2', 'condition:layer2'))
    """
    data, layers, names = _long(values, condition, layer, covariates)
    q, r = np.linalg.qr(data.design)
    start = q.T @ data.values
    residual = data.values - q @ start
    scale = float(np.sqrt(np.mean(residual**2)))
    if scale <= 1e-12 * np.abs(data.values).max():
        raise InputError("values have no variance that condition and layer leave over; the joint model needs some")
    residual /= scale
    sums = term_sums(q, residual, data.terms)
    if saturated(sums)[0]:
        raise InputError("values have no residual variance beside heads and sequences; the joint model needs some")
    fit = fit_terms(sums, method=method)
    terms = replace(data.terms, slope=None)
    without = fit_terms(term_sums(q, residual, terms), method=method)
    gain = max(float(without.criterion[0] - fit.criterion[0]), 0.0)

    fit = replace(fit, beta=fit.beta + start.T / scale)
    back = np.linalg.inv(r)
    n_layers, p = layers.size, data.design.shape[1]
    by_layer = np.zeros((n_layers, p))
    by_layer[:, 1] = 1.0
    interaction = np.zeros((n_layers - 1, p))
    interaction[:, 1 + n_layers :][:, : n_layers - 1] = np.eye(n_layers - 1)
    by_layer[1:] += interaction
    dof = data.values.size - (p if method == "reml" else 0)
    determinant = 2.0 * float(np.log(np.abs(np.diag(r))).sum()) if method == "reml" else 0.0
    squared = float(fit.sigma[0] * scale) ** 2
    sequence, a, b, c = fit.theta[0] / [1.0, 1.0, data.slope_scale, data.slope_scale]
    return JointModel(
        layers=layers,
        by_layer=_effects(fit, by_layer @ back, scale),
        overall=_effects(fit, by_layer.mean(axis=0, keepdims=True) @ back, scale),
        interaction=f_test(fit, interaction @ back),
        slope_statistic=gain,
        slope_p=0.5 * float(special.chdtrc(1, gain) + special.chdtrc(2, gain)),
        names=names,
        coefficients=_effects(fit, back, scale),
        variance_head=squared * a**2,
        variance_slope=squared * (b**2 + c**2),
        covariance_slope=squared * a * b,
        variance_sequence=squared * sequence**2,
        variance_residual=squared,
        criterion=float(fit.criterion[0]) + 2.0 * dof * float(np.log(scale)) + determinant,
        singular=bool(fit.singular[0]),
        converged=bool(fit.converged[0] & without.converged[0]),
    )


def _long(
    values: ArrayLike, condition: ArrayLike, layer: ArrayLike, covariates: ArrayLike | None
) -> tuple[MixedInput, NDArray[np.generic], tuple[str, ...]]:
    """One row for each sequence and head, checked; the layers; the names of the coefficients."""
    y = np.asarray(values, dtype=np.float64)
    if y.ndim != 2:
        raise InputError(f"values has shape {y.shape}; give sequences by heads")
    n_sequences, n_heads = y.shape
    is_a = check_condition(condition, n_sequences)
    if is_a.all() or not is_a.any():
        raise InputError("condition has one value only; give sequences of both conditions")
    of_head = check_labels("layer", layer, n_heads, each="head")
    extra = np.zeros((n_sequences, 0)) if covariates is None else np.asarray(covariates, dtype=np.float64)
    if extra.ndim != 2 or extra.shape[0] != n_sequences:
        raise InputError(f"covariates has shape {extra.shape}; give one row for each of {n_sequences} sequences")
    layers, codes = np.unique(of_head, return_inverse=True)
    if layers.size < 2:
        raise InputError("layer has one level only; fit the heads of a single layer one by one")
    if n_heads == layers.size:
        raise InputError("every layer has one head, which leaves layers and heads entangled; give more heads")

    sequence, head = np.divmod(np.arange(y.size), n_heads)
    effect = is_a[sequence].astype(np.float64)
    dummies = (codes[head][:, None] == np.arange(1, layers.size)).astype(np.float64)
    design = np.column_stack(
        [np.ones(y.size), effect, dummies, dummies * effect[:, None], extra[sequence]],
    )
    names = (
        "(Intercept)",
        "condition",
        *(f"layer{label}" for label in layers[1:]),
        *(f"condition:layer{label}" for label in layers[1:]),
        *(f"covariate{j}" for j in range(1, extra.shape[1] + 1)),
    )
    data = check_mixed_input(y.reshape(-1, 1), design, sequence, column=1, cluster=head, slope=1)
    return data, layers, names


def _effects(fit: CriterionFit, contrasts: Floats, scale: float) -> Effects:
    """Contrasts of the fixed effects of a single model, back in the units of the outcome."""
    variance, dof = contrast_dof(fit, contrasts)
    estimate, se = scale * (contrasts @ fit.beta[0]), scale * np.sqrt(variance[0])
    statistic = t_statistic(estimate, se)
    return Effects(estimate, se, dof[0], statistic, two_sided_p(statistic, dof[0]))
