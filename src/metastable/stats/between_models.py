"""How much an effect varies from model to model beyond noise, and what the next model may show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from metastable.errors import InputError
from metastable.stats.effects import check_confidence

__all__ = ["Heterogeneity", "heterogeneity"]


@dataclass(frozen=True)
class Heterogeneity:
    """Variation of one quantity between models.

    Attributes
    ----------
    tau : float
        Standard deviation of the models' true values (Paule & Mandel 1982).
    i_squared : float
        Share of the variation of the estimates that is not noise, from 0 to 1 (Higgins & Thompson 2002).
    q, p : float
        Cochran's Q and its p (chi squared, models - 1 degrees of freedom).
    prediction_low, prediction_high : float
        Where the true value of the next model lies (Higgins, Thompson & Spiegelhalter 2009, eq. 12); NaN for fewer
        than three models.
    """

    tau: float
    i_squared: float
    q: float
    p: float
    prediction_low: float
    prediction_high: float


def heterogeneity(
    estimate: ArrayLike, variance: ArrayLike, *, mean: float, se: float, confidence: float = 0.95
) -> Heterogeneity:
    """Find how much a quantity varies from model to model.

    Parameters
    ----------
    estimate : array_like of float, shape (n_models,)
        The quantity of every model.
    variance : array_like of float, shape (n_models,)
        Sampling variance of each that it does not share with the others
        (`metastable.stats.MultiBootstrap.own_variance`).
    mean, se : float
        Mean over models and its standard error, over models and units together
        (`metastable.stats.MultiBootstrap.pooled`).
    confidence : float
        Of the prediction interval.

    Returns
    -------
    Heterogeneity

    Raises
    ------
    InputError
        For fewer than two models, other shapes, or a variance that is not above 0.

    Notes
    -----
    `statsmodels.stats.meta_analysis.combine_effects` takes the estimates as independent. Models that read the same
    units are not: what they share moves all of them together, so that it is no variation between them. It is taken
    off their variances here, and is part of `se` alone.

    Examples
    --------
    >>> found = heterogeneity([0.1, 0.5, 0.9], [0.01, 0.01, 0.01], mean=0.5, se=0.23)
    >>> round(found.tau, 2), round(found.i_squared, 2)
    (0.39, 0.94)
    """
    from statsmodels.stats.meta_analysis import combine_effects

    check_confidence(confidence)
    values, noise = np.asarray(estimate, dtype=np.float64), np.asarray(variance, dtype=np.float64)
    if values.ndim != 1 or values.shape != noise.shape:
        raise InputError(f"estimate has shape {values.shape}, variance {noise.shape}; give one of each a model")
    if len(values) < 2:
        raise InputError("there is one model; how much models differ needs at least two")
    if not (noise > 0).all():
        raise InputError(f"variance {noise.min()} is not above 0; leave out models whose estimate has no noise")
    # of estimates that are all alike it divides by a Q of 0, for what is computed here itself
    with np.errstate(divide="ignore"):
        found = combine_effects(values, noise, method_re="iterated")
    dof = len(values) - 1
    q = float(found.q)
    tau2 = max(float(found.tau2), 0.0)
    if len(values) > 2:
        reach = float(special.stdtrit(dof - 1, 0.5 + confidence / 2)) * float(np.sqrt(tau2 + se**2))
    else:
        reach = float("nan")
    return Heterogeneity(
        tau=float(np.sqrt(tau2)),
        i_squared=max(0.0, 1 - dof / q) if q > 0 else 0.0,
        q=q,
        p=float(special.chdtrc(dof, q)),
        prediction_low=mean - reach,
        prediction_high=mean + reach,
    )
