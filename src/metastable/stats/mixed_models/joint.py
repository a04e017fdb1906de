"""One mixed model over all heads: how the effect of the condition varies over layers and heads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from metastable.errors import InputError
from metastable.stats.determined import independent_columns
from metastable.stats.labels import check_condition, check_labels
from metastable.stats.mixed_models.joint_fit import fit_joint, joint_sums
from metastable.stats.mixed_models.random_terms import SATURATED
from metastable.stats.mixed_models.satterthwaite import (
    CriterionFit,
    FTest,
    contrast_dof,
    f_test,
    t_statistic,
    two_sided_p,
)
from metastable.stats.samples import check_values, unit_scaled

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
    variance_sequence, variance_sequence_layer, variance_residual : float
        Variances of the sequences' intercepts, of what a layer adds to them, and of the residuals.
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
    variance_sequence_layer: float
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
    """Fit ``count ~ condition * layer + covariates + (1 + condition | head) + (1 | sequence) + (1 | sequence:layer)``.

    The heads of a layer are alike in what a sequence does to them, so that a layer's effect differs from sample to
    sample by more than its heads' errors say: without the last term the test of the interaction takes that for an
    effect.

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
    The likelihood is that of lme4, degrees of freedom and tests those of lmerTest. Heads cross sequences, and both are
    complete, so that `metastable.stats.mixed_models.joint_fit` turns the data into layers' means over the design of the
    sequences and what is left, whatever the number of sequences and heads.

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
    y, is_a, layers, codes, extra = _checked(values, condition, layer, covariates)
    n_layers = layers.size
    # One unit for all heads, in which squares are no limits of a float.
    unit_of_all = float(unit_scaled(np.abs(y).max(keepdims=True))[1][0])
    y = y / unit_of_all
    centre = float(y.mean())
    scale = float(np.sqrt(np.mean((y - centre) ** 2)))
    if scale <= 1e-12 * np.abs(y).max():
        raise InputError("values have no variance that condition and layer leave over; the joint model needs some")
    location, unit = extra.mean(axis=0), extra.std(axis=0)
    sums = joint_sums((y - centre) / scale, is_a, codes, (extra - location) / unit)
    if sums.within_rest <= SATURATED * y.size:
        raise InputError("values have no residual variance beside heads and sequences; the joint model needs some")
    fit = fit_joint(sums, method=method)
    without = fit_joint(sums, method=method, with_slope=False)
    gain = max(float(without.criterion[0] - fit.criterion[0]), 0.0)

    p = sums.n_coefficients
    # Back from covariates about their means in units of their deviations.
    back = np.eye(p)
    places = np.arange(2 * n_layers, p)
    back[places, places] = 1.0 / unit
    back[0, places] = -location / unit
    fit = replace(fit, beta=fit.beta + np.eye(1, p) * centre / scale)
    by_layer = np.zeros((n_layers, p))
    by_layer[:, 1] = 1.0
    interaction = np.zeros((n_layers - 1, p))
    interaction[:, 1 + n_layers :][:, : n_layers - 1] = np.eye(n_layers - 1)
    by_layer[1:] += interaction
    scale *= unit_of_all
    n_free = y.size - (p if method == "reml" else 0)
    # The determinant of the restricted likelihood is that of the design as it is given.
    determinant = 2.0 * float(np.log(unit).sum()) if method == "reml" else 0.0
    with np.errstate(over="ignore", under="ignore"):
        squared = float(np.square(fit.sigma[0] * scale))
    sequence, sequence_layer, a, b, c = fit.theta[0]
    return JointModel(
        layers=layers,
        by_layer=_effects(fit, by_layer, scale),
        overall=_effects(fit, by_layer.mean(axis=0, keepdims=True), scale),
        interaction=f_test(fit, interaction),
        slope_statistic=gain,
        slope_p=0.5 * float(special.chdtrc(1, gain) + special.chdtrc(2, gain)),
        names=(
            "(Intercept)",
            "condition",
            *(f"layer{label}" for label in layers[1:]),
            *(f"condition:layer{label}" for label in layers[1:]),
            *(f"covariate{j}" for j in range(1, extra.shape[1] + 1)),
        ),
        coefficients=_effects(fit, back, scale),
        variance_head=squared * a**2,
        variance_slope=squared * (b**2 + c**2),
        covariance_slope=squared * a * b,
        variance_sequence=squared * sequence**2,
        variance_sequence_layer=squared * sequence_layer**2,
        variance_residual=squared,
        criterion=float(fit.criterion[0]) + 2.0 * n_free * float(np.log(scale)) + determinant,
        singular=bool(fit.singular[0]),
        converged=bool(fit.converged[0] & without.converged[0]),
    )


def _checked(
    values: ArrayLike, condition: ArrayLike, layer: ArrayLike, covariates: ArrayLike | None
) -> tuple[Floats, NDArray[np.bool_], NDArray[np.generic], NDArray[np.intp], Floats]:
    """Values, condition, the layers' labels, the layer of each head and the covariates, checked."""
    y = check_values(values)
    n_sequences, n_heads = y.shape
    is_a = check_condition(condition, n_sequences)
    if is_a.all() or not is_a.any():
        raise InputError("condition has one value only; give sequences of both conditions")
    of_head = check_labels("layer", layer, n_heads, each="head")
    extra = np.zeros((n_sequences, 0)) if covariates is None else check_values(covariates)
    if extra.shape[0] != n_sequences:
        raise InputError(f"covariates has shape {extra.shape}; give one row for each of {n_sequences} sequences")
    layers, codes = np.unique(of_head, return_inverse=True)
    if layers.size < 2:
        raise InputError("layer has one level only; fit the heads of a single layer one by one")
    if n_heads == layers.size:
        raise InputError("every layer has one head, which leaves layers and heads entangled; give more heads")
    apart = independent_columns(extra, np.column_stack([np.ones(n_sequences), is_a]))
    if not apart.all():
        raise InputError(
            f"covariate {int(apart.argmin())} is explained by the condition and the covariates before it (collinear); "
            "leave it out"
        )
    if n_sequences <= 2 + extra.shape[1]:
        raise InputError(f"{n_sequences} sequences cannot carry {extra.shape[1]} covariates; give more of them")
    return y, is_a, layers, np.asarray(codes, dtype=np.intp), extra


def _effects(fit: CriterionFit, contrasts: Floats, scale: float) -> Effects:
    """Contrasts of the fixed effects of a single model, back in the units of the outcome."""
    variance, dof = contrast_dof(fit, contrasts)
    estimate, se = scale * (contrasts @ fit.beta[0]), scale * np.sqrt(variance[0])
    statistic = t_statistic(estimate, se)
    return Effects(estimate, se, dof[0], statistic, two_sided_p(statistic, dof[0]))
